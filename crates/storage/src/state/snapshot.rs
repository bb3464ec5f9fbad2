//! Snapshots on disk: directories `snapshots/<number>/` with the files of a
//! checkpoint and, in `CONTENTS`, their manifest.
//!
//! One that is complete has its number as name; `building-<number>` and
//! `incoming` are under way. The highest number is the newest. A snapshot is removed once a
//! newer one is there and nobody holds it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use strongroom_base::{ClusterId, limits};
use strongroom_format::{FormatError, store::SnapshotFile};

use super::{
    SnapshotManifest, contents,
    writer::{Receiving, SnapshotWriter},
};
use crate::{
    error::{Damage, StorageError},
    files,
};

/// Why a snapshot is not taken in.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// Of another cluster.
    #[error("the snapshot belongs to cluster {found}, this node to cluster {expected}")]
    ForeignCluster {
        /// The cluster that it belongs to.
        found: ClusterId,
        /// The cluster of this node.
        expected: ClusterId,
    },
    /// Of a format that this program doesn't know.
    #[error("the snapshot has a format that this program does not know")]
    Format {
        /// Which.
        #[source]
        source: FormatError,
    },
    /// The manifest is not what it must be.
    #[error("the snapshot's manifest is wrong: {detail}")]
    Manifest {
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A chunk out of turn.
    #[error("a chunk at byte {offset} of {file:?} is out of turn")]
    OutOfTurn {
        /// File that the chunk was for.
        file: String,
        /// Its position.
        offset: u64,
    },
    /// More bytes than the manifest says, or other ones.
    #[error("the content of {file:?} is not what the manifest says")]
    Content {
        /// The file.
        file: String,
    },
    /// Ended before all of it was there.
    #[error("the snapshot ended before {file:?} was complete")]
    Incomplete {
        /// First file that is not complete.
        file: String,
    },
    /// Another one is being received.
    #[error("another snapshot is being received")]
    Busy,
    /// More than the disk has room for.
    #[error("the snapshot has {bytes} bytes, the disk has room for {free_bytes}")]
    NoRoom {
        /// Bytes of the snapshot.
        bytes: u64,
        /// Bytes free.
        free_bytes: u64,
    },
    /// Its state is another than the one it is described as.
    #[error("the snapshot's state is not what its description says")]
    Mismatch,
    /// Its database can't be opened.
    #[error("the snapshot's database can't be used")]
    Unusable {
        /// Why.
        #[source]
        source: StorageError,
    },
    /// This node's disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A complete snapshot. Its files stay while a clone of this is held.
#[derive(Clone)]
pub struct SnapshotDir {
    files: Arc<SnapshotFiles>,
}

struct SnapshotFiles {
    path: PathBuf,
    manifest: SnapshotManifest,
    /// Not the newest one, or never was: removed with the last clone.
    obsolete: AtomicBool,
}

impl Drop for SnapshotFiles {
    fn drop(&mut self) {
        if *self.obsolete.get_mut()
            && let Err(error) = files::remove(&self.path)
        {
            tracing::warn!(%error, "an old snapshot stays until the next start");
        }
    }
}

impl SnapshotDir {
    fn new(path: PathBuf, manifest: SnapshotManifest, obsolete: bool) -> Self {
        let obsolete = AtomicBool::new(obsolete);
        Self { files: Arc::new(SnapshotFiles { path, manifest, obsolete }) }
    }

    /// What it holds.
    #[must_use]
    pub fn manifest(&self) -> &SnapshotManifest {
        &self.files.manifest
    }

    /// Bytes of all its files.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        contents::bytes(&self.files.manifest)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.files.path
    }

    /// Bytes of one of its files from `offset` on: at most
    /// [`limits::SNAPSHOT_CHUNK_BYTES`], none at its end.
    ///
    /// # Errors
    ///
    /// [`StorageError::NoSuchFile`] for a name that the manifest doesn't list;
    /// else the disk's error.
    pub fn read_chunk(&self, name: &str, offset: u64) -> Result<Vec<u8>, StorageError> {
        let listed = &self.files.manifest.files;
        let found = listed.binary_search_by(|file| file.name.as_str().cmp(name));
        let file = &listed[found.map_err(|_| StorageError::NoSuchFile)?];
        let left = usize::try_from(file.length.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut chunk = vec![0; left.min(limits::SNAPSHOT_CHUNK_BYTES)];
        let path = self.files.path.join(name);
        let read = File::open(&path).and_then(|file| file.read_exact_at(&mut chunk, offset));
        match read {
            Ok(()) => Ok(chunk),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(StorageError::corrupt(&path, Damage::Length))
            }
            Err(error) => Err(StorageError::io(&path, "reading", error)),
        }
    }

    /// Puts the files into a new directory at `target`, durable on return but
    /// for its own entry: table files, which are never changed, as links, the
    /// others as copies.
    pub(super) fn link_into(&self, target: &Path) -> Result<(), StorageError> {
        files::remove(target)?;
        files::make_directory(target)?;
        for file in &self.files.manifest.files {
            let (from, to) = (self.files.path.join(&file.name), target.join(&file.name));
            let wrap = |error| StorageError::io(&to, "copying", error);
            if is_table(&file.name) {
                fs::hard_link(&from, &to).map_err(wrap)?;
            } else {
                fs::copy(&from, &to).map_err(wrap)?;
                File::open(&to).and_then(|copy| copy.sync_all()).map_err(wrap)?;
            }
        }
        files::sync_directory(target)
    }
}

fn is_table(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "sst")
}

