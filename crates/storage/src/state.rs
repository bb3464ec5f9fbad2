//! The state database: tables written without a log of their own, checkpoints
//! of it, and its replacement by a snapshot.
//!
//! Commits go to memory. [`StateDb::flush`] makes all tables durable at one
//! applied index, and must have done so before the Raft log is purged that far:
//! after a crash the tables are all as of the last flush, and the entries since
//! are applied again.
//!
//! A database lives in `state/<generation>/`; `state/CURRENT` names the
//! generation that counts. Installing a snapshot makes the next generation
//! beside it, checks it, and then changes `CURRENT`, so that a crash leaves the
//! old state or the new one. `state/verifying/` is there while a snapshot is
//! checked without being installed.

mod batch;
mod checkpoint;
mod contents;
mod current;
mod generation;
mod reader;
mod snapshot;
mod writer;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use strongroom_base::{ClusterId, LogIndex, limits};
use strongroom_state::Table;

pub use self::{
    batch::StateBatch,
    checkpoint::Checkpoint,
    contents::SnapshotManifest,
    reader::{StateReader, StateView},
    snapshot::{SnapshotDir, SnapshotError},
    writer::SnapshotWriter,
};
use self::{
    current::Current,
    generation::{Generation, Resources},
    snapshot::Snapshots,
};
use crate::{
    DataDir, FatalHook, RaftLog, StorageError,
    error::{Damage, Fatal},
    files,
};

/// Bounds of the memory of a [`StateDb`].
#[derive(Clone, Copy, Debug)]
pub struct StateOptions {
    /// Bytes of blocks kept, indexes and filters included.
    pub cache_bytes: usize,
    /// Bytes of changes that aren't flushed yet.
    pub memtable_bytes: usize,
}

impl Default for StateOptions {
    fn default() -> Self {
        Self {
            cache_bytes: limits::LOG_CACHE_BYTES_MAX,
            memtable_bytes: limits::LOG_CACHE_BYTES_MAX,
        }
    }
}

/// What the state database holds and how it keeps up.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct StateStats {
    /// One more than the newest applied index; 0: none.
    pub applied_next: u64,
    /// Everything below is durable here without the log.
    pub flushed_next: u64,
    /// Which generation is the current one.
    pub generation: u64,
    /// Bytes of table files.
    pub table_bytes: u64,
    /// Bytes of changes in memory.
    pub memtable_bytes: u64,
    /// Bytes of blocks in memory.
    pub cache_bytes: u64,
    /// Bytes that compactions have yet to rewrite.
    pub compaction_pending_bytes: u64,
    /// Background work of the database that failed.
    pub background_errors: u64,
}

/// The state database of a data directory. Clones are the same database, also
/// after [`StateDb::install`].
#[derive(Clone)]
pub struct StateDb {
    inner: Arc<Inner>,
}

struct Inner {
    /// The generation that counts.
    generation: RwLock<Arc<Generation>>,
    /// Excludes commits from checkpoints and installs.
    commits: Mutex<()>,
    /// Held while a snapshot is verified: there is one place for it.
    verifying: Mutex<()>,
    /// One more than the newest applied index.
    applied_next: AtomicU64,
    /// Everything below is durable without the log.
    flushed_next: AtomicU64,
    /// One more than the applied index of the snapshot installed last.
    installed_next: AtomicU64,
    snapshots: Snapshots,
    resources: Resources,
    fatal: Arc<Fatal>,
    directory: DataDir,
}

/// Makes an empty first generation below `root`; durable on return.
pub(crate) fn create(root: &Path, cluster: ClusterId) -> Result<(), StorageError> {
    let state = root.join("state");
    files::make_directory(&state)?;
    let current = Current { generation: 1, installed_next: 0 };
    let path = current.path(&state);
    files::make_directory(&path)?;
    Generation::create(&path, cluster)?;
    files::sync_directory(&path)?;
    current.write(&state)
}

