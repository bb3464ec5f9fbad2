//! Replicas: however the log is cut into writes, wherever a node crashes, the
//! state at an index is one.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use proptest::prelude::*;
use strongroom_base::LogIndex;
use strongroom_state::{
    MapTables, StateHash, Table, Tables, TablesReader, apply, scrub, state_hash,
};
use support::{
    overlay::Overlay,
    simulation::{Simulation, Step, steps},
};

/// The log that the steps commit; entry 1 is at position 0.
fn log(steps: &[Step]) -> Vec<Vec<u8>> {
    let mut simulation = Simulation::new();
    steps.iter().filter_map(|step| simulation.step(step)).map(|(_, command, _)| command).collect()
}

/// State hashes after each entry, and the tables after the last.
fn replay(log: &[Vec<u8>]) -> (Vec<StateHash>, MapTables) {
    let mut tables = MapTables::new();
    let mut hashes = Vec::new();
    for (index, command) in (1..).zip(log) {
        apply_entry(&mut tables, index, command).unwrap();
        hashes.push(state_hash(&tables).unwrap());
    }
    (hashes, tables)
}

/// Applies an entry and records that, as the Raft layer does.
fn apply_entry(
    tables: &mut impl Tables,
    index: u64,
    command: &[u8],
) -> Result<(), strongroom_state::TablesError> {
    apply(tables, LogIndex(index), command)?;
    tables.put(Table::Raft, b"applied", &index.to_be_bytes())
}

fn applied_index(tables: &MapTables) -> u64 {
    let stored = tables.get(Table::Raft, b"applied").unwrap();
    stored.map_or(0, |stored| u64::from_be_bytes(stored.try_into().unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn replicas_agree_at_each_index_however_the_log_is_cut(
        steps in steps(),
        cuts in prop::collection::vec(1..8_usize, 1..20),
    ) {
        let log = log(&steps);
        let (hashes, expected) = replay(&log);
        let mut tables = MapTables::new();
        let mut cuts = cuts.iter().cycle();
        let mut index = 0;
        while index < log.len() {
            let mut overlay = Overlay::new(&tables);
            for _ in 0..(*cuts.next().unwrap()).min(log.len() - index) {
                apply_entry(&mut overlay, index as u64 + 1, &log[index]).unwrap();
                prop_assert_eq!(state_hash(&overlay).unwrap(), hashes[index]);
                index += 1;
            }
            tables = overlay.committed();
        }
        prop_assert_eq!(tables, expected);
    }

    #[test]
    fn a_crash_anywhere_is_healed_by_the_log(
        steps in steps(),
        crashes in prop::collection::vec((1..8_usize, 0..40_usize, any::<bool>()), 1..30),
    ) {
        let log = log(&steps);
        let (hashes, expected) = replay(&log);
        let (mut flushed, mut tables) = (MapTables::new(), MapTables::new());
        for (entries, writes, flush) in crashes {
            // Some entries in one write, which fails somewhere or not at all.
            let mut overlay = Overlay::failing_after(&tables, writes * writes);
            let first = applied_index(&tables);
            let last = (first + entries as u64).min(log.len() as u64);
            let whole = (first + 1..=last).try_for_each(|index| {
                apply_entry(&mut overlay, index, &log[usize::try_from(index).unwrap() - 1])
            });
            if whole.is_ok() {
                tables = overlay.committed();
                if flush {
                    flushed = tables.clone();
                }
            } else {
                // The process ends: what was not flushed is gone.
                tables = flushed.clone();
            }
            let index = usize::try_from(applied_index(&tables)).unwrap();
            if index > 0 {
                prop_assert_eq!(state_hash(&tables).unwrap(), hashes[index - 1]);
            }
            prop_assert!(scrub(&tables).unwrap().is_clean());
        }
        for index in applied_index(&tables)..log.len() as u64 {
            apply_entry(&mut tables, index + 1, &log[usize::try_from(index).unwrap()]).unwrap();
        }
        prop_assert_eq!(tables, expected);
    }
}
