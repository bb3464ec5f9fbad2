//! Errors of the disk, each with the file that it is about and what to do.
//!
//! A write or sync that failed once is never tried again: what it left behind
//! is not known, and RocksDB would resume by itself once a full disk has room.
//! [`Fatal`] remembers the first such failure, tells the node, and every later
//! write is refused.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

/// What an operator does about a directory whose content can't be trusted.
const REPLACE: &str = "replace this node: remove it from the cluster and start it under a new \
                       node id on an empty directory; the other members hold the data (a single \
                       node is restored from its backup)";

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The checksum doesn't match the content.
    #[error("its checksum does not match its content")]
    Checksum,
    /// Shorter or longer than it says.
    #[error("its length is wrong")]
    Length,
    /// Right checksum, wrong shape: written by no Strongroom.
    #[error("its content has a shape that no Strongroom wrote")]
    Shape,
    /// Gone.
    #[error("it is missing")]
    Missing,
    /// Entries of the Raft log are missing.
    #[error("the entry with index {index} is missing")]
    Hole {
        /// Index of the first missing entry.
        index: u64,
    },
    /// A value in a database fails its own checksum.
    #[error("the value of {key} fails its checksum")]
    Value {
        /// What the value is about, never the value.
        key: LogKey,
    },
    /// Writes that were synced are gone.
    #[error("synced writes are gone: {found} of at least {expected} {what} are there")]
    LostWrites {
        /// What was counted.
        what: &'static str,
        /// At least as many were synced.
        expected: u64,
        /// As many are there.
        found: u64,
    },
    /// The database found it.
    #[error("the database says: {0}")]
    Database(rocksdb::Error),
}

/// Names a value of the log database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogKey {
    /// An entry, by index.
    Entry(u64),
    /// A value of the log's own, by name.
    Meta(&'static str),
}

impl std::fmt::Display for LogKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Entry(index) => write!(f, "log entry {index}"),
            Self::Meta(name) => write!(f, "log record {name:?}"),
        }
    }
}

/// Why storage can't do what it was asked.
///
/// But for [`StorageError::Overloaded`], [`StorageError::NotConsecutive`],
/// [`StorageError::Superseded`], [`StorageError::NoSuchFile`] and
/// [`StorageError::Stopped`], each means that this node can't go on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The content of a file can't be trusted.
    #[error("{}: damaged: {damage}. Remedy: {remedy}", .file.display(), remedy = REPLACE)]
    Corrupt {
        /// The file, or the directory of the database where RocksDB doesn't
        /// say which of its files.
        file: PathBuf,
        /// What is wrong with it.
        damage: Damage,
    },
    /// Written by a newer program.
    #[error(
        "{}: has format {found}, this program knows formats up to {known}. Remedy: run a newer \
         version of Strongroom", .file.display()
    )]
    NewerFormat {
        /// The file.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// Newest format that this program knows.
        known: u32,
    },
    /// Belongs to another cluster.
    #[error(
        "{}: belongs to cluster {found}, this directory to cluster {expected}. Remedy: {remedy}",
        .file.display(), remedy = REPLACE
    )]
    ForeignCluster {
        /// The file.
        file: PathBuf,
        /// The cluster that it belongs to.
        found: strongroom_base::ClusterId,
        /// The cluster of the data directory.
        expected: strongroom_base::ClusterId,
    },
    /// No space left (ENOSPC, EDQUOT).
    #[error(
        "{}: no space left on the disk while {operation}. Remedy: free space, then start the \
         node again", .path.display()
    )]
    Full {
        /// File or directory.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
    },
    /// Any other error of the file system.
    #[error(
        "{}: input or output error while {operation}. Remedy: look at the disk and the kernel's \
         log; start the node again, and if it refuses, replace it", .path.display()
    )]
    Io {
        /// File or directory.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// An error of RocksDB that is neither of these.
    #[error(
        "{}: the database failed while {operation}. Remedy: look at the disk and the kernel's \
         log; start the node again, and if it refuses, replace it", .path.display()
    )]
    Database {
        /// Directory of the database.
        path: PathBuf,
        /// What was being done.
        operation: &'static str,
        /// RocksDB's error.
        #[source]
        source: rocksdb::Error,
    },
    /// More is waiting for the disk than may wait.
    #[error("{queued_bytes} bytes wait for the Raft log's disk, more than may")]
    Overloaded {
        /// Bytes that wait.
        queued_bytes: usize,
    },
    /// An append that would leave a hole or write an index twice.
    #[error("the next entry of the Raft log is {expected}, entry {got} was given")]
    NotConsecutive {
        /// Index of the next entry.
        expected: u64,
        /// Index given.
        got: u64,
    },
    /// A batch begun before a snapshot replaced the state.
    #[error("a snapshot has replaced the state since the batch was begun")]
    Superseded,
    /// A file of a snapshot that isn't one of it.
    #[error("the snapshot has no such file")]
    NoSuchFile,
    /// Closed, or stopped by an earlier failure.
    #[error("storage has stopped")]
    Stopped,
}