impl StateDb {
    /// Opens the current generation, and removes what a crash left behind of
    /// others and of unfinished snapshots.
    ///
    /// # Errors
    ///
    /// [`StorageError`] naming the file and what to do about it.
    pub fn open(
        directory: &DataDir,
        options: StateOptions,
        on_fatal: FatalHook,
    ) -> Result<Self, StorageError> {
        let state = directory.join("state");
        let current = Current::read(&state)?;
        let fatal = Arc::new(Fatal::new(on_fatal));
        let resources = Resources::new(options);
        let path = current.path(&state);
        let generation =
            Generation::open(&path, current.generation, directory.cluster(), &resources, &fatal)?;
        current.remove_others(&state)?;
        let applied_next = generation.applied_next()?;
        let snapshots = Snapshots::open(directory.join("snapshots"), applied_next)?;
        let inner = Inner {
            generation: RwLock::new(Arc::new(generation)),
            commits: Mutex::new(()),
            verifying: Mutex::new(()),
            applied_next: AtomicU64::new(applied_next),
            flushed_next: AtomicU64::new(applied_next),
            installed_next: AtomicU64::new(current.installed_next),
            snapshots,
            resources,
            fatal,
            directory: directory.clone(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Checks that log and state belong together: the log reaches back to what
    /// is applied here, and holds all that was applied but for what a snapshot
    /// brought. To be called before the Raft layer starts.
    ///
    /// # Errors
    ///
    /// [`Damage::LostWrites`], naming the database that lost them.
    pub fn check_against(&self, log: &RaftLog) -> Result<(), StorageError> {
        let applied_next = self.applied_next();
        let purged_next = log.last_purged().map_or(0, |(index, _)| index.saturating_add(1));
        let compare = |name, what, expected, found| {
            let damage = Damage::LostWrites { what, expected, found };
            let path = self.inner.directory.join(name);
            if found < expected { Err(StorageError::corrupt(&path, damage)) } else { Ok(()) }
        };
        compare("state", "applied entries", purged_next, applied_next)?;
        if applied_next == self.inner.installed_next.load(Ordering::Acquire) {
            return Ok(());
        }
        let log_next = log.last_index().map_or(purged_next, |index| index.saturating_add(1));
        compare("log", "entries", applied_next, log_next)
    }

    /// Begins a batch of changes on the newest state. One at a time; it must
    /// not be held over an install.
    #[must_use]
    pub fn begin(&self) -> StateBatch {
        StateBatch::new(self.clone(), self.generation())
    }

    /// The state as it is at each read: single reads, and the way to a
    /// consistent [`StateReader`].
    #[must_use]
    pub fn latest(&self) -> StateView {
        StateView::new(self.generation())
    }

    /// Runs `read` on the state as of one moment.
    pub fn read<T>(&self, read: impl FnOnce(&StateReader<'_>) -> T) -> T {
        read(&self.latest().reader())
    }

    /// Newest applied index, as given to [`StateBatch::commit`].
    #[must_use]
    pub fn applied_index(&self) -> Option<LogIndex> {
        self.applied_next().checked_sub(1).map(LogIndex)
    }

    /// Newest applied index that is durable here without the log: the log may
    /// be purged so far.
    #[must_use]
    pub fn flushed_index(&self) -> Option<LogIndex> {
        self.inner.flushed_next.load(Ordering::Acquire).checked_sub(1).map(LogIndex)
    }

    /// Makes all tables durable as of one applied index, not below the newest
    /// at the call.
    ///
    /// # Errors
    ///
    /// [`StorageError`], told to the fatal hook too.
    pub fn flush(&self) -> Result<(), StorageError> {
        self.inner.fatal.check()?;
        let generation = self.generation();
        let applied_next = self.applied_next();
        generation.flush().inspect_err(|error| self.inner.fatal.report(error))?;
        // Under the lock: an install in between started with its own index.
        let _commits = self.inner.commits.lock();
        if Arc::ptr_eq(&generation, &self.generation()) {
            self.inner.flushed_next.fetch_max(applied_next, Ordering::AcqRel);
        }
        Ok(())
    }

    /// Freezes the newest state, flushing first what is not flushed. `raft_meta`
    /// must describe the state committed last, so nothing else may commit
    /// meanwhile (what tries waits). [`Checkpoint::finish`] makes a snapshot of
    /// it, on any thread.
    ///
    /// # Errors
    ///
    /// [`StorageError`], told to the fatal hook too.
    pub fn freeze(&self, raft_meta: Vec<u8>) -> Result<Checkpoint, StorageError> {
        self.flush()?;
        let _commits = self.inner.commits.lock();
        Checkpoint::freeze(self, raft_meta).inspect_err(|error| self.inner.fatal.report(error))
    }

    /// Takes a snapshot of the newest state: [`StateDb::freeze`], then
    /// [`Checkpoint::finish`].
    ///
    /// # Errors
    ///
    /// As these.
    pub fn checkpoint(&self, raft_meta: Vec<u8>) -> Result<SnapshotDir, StorageError> {
        self.freeze(raft_meta)?.finish()
    }

    /// The newest snapshot: taken or installed.
    #[must_use]
    pub fn newest_snapshot(&self) -> Option<SnapshotDir> {
        self.inner.snapshots.newest()
    }

    /// Begins to receive the snapshot that `manifest` describes. One at a time.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] where the manifest is foreign, malformed, newer, or
    /// more than the disk has room for.
    pub fn receive(&self, manifest: SnapshotManifest) -> Result<SnapshotWriter, SnapshotError> {
        let directory = &self.inner.directory;
        contents::check(&manifest, directory.cluster())?;
        let bytes = contents::bytes(&manifest);
        let free_bytes = directory.free_bytes()?;
        if bytes > free_bytes {
            return Err(SnapshotError::NoRoom { bytes, free_bytes });
        }
        self.inner.snapshots.receive(manifest)
    }

    /// Checks, beside the state, that [`StateDb::install`] would take a snapshot.
    /// Changes nothing; commits go on meanwhile.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]; none is told to the fatal hook.
    pub fn verify(
        &self,
        snapshot: &SnapshotDir,
        is_as_described: impl FnOnce(&StateView) -> bool,
    ) -> Result<(), SnapshotError> {
        let _verifying = self.inner.verifying.lock();
        let path = self.inner.directory.join("state").join("verifying");
        // What can't be read of it says nothing about this node's own state.
        let fatal = Arc::new(Fatal::new(Arc::new(|_: &StorageError| ())));
        let verified = self.make_generation(snapshot, (0, path.as_path()), &fatal, is_as_described);
        let verified = verified.map(drop);
        // What is left is removed at the next start, if not here.
        let _ = files::remove(&path);
        verified
    }

    /// Replaces the state by a snapshot: durable on return, and what is read
    /// from then on is the snapshot's state. Readers of the old state keep it
    /// until they are dropped. A crash leaves the old state or the new one.
    ///
    /// `is_as_described` judges the snapshot's state before it replaces
    /// anything; `false` refuses it.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`] where the snapshot isn't what it says: the old state
    /// stays. [`SnapshotError::Storage`] is told to the fatal hook too.
    pub fn install(
        &self,
        snapshot: &SnapshotDir,
        is_as_described: impl FnOnce(&StateView) -> bool,
    ) -> Result<(), SnapshotError> {
        self.inner.fatal.check()?;
        let _commits = self.inner.commits.lock();
        self.install_alone(snapshot, is_as_described).inspect_err(|error| {
            if let SnapshotError::Storage(error) = error {
                self.inner.fatal.report(error);
            }
        })
    }

    fn install_alone(
        &self,
        snapshot: &SnapshotDir,
        is_as_described: impl FnOnce(&StateView) -> bool,
    ) -> Result<(), SnapshotError> {
        let inner = &self.inner;
        let state = inner.directory.join("state");
        let before = self.generation();
        let mut next = Current { generation: before.number() + 1, installed_next: 0 };
        let path = next.path(&state);
        let place = (next.generation, path.as_path());
        let generation = self
            .make_generation(snapshot, place, &inner.fatal, is_as_described)
            .inspect_err(|_| {
                // What is left is removed at the next start, if not here.
                let _ = files::remove(&path);
            })?;
        let applied_next = generation.applied_next()?;
        next.installed_next = applied_next;
        files::sync_directory(&state)?;
        next.write(&state)?;
        *inner.generation.write() = generation;
        inner.applied_next.store(applied_next, Ordering::Release);
        inner.flushed_next.store(applied_next, Ordering::Release);
        inner.installed_next.store(applied_next, Ordering::Release);
        before.remove_when_unused();
        inner.snapshots.publish(snapshot);
        Ok(())
    }

    /// Makes, opens and checks the generation of a snapshot, with the number
    /// and at the path given.
    fn make_generation(
        &self,
        snapshot: &SnapshotDir,
        (number, path): (u64, &Path),
        fatal: &Arc<Fatal>,
        is_as_described: impl FnOnce(&StateView) -> bool,
    ) -> Result<Arc<Generation>, SnapshotError> {
        snapshot.link_into(path)?;
        let (cluster, resources) = (self.inner.directory.cluster(), &self.inner.resources);
        let generation = Generation::open(path, number, cluster, resources, fatal)
            .map_err(|source| SnapshotError::Unusable { source })?;
        let applied_next =
            generation.applied_next().map_err(|source| SnapshotError::Unusable { source })?;
        if applied_next.saturating_sub(1) != snapshot.manifest().applied_index {
            let detail = "its applied index is not the database's";
            return Err(SnapshotError::Manifest { detail });
        }
        let generation = Arc::new(generation);
        if is_as_described(&StateView::new(Arc::clone(&generation))) {
            Ok(generation)
        } else {
            Err(SnapshotError::Mismatch)
        }
    }

    /// What the database holds and how it keeps up. Background work that failed
    /// is told to the fatal hook.
    #[must_use]
    pub fn stats(&self) -> StateStats {
        let generation = self.generation();
        let sum = |property| Table::ALL.iter().map(|t| generation.number_of(*t, property)).sum();
        let stats = StateStats {
            applied_next: self.applied_next(),
            flushed_next: self.inner.flushed_next.load(Ordering::Acquire),
            generation: generation.number(),
            table_bytes: sum("rocksdb.total-sst-files-size"),
            memtable_bytes: sum("rocksdb.cur-size-all-mem-tables"),
            cache_bytes: self.inner.resources.cache_bytes(),
            compaction_pending_bytes: sum("rocksdb.estimate-pending-compaction-bytes"),
            background_errors: generation.background_errors(),
        };
        if stats.background_errors > 0 {
            self.inner.fatal.report(&generation.background_failure());
        }
        stats
    }

    fn generation(&self) -> Arc<Generation> {
        Arc::clone(&self.inner.generation.read())
    }

    fn applied_next(&self) -> u64 {
        self.inner.applied_next.load(Ordering::Acquire)
    }
}
