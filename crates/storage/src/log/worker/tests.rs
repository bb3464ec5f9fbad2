use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::log::record::entry_key;

/// What was told to the fatal hook.
type Told = Arc<Mutex<Vec<StorageError>>>;

/// A log with the entries 0 to 19, all of them on disk only.
fn on_disk() -> (TempDir, Shared, Told) {
    let root = tempfile::tempdir().unwrap();
    LogDatabase::create(root.path()).unwrap();
    let database = LogDatabase::open(root.path()).unwrap();
    let payload = Bytes::from_static(&[7; 100]);
    let entry = |index| LogEntry { index, term: 1, payload: payload.clone() };
    let entries: Vec<LogEntry> = (0..20).map(entry).collect();
    let mut batch = WriteBatch::default();
    database::append(&mut batch, &entries, true);
    database.write(batch).unwrap();
    let queue = Queue::new(database.recover().unwrap());
    let told = Told::default();
    let keep = Arc::clone(&told);
    let fatal = Fatal::new(Arc::new(move |error: &StorageError| keep.lock().push(error.clone())));
    (root, Shared::new(database, queue, fatal, LogOptions::default()), told)
}

/// Purges in memory and on disk, as a submission and the I/O thread do.
fn purge_to(shared: &Shared, index: u64) {
    shared.queue.lock().purge_to(index, Bytes::new());
    let mut batch = WriteBatch::default();
    database::purge(&mut batch, index, b"");
    shared.database.write(batch).unwrap();
}

fn indexes(entries: &[LogEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.index).collect()
}

#[test]
fn a_missing_entry_is_told_and_nothing_after_it_is_read() {
    for bytes_max in [0, usize::MAX] {
        let (_root, shared, told) = on_disk();
        let mut batch = WriteBatch::default();
        batch.delete(entry_key(5));
        shared.database.write(batch).unwrap();
        let error = shared.read(4, 20, bytes_max).unwrap_err();
        let hole = Damage::Hole { index: 5 };
        assert!(matches!(&error, StorageError::Corrupt { damage, .. } if *damage == hole));
        assert_eq!(told.lock().len(), 1);
    }
}

#[test]
fn a_purge_between_two_looks_at_the_disk_is_no_hole() {
    let (_root, shared, told) = on_disk();
    let mut looks = 0;
    let read = shared.read_around(0, 20, 0, || {
        looks += 1;
        if looks == 1 {
            purge_to(&shared, 10);
        }
    });
    assert_eq!(indexes(&read.unwrap()), [11]);
    assert_eq!(looks, 2);
    assert!(told.lock().is_empty());
}
