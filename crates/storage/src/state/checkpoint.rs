//! A checkpoint: the files of the state as of one index, on its way to become a
//! snapshot.
//!
//! Freezing links the files and excludes commits; finishing reads and hashes
//! them and excludes nothing. So only the first is for the thread that commits.

use std::path::PathBuf;

use strongroom_format::{SNAPSHOT_FORMAT, STATE_FORMAT};

use super::{SnapshotDir, SnapshotManifest, StateDb, snapshot};
use crate::{StorageError, files};

/// The frozen files of the state as of one index. Its content is fixed; what is
/// committed from now on is not in it. Dropped unfinished, it is removed.
pub struct Checkpoint {
    files: FrozenFiles,
    state: StateDb,
    number: u64,
    generation: u64,
    applied_next: u64,
    raft_meta: Vec<u8>,
}

/// Removes the files that no snapshot took over.
struct FrozenFiles(PathBuf);

impl Drop for FrozenFiles {
    fn drop(&mut self) {
        if let Err(error) = files::remove(&self.0) {
            tracing::warn!(%error, "an unfinished checkpoint stays until the next start");
        }
    }
}

impl Checkpoint {
    /// Freezes the newest state. The caller excludes commits.
    pub(super) fn freeze(state: &StateDb, raft_meta: Vec<u8>) -> Result<Self, StorageError> {
        let (number, path) = state.inner.snapshots.build();
        let files = FrozenFiles(path);
        let generation = state.generation();
        let applied_next = state.applied_next();
        generation.checkpoint(&files.0)?;
        let (state, generation) = (state.clone(), generation.number());
        Ok(Self { files, state, number, generation, applied_next, raft_meta })
    }

    /// Hashes the files and makes them the newest snapshot, unless a newer one
    /// is there; durable on return. Takes as long as reading what is new of
    /// them, on the calling thread; commits go on meanwhile. The snapshot before
    /// is removed once nobody holds it.
    ///
    /// # Errors
    ///
    /// [`StorageError`], told to the fatal hook too.
    pub fn finish(self) -> Result<SnapshotDir, StorageError> {
        let fatal = self.state.inner.fatal.clone();
        self.hash_and_publish().inspect_err(|error| fatal.report(error))
    }

    fn hash_and_publish(self) -> Result<SnapshotDir, StorageError> {
        let inner = &self.state.inner;
        let manifest = SnapshotManifest {
            format: SNAPSHOT_FORMAT,
            state_format: STATE_FORMAT,
            cluster_id: inner.directory.cluster().as_bytes().to_vec(),
            applied_index: self.applied_next.saturating_sub(1),
            raft_meta: self.raft_meta,
            files: inner.snapshots.list(self.generation, &self.files.0)?,
        };
        let snapshot = snapshot::complete(&self.files.0, self.number, manifest)?;
        inner.snapshots.publish_if_newer(&snapshot);
        Ok(snapshot)
    }
}
