//! The one thread that changes the replicated state.
//!
//! Entries of a chunk, the last applied log id and the membership go into one
//! write; then the observer hears of each entry, then the applied index is
//! published, then whoever proposed an entry gets its answer. A database may
//! stall, the async runtime must not: so this is a thread of its own. Of a
//! snapshot it only freezes the files: reading them all would hold `apply` up.

use std::{
    error::Error as StdError,
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use openraft::{EntryPayload, storage::ApplyResponder};
use parking_lot::Mutex;
use strongroom_base::LogIndex;
use strongroom_state::{Applied, Table, Tables as _, TablesError, TablesReader};
use strongroom_storage::{
    Checkpoint, SnapshotDir, SnapshotError, StateBatch, StateDb, StorageError,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    codec::{self, DecodeError},
    gate::ApplyGate,
    types::{Entry, LogId, Membership, Outcome, Reply, SnapshotMeta, TypeConfig},
};

/// Key of the last applied log id in table `Raft`.
const LAST_APPLIED: &[u8] = b"last_applied";

/// An entry and, on the leader that proposed it, who waits for its outcome.
pub(crate) type Item = (Entry, Option<ApplyResponder<TypeConfig>>);

/// Told of what changes the replicated state, on the thread that changes it.
pub trait ApplyObserver: Send + Sync {
    /// An entry was applied; what it wrote can be read. Called in the order of
    /// the log, before the applied index that covers it is published.
    fn applied(&self, index: LogIndex, applied: &Applied);

    /// The whole state was replaced by a snapshot's: everything remembered of
    /// the old one is void. Called before the applied index is published.
    fn installed(&self);

    /// Entries that came together are applied and published, `took` after they
    /// were known here to be committed: the wait for this node's own log is part
    /// of it. For whoever measures.
    fn published(&self, took: Duration) {
        let _ = took;
    }
}

/// Why the state could not be changed. Each ends Raft on this node.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StateError {
    /// The database failed.
    #[error("the state database failed")]
    Storage(#[from] StorageError),
    /// A snapshot is not what it says, or could not be put in place.
    #[error("the snapshot can't be installed")]
    Snapshot(#[from] SnapshotError),
    /// A table could not be read or written, or is damaged.
    #[error("the replicated state can't be changed")]
    Tables(#[from] TablesError),
    /// What Raft keeps in the state is damaged.
    #[error("raft's record {record} in the state is damaged")]
    Record {
        /// Which one.
        record: &'static str,
        /// How.
        source: DecodeError,
    },
    /// An entry that doesn't follow the last applied one: the log has a hole,
    /// or was applied twice, and going on would fork this replica.
    #[error("entry {got} does not follow the last applied entry {last}")]
    NotNext {
        /// Index of the last applied entry.
        last: u64,
        /// Index given.
        got: u64,
    },
    /// The log has stopped, so entries never become durable.
    #[error("the raft log has stopped")]
    LogStopped,
    /// The thread has ended.
    #[error("the state thread has ended")]
    Ended,
}

impl From<StateError> for io::Error {
    fn from(error: StateError) -> Self {
        Self::other(error)
    }
}

enum Job {
    Apply { items: Vec<Item>, committed: Instant, done: oneshot::Sender<Result<(), StateError>> },
    Freeze { done: oneshot::Sender<Result<(SnapshotMeta, Checkpoint), StateError>> },
    Install { meta: SnapshotMeta, dir: SnapshotDir, done: oneshot::Sender<Result<(), StateError>> },
}

/// Hands work to the thread. The thread ends when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct StateThread {
    jobs: mpsc::Sender<Job>,
    applied: watch::Receiver<LogIndex>,
    thread: Arc<Mutex<Option<thread::JoinHandle<()>>>>,
}

/// Jobs that may wait. The library has one of a kind under way at a time.
const JOBS_MAX: usize = 8;

impl StateThread {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// [`StateError`] where the present state can't be read.
    pub(crate) fn start(
        state: StateDb,
        gate: impl ApplyGate,
        observer: Arc<dyn ApplyObserver>,
    ) -> Result<Self, StateError> {
        let (last_applied, _) = applied_state(&state.latest())?;
        let (applied, published) = watch::channel(index_of(last_applied));
        let (jobs, queue) = mpsc::channel(JOBS_MAX);
        let worker = Worker { state, gate, observer, applied, last_applied };
        let thread = thread::Builder::new()
            .name("strongroom-state".to_owned())
            .spawn(move || worker.run(queue))
            .map_err(|error| StateError::Tables(TablesError::database(error)))?;
        let thread = Arc::new(Mutex::new(Some(thread)));
        Ok(Self { jobs, applied: published, thread })
    }

    /// Newest index whose effects are in the state and known to the observer.
    pub(crate) fn applied(&self) -> watch::Receiver<LogIndex> {
        self.applied.clone()
    }

    /// Applies entries that follow the last applied one and have just come to be
    /// known as committed, all in one write.
    pub(crate) async fn apply(&self, items: Vec<Item>) -> Result<(), StateError> {
        let committed = Instant::now();
        self.run(|done| Job::Apply { items, committed, done }).await
    }

    /// Freezes the state between two chunks of entries. The checkpoint is the
    /// caller's to finish, away from this thread.
    pub(crate) async fn freeze(&self) -> Result<(SnapshotMeta, Checkpoint), StateError> {
        self.run(|done| Job::Freeze { done }).await
    }

    /// Replaces the whole state by that of a snapshot. One whose state `meta`
    /// doesn't describe replaces nothing.
    pub(crate) async fn install(
        &self,
        meta: SnapshotMeta,
        dir: SnapshotDir,
    ) -> Result<(), StateError> {
        self.run(|done| Job::Install { meta, dir, done }).await
    }

    /// By which the thread's end is awaited.
    pub(crate) fn end(&self) -> ThreadEnd {
        ThreadEnd(Arc::clone(&self.thread))
    }

    async fn run<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, StateError>>) -> Job,
    ) -> Result<T, StateError> {
        let (done, result) = oneshot::channel();
        self.jobs.send(job(done)).await.map_err(|_| StateError::Ended)?;
        result.await.map_err(|_| StateError::Ended)?
    }
}

