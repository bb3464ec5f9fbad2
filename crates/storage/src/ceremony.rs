//! Ceremony records that wait for a quorum: a small durable list.
//!
//! What happens while no quorum is there (a share entered, a node sealed) must
//! be recorded all the same. The list is bounded: once it is full, a further
//! record is counted into the last one of its kind.
//!
//! Body of the checked file `ceremony`, integers big endian, for each record:
//! id (8) ‖ count (4) ‖ kind (2) ‖ length n (2) ‖ n bytes.

use std::path::PathBuf;

use parking_lot::Mutex;
use strongroom_base::limits::CEREMONY_BACKLOG_MAX;

use crate::{
    DataDir,
    error::{Damage, StorageError},
    files::{self, Kind},
};

/// Format of the body.
const CEREMONY_FORMAT: u8 = 1;
/// Records that may be kept beyond the bound, each the first of its kind.
const KINDS_MAX: usize = 64;
/// Longest record.
pub const CEREMONY_RECORD_BYTES_MAX: usize = 1024;

/// A record that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CeremonyRecord {
    /// Names it in this list; ascending, never used twice while it waits.
    pub id: u64,
    /// Events that it stands for.
    pub count: u32,
    /// Kind, chosen by the caller.
    pub kind: u16,
    /// The first of the events.
    pub record: Vec<u8>,
}

/// Why a record was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CeremonyError {
    /// Longer than [`CEREMONY_RECORD_BYTES_MAX`].
    #[error("a ceremony record has at most {CEREMONY_RECORD_BYTES_MAX} bytes")]
    TooLong,
    /// Too many kinds of records: more than the program has.
    #[error("the list of ceremony records is full")]
    Full,
    /// The disk failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The list of a data directory. One of it at a time.
pub struct CeremonyBacklog {
    path: PathBuf,
    records: Mutex<Vec<CeremonyRecord>>,
    _directory: DataDir,
}

impl CeremonyBacklog {
    /// Reads the list.
    ///
    /// # Errors
    ///
    /// [`StorageError`] naming the file and what to do about it.
    pub fn open(directory: &DataDir) -> Result<Self, StorageError> {
        let path = directory.join("ceremony");
        let body = files::read_checked(&path, Kind::Ceremony, CEREMONY_FORMAT)?
            .ok_or_else(|| StorageError::corrupt(&path, Damage::Missing))?;
        let records = decode(&body).ok_or_else(|| StorageError::corrupt(&path, Damage::Shape))?;
        Ok(Self { path, records: Mutex::new(records), _directory: directory.clone() })
    }

    /// Adds a record; durable on return.
    ///
    /// # Errors
    ///
    /// [`CeremonyError`]; the list is as before.
    pub fn push(&self, kind: u16, record: &[u8]) -> Result<(), CeremonyError> {
        if record.len() > CEREMONY_RECORD_BYTES_MAX {
            return Err(CeremonyError::TooLong);
        }
        let mut records = self.records.lock();
        let mut changed = records.clone();
        let same_kind = changed.iter_mut().rev().find(|waiting| waiting.kind == kind);
        match same_kind {
            Some(waiting) if records.len() >= CEREMONY_BACKLOG_MAX => {
                waiting.count = waiting.count.saturating_add(1);
            }
            _ if records.len() >= CEREMONY_BACKLOG_MAX + KINDS_MAX => {
                return Err(CeremonyError::Full);
            }
            _ => {
                let id = records.last().map_or(1, |last| last.id + 1);
                changed.push(CeremonyRecord { id, count: 1, kind, record: record.to_vec() });
            }
        }
        self.write(&mut records, changed)?;
        Ok(())
    }

    /// All that waits, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<CeremonyRecord> {
        self.records.lock().clone()
    }

    /// Removes what was recorded, as [`CeremonyBacklog::list`] gave it: events
    /// counted since then stay. Durable on return.
    ///
    /// # Errors
    ///
    /// [`StorageError`]; the list is as before.
    pub fn remove(&self, recorded: &[CeremonyRecord]) -> Result<(), StorageError> {
        let mut records = self.records.lock();
        let mut changed = records.clone();
        for waiting in &mut changed {
            let done = recorded.iter().find(|done| done.id == waiting.id);
            waiting.count -= done.map_or(0, |done| done.count.min(waiting.count));
        }
        changed.retain(|waiting| waiting.count > 0);
        self.write(&mut records, changed)
    }

    fn write(
        &self,
        records: &mut Vec<CeremonyRecord>,
        changed: Vec<CeremonyRecord>,
    ) -> Result<(), StorageError> {
        files::write_checked(&self.path, Kind::Ceremony, CEREMONY_FORMAT, &encode(&changed))?;
        *records = changed;
        Ok(())
    }
}

/// Makes an empty list in the directory `root`.
pub(crate) fn create(root: &std::path::Path) -> Result<(), StorageError> {
    files::write_checked(&root.join("ceremony"), Kind::Ceremony, CEREMONY_FORMAT, &[])
}

fn encode(records: &[CeremonyRecord]) -> Vec<u8> {
    let mut body = Vec::new();
    for CeremonyRecord { id, count, kind, record } in records {
        let length = u16::try_from(record.len()).expect("records have at most 1024 bytes");
        body.extend(id.to_be_bytes());
        body.extend(count.to_be_bytes());
        body.extend(kind.to_be_bytes());
        body.extend(length.to_be_bytes());
        body.extend(record);
    }
    body
}

fn decode(mut body: &[u8]) -> Option<Vec<CeremonyRecord>> {
    let mut records: Vec<CeremonyRecord> = Vec::new();
    while !body.is_empty() {
        let (id, rest) = body.split_first_chunk()?;
        let (count, rest) = rest.split_first_chunk()?;
        let (kind, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (record, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
        body = rest;
        let id = u64::from_be_bytes(*id);
        if records.last().is_some_and(|last| last.id >= id) {
            return None;
        }
        let (count, kind) = (u32::from_be_bytes(*count), u16::from_be_bytes(*kind));
        records.push(CeremonyRecord { id, count, kind, record: record.to_vec() });
    }
    Some(records)
}