impl StorageError {
    /// Wraps an error of the file system.
    pub(crate) fn io(path: &Path, operation: &'static str, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { path, operation }
            }
            _ => Self::Io { path, operation, source: Arc::new(source) },
        }
    }

    /// Wraps an error of RocksDB on the database in directory `path`.
    ///
    /// RocksDB tells a full disk and damaged files by words only.
    pub(crate) fn database(path: &Path, operation: &'static str, source: rocksdb::Error) -> Self {
        let text = source.as_ref();
        if text.contains("No space left on device") || text.contains("Disk quota exceeded") {
            return Self::Full { path: path.to_owned(), operation };
        }
        let missing = text.contains("No such file or directory");
        if missing || source.kind() == rocksdb::ErrorKind::Corruption {
            let file = file_named_in(text, path).unwrap_or_else(|| path.to_owned());
            return Self::Corrupt { file, damage: Damage::Database(source) };
        }
        Self::Database { path: path.to_owned(), operation, source }
    }

    /// Says that a file can't be trusted.
    pub(crate) fn corrupt(file: &Path, damage: Damage) -> Self {
        Self::Corrupt { file: file.to_owned(), damage }
    }
}

/// The first file below `directory` that a message of RocksDB names.
fn file_named_in(message: &str, directory: &Path) -> Option<PathBuf> {
    let directory = directory.to_str()?;
    let start = message.find(directory)?;
    let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '.');
    let tail = &message[start + directory.len()..];
    let end = tail.find(|c| !name(c)).unwrap_or(tail.len());
    let tail = tail[..end].trim_end_matches('.').trim_matches('/');
    Some(if tail.is_empty() { directory.into() } else { Path::new(directory).join(tail) })
}

/// Called with the first failure after which a node must not go on.
///
/// The node records the reason and ends its process; it need not return.
pub type FatalHook = Arc<dyn Fn(&StorageError) + Send + Sync>;

/// The first fatal failure of a database, told once.
pub(crate) struct Fatal {
    hook: FatalHook,
    first: OnceLock<StorageError>,
}

impl Fatal {
    pub(crate) fn new(hook: FatalHook) -> Self {
        Self { hook, first: OnceLock::new() }
    }

    /// Remembers `error` and calls the hook, unless that was done before.
    pub(crate) fn report(&self, error: &StorageError) {
        if self.first.set(error.clone()).is_ok() {
            tracing::error!(%error, "storage has failed");
            (self.hook)(error);
        }
    }

    /// # Errors
    ///
    /// [`StorageError::Stopped`] once a failure was reported.
    pub(crate) fn check(&self) -> Result<(), StorageError> {
        if self.first.get().is_some() { Err(StorageError::Stopped) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn only_the_first_failure_is_told_and_all_later_work_is_refused() {
        let told = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&told);
        let fatal = Fatal::new(Arc::new(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        }));
        assert!(fatal.check().is_ok());
        fatal.report(&StorageError::Stopped);
        fatal.report(&StorageError::NoSuchFile);
        assert_eq!(told.load(Ordering::Relaxed), 1);
        assert!(matches!(fatal.check(), Err(StorageError::Stopped)));
    }

    #[test]
    fn a_full_disk_is_told_by_name() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let error = StorageError::io(Path::new("/d"), "writing", full);
        assert!(matches!(error, StorageError::Full { .. }), "{error}");
    }

    #[test]
    fn the_file_in_a_message_of_the_database_is_found() {
        let directory = Path::new("/data/log");
        let named = |text| file_named_in(text, directory);
        let sst = Some(PathBuf::from("/data/log/000012.sst"));
        assert_eq!(named("Corruption: mismatch in file /data/log/000012.sst: x"), sst);
        assert_eq!(named("Corruption: mismatch in file /data/log/000012.sst. Size"), sst);
        assert_eq!(named("Corruption: in /data/log//000012.sst"), sst);
        assert_eq!(named("Corruption: bad"), None);
    }
}
