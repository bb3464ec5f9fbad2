//! Order, durability and failures of the Raft log.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use strongroom_storage::{BeforeSync, DataDir, LogEntry, LogOptions, RaftLog, StorageError};
use support::{append, directory, entries, entry, log, never, open, recorder, wait};

/// A disk that hangs while it is shut.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<Disk>, Condvar)>);

#[derive(Default)]
struct Disk {
    shut: bool,
    hangs: bool,
}

impl Gate {
    fn shut(&self) {
        self.0.0.lock().shut = true;
    }

    fn open(&self) {
        self.0.0.lock().shut = false;
        self.0.1.notify_all();
    }

    /// Waits until a write hangs.
    fn wait_until_hanging(&self) {
        let mut disk = self.0.0.lock();
        while !disk.hangs {
            self.0.1.wait(&mut disk);
        }
    }

    fn hook(&self) -> BeforeSync {
        let gate = self.clone();
        Arc::new(move || {
            let mut disk = gate.0.0.lock();
            while disk.shut {
                disk.hangs = true;
                gate.0.1.notify_all();
                gate.0.1.wait(&mut disk);
            }
            disk.hangs = false;
            Ok(())
        })
    }
}

fn gated(directory: &DataDir) -> (RaftLog, Gate) {
    let gate = Gate::default();
    let options = LogOptions { before_sync: Some(gate.hook()), ..LogOptions::default() };
    (RaftLog::open(directory, options, never()).unwrap(), gate)
}

#[test]
fn holes_and_repeats_are_refused() {
    let (_root, directory) = directory();
    let log = log(&directory);
    append(&log, 5..8, 1);
    for wrong in [entries(9..10, 1), entries(7..9, 1)] {
        let error = wait(|done| log.append(wrong, done)).unwrap_err();
        assert!(matches!(error, StorageError::NotConsecutive { expected: 8, .. }), "{error}");
    }
    append(&log, 8..9, 1);
    assert_eq!((log.first_index(), log.last_index()), (Some(5), Some(8)));
}

#[test]
fn the_first_failed_sync_is_told_before_any_completion_and_ends_the_log() {
    let (_root, directory) = directory();
    let (hook, told) = recorder();
    let failures = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&failures);
    let before_sync: BeforeSync = Arc::new(move || {
        if count.fetch_add(1, Ordering::SeqCst) == 0 {
            return Ok(());
        }
        Err(StorageError::Full { path: "/disk".into(), operation: "writing the log" })
    });
    let options = LogOptions { before_sync: Some(before_sync), ..LogOptions::default() };
    let log = RaftLog::open(&directory, options, hook).unwrap();
    append(&log, 1..2, 1);
    let before = Arc::clone(&told);
    let (sender, receiver) = mpsc::channel();
    log.append(
        entries(2..3, 1),
        Box::new(move |result| {
            sender.send((result.is_err(), before.lock().len())).unwrap();
        }),
    );
    assert_eq!(receiver.recv().unwrap(), (true, 1));
    assert!(log.wait_durable(2).is_err());
    let refused = wait(|done| log.save_vote(b"vote".to_vec(), done)).unwrap_err();
    assert!(matches!(refused, StorageError::Stopped), "{refused}");
    assert_eq!(failures.load(Ordering::SeqCst), 2, "a failed write is never tried again");
    assert!(matches!(told.lock()[..], [StorageError::Full { .. }]));
}

#[test]
fn entries_are_readable_before_they_are_durable() {
    let (_root, directory) = directory();
    let (log, gate) = gated(&directory);
    append(&log, 1..3, 1);
    gate.shut();
    log.append(entries(3..6, 2), Box::new(|result| result.unwrap()));
    assert_eq!(log.read(1, 9, usize::MAX).unwrap(), [entries(1..3, 1), entries(3..6, 2)].concat());
    assert_eq!(log.durable_index(), Some(2));
    gate.open();
    log.wait_durable(5).unwrap();
    assert_eq!(log.durable_index(), Some(5));
}

#[test]
fn what_waits_shares_one_sync_and_completes_in_order() {
    let (_root, directory) = directory();
    let (log, gate) = gated(&directory);
    append(&log, 0..1, 1);
    gate.shut();
    log.append(entries(1..2, 1), Box::new(|_| {}));
    gate.wait_until_hanging();
    let writes = log.stats().writes;
    let (sender, receiver) = mpsc::channel();
    for index in 2..52 {
        let sender = sender.clone();
        let done = Box::new(move |_| sender.send(index).unwrap());
        match index % 10 {
            0 => log.save_vote(vec![index as u8], done),
            _ => {
                let next = log.last_index().unwrap() + 1;
                log.append(entries(next..next + 1, 1), done);
            }
        }
    }
    gate.open();
    let order: Vec<u64> = receiver.iter().take(50).collect();
    assert_eq!(order, (2..52).collect::<Vec<_>>());
    assert_eq!(log.stats().writes - writes, 2);
}

