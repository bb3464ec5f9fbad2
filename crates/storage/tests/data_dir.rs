//! What a data directory refuses, and what it survives.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{fs, os::unix::fs::PermissionsExt};

use strongroom_base::{ClusterId, NodeId};
use strongroom_storage::{CeremonyBacklog, Damage, DataDir, DataDirError, StorageError};
use support::{cluster, directory, log, never, node, open, state};

#[test]
fn a_directory_of_somebody_else_is_refused_and_left_alone() {
    let root = tempfile::tempdir().unwrap();
    fs::write(root.path().join("thesis.txt"), "x").unwrap();
    let error = open(root.path()).err().unwrap();
    assert!(matches!(error, DataDirError::NotADataDirectory { .. }), "{error}");
    let names: Vec<_> = fs::read_dir(root.path()).unwrap().collect();
    assert_eq!(names.len(), 1);
}

#[test]
fn another_cluster_and_another_node_are_refused_by_name() {
    let (_root, directory) = directory();
    let path = directory.path().to_owned();
    drop(directory);
    let other = ClusterId::from_random([9; 16]);
    let error = DataDir::open(&path, other, node(), [0; 16]).err().unwrap();
    assert!(matches!(error, DataDirError::ForeignCluster { .. }), "{error}");
    assert!(error.to_string().contains(&other.to_string()));
    let error = DataDir::open(&path, cluster(), NodeId::new(2).unwrap(), [0; 16]).err().unwrap();
    assert!(matches!(error, DataDirError::ForeignNode { .. }), "{error}");
    assert!(open(&path).is_ok());
}

#[test]
fn a_directory_is_open_once_at_a_time_and_as_long_as_a_database_in_it_is() {
    let (_root, directory) = directory();
    let path = directory.path().to_owned();
    assert!(matches!(open(&path).err().unwrap(), DataDirError::Locked { .. }));
    let log = log(&directory);
    drop(directory);
    assert!(matches!(open(&path).err().unwrap(), DataDirError::Locked { .. }));
    drop(log);
    assert!(open(&path).is_ok());
}

#[test]
fn a_lost_identity_is_never_taken_for_a_new_directory() {
    let (_root, directory) = directory();
    let path = directory.path().to_owned();
    drop(directory);
    fs::remove_file(path.join("identity.json")).unwrap();
    let error = open(&path).err().unwrap();
    let missing = matches!(
        &error,
        DataDirError::Storage(StorageError::Corrupt { file, damage: Damage::Missing })
            if file.ends_with("identity.json")
    );
    assert!(missing, "{error}");
    assert!(error.to_string().contains("replace this node"), "{error}");
}

#[test]
fn a_half_made_directory_is_made_anew_at_every_step() {
    let (root, directory) = directory();
    let whole = directory.path().to_owned();
    drop(directory);
    // Steps in which the directory is made; the identity comes last.
    let steps = ["snapshots", "log", "log.watermark", "state", "ceremony", "boot"];
    for count in 0..=steps.len() {
        let path = root.path().join(format!("half{count}"));
        fs::create_dir(&path).unwrap();
        for name in ["LOCK", "CREATING"] {
            fs::write(path.join(name), "").unwrap();
        }
        for name in &steps[..count] {
            match whole.join(name) {
                from if from.is_dir() => support::copy(&from, &path.join(name)),
                from => drop(fs::copy(from, path.join(name)).unwrap()),
            }
        }
        if count == 2 {
            fs::remove_file(path.join("log/CURRENT")).unwrap();
        }
        let directory = open(&path).unwrap();
        assert!(directory.created());
        log(&directory);
        state(&directory);
        assert!(!path.join("CREATING").exists());
    }
}

#[test]
fn each_start_is_counted_once_and_durably() {
    let (_root, directory) = directory();
    let path = directory.path().to_owned();
    assert_eq!(directory.next_boot(11).unwrap().count, 1);
    assert_eq!(directory.next_boot(12).unwrap().count, 2);
    drop(directory);
    let directory = open(&path).unwrap();
    assert!(!directory.created());
    let boot = directory.next_boot(13).unwrap();
    assert_eq!((boot.count, boot.nonce), (3, 13));
    fs::remove_file(path.join("boot")).unwrap();
    assert!(directory.next_boot(14).is_err());
}

#[test]
fn a_boot_file_of_format_1_is_read() {
    let (_root, directory) = directory();
    let hex = include_str!("../testdata/format/v1/boot.hex").trim();
    let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap();
    fs::write(directory.path().join("boot"), bytes).unwrap();
    assert_eq!(directory.next_boot(1).unwrap().count, 6);
}

#[test]
fn the_incarnation_stays_and_nobody_else_may_read_the_directory() {
    let (_root, directory) = directory();
    let (path, incarnation) = (directory.path().to_owned(), directory.incarnation());
    assert!(directory.free_bytes().unwrap() > 0);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    drop(directory);
    let directory = DataDir::open(&path, cluster(), node(), [99; 16]).unwrap();
    assert_eq!(directory.incarnation(), incarnation);
}

#[test]
fn a_full_ceremony_list_counts_further_events_into_the_last_of_their_kind() {
    let (_root, directory) = directory();
    let list = CeremonyBacklog::open(&directory).unwrap();
    assert!(list.push(1, &[0; 1025]).is_err());
    for event in 0..300_u32 {
        list.push((event % 2) as u16, &event.to_be_bytes()).unwrap();
    }
    list.push(7, b"first of its kind").unwrap();
    let records = list.list();
    assert_eq!(records.len(), 257);
    assert_eq!(records.iter().map(|record| record.count).sum::<u32>(), 301);
    assert_eq!(records[255].count, 1 + 22);
    drop(list);
    assert_eq!(CeremonyBacklog::open(&directory).unwrap().list(), records);
}

#[test]
fn ceremony_events_counted_after_the_list_was_read_are_kept() {
    let (_root, directory) = directory();
    let list = CeremonyBacklog::open(&directory).unwrap();
    for event in 0..256_u32 {
        list.push(3, &event.to_be_bytes()).unwrap();
    }
    let recorded = list.list();
    list.push(3, b"late").unwrap();
    list.remove(&recorded).unwrap();
    let left = list.list();
    assert_eq!(left.len(), 1);
    assert_eq!((left[0].count, left[0].id), (1, recorded[255].id));
    list.remove(&left).unwrap();
    assert!(CeremonyBacklog::open(&directory).unwrap().list().is_empty());
}

#[test]
fn a_missing_database_is_refused_not_made_anew() {
    for (name, file) in [("log", "log/CURRENT"), ("state", "state/CURRENT")] {
        let (_root, directory) = directory();
        fs::remove_dir_all(directory.path().join(name)).unwrap();
        fs::create_dir(directory.path().join(name)).unwrap();
        let log = strongroom_storage::RaftLog::open(&directory, Default::default(), never());
        let state = strongroom_storage::StateDb::open(&directory, Default::default(), never());
        let error = [log.err(), state.err()].into_iter().flatten().next().unwrap();
        let named = matches!(&error, StorageError::Corrupt { file: found, .. }
            if found.ends_with(file));
        assert!(named, "{error}");
    }
}
