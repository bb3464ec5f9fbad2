//! Batches, flushes, checkpoints and installs of the state database.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{fs, path::Path, thread};

use proptest::prelude::*;
use sha2::{Digest, Sha256};
use strongroom_base::LogIndex;
use strongroom_format::store::SnapshotFile;
use strongroom_state::{MapTables, Order, Table, Tables, TablesReader};
use strongroom_storage::{
    SnapshotDir, SnapshotError, SnapshotManifest, StateDb, StateOptions, StorageError,
};
use support::{append, copy, directory, log, never, open, recorder, state, wait};

/// Commits one row per index, from the next one through `last`.
fn commit_to(state: &StateDb, last: u64) {
    for index in state.applied_index().map_or(1, |index| index.0 + 1)..=last {
        let mut batch = state.begin();
        batch.put(Table::Rows, &index.to_be_bytes(), b"row").unwrap();
        batch.put(Table::Meta, b"newest", &index.to_be_bytes()).unwrap();
        batch.commit(LogIndex(index)).unwrap();
    }
}

/// The newest index according to the tables.
fn newest(tables: &impl TablesReader) -> u64 {
    let rows = tables.range(Table::Rows, b"", None, Order::Ascending, usize::MAX).unwrap();
    let newest = tables.get(Table::Meta, b"newest").unwrap().unwrap_or(vec![0; 8]);
    let newest = u64::from_be_bytes(newest.try_into().unwrap());
    assert_eq!(rows.len() as u64, newest);
    newest
}

/// Sends a snapshot from one database to another, as peers do.
fn send(from: &SnapshotDir, to: &StateDb) -> Result<SnapshotDir, SnapshotError> {
    let mut writer = to.receive(from.manifest().clone())?;
    for file in &from.manifest().files {
        let mut offset = 0;
        while offset < file.length {
            let chunk = from.read_chunk(&file.name, offset)?;
            writer.chunk(&file.name, offset, &chunk)?;
            offset += chunk.len() as u64;
        }
    }
    writer.finish()
}

#[test]
fn a_batch_dropped_without_a_commit_never_was() {
    let (_root, directory) = directory();
    let state = state(&directory);
    commit_to(&state, 3);
    let mut batch = state.begin();
    batch.put(Table::Rows, b"x", b"y").unwrap();
    assert_eq!(batch.get(Table::Rows, b"x").unwrap(), Some(b"y".to_vec()));
    drop(batch);
    assert_eq!(state.latest().get(Table::Rows, b"x").unwrap(), None);
    assert_eq!(state.applied_index(), Some(LogIndex(3)));
}

#[test]
fn a_reader_keeps_its_moment_while_others_commit() {
    let (_root, directory) = directory();
    let state = state(&directory);
    commit_to(&state, 3);
    let view = state.latest();
    let reader = view.reader();
    commit_to(&state, 9);
    assert_eq!(newest(&reader), 3);
    assert_eq!(newest(&view), 9);
    assert_eq!(state.read(|reader| newest(reader)), 9);
}

#[test]
fn what_was_not_flushed_is_gone_after_a_crash_in_all_tables_alike() {
    let (root, directory) = directory();
    let state = state(&directory);
    commit_to(&state, 40);
    state.flush().unwrap();
    commit_to(&state, 75);
    assert_eq!(state.flushed_index(), Some(LogIndex(40)));
    let crashed = root.path().join("crashed");
    copy(directory.path(), &crashed);
    let directory = open(&crashed).unwrap();
    let state = support::state(&directory);
    assert_eq!(state.applied_index(), Some(LogIndex(40)));
    assert_eq!(newest(&state.latest()), 40);
}

