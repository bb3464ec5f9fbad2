//! Canaries in databases that RocksDB itself wrote, in core files and in memory.

use std::{
    fs,
    process::{Command, Stdio},
    sync::{Arc, mpsc},
};

use rustix::process::{Pid, Signal, kill_process};
use strongroom_base::{ClusterId, LogIndex, NodeId};
use strongroom_state::{Table, Tables as _};
use strongroom_storage::{
    DataDir, Done, FatalHook, LogEntry, LogOptions, RaftLog, StateDb, StateOptions, StorageError,
};
use strongroom_testkit::scan::{self, Canary, Layer, Scanner};

use super::places;

const CANARY_BYTES: usize = 48;
/// As many, one after the other, lie over three ends of blocks of a log, and an
/// end is between two of them once at most.
const MANY: usize = 100 * 1024 / CANARY_BYTES;

fn canary() -> Vec<u8> {
    (0..CANARY_BYTES).map(|_| rand::random::<u8>() | 1).collect()
}

fn hook() -> FatalHook {
    Arc::new(failed)
}

fn failed(error: &StorageError) {
    panic!("a planted database failed: {error}");
}

/// A Raft log with a first entry in a table and a second one that is in the
/// write-ahead log only.
fn plant_log(data: &DataDir, canary: &[u8]) {
    for index in 1..=2 {
        // What was written before it is opened becomes a table.
        let log = RaftLog::open(data, LogOptions::default(), hook()).unwrap();
        let entries = vec![LogEntry { index, term: 1, payload: canary.repeat(MANY).into() }];
        let (sender, receiver) = mpsc::channel();
        let done: Done = Box::new(move |result| sender.send(result).unwrap());
        log.append(entries, done);
        receiver.recv().unwrap().unwrap();
        log.close();
    }
}

/// A state and a snapshot of it, with the canary in values of every table, and in
/// a key.
fn plant_state(data: &DataDir, canary: &[u8]) {
    let state = StateDb::open(data, StateOptions::default(), hook()).unwrap();
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
    // The last key of a table file stands in the manifest.
    let mut batch = state.begin();
    batch.put(Table::Rows, &canary.repeat(MANY), b"value").unwrap();
    batch.commit(LogIndex(1)).unwrap();
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

#[test]
fn a_canary_is_found_in_compressed_tables_and_split_records_of_logs_and_manifests() {
    let folder = tempfile::tempdir().unwrap();
    let canary = canary();
    let cluster = ClusterId::from_random(rand::random());
    let data = DataDir::open(folder.path(), cluster, NodeId::new(1).unwrap(), [1; 16]).unwrap();
    plant_log(&data, &canary);
    plant_state(&data, &canary);
    let (found, files) =
        Scanner::new(&[Canary::new("planted", &canary)]).folder(folder.path()).unwrap();
    println!("{} findings in {files} files", found.len());

    let count = |kind: &str, layer: Layer| {
        let in_layer = found.iter().filter(|finding| finding.layer == layer);
        in_layer.filter(|finding| scan::kind(folder.path(), &finding.place) == kind).count()
    };
    for kind in ["log/#.sst", "state/#/#.sst", "snapshots/#/#.sst"] {
        assert!(count(kind, Layer::Decompressed) > 0, "nothing is found in blocks of {kind}");
    }
    for kind in ["log/#.log", "state/#/MANIFEST-#", "snapshots/#/MANIFEST-#"] {
        let joined = count(kind, Layer::RecordsJoined);
        assert!(joined >= MANY, "{kind}: {joined} of {MANY} are found");
        // Those over the ends of blocks: the look at them is a real one.
        let as_it_is = count(kind, Layer::AsItIs);
        assert!(as_it_is < joined, "{kind}: {as_it_is} of {joined} lie over no end of a block");
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
