//! The data directory: whose it is, which formats it has, who holds it open.
//!
//! | name | content |
//! |---|---|
//! | `LOCK` | empty; locked (flock) while a process has the directory open |
//! | `CREATING` | empty; there only while the directory is being made |
//! | `identity.json` | cluster, node, incarnation, formats; written last, never changed |
//! | `boot` | starts of the node so far |
//! | `ceremony` | ceremony records that wait for a quorum |
//! | `log/`, `log.watermark` | the Raft log (RocksDB), and what it had synced |
//! | `state/CURRENT`, `state/<generation>/` | the state database (RocksDB) |
//! | `state/verifying/` | a received snapshot while it is opened once to be compared |
//! | `snapshots/` | checkpoints and snapshots received |
//!
//! A directory without `identity.json` is made anew only where it is empty or
//! says `CREATING`: a lost identity is never taken for a new directory.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use strongroom_base::{BootId, ClusterId, Incarnation, NodeId};

use crate::{
    ceremony,
    error::{Damage, StorageError},
    files::{self, Kind},
    identity::Identity,
    log, state,
};

/// Format of the file `boot`.
const BOOT_FORMAT: u8 = 1;
/// Names that a directory may have and still count as empty: the first steps of
/// making one, and what `mkfs` leaves in the root of a file system.
const EMPTY: [&str; 3] = ["LOCK", "CREATING.tmp", "lost+found"];

/// Why a data directory can't be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process has it open.
    #[error("{}: another process has this data directory open. Remedy: stop it", .path.display())]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// Not empty, and not a data directory.
    #[error(
        "{}: is neither empty nor a data directory of Strongroom (it holds {name:?}). Remedy: name \
         another directory", .path.display()
    )]
    NotADataDirectory {
        /// The directory.
        path: PathBuf,
        /// Something that it holds.
        name: String,
    },
    /// Made for another cluster.
    #[error(
        "{}: belongs to cluster {found}, this node is configured for cluster {expected}. Remedy: \
         name the right directory, or start the node on an empty one", .path.display()
    )]
    ForeignCluster {
        /// The directory.
        path: PathBuf,
        /// The cluster that it belongs to.
        found: ClusterId,
        /// The cluster given.
        expected: ClusterId,
    },
    /// Made for another node.
    #[error(
        "{}: belongs to node {found}, this is node {expected}. Remedy: name the right directory, \
         or start the node on an empty one", .path.display()
    )]
    ForeignNode {
        /// The directory.
        path: PathBuf,
        /// The node that it belongs to.
        found: NodeId,
        /// The node given.
        expected: NodeId,
    },
    /// A file in it can't be read, written or trusted.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The directory, held open: no other process opens it while this value, or a
/// database opened through it, lives.
#[derive(Clone)]
pub struct DataDir {
    inner: Arc<Inner>,
}

struct Inner {
    root: PathBuf,
    identity: Identity,
    created: bool,
    /// Serialises changes of the file `boot`.
    boot: Mutex<()>,
    _lock: File,
}

impl DataDir {
    /// Opens the directory at `path` for `node` of `cluster`; makes it where
    /// there is none or an empty one, with an incarnation of 16 random bytes,
    /// `entropy`.
    ///
    /// # Errors
    ///
    /// [`DataDirError`]; nothing was changed in a directory that isn't ours.
    pub fn open(
        path: &Path,
        cluster: ClusterId,
        node: NodeId,
        entropy: [u8; 16],
    ) -> Result<Self, DataDirError> {
        files::make_directory(path)?;
        let root = std::path::absolute(path)
            .map_err(|error| StorageError::io(path, "making the path absolute", error))?;
        refuse_unknown_directory(&root)?;
        let lock = lock(&root)?;
        let found = Identity::read(&root.join("identity.json"))?;
        let created = found.is_none();
        let identity = match found {
            Some(identity) => identity,
            None => create(&root, cluster, node, Incarnation::from_random(entropy))?,
        };
        if identity.cluster != cluster {
            let found = identity.cluster;
            return Err(DataDirError::ForeignCluster { path: root, found, expected: cluster });
        }
        if identity.node != node {
            let found = identity.node;
            return Err(DataDirError::ForeignNode { path: root, found, expected: node });
        }
        files::remove(&root.join("CREATING"))?;
        let inner = Inner { root, identity, created, boot: Mutex::new(()), _lock: lock };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The cluster that it belongs to.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.inner.identity.cluster
    }