#[test]
fn an_installed_snapshot_is_the_state_it_was_taken_of() {
    let (_one, sender) = directory();
    let (_two, receiver) = directory();
    let (sender, receiver) = (state(&sender), state(&receiver));
    commit_to(&sender, 50);
    let taken = sender.checkpoint(b"meta".to_vec()).unwrap();
    commit_to(&sender, 60);
    commit_to(&receiver, 5);
    let view = receiver.latest();
    let reader = view.reader();
    let snapshot = send(&taken, &receiver).unwrap();
    receiver.install(&snapshot, |_| true).unwrap();
    assert_eq!(receiver.applied_index(), Some(LogIndex(50)));
    assert_eq!(receiver.flushed_index(), Some(LogIndex(50)));
    assert_eq!(newest(&receiver.latest()), 50);
    assert_eq!(newest(&reader), 5, "a reader keeps the state before");
    commit_to(&receiver, 55);
    assert_eq!(newest(&receiver.latest()), 55);
    let newest_snapshot = receiver.newest_snapshot().unwrap();
    assert_eq!(newest_snapshot.manifest(), taken.manifest());
    assert_eq!(newest_snapshot.manifest().raft_meta, b"meta");
    assert_eq!(newest_snapshot.manifest().applied_index, 50);
}

#[test]
fn old_generations_and_snapshots_go_with_their_last_reader() {
    let (_root, directory) = directory();
    let state = state(&directory);
    commit_to(&state, 5);
    let first = state.checkpoint(Vec::new()).unwrap();
    commit_to(&state, 9);
    let old = directory.path().join("state/1");
    let view = state.latest();
    let second = state.checkpoint(Vec::new()).unwrap();
    assert!(first.path().exists());
    let path = first.path().to_owned();
    let name = first.manifest().files[0].name.clone();
    first.read_chunk(&name, 0).unwrap();
    assert!(matches!(first.read_chunk("../boot", 0), Err(StorageError::NoSuchFile)));
    drop(first);
    assert!(!path.exists());
    state.install(&second, |_| true).unwrap();
    assert!(old.exists());
    drop(view);
    assert!(!old.exists());
    assert!(second.path().exists());
}

#[test]
fn a_frozen_state_is_what_it_was_whatever_is_committed_before_it_is_finished() {
    let (_root, directory) = directory();
    let state = state(&directory);
    commit_to(&state, 5);
    let frozen = state.freeze(b"five".to_vec()).unwrap();
    let unfinished = state.freeze(b"five".to_vec()).unwrap();
    commit_to(&state, 9);
    let nine = state.checkpoint(b"nine".to_vec()).unwrap();
    drop(unfinished);
    let five = frozen.finish().unwrap();
    assert_eq!(five.manifest().applied_index, 5);
    assert_eq!(state.newest_snapshot().unwrap().manifest(), nine.manifest());
    state.install(&five, |_| true).unwrap();
    assert_eq!(newest(&state.latest()), 5);
    drop((five, nine));
    let left = fs::read_dir(directory.path().join("snapshots")).unwrap().count();
    assert_eq!(left, 1, "the installed one");
}

#[test]
fn tampered_truncated_and_foreign_snapshots_are_refused_and_the_state_stays() {
    let (_one, sender) = directory();
    let (_two, receiver_directory) = directory();
    let (sender, receiver) = (state(&sender), state(&receiver_directory));
    commit_to(&sender, 50);
    commit_to(&receiver, 5);
    let taken = sender.checkpoint(Vec::new()).unwrap();
    let manifest = taken.manifest().clone();
    let first = manifest.files[0].name.clone();

    let foreign = SnapshotManifest { cluster_id: vec![8; 16], ..manifest.clone() };
    assert!(matches!(receiver.receive(foreign), Err(SnapshotError::ForeignCluster { .. })));
    let mut huge = manifest.clone();
    huge.files[0].length = 1 << 60;
    assert!(matches!(receiver.receive(huge), Err(SnapshotError::NoRoom { .. })));

    let mut writer = receiver.receive(manifest.clone()).unwrap();
    assert!(matches!(receiver.receive(manifest.clone()), Err(SnapshotError::Busy)));
    assert!(matches!(writer.chunk(&first, 1, b"x"), Err(SnapshotError::OutOfTurn { .. })));
    assert!(matches!(writer.chunk("other", 0, b"x"), Err(SnapshotError::OutOfTurn { .. })));
    let mut bytes = taken.read_chunk(&first, 0).unwrap();
    bytes[0] ^= 1;
    assert!(matches!(writer.chunk(&first, 0, &bytes), Err(SnapshotError::Content { .. })));
    drop(writer);

    let writer = receiver.receive(manifest.clone()).unwrap();
    assert!(matches!(writer.finish(), Err(SnapshotError::Incomplete { .. })));
    assert!(!receiver_directory.path().join("snapshots/incoming").exists());

    let lying = SnapshotManifest { applied_index: 99, ..manifest };
    let mut writer = receiver.receive(lying.clone()).unwrap();
    for file in lying.files.iter().filter(|file| file.length > 0) {
        writer.chunk(&file.name, 0, &taken.read_chunk(&file.name, 0).unwrap()).unwrap();
    }
    let snapshot = writer.finish().unwrap();
    assert!(matches!(receiver.install(&snapshot, |_| true), Err(SnapshotError::Manifest { .. })));
    let unused = snapshot.path().to_owned();
    drop(snapshot);
    assert!(!unused.exists());
    assert_eq!(newest(&receiver.latest()), 5);
    commit_to(&receiver, 6);
    receiver.install(&send(&taken, &receiver).unwrap(), |_| true).unwrap();
    assert_eq!(newest(&receiver.latest()), 50);
}

