//! The Raft log: appends, votes, truncations and purges, in order, synced.
//!
//! What is submitted is readable at once (from memory) and durable later: one
//! I/O thread takes all that is waiting, makes it one write, syncs once, and
//! then calls each submission's completion, in the order of submission. So a
//! commit costs one sync, and a flood shares it.
//!
//! Decides nothing about Raft: payloads, votes and log ids are bytes of the
//! Raft layer. The first write or sync that fails is told to the
//! [`FatalHook`](crate::FatalHook) before any completion hears of it; from then
//! on everything is refused.

mod database;
mod record;
mod tail;
mod watermark;
mod worker;

use std::{
    path::Path,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use strongroom_base::limits;

use self::{
    database::LogDatabase,
    watermark::{Mark, Watermark},
    worker::{Queue, Shared, Work},
};
pub use self::{record::LogEntry, worker::LogStats};
use crate::{DataDir, FatalHook, StorageError, error::Fatal, files};

/// Called once with what became of a submission, on the I/O thread (or at once
/// on the caller's, where it is refused). Must not block.
pub type Done = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// Called by the I/O thread right before each synced write; an error counts as
/// the write's. For tests of slow and failing disks.
pub type BeforeSync = Arc<dyn Fn() -> Result<(), StorageError> + Send + Sync>;

/// Called by the I/O thread after each synced write, with the time that it took.
/// Must not block.
pub type AfterSync = Arc<dyn Fn(Duration) + Send + Sync>;

/// Bounds of a [`RaftLog`].
#[derive(Clone)]
pub struct LogOptions {
    /// Bytes of entries kept in memory; entries that aren't durable yet are
    /// kept in any case.
    pub cache_bytes_max: usize,
    /// Bytes that may wait for the disk: beyond, appends fail with
    /// [`StorageError::Overloaded`].
    pub queue_bytes_max: usize,
    /// Bytes of one synced write, but for a single larger submission.
    pub write_bytes_max: usize,
    /// Fault injection; `None` outside tests.
    pub before_sync: Option<BeforeSync>,
    /// Whoever measures the disk; `None`: nobody.
    pub after_sync: Option<AfterSync>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            cache_bytes_max: limits::LOG_CACHE_BYTES_MAX,
            queue_bytes_max: 2 * limits::LOG_CACHE_BYTES_MAX,
            write_bytes_max: limits::PEER_MESSAGE_BYTES_MAX,
            before_sync: None,
            after_sync: None,
        }
    }
}

/// The Raft log of a data directory. Clones are the same log.
#[derive(Clone)]
pub struct RaftLog {
    handle: Arc<Handle>,
}

/// Ends the I/O thread with the last clone.
struct Handle {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    _directory: DataDir,
}

/// Makes an empty log below `root`; durable on return.
pub(crate) fn create(root: &Path) -> Result<(), StorageError> {
    let directory = root.join("log");
    files::make_directory(&directory)?;
    let mark = LogDatabase::create(&directory)?;
    files::sync_directory(&directory)?;
    Watermark::create(&root.join("log.watermark"), mark)
}

impl RaftLog {
    /// Opens the log and reads all of it: each entry has its checksum and
    /// follows the one before it, and nothing that was synced is missing.
    ///
    /// # Errors
    ///
    /// [`StorageError`] naming the file and what to do about it.
    pub fn open(
        directory: &DataDir,
        options: LogOptions,
        on_fatal: FatalHook,
    ) -> Result<Self, StorageError> {
        let path = directory.join("log");
        if !path.join("CURRENT").exists() {
            let missing = crate::Damage::Missing;
            return Err(StorageError::corrupt(&path.join("CURRENT"), missing));
        }
        let database = LogDatabase::open(&path)?;
        let found = database.recover()?;
        let mark = Mark {
            sequence: database.sequence(),
            votes: found.votes,
            purged: found.purged.as_ref().map_or(0, |(index, _)| index.saturating_add(1)),
        };
        let watermark = Watermark::open(&directory.join("log.watermark"), &path, mark)?;
        let queue = Queue::new(found);
        let shared = Arc::new(Shared::new(database, queue, Fatal::new(on_fatal), options));
        let worker = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("raft-log".to_owned())
            .spawn(move || worker::run(&worker, watermark, mark))
            .map_err(|error| StorageError::io(&path, "starting the I/O thread", error))?;
        let thread = Mutex::new(Some(thread));
        let handle = Handle { shared, thread, _directory: directory.clone() };
        Ok(Self { handle: Arc::new(handle) })
    }

    /// Appends entries that follow the last one; readable on return, durable
    /// when `done` hears `Ok`. An empty log takes any first index.
    ///
    /// `done` hears [`StorageError::NotConsecutive`] or
    /// [`StorageError::Overloaded`] where nothing was appended.
    pub fn append(&self, entries: Vec<LogEntry>, done: Done) {
        let bytes: usize = entries.iter().map(LogEntry::bytes).sum();
        self.submit(bytes, done, |queue, options| {
            let queued_bytes = queue.bytes.saturating_add(bytes);
            if queued_bytes > options.queue_bytes_max {
                queue.refuse();
                return Err(StorageError::Overloaded { queued_bytes });
            }
            let starts = queue.tail.append(&entries)?;
            Ok(Work::Append { entries, starts })
        });
    }

