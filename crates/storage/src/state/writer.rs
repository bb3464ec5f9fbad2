//! A snapshot that is being received, file by file, chunk by chunk.
//!
//! Nothing of it counts before all of it is there and has the hashes of its
//! manifest. Dropped earlier, it is removed.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use sha2::{Digest, Sha256};
use strongroom_format::store::SnapshotFile;

use super::{SnapshotDir, SnapshotError, SnapshotManifest, snapshot};
use crate::{StorageError, files};

/// Receives a snapshot: chunks in the order of the manifest's files and of
/// their bytes.
pub struct SnapshotWriter {
    receiving: Receiving,
    number: u64,
    manifest: SnapshotManifest,
    /// Position in the manifest of the file that is open.
    position: usize,
    open: Option<OpenFile>,
}

struct OpenFile {
    file: File,
    path: PathBuf,
    hasher: Sha256,
    written: u64,
}

impl OpenFile {
    /// Checks a file whose bytes are all there, and makes it durable.
    fn close(self, listed: &SnapshotFile) -> Result<(), SnapshotError> {
        if self.hasher.finalize().as_slice() != listed.sha256 {
            return Err(SnapshotError::Content { file: listed.name.clone() });
        }
        self.file.sync_all().map_err(|error| StorageError::io(&self.path, "syncing", error))?;
        Ok(())
    }
}

/// The right to receive a snapshot, and the directory for it.
pub(super) struct Receiving {
    flag: Arc<AtomicBool>,
    path: PathBuf,
}

impl Receiving {
    /// `flag` is up; it goes down when this is dropped.
    pub(super) fn new(flag: Arc<AtomicBool>, path: PathBuf) -> Self {
        Self { flag, path }
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        if let Err(error) = files::remove(&self.path) {
            tracing::warn!(%error, "an unfinished snapshot stays until the next start");
        }
        self.flag.store(false, Ordering::Release);
    }
}

impl SnapshotWriter {
    pub(super) fn new(
        receiving: Receiving,
        number: u64,
        manifest: SnapshotManifest,
    ) -> Result<Self, SnapshotError> {
        files::remove(&receiving.path)?;
        files::make_directory(&receiving.path)?;
        let mut writer = Self { receiving, number, manifest, position: 0, open: None };
        writer.open_next()?;
        Ok(writer)
    }

    /// Takes the bytes of `name` at `offset`, which must be the next ones. No
    /// bytes are no chunk: a file without any needs none.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]: the snapshot is of no use any more.
    pub fn chunk(&mut self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), SnapshotError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let out_of_turn = || SnapshotError::OutOfTurn { file: name.to_owned(), offset };
        let listed = self.manifest.files.get(self.position).ok_or_else(out_of_turn)?;
        let open = self.open.as_mut().ok_or_else(out_of_turn)?;
        if listed.name != name || open.written != offset {
            return Err(out_of_turn());
        }
        if bytes.len() as u64 > listed.length - open.written {
            return Err(SnapshotError::Content { file: name.to_owned() });
        }
        open.file
            .write_all(bytes)
            .map_err(|error| StorageError::io(&open.path, "writing", error))?;
        open.hasher.update(bytes);
        open.written += bytes.len() as u64;
        let Some(complete) = self.open.take_if(|open| open.written == listed.length) else {
            return Ok(());
        };
        complete.close(listed)?;
        self.position += 1;
        self.open_next()
    }

    /// The snapshot, complete and durable. It is removed when dropped, unless
    /// [`StateDb::install`](crate::StateDb::install) took it.
    ///
    /// # Errors
    ///
    /// [`SnapshotError::Incomplete`], or the disk's error.
    pub fn finish(self) -> Result<SnapshotDir, SnapshotError> {
        if let Some(file) = self.manifest.files.get(self.position) {
            return Err(SnapshotError::Incomplete { file: file.name.clone() });
        }
        Ok(snapshot::complete(&self.receiving.path, self.number, self.manifest)?)
    }

    /// Opens the file at the position; those without a byte, which no chunk
    /// follows for, are made and passed.
    fn open_next(&mut self) -> Result<(), SnapshotError> {
        while let Some(listed) = self.manifest.files.get(self.position) {
            let path = self.receiving.path.join(&listed.name);
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(|error| StorageError::io(&path, "creating", error))?;
            let open = OpenFile { file, path, hasher: Sha256::new(), written: 0 };
            if listed.length > 0 {
                self.open = Some(open);
                return Ok(());
            }
            open.close(listed)?;
            self.position += 1;
        }
        Ok(())
    }
}