#[test]
fn a_snapshot_of_another_state_than_described_replaces_nothing() {
    let (_one, sender) = directory();
    let (_two, receiver_directory) = directory();
    let sender = state(&sender);
    let (hook, told) = recorder();
    let receiver = StateDb::open(&receiver_directory, StateOptions::default(), hook).unwrap();
    commit_to(&sender, 50);
    commit_to(&receiver, 5);
    let snapshot = send(&sender.checkpoint(Vec::new()).unwrap(), &receiver).unwrap();
    let current = receiver_directory.path().join("state/CURRENT");
    let before = fs::read(&current).unwrap();

    let refused = receiver.verify(&snapshot, |view| newest(view) != 50);
    assert!(matches!(refused, Err(SnapshotError::Mismatch)), "{refused:?}");
    let refused = receiver.install(&snapshot, |view| newest(view) != 50);
    assert!(matches!(refused, Err(SnapshotError::Mismatch)), "{refused:?}");
    receiver.verify(&snapshot, |view| newest(view) == 50).unwrap();
    assert_eq!(fs::read(&current).unwrap(), before);
    assert_eq!(fs::read_dir(receiver_directory.path().join("state")).unwrap().count(), 2);
    assert_eq!(newest(&receiver.latest()), 5);
    commit_to(&receiver, 6);
    assert!(told.lock().is_empty());

    receiver.install(&snapshot, |view| newest(view) == 50).unwrap();
    assert_eq!(newest(&receiver.latest()), 50);
}

#[test]
fn many_empty_files_take_no_more_stack_than_one() {
    const FILES: usize = 2_000;
    let (_root, directory) = directory();
    let state = state(&directory);
    let sha256 = Sha256::digest(b"").to_vec();
    let file = |number: usize| {
        let name = format!("{number:06}.sst");
        SnapshotFile { name, length: 0, sha256: sha256.clone() }
    };
    let files = (0..FILES).map(file).collect();
    let manifest = state.checkpoint(Vec::new()).unwrap().manifest().clone();
    let manifest = SnapshotManifest { files, ..manifest };
    let receiver = state.clone();
    let receive = move || receiver.receive(manifest)?.finish();
    let thread = thread::Builder::new().stack_size(256 * 1024).spawn(receive).unwrap();
    let received = thread.join().unwrap().unwrap();
    assert_eq!(received.manifest().files.len(), FILES);
    let made = fs::read_dir(received.path()).unwrap().count();
    assert_eq!(made, FILES + 1, "the files and the manifest");
}

/// Copies a file or directory of one data directory into another.
fn overlay(from: &Path, to: &Path, name: &str) {
    if from.join(name).is_dir() {
        copy(&from.join(name), &to.join(name));
    } else {
        fs::copy(from.join(name), to.join(name)).unwrap();
    }
}