#[test]
fn an_index_truncated_while_its_append_is_in_flight_is_not_durable() {
    let (_root, directory) = directory();
    let (log, gate) = gated(&directory);
    append(&log, 0..3, 1);
    gate.shut();
    log.append(entries(3..6, 1), Box::new(|_| {}));
    gate.wait_until_hanging();
    let (sender, receiver) = mpsc::channel();
    let truncated = sender.clone();
    log.truncate_from(4, Box::new(move |_| truncated.send("truncated").unwrap()));
    log.append(entries(4..5, 2), Box::new(move |_| sender.send("appended").unwrap()));
    assert_eq!(log.durable_index(), Some(2));
    assert_eq!(log.read(3, 9, usize::MAX).unwrap(), [entry(3, 1), entry(4, 2)]);
    gate.open();
    assert_eq!(receiver.iter().collect::<Vec<_>>(), ["truncated", "appended"]);
    assert_eq!(log.durable_index(), Some(4));
    drop(log);
    let log = support::log(&directory);
    assert_eq!(log.read(0, 9, usize::MAX).unwrap()[3..], [entry(3, 1), entry(4, 2)]);
}

#[test]
fn a_truncation_below_the_durable_index_lowers_it_at_once() {
    let (_root, directory) = directory();
    let log = log(&directory);
    append(&log, 0..10, 1);
    log.truncate_from(6, Box::new(|_| {}));
    assert!(log.durable_index() <= Some(5));
    append(&log, 6..7, 2);
    assert_eq!((log.durable_index(), log.last_index()), (Some(6), Some(6)));
    wait(|done| log.truncate_from(0, done)).unwrap();
    assert_eq!((log.durable_index(), log.last_index()), (None, None));
}

#[test]
fn a_hanging_disk_shows_by_the_age_of_what_waits() {
    let (_root, directory) = directory();
    let (log, gate) = gated(&directory);
    append(&log, 0..1, 1);
    assert_eq!(log.stats().oldest_unsynced_age, Duration::ZERO);
    assert_eq!(log.flush_lag(), Duration::ZERO);
    gate.shut();
    log.append(entries(1..2, 1), Box::new(|_| {}));
    while log.stats().oldest_unsynced_age < Duration::from_millis(20) {
        thread::yield_now();
    }
    assert!(log.flush_lag() >= Duration::from_millis(20));
    assert!(!log.close_within(Duration::from_millis(20)));
    gate.open();
    assert!(log.close_within(Duration::from_secs(60)));
    assert_eq!(log.stats().queued, 0);
}

#[test]
fn more_than_may_wait_is_refused_and_leaves_no_hole() {
    let (_root, directory) = directory();
    let gate = Gate::default();
    let options = LogOptions {
        queue_bytes_max: 10_000,
        before_sync: Some(gate.hook()),
        ..LogOptions::default()
    };
    let log = RaftLog::open(&directory, options, never()).unwrap();
    gate.shut();
    let mut next = 0;
    let refused = loop {
        let (sender, receiver) = mpsc::channel();
        log.append(entries(next..next + 1, 1), Box::new(move |result| drop(sender.send(result))));
        if let Ok(result) = receiver.try_recv() {
            break result.unwrap_err();
        }
        next += 1;
    };
    assert!(matches!(refused, StorageError::Overloaded { .. }), "{refused}");
    assert!(log.stats().queued_bytes <= 10_000);
    gate.open();
    log.wait_durable(next - 1).unwrap();
    append(&log, next..next + 1, 1);
}

#[test]
fn memory_keeps_the_newest_entries_and_reads_go_on_from_disk() {
    let (_root, directory) = directory();
    let options = LogOptions { cache_bytes_max: 4_000, ..LogOptions::default() };
    let log = RaftLog::open(&directory, options, never()).unwrap();
    (0..20).for_each(|part| append(&log, part * 50..part * 50 + 50, part + 1));
    assert!(log.stats().cached_bytes <= 4_000);
    let all = log.read(0, u64::MAX, usize::MAX).unwrap();
    assert_eq!(all.len(), 1000);
    assert!(all.iter().all(|found| *found == entry(found.index, found.index / 50 + 1)));
    for (from, to) in [(0, 1), (990, 1000), (900, 995), (500, 501)] {
        let read = log.read(from, to, usize::MAX).unwrap();
        assert_eq!(read, all[from as usize..to as usize]);
    }
    let bounded = log.read(10, 1000, 1_000).unwrap();
    assert!((2..10).contains(&bounded.len()) && bounded[0].index == 10);
    assert_eq!(log.read(10, 1000, 0).unwrap(), all[10..11]);
    assert!(log.read(1000, 2000, 1).unwrap().is_empty());
}

