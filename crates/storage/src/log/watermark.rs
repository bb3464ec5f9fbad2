//! What the Raft log had synced, told by a second file.
//!
//! RocksDB takes a write-ahead log that ends early for one whose last record
//! was torn: a file cut short, a removed newest file or a flipped length byte
//! drops synced entries and votes without a word. So after each synced write
//! the log notes here how far it had come, and a start that finds less refuses.
//!
//! Notes are written after the sync and are not synced themselves: they never
//! run ahead of the log. A killed process loses none of them; a machine that
//! loses power may lose those of its last seconds, and with them only this
//! second line of defence for those seconds. Start and clean end sync the file.
//!
//! The file has two slots of [`SLOT_BYTES`] bytes, written in turn, so that a
//! torn write leaves the other: each a checked frame (see `files`) around
//! sequence (8) ‖ votes (8) ‖ purged (8), big endian.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::{
    error::{Damage, StorageError},
    files::{self, FRAME_BYTES, Kind},
};

/// Format of a slot's body.
const WATERMARK_FORMAT: u8 = 1;
/// Bytes of a slot's frame and body.
const SLOT_USED_BYTES: usize = FRAME_BYTES + 24;
/// Distance of the slots: no sector holds both.
const SLOT_BYTES: u64 = 4096;

/// How far the log had come: each number only grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// Writes of the database, as RocksDB numbers them.
    pub(super) sequence: u64,
    /// Votes saved.
    pub(super) votes: u64,
    /// One more than the index purged through; 0: never purged.
    pub(super) purged: u64,
}

impl Mark {
    fn encode(self) -> Vec<u8> {
        let body: Vec<u8> = [self.sequence, self.votes, self.purged].map(u64::to_be_bytes).concat();
        files::frame(Kind::Watermark, WATERMARK_FORMAT, &body)
    }

    fn decode(body: &[u8]) -> Option<Self> {
        let (numbers, []) = body.as_chunks::<8>() else { return None };
        let numbers: [[u8; 8]; 3] = numbers.try_into().ok()?;
        let [sequence, votes, purged] = numbers.map(u64::from_be_bytes);
        Some(Self { sequence, votes, purged })
    }

    /// Refuses a log that has come less far than was noted.
    fn check(self, found: Self, directory: &Path) -> Result<(), StorageError> {
        let compare = |what, expected, found| {
            let damage = Damage::LostWrites { what, expected, found };
            if found < expected { Err(StorageError::corrupt(directory, damage)) } else { Ok(()) }
        };
        compare("votes", self.votes, found.votes)?;
        compare("purged entries", self.purged, found.purged)?;
        compare("writes", self.sequence, found.sequence)
    }
}

/// The file, open for notes.
pub(super) struct Watermark {
    file: File,
    path: PathBuf,
    odd: bool,
}

impl Watermark {
    /// Makes the file for a log that has come as far as `mark`; durable on
    /// return, but for the directory's entry.
    pub(super) fn create(path: &Path, mark: Mark) -> Result<(), StorageError> {
        let mut bytes = mark.encode();
        bytes.resize(SLOT_BYTES as usize, 0);
        bytes.extend(mark.encode());
        files::replace(path, &bytes)
    }

    /// Opens the file and holds what it says against `found`, what the log in
    /// `directory` has.
    ///
    /// # Errors
    ///
    /// [`Damage::LostWrites`] when the log had come further; [`Damage`] of this
    /// file when neither slot can be trusted.
    pub(super) fn open(path: &Path, directory: &Path, found: Mark) -> Result<Self, StorageError> {
        let wrap = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => StorageError::corrupt(path, Damage::Missing),
            _ => StorageError::io(path, "opening", error),
        };
        let file =
            OpenOptions::new().read(true).write(true).mode(0o600).open(path).map_err(wrap)?;
        let slots = [read_slot(&file, path, 0), read_slot(&file, path, SLOT_BYTES)];
        for slot in slots.iter().flatten() {
            slot.check(found, directory)?;
        }
        match slots {
            [Err(error), Err(_)] => return Err(error),
            [Err(error), _] | [_, Err(error)] => {
                tracing::warn!(%error, "one of two slots is damaged; the other one is used");
            }
            _ => {}
        }
        let mut watermark = Self { file, path: path.to_owned(), odd: false };
        watermark.note(found)?;
        watermark.note(found)?;
        watermark.sync()?;
        Ok(watermark)
    }

    /// Notes how far the log has come; survives the process, not yet a loss of
    /// power.
    pub(super) fn note(&mut self, mark: Mark) -> Result<(), StorageError> {
        let offset = if self.odd { SLOT_BYTES } else { 0 };
        self.odd = !self.odd;
        self.file
            .write_all_at(&mark.encode(), offset)
            .map_err(|error| StorageError::io(&self.path, "writing", error))
    }

    /// Makes all notes durable.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        self.file.sync_data().map_err(|error| StorageError::io(&self.path, "syncing", error))
    }
}

fn read_slot(file: &File, path: &Path, offset: u64) -> Result<Mark, StorageError> {
    let mut bytes = [0; SLOT_USED_BYTES];
    match file.read_exact_at(&mut bytes, offset) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            return Err(StorageError::corrupt(path, Damage::Length));
        }
        Err(error) => return Err(StorageError::io(path, "reading", error)),
    }
    let body = files::unframe(path, Kind::Watermark, WATERMARK_FORMAT, &bytes)?;
    Mark::decode(body).ok_or_else(|| StorageError::corrupt(path, Damage::Shape))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { sequence: 10, votes: 2, purged: 5 };

    fn made(mark: Mark) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log.watermark");
        Watermark::create(&path, mark).unwrap();
        (directory, path)
    }

    #[test]
    fn a_log_that_came_less_far_is_refused() {
        let (directory, path) = made(MARK);
        for less in
            [Mark { sequence: 9, ..MARK }, Mark { votes: 1, ..MARK }, Mark { purged: 4, ..MARK }]
        {
            let error = Watermark::open(&path, directory.path(), less).err().unwrap();
            let lost =
                matches!(error, StorageError::Corrupt { damage: Damage::LostWrites { .. }, .. });
            assert!(lost, "{error}");
        }
        assert!(Watermark::open(&path, directory.path(), MARK).is_ok());
    }

    #[test]
    fn one_damaged_slot_is_survived_and_two_are_refused() {
        let (directory, path) = made(MARK);
        let flip = |offset: usize| {
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[offset] ^= 1;
            std::fs::write(&path, bytes).unwrap();
        };
        flip(3);
        assert!(Watermark::open(&path, directory.path(), MARK).is_ok());
        flip(3);
        flip(SLOT_BYTES as usize + 3);
        assert!(Watermark::open(&path, directory.path(), MARK).is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(Watermark::open(&path, directory.path(), MARK).is_err());
    }

    #[test]
    fn the_newest_note_is_the_one_that_counts() {
        let (directory, path) = made(Mark::default());
        let mut watermark = Watermark::open(&path, directory.path(), Mark::default()).unwrap();
        for sequence in 1..=7 {
            watermark.note(Mark { sequence, ..Mark::default() }).unwrap();
        }
        let six = Mark { sequence: 6, ..Mark::default() };
        assert!(Watermark::open(&path, directory.path(), six).is_err());
    }
}
