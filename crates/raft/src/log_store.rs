//! The Raft log as the library wants it, over [`strongroom_storage::RaftLog`].
//!
//! Adds nothing but encoding and waiting: order, durability and group commit
//! are the log's. An entry is readable when `append` returns and is reported
//! only once it is durable. Before entries are purged, the state that they
//! built is made durable, because it is written without a log of its own.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, RangeBounds},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{Stream, StreamExt as _, stream};
use openraft::{
    LogState, OptionalSend, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use parking_lot::Mutex;
use strongroom_base::{LogIndex, limits::APPEND_BYTES_MAX};
use strongroom_storage::{LogEntry, RaftLog, StateDb, StorageError};
use tokio::sync::oneshot;

use crate::{
    codec,
    types::{Entry, LogId, TypeConfig, Vote},
};

/// Bytes of entries read at a time for `apply`.
const APPLY_READ_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of entries after which an append is cut into another submission: the
/// library merges appends by number of entries only.
const APPEND_WRITE_BYTES: usize = 8 * 1024 * 1024;

/// How long to wait before an append that found the log's queue full is tried
/// again. The core waits with it: that is the back pressure.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(5);

/// The log, for the library's core, its replication tasks and `apply`.
#[derive(Clone)]
pub struct LogStore {
    log: RaftLog,
    state: StateDb,
}

impl LogStore {
    /// A log, and the state that is made durable before the log is purged.
    #[must_use]
    pub fn new(log: RaftLog, state: StateDb) -> Self {
        Self { log, state }
    }

    /// Entries of `[from, to)`, at least one where there is one, no more than
    /// `bytes_max` bytes apart from the first.
    async fn read(&self, from: u64, to: u64, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let log = self.log.clone();
        let stored = blocking(move || log.read(from, to, bytes_max)).await?;
        stored.iter().map(decode_entry).collect()
    }

    /// Index after the last entry.
    fn end(&self) -> u64 {
        self.log.last_index().map_or(0, |index| index.saturating_add(1))
    }

    fn last_purged(&self) -> io::Result<Option<LogId>> {
        self.log.last_purged().map(|(_, bytes)| decode(&bytes)).transpose()
    }

    /// Hands entries to the log. `callback` hears when they are durable; while
    /// too much waits for the disk, this waits.
    async fn submit(&self, entries: Vec<LogEntry>, callback: Callback) -> io::Result<()> {
        let callback = Arc::new(Mutex::new(Some(callback)));
        loop {
            let overloaded = Arc::new(AtomicBool::new(false));
            let (told, waiting) = (Arc::clone(&overloaded), Arc::clone(&callback));
            let done = move |outcome: Result<(), StorageError>| match outcome {
                // Told before `append` returns; nothing was appended.
                Err(StorageError::Overloaded { .. }) => told.store(true, Ordering::Relaxed),
                outcome => {
                    if let Some(callback) = waiting.lock().take() {
                        callback(outcome.map_err(io::Error::other));
                    }
                }
            };
            self.log.append(entries.clone(), Box::new(done));
            if !overloaded.load(Ordering::Relaxed) {
                return Ok(());
            }
            tokio::time::sleep(OVERLOAD_PAUSE).await;
        }
    }
}

type Callback = Box<dyn FnOnce(io::Result<()>) + Send>;

/// Runs what may wait for the disk where it holds up nobody.
pub(crate) async fn blocking<T, E>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> io::Result<T>
where
    T: Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(io::Error::other),
        Err(error) => Err(io::Error::other(error)),
    }
}

fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    codec::decode(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn decode_entry(stored: &LogEntry) -> io::Result<Entry> {
    let entry: Entry = decode(&stored.payload)?;
    if entry.log_id.index == stored.index {
        Ok(entry)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "a log entry is stored under another index"))
    }
}

fn encode_entry(entry: &Entry) -> LogEntry {
    LogEntry {
        index: entry.log_id.index,
        term: entry.log_id.leader_id.term,
        payload: codec::encode(entry).into(),
    }
}