#[test]
fn a_purge_beyond_the_end_leaves_a_log_that_goes_on_after_it() {
    let (_root, directory) = directory();
    let log = log(&directory);
    append(&log, 0..10, 1);
    wait(|done| log.purge_to(4, b"four".to_vec(), done)).unwrap();
    assert_eq!(log.read(0, 99, usize::MAX).unwrap(), entries(5..10, 1));
    wait(|done| log.purge_to(2, b"two".to_vec(), done)).unwrap();
    assert_eq!(log.last_purged().unwrap().0, 4);
    wait(|done| log.purge_to(19, b"nineteen".to_vec(), done)).unwrap();
    assert_eq!((log.first_index(), log.last_index()), (None, None));
    assert_eq!(log.durable_index(), Some(19));
    drop(log);
    let log = support::log(&directory);
    let (index, bytes) = log.last_purged().unwrap();
    assert_eq!((index, &bytes[..]), (19, &b"nineteen"[..]));
    assert!(log.last().unwrap().is_none());
    assert!(wait(|done| log.append(entries(10..11, 1), done)).is_err());
    append(&log, 20..22, 3);
    assert_eq!(log.last().unwrap(), Some(entry(21, 3)));
}

#[test]
fn a_closed_log_has_written_what_it_took_and_refuses_the_rest() {
    let (_root, directory) = directory();
    let log = log(&directory);
    let completed = Arc::new(AtomicU64::new(0));
    for index in 0..500 {
        let completed = Arc::clone(&completed);
        log.append(
            entries(index..index + 1, 1),
            Box::new(move |result| {
                result.unwrap();
                completed.fetch_add(1, Ordering::SeqCst);
            }),
        );
    }
    log.close();
    assert_eq!(completed.load(Ordering::SeqCst), 500);
    let refused = wait(|done| log.append(entries(500..501, 1), done)).unwrap_err();
    assert!(matches!(refused, StorageError::Stopped), "{refused}");
}

#[test]
fn a_completion_may_drop_the_last_handle() {
    let (_root, directory) = directory();
    let path = directory.path().to_owned();
    let log = log(&directory);
    let last = log.clone();
    let (sender, receiver) = mpsc::channel();
    log.append(
        entries(0..1, 1),
        Box::new(move |_| {
            drop(last);
            sender.send(()).unwrap();
        }),
    );
    drop((log, directory));
    receiver.recv().unwrap();
    // The I/O thread still closes the database: a lock that stays hangs here.
    while open(&path).is_err() {
        thread::yield_now();
    }
}

#[test]
fn a_panicking_completion_stops_the_log_instead_of_hanging_it() {
    let (_root, directory) = directory();
    let (hook, told) = recorder();
    let log = RaftLog::open(&directory, LogOptions::default(), hook).unwrap();
    log.append(entries(0..1, 1), Box::new(|_| panic!("planted")));
    assert!(log.wait_durable(7).is_err());
    assert!(wait(|done| log.append(entries(1..2, 1), done)).is_err());
    assert_eq!(told.lock().len(), 1);
}

#[test]
fn readers_see_no_hole_while_entries_come_are_evicted_and_purged() {
    let (_root, directory) = directory();
    let options = LogOptions { cache_bytes_max: 2_000, ..LogOptions::default() };
    let log = RaftLog::open(&directory, options, never()).unwrap();
    append(&log, 0..10, 1);
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for step in 1..200 {
                append(&log, step * 10..step * 10 + 10, 1);
                if step % 20 == 0 {
                    wait(|done| log.purge_to(step * 10 - 50, Vec::new(), done)).unwrap();
                }
            }
        });
        let mut from = 0;
        while !writer.is_finished() {
            let read = log.read(from, u64::MAX, 5_000).unwrap();
            assert!(read.iter().all(|found| *found == entry(found.index, 1)));
            assert!(read.windows(2).all(|pair| pair[0].index + 1 == pair[1].index));
            from = read.last().map_or(0, |last| last.index.saturating_sub(40));
        }
    });
}

#[test]
fn a_log_that_is_purged_stays_small_on_disk() {
    let (_root, directory) = directory();
    let log = log(&directory);
    let payload = bytes::Bytes::from(vec![7; 100_000]);
    for round in 0..60_u64 {
        let indexes = round * 50..round * 50 + 50;
        let term = round;
        let batch = indexes.map(|index| LogEntry { index, term, payload: payload.clone() });
        wait(|done| log.append(batch.collect(), done)).unwrap();
        wait(|done| log.purge_to((round * 50).saturating_sub(10), vec![], done)).unwrap();
    }
    drop(log);
    let log = support::log(&directory);
    assert_eq!(log.read(0, u64::MAX, usize::MAX).unwrap().len(), 59);
    let bytes: u64 = support::files(&directory.path().join("log"))
        .iter()
        .map(|file| std::fs::metadata(file).unwrap().len())
        .sum();
    assert!(bytes < 150_000_000, "300 MB were appended, {bytes} bytes are left");
}