    /// Saves a vote; durable when `done` hears `Ok`.
    pub fn save_vote(&self, vote: Vec<u8>, done: Done) {
        let vote = Bytes::from(vote);
        self.submit(vote.len(), done, |queue, _| {
            queue.votes += 1;
            queue.vote = Some(vote.clone());
            Ok(Work::Vote { number: queue.votes, vote })
        });
    }

    /// Removes the entries from `index` on; gone on return, durably so when
    /// `done` hears `Ok`.
    pub fn truncate_from(&self, index: u64, done: Done) {
        self.submit(0, done, |queue, _| Ok(queue.truncate_from(index)));
    }

    /// Removes the entries through `index`, which may lie beyond the last one,
    /// and keeps `last_purged`; durable when `done` hears `Ok`. Does nothing
    /// where as much was purged before.
    pub fn purge_to(&self, index: u64, last_purged: Vec<u8>, done: Done) {
        self.submit(last_purged.len(), done, |queue, _| {
            Ok(queue.purge_to(index, Bytes::from(last_purged)))
        });
    }

    /// Entries with `from <= index < to` as far as they are there, at most
    /// `bytes_max` bytes but at least one entry; each follows the one before.
    ///
    /// # Errors
    ///
    /// [`StorageError`]; a damaged log is told to the fatal hook too.
    pub fn read(
        &self,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, StorageError> {
        self.handle.shared.read(from, to, bytes_max)
    }

    /// The vote saved last.
    #[must_use]
    pub fn vote(&self) -> Option<Bytes> {
        self.handle.shared.queue.lock().vote.clone()
    }

    /// Index purged through, and the bytes given with it.
    #[must_use]
    pub fn last_purged(&self) -> Option<(u64, Bytes)> {
        self.handle.shared.queue.lock().purged.clone()
    }

    /// Index of the first entry, where there is an entry.
    #[must_use]
    pub fn first_index(&self) -> Option<u64> {
        let bounds = self.handle.shared.queue.lock().tail.bounds()?;
        (bounds.first < bounds.next).then_some(bounds.first)
    }

    /// Index of the last entry, where there is an entry.
    #[must_use]
    pub fn last_index(&self) -> Option<u64> {
        let bounds = self.handle.shared.queue.lock().tail.bounds()?;
        (bounds.first < bounds.next).then(|| bounds.next - 1)
    }

    /// The last entry, where there is an entry.
    ///
    /// # Errors
    ///
    /// As [`RaftLog::read`].
    pub fn last(&self) -> Result<Option<LogEntry>, StorageError> {
        loop {
            let Some(index) = self.last_index() else { return Ok(None) };
            // Empty when the entry was truncated since: look again.
            if let Some(entry) = self.read(index, index + 1, 0)?.pop() {
                return Ok(Some(entry));
            }
        }
    }

    /// Newest index up to which everything is durable here. `apply` must not
    /// pass it.
    #[must_use]
    pub fn durable_index(&self) -> Option<u64> {
        self.handle.shared.queue.lock().durable_next.checked_sub(1)
    }

    /// Blocks until everything through `index` is durable here.
    ///
    /// # Errors
    ///
    /// [`StorageError::Stopped`] when the log has stopped before.
    pub fn wait_durable(&self, index: u64) -> Result<(), StorageError> {
        self.handle.shared.wait_durable(index)
    }

    /// What the log holds and how the disk keeps up.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.handle.shared.stats()
    }

    /// As `oldest_unsynced_age` of [`RaftLog::stats`], but waits for nothing that
    /// a hung disk may hold: neither disk nor database.
    #[must_use]
    pub fn flush_lag(&self) -> Duration {
        self.handle.shared.queue.lock().oldest_unsynced_age()
    }

    /// Refuses what is submitted from now on, writes what was submitted before,
    /// and ends the I/O thread.
    pub fn close(&self) {
        self.handle.end();
    }

    /// As [`RaftLog::close`], but waits no longer than `timeout`. `false`: the
    /// disk still hangs.
    #[must_use]
    pub fn close_within(&self, timeout: Duration) -> bool {
        let ended = self.handle.shared.close(Some(Instant::now() + timeout));
        if ended {
            self.handle.end();
        }
        ended
    }

    /// Queues what `make` makes of the submission, or tells `done` why not.
    fn submit(
        &self,
        bytes: usize,
        done: Done,
        make: impl FnOnce(&mut Queue, &LogOptions) -> Result<Work, StorageError>,
    ) {
        self.handle.shared.submit(bytes, done, make);
    }
}

impl Handle {
    fn end(&self) {
        self.shared.close(None);
        let Some(thread) = self.thread.lock().take() else { return };
        // A completion that drops the last clone runs on that thread itself.
        if thread.thread().id() != thread::current().id() {
            // A panic of the thread was told to the fatal hook already.
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.end();
    }
}
