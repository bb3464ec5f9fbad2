//! Damaged files: recovered, or refused by name with a remedy; never wrong data.
//!
//! Run with `--nocapture` for the tables.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests; the tables are their result")]

mod support;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use strongroom_base::LogIndex;
use strongroom_state::{Order, Table, Tables, TablesReader};
use strongroom_storage::{
    CeremonyBacklog, DataDirError, LogEntry, LogOptions, RaftLog, StateDb, StateOptions,
    StorageError,
};
use support::{append, copy, directory, entries, files, log, open, recorder, state, wait};

const PURGED: u64 = 40;
const LAST: u64 = 260;
const FLUSHED: u64 = 150;
const APPLIED: u64 = 200;
const TABLES: [Table; 3] = [Table::Rows, Table::Leaves, Table::Meta];

/// What an open directory holds.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    entries: Vec<LogEntry>,
    vote: Vec<u8>,
    boot: u64,
    ceremony: usize,
    /// Applied index, and the entries of the tables.
    applied: u64,
    tables: Vec<Vec<(Vec<u8>, Vec<u8>)>>,
}

/// What became of a damaged directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    /// All that was durable is there.
    Whole,
    /// The state is as of an earlier index, and the log reaches back to it.
    Earlier,
    /// An error that names a file and a remedy.
    Refused,
}

fn value(index: u64) -> Vec<u8> {
    Sha256::digest(index.to_be_bytes()).repeat(4)
}

/// The tables after the entry `index`.
fn tables_at(index: u64) -> Vec<Vec<(Vec<u8>, Vec<u8>)>> {
    let all = (1..=index).map(|index| (index.to_be_bytes().to_vec(), value(index)));
    TABLES.map(|_| all.clone().collect()).into()
}

/// A directory with something in every kind of file, as a kill leaves it.
fn killed(root: &Path) -> PathBuf {
    let path = root.join("data");
    for run in 0..2 {
        let directory = open(&path).unwrap();
        directory.next_boot(run).unwrap();
        let (log, state) = (log(&directory), state(&directory));
        let list = CeremonyBacklog::open(&directory).unwrap();
        list.push(1, b"a share was entered").unwrap();
        let last = if run == 0 { 130 } else { LAST };
        (log.last_index().unwrap_or(0) + 1..=last).for_each(|i| append(&log, i..i + 1, i / 50));
        wait(|done| log.save_vote(vec![run as u8; 20], done)).unwrap();
        wait(|done| log.purge_to(PURGED, b"forty".to_vec(), done)).unwrap();
        for (last, flush) in [(100, true), (FLUSHED, true), (APPLIED, false)] {
            commit_to(&state, if run == 0 { last.min(100) } else { last });
            if flush {
                state.flush().unwrap();
            }
            if run == 0 {
                state.checkpoint(b"meta".to_vec()).unwrap();
            }
        }
        if run == 1 {
            copy(&path, &root.join("killed"));
        }
    }
    root.join("killed")
}

fn commit_to(state: &StateDb, last: u64) {
    for index in state.applied_index().map_or(1, |index| index.0 + 1)..=last {
        let mut batch = state.begin();
        for table in TABLES {
            batch.put(table, &index.to_be_bytes(), &value(index)).unwrap();
        }
        batch.commit(LogIndex(index)).unwrap();
    }
}

/// Opens and reads everything.
fn read(path: &Path) -> Result<Content, Box<dyn std::error::Error>> {
    let (hook, told) = recorder();
    let directory = open(path)?;
    let log = RaftLog::open(&directory, LogOptions::default(), hook.clone())?;
    let state = StateDb::open(&directory, StateOptions::default(), hook)?;
    state.check_against(&log)?;
    let view = state.latest();
    let read = |table| view.range(table, b"", None, Order::Ascending, usize::MAX);
    let tables = TABLES.into_iter().map(read).collect::<Result<_, _>>()?;
    let content = Content {
        entries: log.read(0, u64::MAX, usize::MAX)?,
        vote: log.vote().unwrap_or_default().to_vec(),
        boot: directory.next_boot(9)?.count,
        ceremony: CeremonyBacklog::open(&directory)?.list().len(),
        applied: state.applied_index().map_or(0, |index| index.0),
        tables,
    };
    assert!(told.lock().is_empty());
    Ok(content)
}