/// Waits for the thread; doesn't keep it running.
pub(crate) struct ThreadEnd(Arc<Mutex<Option<thread::JoinHandle<()>>>>);

impl ThreadEnd {
    /// Waits until the thread has ended, which it does when nothing can give it
    /// work any more; no longer than `timeout`.
    pub(crate) async fn wait(&self, timeout: Duration) {
        let Some(thread) = self.0.lock().take() else { return };
        let joined = tokio::task::spawn_blocking(move || thread.join().is_ok());
        match tokio::time::timeout(timeout, joined).await {
            Ok(Ok(true)) => {}
            Ok(_) => tracing::error!("the state thread panicked"),
            Err(_) => tracing::warn!("the state thread did not end in time"),
        }
    }
}

/// The index published for a last applied log id. Index 0 is the membership
/// that formed the cluster, so that nothing is lost by 0 for "nothing".
fn index_of(last_applied: Option<LogId>) -> LogIndex {
    LogIndex(last_applied.map_or(0, |log_id| log_id.index))
}

/// What Raft keeps in the state: the last applied log id and the membership.
pub(crate) fn applied_state(
    tables: &impl TablesReader,
) -> Result<(Option<LogId>, Membership), StateError> {
    let record = |record| move |source| StateError::Record { record, source };
    let last_applied = tables
        .get(Table::Raft, LAST_APPLIED)?
        .map(|bytes| codec::decode(&bytes).map_err(record("last_applied")))
        .transpose()?;
    let membership = strongroom_state::membership(tables)?
        .map(|bytes| codec::decode(&bytes).map_err(record("membership")))
        .transpose()?;
    Ok((last_applied, membership.unwrap_or_default()))
}

