//! The log database: opening it, checking all of it, reading and writing it.

use std::path::Path;

use bytes::Bytes;
use rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, ReadOptions, WriteBatch};
use strongroom_format::LOG_FORMAT;

use super::{
    LogEntry,
    record::{self, FORMAT, Meta, PURGED, START, VOTE, entry_key},
    tail::Bounds,
    watermark::Mark,
};
use crate::{
    error::{Damage, StorageError},
    options,
};

/// Bytes of a memtable, and so about the size of one write-ahead log.
const MEMTABLE_BYTES: usize = 16 * 1024 * 1024;
/// Bytes of write-ahead logs: what a start has to read again at most.
const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of blocks kept; entries are read from disk by lagging followers only.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Truncations of at most as many entries delete them one by one: a range
/// deletion makes later reads dearer.
const DELETES_MAX: u64 = 1024;

/// What a start found in the log.
pub(super) struct Recovered {
    pub(super) bounds: Option<Bounds>,
    /// Bytes of the vote, and its number.
    pub(super) vote: Option<Bytes>,
    pub(super) votes: u64,
    /// Index purged through, and bytes of the Raft layer.
    pub(super) purged: Option<(u64, Bytes)>,
}

/// The open database.
pub(super) struct LogDatabase {
    db: DB,
}

fn database_options() -> Result<Options, StorageError> {
    let mut options = options::base()?;
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options.set_max_write_buffer_number(3);
    options.set_max_total_wal_size(WAL_BYTES_MAX);
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_max_open_files(128);
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
    options.set_block_based_table_factory(&table);
    Ok(options)
}

impl LogDatabase {
    /// Makes an empty database in `directory`; durable on return.
    pub(super) fn create(directory: &Path) -> Result<Mark, StorageError> {
        let mut options = database_options()?;
        options.create_if_missing(true);
        options.set_error_if_exists(true);
        let wrap = |error| StorageError::database(directory, "creating the database", error);
        let db = DB::open(&options, directory).map_err(wrap)?;
        let mut batch = WriteBatch::new();
        batch.put(FORMAT.key(), FORMAT.value(u64::from(LOG_FORMAT), &[]));
        db.write_opt(batch, &options::synced()).map_err(wrap)?;
        Ok(Mark { sequence: db.latest_sequence_number(), ..Mark::default() })
    }

    /// Opens the database in `directory`.
    pub(super) fn open(directory: &Path) -> Result<Self, StorageError> {
        let db = DB::open(&database_options()?, directory)
            .map_err(|error| StorageError::database(directory, "opening the database", error))?;
        options::check_files(&db)?;
        Ok(Self { db })
    }

    /// Reads the whole log: each value has its checksum, each entry follows
    /// the one before it, the first one follows what was purged.
    pub(super) fn recover(&self) -> Result<Recovered, StorageError> {
        let (format, _) = self.meta(FORMAT)?.ok_or_else(|| self.corrupt(Damage::Shape))?;
        if format > u64::from(LOG_FORMAT) {
            let file = self.db.path().to_owned();
            let found = u32::try_from(format).unwrap_or(u32::MAX);
            return Err(StorageError::NewerFormat { file, found, known: LOG_FORMAT });
        }
        let purged = self.meta(PURGED)?;
        let (votes, vote) = self.meta(VOTE)?.map_or((0, None), |(n, vote)| (n, Some(vote)));
        let start = self.meta(START)?.map(|(index, _)| index);
        let first = purged.as_ref().map(|(index, _)| index.saturating_add(1)).or(start);
        let mut next = first;
        self.walk(first.unwrap_or(0), u64::MAX, |entry| {
            if Some(entry.index) != next {
                return Err(self.corrupt(Damage::Hole { index: next.unwrap_or(0) }));
            }
            next = Some(entry.index.saturating_add(1));
            Ok(true)
        })?;
        if purged.is_none()
            && let Some(index) = start
            && next == Some(index)
        {
            return Err(self.corrupt(Damage::Hole { index }));
        }
        let bounds = first.zip(next).map(|(first, next)| Bounds { first, next });
        Ok(Recovered { bounds, vote, votes, purged })
    }

    /// How many writes the database has seen.
    pub(super) fn sequence(&self) -> u64 {
        self.db.latest_sequence_number()
    }