/// Judges what a damaged directory gave.
fn judge(what: &str, read: Result<Content, Box<dyn std::error::Error>>) -> Fate {
    let content = match read {
        Ok(content) => content,
        Err(error) => {
            let mut text = error.to_string();
            let mut source = error.source();
            while let Some(inner) = source {
                text = format!("{text}: {inner}");
                source = inner.source();
            }
            assert!(text.contains("Remedy"), "{what}: {text}");
            assert!(text.contains('/'), "{what}: {text}");
            return Fate::Refused;
        }
    };
    let applied = content.applied;
    let expected = Content {
        entries: (PURGED + 1..=LAST).flat_map(|i| entries(i..i + 1, i / 50)).collect(),
        vote: vec![1; 20],
        boot: 3,
        ceremony: 2,
        applied,
        tables: tables_at(applied),
    };
    assert_eq!(content, expected, "{what}: wrong data");
    assert!((PURGED..=APPLIED).contains(&applied), "{what}: state of {applied}");
    if applied >= FLUSHED { Fate::Whole } else { Fate::Earlier }
}

/// Kind of a file, for the table.
fn kind(path: &Path) -> String {
    let text: String = path.to_str().unwrap().chars().filter(|c| !c.is_ascii_digit()).collect();
    text.replace("//", "/#/").replace("/.", "/#.")
}

/// Numbers from a seed (SplitMix64).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % bound
    }
}

/// Damages the file at a path.
type Damaging = dyn Fn(&Path, &mut Seeded);

/// Damages each file with each of `damages`, and tabulates what becomes of it.
fn tabulate(title: &str, damages: &[&Damaging]) {
    let root = tempfile::tempdir().unwrap();
    let killed = killed(root.path());
    assert_eq!(judge("undamaged", read_copy(&killed, root.path(), |_| {})), Fate::Whole);
    let mut table: BTreeMap<(String, Fate), usize> = BTreeMap::new();
    let mut cases = 0;
    for file in files(&killed) {
        let name = file.strip_prefix(&killed).unwrap().to_owned();
        if fs::metadata(&file).unwrap().len() == 0 || is_trace(&name) {
            continue;
        }
        for damage in damages {
            cases += 1;
            let seed = cases as u64;
            let what = format!("{title} {}, seed {seed}", name.display());
            let damaged = read_copy(&killed, root.path(), |path| {
                damage(&path.join(&name), &mut Seeded(seed));
            });
            *table.entry((kind(&name), judge(&what, damaged))).or_default() += 1;
        }
    }
    println!("{title}: {cases} cases");
    for ((kind, fate), count) in &table {
        println!("  {kind:32} {fate:8?} {count}");
    }
    assert!(table.keys().any(|(_, fate)| *fate == Fate::Refused));
}

/// RocksDB's own traces, which it never reads.
fn is_trace(name: &Path) -> bool {
    name.file_name().is_some_and(|name| name == "LOG" || name.to_str().unwrap().contains(".old."))
}

fn read_copy(
    killed: &Path,
    root: &Path,
    damage: impl FnOnce(&Path),
) -> Result<Content, Box<dyn std::error::Error>> {
    let path = root.join("copy");
    if path.exists() {
        fs::remove_dir_all(&path).unwrap();
    }
    copy(killed, &path);
    damage(&path);
    read(&path)
}

fn flip(path: &Path, seeded: &mut Seeded) {
    let mut bytes = fs::read(path).unwrap();
    let position = seeded.below(bytes.len() as u64) as usize;
    bytes[position] ^= 1 << seeded.below(8);
    fs::write(path, bytes).unwrap();
}

fn cut(path: &Path, seeded: &mut Seeded) {
    let length = fs::metadata(path).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(seeded.below(length)).unwrap();
}

#[test]
fn a_flipped_bit_anywhere_is_survived_or_refused_by_name() {
    tabulate("flipped", &[&flip as &Damaging; 9]);
}

#[test]
fn a_cut_or_missing_file_is_survived_or_refused_by_name() {
    let missing = |path: &Path, _: &mut Seeded| fs::remove_file(path).unwrap();
    let emptied = |path: &Path, _: &mut Seeded| fs::write(path, "").unwrap();
    tabulate("cut", &[&cut, &cut, &emptied, &missing]);
}

/// The file of the newest write-ahead log.
fn newest_wal(directory: &Path) -> PathBuf {
    let is_wal = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    files(&directory.join("log")).into_iter().rfind(is_wal).unwrap()
}

