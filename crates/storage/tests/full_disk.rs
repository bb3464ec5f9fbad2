//! A disk that takes no more: the first failed write ends the process, and what
//! was durable before is there afterwards.
//!
//! The system refuses the writes of a child process: a limit on the length of
//! its files (RLIMIT_FSIZE, its signal ignored) makes them fail with EFBIG. Set
//! `STORAGE_SMALL_DISK` to a directory on a small file system to run the tests
//! on a disk that is really full.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests; the child tells its parent")]

mod support;

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use strongroom_base::LogIndex;
use strongroom_state::{Table, Tables, TablesReader};
use strongroom_storage::{FatalHook, LogOptions, RaftLog, StateDb, StateOptions, StorageError};
use support::{copy, entries, entry, log, open, state, wait};

const CHILD: &str = "STORAGE_FULL_DISK_CHILD";
/// What the fatal hook ends the child with.
const ENDED: i32 = 7;

fn end_process() -> FatalHook {
    Arc::new(|error: &StorageError| {
        println!("ended: {error}");
        std::process::exit(ENDED);
    })
}

/// Runs a test of this file as a process whose files can't grow beyond 256 KiB;
/// returns what it said.
fn run_limited(test: &str, directory: &Path) -> String {
    let limit = if env::var_os("STORAGE_SMALL_DISK").is_some() { "unlimited" } else { "512" };
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f $LIMIT; exec \"$0\" \"$@\""])
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env("LIMIT", limit)
        .env(CHILD, directory)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert_eq!(child.status.code(), Some(ENDED), "{said}");
    said
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let root = match env::var_os("STORAGE_SMALL_DISK") {
        Some(disk) => tempfile::tempdir_in(disk).unwrap(),
        None => tempfile::tempdir().unwrap(),
    };
    let path = root.path().join("data");
    (root, path)
}

/// The number that the child said last after `word`.
fn last_number(said: &str, word: &str) -> u64 {
    let numbers = said.lines().filter_map(|line| line.strip_prefix(word));
    numbers.filter_map(|number| number.parse().ok()).max().unwrap()
}

/// A copy of the directory where there is room.
fn with_room(path: &Path) -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let roomy = root.path().join("data");
    copy(path, &roomy);
    (root, roomy)
}

fn assert_names_file_and_remedy(said: &str, path: &Path) {
    let reason = said.lines().find(|line| line.starts_with("ended: ")).unwrap();
    assert!(reason.contains(path.to_str().unwrap()) && reason.contains("Remedy"), "{reason}");
    if env::var_os("STORAGE_SMALL_DISK").is_some() {
        assert!(reason.contains("no space left"), "{reason}");
    }
}

#[test]
fn a_log_that_cannot_be_written_ends_the_process_and_keeps_what_it_acknowledged() {
    if let Some(path) = env::var_os(CHILD) {
        let directory = open(Path::new(&path)).unwrap();
        let log = RaftLog::open(&directory, LogOptions::default(), end_process()).unwrap();
        for index in 1.. {
            let result = wait(|done| log.append(entries(index..index + 1, 1), done));
            result.expect("the hook ends the process before a failure is completed");
            println!("durable {index}");
        }
    }
    let (_root, path) = place();
    let test = "a_log_that_cannot_be_written_ends_the_process_and_keeps_what_it_acknowledged";
    drop(open(&path).unwrap());
    let said = run_limited(test, &path);
    assert_names_file_and_remedy(&said, &path);
    let durable = last_number(&said, "durable ");
    assert!(durable > 100, "{durable}");
    let (_roomy, path) = with_room(&path);
    let directory = open(&path).unwrap();
    let log = log(&directory);
    let last = log.last_index().unwrap();
    assert!(last >= durable, "{last} < {durable}");
    let expected: Vec<_> = (1..=last).map(|index| entry(index, 1)).collect();
    assert_eq!(log.read(0, u64::MAX, usize::MAX).unwrap(), expected);
}

#[test]
fn a_state_that_cannot_be_flushed_ends_the_process_and_keeps_the_last_flush() {
    if let Some(path) = env::var_os(CHILD) {
        let directory = open(Path::new(&path)).unwrap();
        let state = StateDb::open(&directory, StateOptions::default(), end_process()).unwrap();
        for index in 1.. {
            let mut batch = state.begin();
            for part in 0..u64::from(index > 20) * 64 {
                let key = [index, part].map(u64::to_be_bytes).concat();
                batch.put(Table::Rows, &key, &[index as u8; 1000]).unwrap();
            }
            batch.put(Table::Meta, b"newest", &index.to_be_bytes()).unwrap();
            batch.commit(LogIndex(index)).unwrap();
            if index % 10 == 0 {
                state.flush().unwrap();
                println!("durable {index}");
            }
        }
    }
    let (_root, path) = place();
    let test = "a_state_that_cannot_be_flushed_ends_the_process_and_keeps_the_last_flush";
    drop(open(&path).unwrap());
    let said = run_limited(test, &path);
    assert_names_file_and_remedy(&said, &path);
    let durable = last_number(&said, "durable ");
    let (_roomy, path) = with_room(&path);
    let directory = open(&path).unwrap();
    let state = state(&directory);
    assert_eq!(state.applied_index(), Some(LogIndex(durable)));
    let newest = state.latest().get(Table::Meta, b"newest").unwrap().unwrap();
    assert_eq!(newest, durable.to_be_bytes());
}
