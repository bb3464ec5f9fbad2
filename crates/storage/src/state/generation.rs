//! One generation of the state database: a RocksDB with a column family for
//! each table.
//!
//! Besides the tables' own entries, `Table::Raft` has keys of this crate, which
//! start with a zero byte:
//!
//! | key | value |
//! |---|---|
//! | `00` ‖ `applied` | one more than the newest applied index (8); 0: none |
//! | `00` ‖ `cluster` | UUID of the cluster (16) |
//! | `00` ‖ `format` | format of the database (4) |
//!
//! Integers are big endian.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB,
    DBCompressionType, FlushOptions, Options, ReadOptions, WriteBatch, WriteBufferManager,
    WriteOptions, checkpoint::Checkpoint,
};
use strongroom_base::ClusterId;
use strongroom_format::STATE_FORMAT;
use strongroom_state::{Entry, Order, Table};

use super::StateOptions;
use crate::{
    error::{Damage, Fatal, StorageError},
    files, options,
};

/// Key of one more than the newest applied index.
const APPLIED: &[u8] = b"\0applied";
/// Key of the cluster's id.
const CLUSTER: &[u8] = b"\0cluster";
/// Key of the database's format.
const FORMAT: &[u8] = b"\0format";
/// Most tables files held open at a time.
const OPEN_FILES_MAX: i32 = 400;
/// Bits per key of the filters: one read in a hundred for an absent key.
const FILTER_BITS: f64 = 10.0;

/// Memory that all generations share.
pub(super) struct Resources {
    cache: Cache,
    memtables: WriteBufferManager,
    memtable_bytes: usize,
}

impl Resources {
    pub(super) fn new(options: StateOptions) -> Self {
        let StateOptions { cache_bytes, memtable_bytes } = options;
        Self {
            cache: Cache::new_lru_cache(cache_bytes),
            memtables: WriteBufferManager::new_write_buffer_manager(memtable_bytes, false),
            memtable_bytes,
        }
    }

    pub(super) fn cache_bytes(&self) -> u64 {
        self.cache.get_usage() as u64
    }

    fn database_options(&self) -> Result<Options, StorageError> {
        let mut options = options::base()?;
        options.set_atomic_flush(true);
        options.create_missing_column_families(true);
        options.set_write_buffer_manager(&self.memtables);
        options.set_max_open_files(OPEN_FILES_MAX);
        Ok(options)
    }

    /// Options of one table. Sealed bytes don't compress; indexes and filters
    /// are partitioned, so that they live in the bounded cache.
    fn table_options(&self, table: Table) -> Result<Options, StorageError> {
        let mut options = options::base()?;
        options.set_write_buffer_size(self.memtable_bytes / 2);
        options.set_arena_block_size(256 * 1024);
        options.set_max_write_buffer_number(4);
        options.set_compression_type(match table {
            Table::Rows | Table::Bodies => DBCompressionType::None,
            _ => DBCompressionType::Lz4,
        });
        let mut blocks = BlockBasedOptions::default();
        blocks.set_block_cache(&self.cache);
        blocks.set_bloom_filter(FILTER_BITS, false);
        blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        blocks.set_partition_filters(true);
        blocks.set_cache_index_and_filter_blocks(true);
        blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
        options.set_block_based_table_factory(&blocks);
        Ok(options)
    }

    fn open(&self, path: &Path, create: bool) -> Result<DB, StorageError> {
        let mut options = self.database_options()?;
        options.create_if_missing(create);
        options.set_error_if_exists(create);
        let families = Table::ALL
            .iter()
            .map(|table| Ok(ColumnFamilyDescriptor::new(table.name(), self.table_options(*table)?)))
            .collect::<Result<Vec<_>, StorageError>>()?;
        DB::open_cf_descriptors(&options, path, families)
            .map_err(|error| StorageError::database(path, "opening the database", error))
    }
}

/// An open generation.
pub(super) struct Generation {
    // The order matters: the database is closed before its files are removed.
    db: DB,
    remove: RemoveWhenUnused,
    number: u64,
    fatal: Arc<Fatal>,
}