/// The description of a snapshot of the present state.
pub(crate) fn snapshot_meta(tables: &impl TablesReader) -> Result<SnapshotMeta, StateError> {
    let (last_log_id, last_membership) = applied_state(tables)?;
    Ok(SnapshotMeta { last_log_id, last_membership })
}

/// Whether a state is the one that `meta` describes. One that can't be read is
/// none.
pub(crate) fn is_described_by(tables: &impl TablesReader, meta: &SnapshotMeta) -> bool {
    match snapshot_meta(tables) {
        Ok(found) => found == *meta,
        Err(error) => {
            tracing::warn!(%error, "a snapshot's state can't be read");
            false
        }
    }
}

struct Worker<G> {
    state: StateDb,
    gate: G,
    observer: Arc<dyn ApplyObserver>,
    applied: watch::Sender<LogIndex>,
    last_applied: Option<LogId>,
}

impl<G: ApplyGate> Worker<G> {
    fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        while let Some(job) = jobs.blocking_recv() {
            // Whoever gave a job and doesn't wait for it is gone with the core.
            match job {
                Job::Apply { items, committed, done } => {
                    drop(done.send(self.apply(items, committed)));
                }
                Job::Freeze { done } => drop(done.send(self.freeze())),
                Job::Install { meta, dir, done } => drop(done.send(self.install(&meta, &dir))),
            }
        }
    }

    fn apply(&mut self, items: Vec<Item>, committed: Instant) -> Result<(), StateError> {
        let Some((last, _)) = items.last() else { return Ok(()) };
        let last = last.log_id;
        if !self.gate.wait_durable(last.index) {
            return Err(StateError::LogStopped);
        }
        let mut batch = self.state.begin();
        let mut effects = Vec::with_capacity(items.len());
        for (entry, responder) in items {
            let index = entry.log_id.index;
            self.require_next(index)?;
            effects.push((index, apply_entry(&mut batch, entry)?, responder));
            self.last_applied = Some(LogId { index, ..last });
        }
        batch.put(Table::Raft, LAST_APPLIED, &codec::encode(&last))?;
        batch.commit(LogIndex(last.index))?;
        self.last_applied = Some(last);

        for (index, applied, _) in &effects {
            if let Some(applied) = applied {
                self.observer.applied(LogIndex(*index), applied);
            }
        }
        self.applied.send_replace(LogIndex(last.index));
        for (_, applied, responder) in effects {
            if let Some(responder) = responder {
                let outcome = applied.map_or_else(Bytes::new, |a| a.outcome.encode().into());
                let committed = Some(committed);
                responder.send(Reply { outcome: Outcome(outcome), committed });
            }
        }
        self.observer.published(committed.elapsed());
        Ok(())
    }

    fn require_next(&self, got: u64) -> Result<(), StateError> {
        match self.last_applied {
            Some(LogId { index: last, .. }) if G::CONSECUTIVE && got != last.saturating_add(1) => {
                Err(StateError::NotNext { last, got })
            }
            _ => Ok(()),
        }
    }

    fn freeze(&self) -> Result<(SnapshotMeta, Checkpoint), StateError> {
        let meta = snapshot_meta(&self.state.latest())?;
        let checkpoint = self.state.freeze(codec::encode(&meta))?;
        Ok((meta, checkpoint))
    }

    fn install(&mut self, meta: &SnapshotMeta, dir: &SnapshotDir) -> Result<(), StateError> {
        self.state.install(dir, |state| is_described_by(state, meta))?;
        self.last_applied = meta.last_log_id;
        self.observer.installed();
        self.applied.send_replace(index_of(meta.last_log_id));
        Ok(())
    }
}

/// Applies one entry. Entries of Raft's own have no effect on the state but for
/// the membership.
fn apply_entry(batch: &mut StateBatch, entry: Entry) -> Result<Option<Applied>, StateError> {
    match entry.payload {
        EntryPayload::Blank => Ok(None),
        EntryPayload::Normal(command) => {
            let index = LogIndex(entry.log_id.index);
            Ok(Some(strongroom_state::apply(batch, index, &command.0)?))
        }
        EntryPayload::Membership(members) => {
            let stored = Membership::new(Some(entry.log_id), members);
            strongroom_state::put_membership(batch, &codec::encode(&stored))?;
            Ok(None)
        }
    }
}