    /// Writes and syncs.
    pub(super) fn write(&self, batch: WriteBatch) -> Result<(), StorageError> {
        self.db
            .write_opt(batch, &options::synced())
            .map_err(|error| StorageError::database(self.db.path(), "writing the log", error))
    }

    /// Background work that failed so far.
    pub(super) fn background_errors(&self) -> u64 {
        options::number(&self.db, "rocksdb.background-errors")
    }

    /// Bytes of table files.
    pub(super) fn table_bytes(&self) -> u64 {
        options::number(&self.db, "rocksdb.total-sst-files-size")
    }

    /// Reads entries with `from <= index < to`, each following the one before
    /// it; ends early at the first one missing, or once `bytes_max` are read.
    pub(super) fn read(
        &self,
        from: u64,
        to: u64,
        bytes_max: usize,
    ) -> Result<Vec<LogEntry>, StorageError> {
        let mut entries: Vec<LogEntry> = Vec::new();
        let mut bytes = 0;
        self.walk(from, to, |entry| {
            bytes += entry.bytes();
            let follows = entry.index == from + entries.len() as u64;
            if !follows || (bytes > bytes_max && !entries.is_empty()) {
                return Ok(false);
            }
            entries.push(entry);
            Ok(true)
        })?;
        Ok(entries)
    }

    /// Whether the entry with this index is there.
    pub(super) fn holds(&self, index: u64) -> Result<bool, StorageError> {
        self.db
            .get_pinned(entry_key(index))
            .map(|value| value.is_some())
            .map_err(|error| StorageError::database(self.db.path(), "reading the log", error))
    }

    /// Says that the database can't be trusted.
    pub(super) fn corrupt(&self, damage: Damage) -> StorageError {
        StorageError::corrupt(self.db.path(), damage)
    }

    fn meta(&self, meta: Meta) -> Result<Option<(u64, Bytes)>, StorageError> {
        let value = self
            .db
            .get(meta.key())
            .map_err(|error| StorageError::database(self.db.path(), "reading the log", error))?;
        value.map(|value| meta.read(&value)).transpose().map_err(|damage| self.corrupt(damage))
    }

    /// Calls `visit` with the entries with `from <= index < to` that are there,
    /// until it returns false.
    fn walk(
        &self,
        from: u64,
        to: u64,
        mut visit: impl FnMut(LogEntry) -> Result<bool, StorageError>,
    ) -> Result<(), StorageError> {
        let mut read = ReadOptions::default();
        let end =
            if to == u64::MAX { record::ENTRIES_END.to_vec() } else { entry_key(to).to_vec() };
        read.set_iterate_range(entry_key(from).to_vec()..end);
        read.fill_cache(false);
        let mut iterator = self.db.raw_iterator_opt(read);
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            let entry = LogEntry::from_stored(key, value).map_err(|damage| self.corrupt(damage))?;
            if !visit(entry)? {
                return Ok(());
            }
            iterator.next();
        }
        iterator
            .status()
            .map_err(|error| StorageError::database(self.db.path(), "reading the log", error))
    }
}

/// Puts `entries` into `batch`; `starts`: they are the first of the log.
pub(super) fn append(batch: &mut WriteBatch, entries: &[LogEntry], starts: bool) {
    if starts && let Some(first) = entries.first() {
        batch.put(START.key(), START.value(first.index, &[]));
    }
    for entry in entries {
        batch.put(entry_key(entry.index), entry.value());
    }
}

/// Puts the vote with this number into `batch`.
pub(super) fn vote(batch: &mut WriteBatch, number: u64, vote: &[u8]) {
    batch.put(VOTE.key(), VOTE.value(number, vote));
}

/// Removes the entries `from..next`; `empties`: no entry is left and nothing
/// was ever purged.
pub(super) fn truncate(batch: &mut WriteBatch, from: u64, next: u64, empties: bool) {
    if next.saturating_sub(from) > DELETES_MAX {
        batch.delete_range(entry_key(from), entry_key(next));
    } else {
        (from..next).for_each(|index| batch.delete(entry_key(index)));
    }
    if empties {
        batch.delete(START.key());
    }
}

/// Removes the entries through `index`.
pub(super) fn purge(batch: &mut WriteBatch, index: u64, last_purged: &[u8]) {
    batch.delete_range(entry_key(0), entry_key(index.saturating_add(1)));
    batch.delete(START.key());
    batch.put(PURGED.key(), PURGED.value(index, last_purged));
}