#[test]
fn a_torn_last_write_leaves_what_was_durable_before_it() {
    let (root, directory) = directory();
    let log = log(&directory);
    append(&log, 1..30, 1);
    let before = root.path().join("before");
    copy(directory.path(), &before);
    append(&log, 30..34, 1);
    let whole = fs::read(newest_wal(directory.path())).unwrap();
    let durable = fs::metadata(newest_wal(&before)).unwrap().len() as usize;
    for end in (durable..=whole.len()).step_by(13).chain([whole.len()]) {
        let path = root.path().join(format!("torn{end}"));
        copy(&before, &path);
        fs::write(newest_wal(&path), &whole[..end]).unwrap();
        let directory = open(&path).unwrap();
        let log = support::log(&directory);
        let last = log.last_index().unwrap();
        assert_eq!(last, if end == whole.len() { 33 } else { 29 }, "cut at {end}");
        assert_eq!(log.read(0, 99, usize::MAX).unwrap(), entries(1..last + 1, 1));
        append(&log, last + 1..last + 3, 2);
    }
}

#[test]
fn a_log_cut_below_what_was_synced_is_refused_at_every_length() {
    let (root, directory) = directory();
    let log = log(&directory);
    (1..30).for_each(|index| append(&log, index..index + 1, 1));
    let killed = root.path().join("killed");
    copy(directory.path(), &killed);
    let whole = fs::metadata(newest_wal(&killed)).unwrap().len();
    for length in (0..whole).step_by(97).chain([whole - 1]) {
        let path = root.path().join(format!("cut{length}"));
        copy(&killed, &path);
        let file = fs::OpenOptions::new().write(true).open(newest_wal(&path)).unwrap();
        file.set_len(length).unwrap();
        let directory = open(&path).unwrap();
        let (hook, _) = recorder();
        let error = RaftLog::open(&directory, LogOptions::default(), hook).err().unwrap();
        assert!(matches!(error, StorageError::Corrupt { .. }), "{length}: {error}");
    }
}

#[test]
fn newer_formats_of_log_and_state_are_refused_by_number() {
    let (_root, directory) = directory();
    let path = directory.path().to_owned();
    drop(directory);
    let mut options = rocksdb::Options::default();
    options.set_atomic_flush(true);
    let key = b"\0format";
    let mut value = [&[1][..], &9_u64.to_be_bytes()].concat();
    let checksum = Sha256::digest([&key[..], &value[..]].concat());
    value.extend(&checksum[..8]);
    let db = rocksdb::DB::open(&options, path.join("log")).unwrap();
    db.put(key, value).unwrap();
    drop(db);
    let families: Vec<_> = Table::ALL.iter().map(|table| table.name()).collect();
    let db = rocksdb::DB::open_cf(&options, path.join("state/1"), families).unwrap();
    db.put_cf(db.cf_handle("raft").unwrap(), key, 9_u32.to_be_bytes()).unwrap();
    drop(db);
    let directory = open(&path).unwrap();
    let (hook, _) = recorder();
    let log = RaftLog::open(&directory, LogOptions::default(), hook.clone()).err().unwrap();
    let state = StateDb::open(&directory, StateOptions::default(), hook).err().unwrap();
    for error in [log, state] {
        assert!(matches!(error, StorageError::NewerFormat { found: 9, known: 1, .. }), "{error}");
        assert!(error.to_string().contains("newer version"), "{error}");
    }
}

#[test]
fn a_state_of_another_cluster_is_refused() {
    let (root, directory) = directory();
    let other = root.path().join("other");
    let foreign = strongroom_base::ClusterId::from_random([5; 16]);
    drop(strongroom_storage::DataDir::open(&other, foreign, support::node(), [0; 16]).unwrap());
    fs::remove_dir_all(directory.path().join("state/1")).unwrap();
    copy(&other.join("state/1"), &directory.path().join("state/1"));
    let (hook, _) = recorder();
    let error = StateDb::open(&directory, StateOptions::default(), hook).err().unwrap();
    assert!(matches!(error, StorageError::ForeignCluster { found, .. } if found == foreign));
}

#[test]
fn an_identity_of_another_format_or_with_a_changed_byte_is_refused() {
    let (_root, directory) = directory();
    let path = directory.path().to_owned();
    drop(directory);
    let file = path.join("identity.json");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("\"node\": 1", "\"node\": 2")).unwrap();
    let error = open(&path).err().unwrap();
    assert!(matches!(error, DataDirError::Storage(StorageError::Corrupt { .. })), "{error}");
}