impl StateError {
    /// Boxed, for errors that don't name this crate's internals.
    pub(crate) fn boxed(self) -> Box<dyn StdError + Send + Sync> {
        Box::new(self)
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;
    use strongroom_base::{ClusterId, NodeId};
    use strongroom_storage::{DataDir, FatalHook, StateOptions};
    use tempfile::TempDir;

    use super::*;
    use crate::{gate::NoGate, log_store::blocking};

    type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;

    struct Nobody;

    impl ApplyObserver for Nobody {
        fn applied(&self, _index: LogIndex, _applied: &Applied) {}

        fn installed(&self) {}
    }

    fn log_id(index: u64) -> LogId {
        LogId::new(LeaderId::new(1, 1), index)
    }

    fn items(indexes: std::ops::RangeInclusive<u64>) -> Vec<Item> {
        let blank = |index| Entry { log_id: log_id(index), payload: EntryPayload::Blank };
        indexes.map(|index| (blank(index), None)).collect()
    }

    /// A state to which nothing is applied, and its thread. Storage may not fail.
    fn start() -> (TempDir, StateDb, StateThread) {
        let root = tempfile::tempdir().unwrap();
        let cluster = ClusterId::from_bytes([1; 16]);
        let node = NodeId::new(1).unwrap();
        let directory = DataDir::open(&root.path().join("node"), cluster, node, [2; 16]).unwrap();
        let fatal: FatalHook = Arc::new(|error: &StorageError| panic!("storage failed: {error}"));
        let state = StateDb::open(&directory, StateOptions::default(), fatal).unwrap();
        let thread = StateThread::start(state.clone(), NoGate, Arc::new(Nobody)).unwrap();
        (root, state, thread)
    }

    #[tokio::test]
    async fn entries_are_applied_while_a_snapshot_is_not_finished() {
        let (_root, state, thread) = start();
        thread.apply(items(1..=3)).await.unwrap();
        let (meta, checkpoint) = thread.freeze().await.unwrap();
        thread.apply(items(4..=6)).await.unwrap();
        assert_eq!(*thread.applied().borrow(), LogIndex(6));
        assert!(state.newest_snapshot().is_none());

        let snapshot = blocking(move || checkpoint.finish()).await.unwrap();
        assert_eq!(meta.last_log_id, Some(log_id(3)));
        assert_eq!(snapshot.manifest().applied_index, 3);
        assert_eq!(state.newest_snapshot().unwrap().manifest(), snapshot.manifest());
    }

    #[tokio::test]
    async fn a_snapshot_of_another_state_than_described_replaces_nothing() {
        let (_root, state, thread) = start();
        thread.apply(items(1..=3)).await.unwrap();
        let (meta, checkpoint) = thread.freeze().await.unwrap();
        let snapshot = blocking(move || checkpoint.finish()).await.unwrap();
        thread.apply(items(4..=6)).await.unwrap();

        let other_entry = SnapshotMeta { last_log_id: Some(log_id(9)), ..meta.clone() };
        let last_membership = Membership::new(Some(log_id(2)), openraft::Membership::default());
        let other_members = SnapshotMeta { last_membership, ..meta.clone() };
        for described in [other_entry, other_members] {
            let refused = thread.install(described, snapshot.clone()).await;
            assert!(
                matches!(refused, Err(StateError::Snapshot(SnapshotError::Mismatch))),
                "{refused:?}"
            );
            assert_eq!(state.applied_index(), Some(LogIndex(6)));
        }
        thread.apply(items(7..=7)).await.unwrap();
        assert_eq!(*thread.applied().borrow(), LogIndex(7));

        thread.install(meta, snapshot).await.unwrap();
        assert_eq!(*thread.applied().borrow(), LogIndex(3));
        assert_eq!(state.applied_index(), Some(LogIndex(3)));
    }
}