#[test]
fn a_crash_between_the_steps_of_an_install_leaves_the_old_state_or_the_new_one() {
    let (root, source) = directory();
    let state = state(&source);
    commit_to(&state, 7);
    let snapshot = state.checkpoint(Vec::new()).unwrap();
    commit_to(&state, 12);
    state.flush().unwrap();
    let before = root.path().join("before");
    copy(source.path(), &before);
    state.install(&snapshot, |_| true).unwrap();
    let after = root.path().join("after");
    copy(source.path(), &after);

    let crash = |name: &str, steps: &dyn Fn(&Path), expected: u64| {
        let path = root.path().join(name);
        copy(&before, &path);
        steps(&path);
        let directory = open(&path).unwrap();
        let state = support::state(&directory);
        assert_eq!(newest(&state.latest()), expected, "{name}");
        assert_eq!(state.applied_index(), Some(LogIndex(expected)), "{name}");
        assert_eq!(fs::read_dir(path.join("state")).unwrap().count(), 2, "{name}");
        commit_to(&state, expected + 1);
    };
    crash("nothing", &|_| {}, 12);
    crash("made", &|path| overlay(&after, path, "state/2"), 12);
    let half = |path: &Path| {
        overlay(&after, path, "state/2");
        fs::remove_file(path.join("state/2/CURRENT")).unwrap();
    };
    crash("half made", &half, 12);
    let named = |path: &Path| {
        fs::copy(after.join("state/CURRENT"), path.join("state/CURRENT.tmp")).unwrap();
        overlay(&after, path, "state/2");
    };
    crash("name half written", &named, 12);
    let switched = |path: &Path| {
        overlay(&after, path, "state/2");
        overlay(&after, path, "state/CURRENT");
    };
    crash("switched", &switched, 7);
}

#[test]
fn snapshots_are_found_again_but_not_damaged_unfinished_or_newer_ones() {
    let (root, source) = directory();
    let state = state(&source);
    commit_to(&state, 7);
    let taken = state.checkpoint(b"seven".to_vec()).unwrap();
    let path = root.path().join("restarted");
    copy(source.path(), &path);
    let number = taken.path().file_name().unwrap().to_str().unwrap().to_owned();
    let ours = path.join("snapshots").join(&number);
    let newer = path.join("snapshots/77");
    copy(&ours, &newer);
    fs::write(newer.join("CONTENTS"), "damaged").unwrap();
    fs::create_dir(path.join("snapshots/incoming")).unwrap();
    let directory = open(&path).unwrap();
    let restarted = support::state(&directory);
    let found = restarted.newest_snapshot().unwrap();
    assert_eq!(found.path(), ours);
    assert_eq!(found.manifest(), taken.manifest());
    assert_eq!(fs::read_dir(path.join("snapshots")).unwrap().count(), 1);
    drop((restarted, found, directory));
    fs::remove_file(ours.join(&taken.manifest().files[0].name)).unwrap();
    let directory = open(&path).unwrap();
    assert!(support::state(&directory).newest_snapshot().is_none());
}

#[test]
fn a_state_and_a_log_that_do_not_belong_together_are_refused() {
    let (_one, directory) = directory();
    let (state, log) = (state(&directory), log(&directory));
    state.check_against(&log).unwrap();
    append(&log, 1..20, 1);
    commit_to(&state, 10);
    state.check_against(&log).unwrap();
    wait(|done| log.truncate_from(8, done)).unwrap();
    let error = state.check_against(&log).unwrap_err();
    assert!(error.to_string().contains("/log: damaged"), "{error}");
    append(&log, 8..20, 2);
    wait(|done| log.purge_to(15, Vec::new(), done)).unwrap();
    let error = state.check_against(&log).unwrap_err();
    assert!(error.to_string().contains("/state: damaged"), "{error}");
    commit_to(&state, 15);
    state.check_against(&log).unwrap();
}

