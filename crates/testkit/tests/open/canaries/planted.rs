//! Canaries that are planted, and must be found.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
};

use rustix::process::{Pid, Signal, kill_process};
use strongroom_base::{ClusterId, LogIndex, NodeId};
use strongroom_state::{Table, Tables as _};
use strongroom_storage::{
    DataDir, Done, FatalHook, LogEntry, LogOptions, RaftLog, StateDb, StateOptions, StorageError,
};
use strongroom_testkit::{
    faults::{files_under, kind_of},
    scan::{Canary, Finding, Scanner},
};

use super::places;

fn canary() -> Vec<u8> {
    (0..48).map(|_| rand::random::<u8>() | 1).collect()
}

fn hook() -> FatalHook {
    Arc::new(failed)
}

fn failed(error: &StorageError) {
    panic!("a planted database failed: {error}");
}

/// A data directory with canaries in log, tables and a snapshot, in forms that a
/// plain search does not see.
fn plant(folder: &Path, canary: &[u8]) {
    let cluster = ClusterId::from_random(rand::random());
    let data = DataDir::open(folder, cluster, NodeId::new(1).unwrap(), [1; 16]).unwrap();
    let log = RaftLog::open(&data, LogOptions::default(), hook()).unwrap();
    // Longer than a block of the log: whatever its place, one lies over an end.
    let payload = canary.repeat(100 * 1024 / canary.len());
    let entries = vec![LogEntry { index: 1, term: 1, payload: payload.into() }];
    let (sender, receiver) = mpsc::channel();
    let done: Done = Box::new(move |result| sender.send(result).unwrap());
    log.append(entries, done);
    receiver.recv().unwrap().unwrap();
    log.close();

    let state = StateDb::open(&data, StateOptions::default(), hook()).unwrap();
    // Halves that the compression has seen when the whole comes: it refers back
    // to them, and the whole stands nowhere in the file.
    let (first, last) = canary.split_at(canary.len() / 2);
    let value = [&first.repeat(3)[..], &[0; 40], &last.repeat(3), &[0; 40], canary].concat();
    for table in Table::ALL {
        let mut batch = state.begin();
        for number in 0..50_u64 {
            batch.put(table, &number.to_be_bytes(), &value).unwrap();
        }
        batch.commit(LogIndex(1)).unwrap();
    }
    state.flush().unwrap();
    state.checkpoint(Vec::new()).unwrap();
    // Deleted, and not compacted away yet: a reader of rows sees nothing.
    for table in Table::ALL {
        let mut batch = state.begin();
        for number in 0..50_u64 {
            batch.delete(table, &number.to_be_bytes()).unwrap();
        }
        batch.commit(LogIndex(2)).unwrap();
    }
    state.flush().unwrap();
}

fn layers(found: &[Finding], kind: &str, folder: &Path) -> BTreeSet<&'static str> {
    let of_kind = found.iter().filter(|finding| kind_of(folder, &finding.place) == kind);
    of_kind.map(|finding| finding.layer).collect()
}

#[test]
fn a_canary_is_found_in_compressed_tables_fragmented_logs_and_snapshots() {
    let folder = tempfile::tempdir().unwrap();
    let canary = canary();
    plant(folder.path(), &canary);
    let (found, files) =
        Scanner::new(&[Canary::new("planted", &canary)]).folder(folder.path()).unwrap();
    println!("{} findings in {files} files", found.len());

    let joined = |layer| found.iter().filter(|finding| finding.layer == layer).count();
    let whole = 100 * 1024 / canary.len();
    assert!(joined("records joined") >= whole, "one over the end of a block is missing");
    let in_log = layers(&found, "log/log", folder.path());
    assert!(in_log.contains("records joined"), "{in_log:?}");
    for kind in ["state/sst", "snapshots/sst"] {
        let layers = layers(&found, kind, folder.path());
        assert!(!layers.is_empty(), "nothing is found in {kind}: {:?}", files_under(folder.path()));
        assert!(layers.contains("decompressed"), "{kind}: {layers:?}");
    }
}

#[test]
fn a_canary_is_found_in_a_core_file_and_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let canary = "canary-in-the-environment-of-a-process";
    let scanner = Scanner::new(&[Canary::new("planted", canary.as_bytes())]);
    let mut child = Command::new("sh")
        .args(["-c", "ulimit -c unlimited 2>/dev/null; exec sleep 600"])
        .current_dir(folder.path())
        .env("CANARY", canary)
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let image = folder.path().join("memory");
    // It becomes `sleep` at some moment; its environment is the same before.
    let read = places::memory_image(child.id(), &image);
    let found = read.map(|()| scanner.file(&image).unwrap());
    kill_process(Pid::from_child(&child), Signal::ABORT).unwrap();
    child.wait().unwrap();
    match found {
        Ok(found) => assert!(!found.is_empty(), "not found in memory"),
        Err(error) => println!("skipped: memory can't be read here: {error:#}"),
    }
    let Some(cores) = places::core_folder(folder.path()) else {
        println!("skipped: this system hands core files to a program");
        return;
    };
    let cores = places::cores_in(&cores, child.id());
    if cores.is_empty() {
        println!("skipped: this system writes no core files");
    }
    for core in cores {
        assert!(!scanner.file(&core).unwrap().is_empty(), "not found in {}", core.display());
        fs::remove_file(core).unwrap();
    }
}
