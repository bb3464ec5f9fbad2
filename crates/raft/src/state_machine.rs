//! The replicated state as the library wants it: apply, checkpoint, install.
//!
//! Does no work itself: [`StateThread`] changes and freezes the state, blocking
//! tasks read and hash files.

use std::{io, sync::Arc};

use futures::{Stream, StreamExt as _};
use openraft::{
    OptionalSend, RaftSnapshotBuilder,
    storage::{EntryResponder, RaftStateMachine},
};
use strongroom_base::LogIndex;
use strongroom_storage::{SnapshotDir, StateDb};
use tokio::sync::watch;

use crate::{
    codec,
    gate::ApplyGate,
    log_store::blocking,
    state_thread::{ApplyObserver, Item, StateError, StateThread, ThreadEnd, applied_state},
    types::{LogId, Membership, SnapshotMeta, TypeConfig},
};

/// Most entries in one write of the state.
const CHUNK_ENTRIES_MAX: usize = 256;
/// Bytes of commands after which no more are taken into one write of the state.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;

pub(crate) type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotDir>;

/// The state and its newest snapshot.
pub struct StateMachine {
    state: StateDb,
    thread: StateThread,
}

impl StateMachine {
    /// Starts the thread that changes the state, and looks for a snapshot that
    /// an earlier run left.
    ///
    /// # Errors
    ///
    /// Where state or snapshot can't be read.
    pub fn open(
        state: StateDb,
        gate: impl ApplyGate,
        observer: Arc<dyn ApplyObserver>,
    ) -> io::Result<Self> {
        let thread = StateThread::start(state.clone(), gate, observer)?;
        Ok(Self { state, thread })
    }

    /// Newest index whose effects are in the state and known to the observer.
    pub(crate) fn applied(&self) -> watch::Receiver<LogIndex> {
        self.thread.applied()
    }

    /// By which the end of the state thread is awaited.
    pub(crate) fn thread_end(&self) -> ThreadEnd {
        self.thread.end()
    }

    fn builder(&self) -> SnapshotBuilder {
        SnapshotBuilder { state: self.state.clone(), thread: self.thread.clone() }
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotDir;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, Membership)> {
        let state = self.state.clone();
        blocking(move || applied_state(&state.latest())).await
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + OptionalSend,
    {
        let mut chunk: Vec<Item> = Vec::new();
        let mut bytes = 0;
        while let Some(item) = entries.next().await {
            let item = item?;
            if let openraft::EntryPayload::Normal(command) = &item.0.payload {
                bytes += command.0.len();
            }
            chunk.push(item);
            if chunk.len() >= CHUNK_ENTRIES_MAX || bytes >= CHUNK_BYTES {
                self.thread.apply(std::mem::take(&mut chunk)).await?;
                bytes = 0;
            }
        }
        Ok(self.thread.apply(chunk).await?)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        self.builder()
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotDir,
    ) -> io::Result<()> {
        Ok(self.thread.install(meta.clone(), snapshot).await?)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let Some(snapshot) = self.state.newest_snapshot() else { return Ok(None) };
        match codec::decode(&snapshot.manifest().raft_meta) {
            Ok(meta) => Ok(Some(Snapshot { meta, snapshot })),
            // Only a copy: it is made again.
            Err(error) => {
                tracing::warn!(%error, "the newest snapshot's description is damaged");
                Ok(None)
            }
        }
    }
}

/// Takes a snapshot while entries are applied.
pub struct SnapshotBuilder {
    state: StateDb,
    thread: StateThread,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotDir;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        // Most of what must reach the disk does so while `apply` goes on; the
        // freezing then holds it up for little, and the hashing not at all.
        let state = self.state.clone();
        blocking(move || state.flush()).await?;
        let (meta, checkpoint) = self.thread.freeze().await?;
        let snapshot = blocking(move || checkpoint.finish()).await?;
        Ok(Snapshot { meta, snapshot })
    }
}

impl From<StateError> for crate::errors::RaftError {
    fn from(error: StateError) -> Self {
        Self::Storage(error.boxed())
    }
}