struct RemoveWhenUnused {
    path: PathBuf,
    obsolete: AtomicBool,
}

impl Drop for RemoveWhenUnused {
    fn drop(&mut self) {
        if *self.obsolete.get_mut()
            && let Err(error) = files::remove(&self.path)
        {
            tracing::warn!(%error, "an old generation of the state stays until the next start");
        }
    }
}

impl Generation {
    /// Makes an empty database at `path`; durable on return.
    pub(super) fn create(path: &Path, cluster: ClusterId) -> Result<(), StorageError> {
        let resources = Resources::new(StateOptions::default());
        let db = resources.open(path, true)?;
        let mut batch = WriteBatch::default();
        let raft = family(&db, Table::Raft);
        batch.put_cf(raft, FORMAT, STATE_FORMAT.to_be_bytes());
        batch.put_cf(raft, CLUSTER, cluster.as_bytes());
        batch.put_cf(raft, APPLIED, 0_u64.to_be_bytes());
        let wrap = |error| StorageError::database(path, "creating the database", error);
        db.write_opt(batch, &unlogged()).map_err(wrap)?;
        flush(&db).map_err(wrap)
    }

    /// Opens the database at `path`; checks its format, cluster, and that all
    /// of its files are there with their lengths.
    pub(super) fn open(
        path: &Path,
        number: u64,
        cluster: ClusterId,
        resources: &Resources,
        fatal: &Arc<Fatal>,
    ) -> Result<Self, StorageError> {
        if !path.join("CURRENT").exists() {
            return Err(StorageError::corrupt(&path.join("CURRENT"), Damage::Missing));
        }
        let db = resources.open(path, false)?;
        options::check_files(&db)?;
        let remove = RemoveWhenUnused { path: path.to_owned(), obsolete: AtomicBool::new(false) };
        let generation = Self { db, remove, number, fatal: Arc::clone(fatal) };
        let found = u32::from_be_bytes(generation.own(FORMAT)?);
        if found > STATE_FORMAT {
            let (file, known) = (path.to_owned(), STATE_FORMAT);
            return Err(StorageError::NewerFormat { file, found, known });
        }
        let found = ClusterId::from_bytes(generation.own(CLUSTER)?);
        if found == cluster {
            Ok(generation)
        } else {
            let file = path.to_owned();
            Err(StorageError::ForeignCluster { file, found, expected: cluster })
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn db(&self) -> &DB {
        &self.db
    }

    /// Removes the generation's files once nobody reads them.
    pub(super) fn remove_when_unused(&self) {
        self.remove.obsolete.store(true, Ordering::Release);
    }

    /// One more than the newest applied index.
    pub(super) fn applied_next(&self) -> Result<u64, StorageError> {
        self.own(APPLIED).map(u64::from_be_bytes)
    }

    /// A value of this crate's own, of exactly `N` bytes.
    fn own<const N: usize>(&self, key: &[u8]) -> Result<[u8; N], StorageError> {
        let value = self
            .db
            .get_cf(family(&self.db, Table::Raft), key)
            .map_err(|error| self.failed("reading the state", error))?
            .ok_or_else(|| StorageError::corrupt(self.db.path(), Damage::Shape))?;
        value.try_into().map_err(|_| StorageError::corrupt(self.db.path(), Damage::Shape))
    }

    /// Writes the changes of each table, and that `applied_next` is next.
    pub(super) fn write<'a>(
        &self,
        changes: impl Iterator<Item = (Table, &'a [u8], Option<&'a [u8]>)>,
        applied_next: u64,
    ) -> Result<(), StorageError> {
        let mut batch = WriteBatch::default();
        for (table, key, value) in changes {
            match value {
                Some(value) => batch.put_cf(family(&self.db, table), key, value),
                None => batch.delete_cf(family(&self.db, table), key),
            }
        }
        batch.put_cf(family(&self.db, Table::Raft), APPLIED, applied_next.to_be_bytes());
        self.db
            .write_opt(batch, &unlogged())
            .map_err(|error| self.failed("writing the state", error))?;
        if self.background_errors() > 0 { Err(self.background_failure()) } else { Ok(()) }
    }

    /// Makes all tables durable at one point.
    pub(super) fn flush(&self) -> Result<(), StorageError> {
        flush(&self.db).map_err(|error| self.failed("flushing the state", error))
    }

    /// Makes a checkpoint at `path`, which must not be there.
    pub(super) fn checkpoint(&self, path: &Path) -> Result<(), StorageError> {
        Checkpoint::new(&self.db)
            .and_then(|checkpoint| checkpoint.create_checkpoint(path))
            .map_err(|error| self.failed("taking a checkpoint", error))
    }

    /// A value, as `read` sees the tables.
    pub(super) fn value(
        &self,
        table: Table,
        key: &[u8],
        read: &ReadOptions,
    ) -> Result<Option<Vec<u8>>, StorageError> {
        self.db.get_cf_opt(family(&self.db, table), key, read).map_err(|error| self.unread(error))
    }

    /// Calls `visit` with the entries of `from..to`, as `read` sees the tables,
    /// from the end that `order` names, until it returns false.
    pub(super) fn walk(
        &self,
        table: Table,
        (from, to): (&[u8], Option<&[u8]>),
        order: Order,
        mut read: ReadOptions,
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StorageError> {
        read.set_iterate_lower_bound(from);
        if let Some(to) = to {
            read.set_iterate_upper_bound(to);
        }
        let mut iterator = self.db.raw_iterator_cf_opt(family(&self.db, table), read);
        match order {
            Order::Ascending => iterator.seek_to_first(),
            Order::Descending => iterator.seek_to_last(),
        }
        while let Some((key, value)) = iterator.item() {
            if !visit(key, value) {
                return Ok(());
            }
            match order {
                Order::Ascending => iterator.next(),
                Order::Descending => iterator.prev(),
            }
        }
        iterator.status().map_err(|error| self.unread(error))
    }

    /// At most `limit` entries of `from..to`.
    pub(super) fn entries(
        &self,
        table: Table,
        bounds: (&[u8], Option<&[u8]>),
        order: Order,
        limit: usize,
        read: ReadOptions,
    ) -> Result<Vec<Entry>, StorageError> {
        let mut entries = Vec::new();
        if limit == 0 || bounds.1.is_some_and(|to| to <= bounds.0) {
            return Ok(entries);
        }
        self.walk(table, bounds, order, read, |key, value| {
            entries.push((key.to_vec(), value.to_vec()));
            entries.len() < limit
        })?;
        Ok(entries)
    }

    /// A numeric property of a table.
    pub(super) fn number_of(&self, table: Table, property: &str) -> u64 {
        let family = family(&self.db, table);
        self.db.property_int_value_cf(family, property).ok().flatten().unwrap_or(0)
    }

    /// Background work that failed so far.
    pub(super) fn background_errors(&self) -> u64 {
        options::number(&self.db, "rocksdb.background-errors")
    }

    /// The error that stands for background work that failed: a flush or
    /// compaction whose own words RocksDB keeps to its LOG.
    pub(super) fn background_failure(&self) -> StorageError {
        let source = std::io::Error::other("a background flush or compaction failed; see LOG");
        StorageError::io(self.db.path(), "writing table files", source)
    }

    fn failed(&self, operation: &'static str, error: rocksdb::Error) -> StorageError {
        StorageError::database(self.db.path(), operation, error)
    }

    /// A failed read: the node must not go on with what it may have missed.
    fn unread(&self, error: rocksdb::Error) -> StorageError {
        let error = self.failed("reading the state", error);
        self.fatal.report(&error);
        error
    }
}

fn family(db: &DB, table: Table) -> &ColumnFamily {
    db.cf_handle(table.name()).expect("every table's column family is opened or made at open")
}

/// Writes without a write-ahead log: the Raft log is the one.
fn unlogged() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.disable_wal(true);
    options
}

fn flush(db: &DB) -> Result<(), rocksdb::Error> {
    let mut options = FlushOptions::default();
    options.set_wait(true);
    let families: Vec<&ColumnFamily> = Table::ALL.iter().map(|table| family(db, *table)).collect();
    db.flush_cfs_opt(&families, &options)
}