#[test]
fn a_log_behind_an_installed_snapshot_is_no_damage_until_more_is_applied() {
    let (_one, sender) = directory();
    let (_two, receiver) = directory();
    let sender = state(&sender);
    commit_to(&sender, 50);
    let taken = sender.checkpoint(Vec::new()).unwrap();
    let (state, log) = (state(&receiver), log(&receiver));
    append(&log, 1..6, 1);
    commit_to(&state, 5);
    state.install(&send(&taken, &state).unwrap(), |_| true).unwrap();
    state.check_against(&log).unwrap();
    commit_to(&state, 51);
    assert!(state.check_against(&log).is_err());
}

#[test]
fn a_batch_begun_before_an_install_is_refused() {
    let (_root, directory) = directory();
    let (hook, told) = recorder();
    let state = StateDb::open(&directory, StateOptions::default(), hook).unwrap();
    commit_to(&state, 5);
    let snapshot = state.checkpoint(Vec::new()).unwrap();
    let mut batch = state.begin();
    batch.put(Table::Rows, b"late", b"x").unwrap();
    state.install(&snapshot, |_| true).unwrap();
    let refused = batch.commit(LogIndex(6)).unwrap_err();
    assert!(matches!(refused, StorageError::Superseded), "{refused}");
    assert_eq!(newest(&state.latest()), 5);
    assert!(told.lock().is_empty());
}

#[test]
fn an_empty_state_can_be_taken_and_installed() {
    let (_root, directory) = directory();
    let state = state(&directory);
    let snapshot = state.checkpoint(Vec::new()).unwrap();
    state.install(&snapshot, |_| true).unwrap();
    assert_eq!(state.applied_index(), None);
    commit_to(&state, 1);
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8, u8, u8),
    Delete(u8, u8),
    Commit,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        5 => (0..2_u8, 0..24_u8, any::<u8>()).prop_map(|(t, key, value)| Change::Put(t, key, value)),
        3 => (0..2_u8, 0..24_u8).prop_map(|(t, key)| Change::Delete(t, key)),
        1 => Just(Change::Commit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_reads_like_an_ordered_map(
        changes in prop::collection::vec(change(), 1..80),
        reads in prop::collection::vec((0..2_u8, 0..26_u8, 0..26_u8, any::<bool>(), 0..9_usize), 20),
    ) {
        let (_root, directory) = directory();
        let state = StateDb::open(&directory, StateOptions::default(), never()).unwrap();
        let mut map = MapTables::new();
        let mut batch = state.begin();
        let tables = [Table::Rows, Table::Tree];
        for (index, change) in (1..).zip(changes) {
            match change {
                Change::Put(table, key, value) => {
                    let table = tables[usize::from(table)];
                    batch.put(table, &[key], &[value]).unwrap();
                    map.put(table, &[key], &[value]).unwrap();
                }
                Change::Delete(table, key) => {
                    let table = tables[usize::from(table)];
                    batch.delete(table, &[key]).unwrap();
                    map.delete(table, &[key]).unwrap();
                }
                Change::Commit => {
                    batch.commit(LogIndex(index)).unwrap();
                    batch = state.begin();
                }
            }
        }
        for (table, from, to, ascending, limit) in reads {
            let table = tables[usize::from(table)];
            let order = if ascending { Order::Ascending } else { Order::Descending };
            let to = [to];
            let to = (to[0] < 25).then_some(&to[..]);
            prop_assert_eq!(
                batch.range(table, &[from], to, order, limit).unwrap(),
                map.range(table, &[from], to, order, limit).unwrap()
            );
            prop_assert_eq!(batch.get(table, &[from]).unwrap(), map.get(table, &[from]).unwrap());
        }
        batch.commit(LogIndex(1000)).unwrap();
        let view = state.latest();
        let reader = view.reader();
        for table in tables {
            let all = map.range(table, b"", None, Order::Ascending, usize::MAX).unwrap();
            let read = reader.range(table, b"", None, Order::Ascending, usize::MAX).unwrap();
            prop_assert_eq!(read, all);
            let back = map.range(table, &[3], Some(&[20]), Order::Descending, 5).unwrap();
            let read = view.range(table, &[3], Some(&[20]), Order::Descending, 5).unwrap();
            prop_assert_eq!(read, back);
        }
    }
}