/// Hashes of table files by generation and name: they are never changed.
type Digests = BTreeMap<(u64, String), (u64, [u8; 32])>;

/// The directory `snapshots`.
pub(super) struct Snapshots {
    path: PathBuf,
    newest: Mutex<Option<SnapshotDir>>,
    /// Number of the next snapshot.
    next: AtomicU64,
    receiving: Arc<AtomicBool>,
    digests: Mutex<Digests>,
}

impl Snapshots {
    /// Finds the newest whole snapshot that isn't ahead of the state, and
    /// removes everything else: snapshots are derived from the state.
    pub(super) fn open(path: PathBuf, applied_next: u64) -> Result<Self, StorageError> {
        let mut numbers: Vec<u64> =
            files::names(&path)?.iter().filter_map(|name| name.parse().ok()).collect();
        numbers.sort_unstable();
        let next = numbers.last().map_or(1, |number| number.saturating_add(1));
        let newest = numbers.iter().rev().find_map(|number| {
            let path = path.join(number.to_string());
            usable(&path, applied_next).map(|manifest| SnapshotDir::new(path, manifest, false))
        });
        for name in files::names(&path)? {
            let path = path.join(name);
            if newest.as_ref().is_none_or(|newest| newest.path() != path) {
                files::remove(&path)?;
            }
        }
        Ok(Self {
            path,
            newest: Mutex::new(newest),
            next: AtomicU64::new(next),
            receiving: Arc::default(),
            digests: Mutex::default(),
        })
    }

    pub(super) fn newest(&self) -> Option<SnapshotDir> {
        self.newest.lock().clone()
    }

    /// Makes `snapshot` the newest one.
    pub(super) fn publish(&self, snapshot: &SnapshotDir) {
        snapshot.files.obsolete.store(false, Ordering::Release);
        let before = self.newest.lock().replace(snapshot.clone());
        if let Some(before) = before
            && !Arc::ptr_eq(&before.files, &snapshot.files)
        {
            before.files.obsolete.store(true, Ordering::Release);
        }
    }

    /// Makes `snapshot` the newest one, unless a newer one is there: then it is
    /// removed with its last clone.
    pub(super) fn publish_if_newer(&self, snapshot: &SnapshotDir) {
        let newest = self.newest();
        if newest.is_none_or(|newest| {
            newest.manifest().applied_index <= snapshot.manifest().applied_index
        }) {
            self.publish(snapshot);
        }
    }

    /// Number and place of a checkpoint to be made.
    pub(super) fn build(&self) -> (u64, PathBuf) {
        let number = self.number();
        (number, self.path.join(format!("building-{number}")))
    }

    /// Length and SHA-256 of the files of a checkpoint in `directory`. Table
    /// files of `generation` that an earlier one had are not read again.
    pub(super) fn list(
        &self,
        generation: u64,
        directory: &Path,
    ) -> Result<Vec<SnapshotFile>, StorageError> {
        let names = files::names(directory)?;
        self.digests
            .lock()
            .retain(|(of, name), _| *of == generation && names.binary_search(name).is_ok());
        let mut listed = Vec::with_capacity(names.len());
        for name in names {
            let key = (generation, name);
            let known = self.digests.lock().get(&key).copied();
            let (length, sha256) = match known {
                Some(known) => known,
                None => digest(&directory.join(&key.1))?,
            };
            if is_table(&key.1) {
                self.digests.lock().insert(key.clone(), (length, sha256));
            }
            listed.push(SnapshotFile { name: key.1, length, sha256: sha256.to_vec() });
        }
        Ok(listed)
    }

    /// Begins to receive one.
    pub(super) fn receive(
        &self,
        manifest: SnapshotManifest,
    ) -> Result<SnapshotWriter, SnapshotError> {
        if self.receiving.swap(true, Ordering::AcqRel) {
            return Err(SnapshotError::Busy);
        }
        let path = self.path.join("incoming");
        let receiving = Receiving::new(Arc::clone(&self.receiving), path);
        SnapshotWriter::new(receiving, self.number(), manifest)
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

/// The manifest of the snapshot at `path`, if it can be used beside a state
/// that has applied everything below `applied_next`.
fn usable(path: &Path, applied_next: u64) -> Option<SnapshotManifest> {
    let manifest = contents::read(path)
        .inspect_err(|error| tracing::warn!(%error, "a damaged snapshot is removed"))
        .ok()?;
    let whole = manifest.files.iter().all(|file| {
        fs::metadata(path.join(&file.name)).is_ok_and(|found| found.len() == file.length)
    });
    (whole && manifest.applied_index <= applied_next.saturating_sub(1)).then_some(manifest)
}

/// Gives a complete directory its number; durable on return.
pub(super) fn complete(
    path: &Path,
    number: u64,
    manifest: SnapshotManifest,
) -> Result<SnapshotDir, StorageError> {
    contents::write(path, &manifest)?;
    let named = path.with_file_name(number.to_string());
    fs::rename(path, &named).map_err(|error| StorageError::io(&named, "renaming", error))?;
    files::sync_parent(&named)?;
    Ok(SnapshotDir::new(named, manifest, true))
}

/// Length and SHA-256 of a file.
fn digest(path: &Path) -> Result<(u64, [u8; 32]), StorageError> {
    let wrap = |error| StorageError::io(path, "reading", error);
    let mut file = File::open(path).map_err(wrap)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; limits::SNAPSHOT_CHUNK_BYTES];
    let mut length = 0;
    loop {
        let read = file.read(&mut buffer).map_err(wrap)?;
        if read == 0 {
            return Ok((length, hasher.finalize().into()));
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}
