//! A log and its states, written once and read for ever.
//!
//! Each line of `testdata/v1/log.txt` is a Raft log entry's command in
//! hexadecimal and, behind it, the encoded outcome and the state hash right
//! after it, as the first version of format 1 computed them. Every later program
//! must come to the same.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{fmt::Write, fs, path::Path};

use strongroom_base::LogIndex;
use strongroom_state::{MapTables, apply, recomputed_hash, state_hash};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().as_chunks::<2>().0.iter();
    digits.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn a_log_of_format_1_gives_the_states_that_it_always_gave() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/v1/log.txt");
    let text = fs::read_to_string(file).unwrap();
    let mut tables = MapTables::new();
    let mut entries = 0;
    for (index, line) in (1..).zip(text.lines()) {
        let [command, outcome, hash] = line.split(' ').collect::<Vec<_>>()[..] else { panic!() };
        let applied = apply(&mut tables, LogIndex(index), &bytes(command)).unwrap();
        assert_eq!(hex(&applied.outcome.encode()), outcome, "outcome of entry {index}");
        assert_eq!(state_hash(&tables).unwrap().to_string(), hash, "hash after entry {index}");
        assert_eq!(recomputed_hash(&tables).unwrap().to_string(), hash);
        entries += 1;
    }
    assert!(entries >= 100, "the log was cut");
}