/// Waits for a write that the log's own thread does.
async fn written(submit: impl FnOnce(strongroom_storage::Done)) -> io::Result<()> {
    let (done, result) = oneshot::channel();
    submit(Box::new(move |outcome| {
        // Nobody listens any more only when the core is gone.
        let _gone = done.send(outcome);
    }));
    match result.await {
        Ok(outcome) => outcome.map_err(io::Error::other),
        Err(_) => Err(io::Error::other(StorageError::Stopped)),
    }
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<Entry>> {
        let (from, to) = indexes(&range, self.end());
        let mut entries: Vec<Entry> = Vec::new();
        let mut next = from;
        while next < to {
            let read = self.read(next, to, APPLY_READ_BYTES).await?;
            let Some(last) = read.last() else { break };
            next = last.log_id.index.saturating_add(1);
            entries.extend(read);
        }
        Ok(entries)
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.log.vote().map(|bytes| decode(&bytes)).transpose()
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.read(start, end, APPEND_BYTES_MAX).await
    }

    /// Reads ahead of `apply` by a bounded number of bytes, however long the
    /// range is.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, to) = indexes(&range, self.end());
        let store = self.clone();
        let chunks = stream::try_unfold(from, move |next| {
            let store = store.clone();
            async move {
                if next >= to {
                    return Ok(None);
                }
                let entries = store.read(next, to, APPLY_READ_BYTES).await?;
                let after = entries.last().map(|entry| entry.log_id.index.saturating_add(1));
                Ok::<_, io::Error>(after.map(|after| (entries, after)))
            }
        });
        let entries = chunks.flat_map(|chunk| {
            stream::iter(match chunk {
                Ok(entries) => entries.into_iter().map(Ok).collect::<Vec<_>>(),
                Err(error) => vec![Err(error)],
            })
        });
        Box::pin(entries)
    }
}

/// The range as `[from, to)`, no further than the log's end.
fn indexes(range: &impl RangeBounds<u64>, end: u64) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(from) => *from,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let to = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(to) => *to,
        Bound::Unbounded => end,
    };
    (from, to.min(end))
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let last_purged_log_id = self.last_purged()?;
        let log = self.log.clone();
        let last = blocking(move || log.last()).await?;
        let last_log_id = last.map(|last| decode_entry(&last)).transpose()?;
        let last_log_id = last_log_id.map(|entry| entry.log_id);
        Ok(LogState { last_purged_log_id, last_log_id: last_log_id.max(last_purged_log_id) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let bytes = codec::encode(vote);
        written(|done| self.log.save_vote(bytes, done)).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut bytes = 0;
        let mut submission = Vec::new();
        for entry in entries {
            let entry = encode_entry(&entry);
            if bytes > 0 && bytes + entry.payload.len() > APPEND_WRITE_BYTES {
                // Its failure stops the log, and so fails the last one too.
                let ignored = Box::new(|_: io::Result<()>| ());
                self.submit(std::mem::take(&mut submission), ignored).await?;
                bytes = 0;
            }
            bytes += entry.payload.len();
            submission.push(entry);
        }
        self.submit(submission, Box::new(|outcome| callback.io_completed(outcome))).await
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        let from = last.map_or(0, |last| last.index.saturating_add(1));
        written(|done| self.log.truncate_from(from, done)).await
    }

    async fn purge(&mut self, to: LogId) -> io::Result<()> {
        let state = self.state.clone();
        blocking(move || flush_state_to(&state, to.index)).await?;
        written(|done| self.log.purge_to(to.index, codec::encode(&to), done)).await
    }
}

/// Makes the state durable up to `index`, unless it is.
fn flush_state_to(state: &StateDb, index: u64) -> Result<(), StorageError> {
    if state.flushed_index().is_some_and(|flushed| flushed >= LogIndex(index)) {
        return Ok(());
    }
    state.flush()
}