    /// The node that it belongs to.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.inner.identity.node
    }

    /// Drawn when the directory was made.
    #[must_use]
    pub fn incarnation(&self) -> Incarnation {
        self.inner.identity.incarnation
    }

    /// True: this call of [`DataDir::open`] made it.
    #[must_use]
    pub fn created(&self) -> bool {
        self.inner.created
    }

    /// Its absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.root
    }

    /// Counts one more start of the node; durable on return.
    ///
    /// # Errors
    ///
    /// [`StorageError`]: the start isn't counted and must not go on.
    pub fn next_boot(&self, nonce: u64) -> Result<BootId, StorageError> {
        let _alone = self.inner.boot.lock();
        let path = self.inner.root.join("boot");
        let corrupt = |damage| StorageError::corrupt(&path, damage);
        let body = files::read_checked(&path, Kind::Boot, BOOT_FORMAT)?
            .ok_or_else(|| corrupt(Damage::Missing))?;
        let body: [u8; 16] = body.try_into().map_err(|_| corrupt(Damage::Shape))?;
        let count = u64::from_be_bytes(*body.first_chunk().expect("16 bytes hold 8"));
        let count = count.checked_add(1).ok_or_else(|| corrupt(Damage::Shape))?;
        files::write_checked(&path, Kind::Boot, BOOT_FORMAT, &boot_body(count, nonce))?;
        Ok(BootId { count, nonce })
    }

    /// Bytes that an unprivileged process can still write to this file system.
    ///
    /// # Errors
    ///
    /// The system's error.
    pub fn free_bytes(&self) -> Result<u64, StorageError> {
        let root = &self.inner.root;
        rustix::fs::statvfs(root)
            .map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize))
            .map_err(|error| StorageError::io(root, "asking for free space", error.into()))
    }

    /// Path of something in the directory.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.inner.root.join(name)
    }
}

/// Body of the file `boot`: count, then the nonce of the newest start.
fn boot_body(count: u64, nonce: u64) -> Vec<u8> {
    [count.to_be_bytes(), nonce.to_be_bytes()].concat()
}

/// Refuses to touch a directory of somebody else, and one that lost its
/// identity.
fn refuse_unknown_directory(root: &Path) -> Result<(), DataDirError> {
    let names = files::names(root)?;
    let has = |name: &str| names.iter().any(|found| found == name);
    if has("identity.json") || has("CREATING") {
        return Ok(());
    }
    let Some(name) = names.iter().find(|name| !EMPTY.contains(&name.as_str())) else {
        return Ok(());
    };
    if has("LOCK") && (has("boot") || has("log")) {
        return Err(StorageError::corrupt(&root.join("identity.json"), Damage::Missing).into());
    }
    Err(DataDirError::NotADataDirectory { path: root.to_owned(), name: name.clone() })
}

/// Takes the lock of the directory.
fn lock(root: &Path) -> Result<File, DataDirError> {
    let path = root.join("LOCK");
    let wrap = |error| StorageError::io(&path, "locking", error);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(wrap)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DataDirError::Locked { path: root.to_owned() }),
        Err(TryLockError::Error(error)) => Err(wrap(error).into()),
    }
}

/// Makes the content of an empty or half-made directory. The identity comes
/// last: from then on everything else must be there.
fn create(
    root: &Path,
    cluster: ClusterId,
    node: NodeId,
    incarnation: Incarnation,
) -> Result<Identity, DataDirError> {
    for name in files::names(root)? {
        if !EMPTY.contains(&name.as_str()) && name != "CREATING" {
            files::remove(&root.join(name))?;
        }
    }
    files::replace(&root.join("CREATING"), b"")?;
    files::make_directory(&root.join("snapshots"))?;
    log::create(root)?;
    state::create(root, cluster)?;
    ceremony::create(root)?;
    let boot = boot_body(0, 0);
    files::write_checked(&root.join("boot"), Kind::Boot, BOOT_FORMAT, &boot)?;
    let identity = Identity { cluster, node, incarnation };
    identity.write(&root.join("identity.json"))?;
    files::sync_parent(root)?;
    Ok(identity)
}
