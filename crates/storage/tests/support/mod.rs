//! What the tests of this crate share.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use parking_lot::Mutex;
use strongroom_base::{ClusterId, NodeId};
use strongroom_storage::{
    DataDir, DataDirError, Done, FatalHook, LogEntry, LogOptions, RaftLog, StateDb, StateOptions,
    StorageError,
};
use tempfile::TempDir;

/// The cluster of every test.
pub(crate) fn cluster() -> ClusterId {
    ClusterId::from_random([1; 16])
}

/// The node of every test.
pub(crate) fn node() -> NodeId {
    NodeId::new(1).unwrap()
}

/// Opens or makes a data directory.
pub(crate) fn open(path: &Path) -> Result<DataDir, DataDirError> {
    DataDir::open(path, cluster(), node(), [7; 16])
}

/// A new data directory.
pub(crate) fn directory() -> (TempDir, DataDir) {
    let root = tempfile::tempdir().unwrap();
    let directory = open(&root.path().join("data")).unwrap();
    (root, directory)
}

/// A fatal hook that keeps what it is told.
pub(crate) fn recorder() -> (FatalHook, Arc<Mutex<Vec<StorageError>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&told);
    let hook: FatalHook = Arc::new(move |error: &StorageError| keep.lock().push(error.clone()));
    (hook, told)
}

/// A fatal hook for tests in which nothing may fail.
pub(crate) fn never() -> FatalHook {
    Arc::new(|error: &StorageError| panic!("storage failed: {error}"))
}

/// Opens the log of a directory.
pub(crate) fn log(directory: &DataDir) -> RaftLog {
    RaftLog::open(directory, LogOptions::default(), never()).unwrap()
}

/// Opens the state of a directory.
pub(crate) fn state(directory: &DataDir) -> StateDb {
    StateDb::open(directory, StateOptions::default(), never()).unwrap()
}

/// Submits, and waits until it is completed.
pub(crate) fn wait(submit: impl FnOnce(Done)) -> Result<(), StorageError> {
    let (sender, receiver) = mpsc::channel();
    submit(Box::new(move |result| sender.send(result).unwrap()));
    receiver.recv().unwrap()
}

/// An entry whose payload tells its index and term.
pub(crate) fn entry(index: u64, term: u64) -> LogEntry {
    let length = 20 + index as usize * 37 % 300;
    let seed = [index.to_be_bytes(), term.to_be_bytes()].concat();
    let payload: Vec<u8> = seed.iter().copied().cycle().take(length).collect();
    LogEntry { index, term, payload: payload.into() }
}

/// Entries of one term.
pub(crate) fn entries(indexes: std::ops::Range<u64>, term: u64) -> Vec<LogEntry> {
    indexes.map(|index| entry(index, term)).collect()
}

/// Appends entries of one term, durably.
pub(crate) fn append(log: &RaftLog, indexes: std::ops::Range<u64>, term: u64) {
    wait(|done| log.append(entries(indexes, term), done)).unwrap();
}

/// Copies a directory as it is now: what a killed process would leave, for
/// what it wrote to files.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for found in fs::read_dir(from).unwrap() {
        let found = found.unwrap();
        let target = to.join(found.file_name());
        if found.file_type().unwrap().is_dir() {
            copy(&found.path(), &target);
        } else {
            fs::copy(found.path(), target).unwrap();
        }
    }
}

/// Files below a directory, by path, ascending.
pub(crate) fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
