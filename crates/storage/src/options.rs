//! What both databases have in common in their options.

use std::path::Path;

use rocksdb::{DB, DBRecoveryMode, Options, WriteOptions};

use crate::error::{Damage, StorageError};

/// Options common to both databases.
///
/// - Recovery accepts a torn tail of the write-ahead log only; anything else
///   refuses to open. (RocksDB's own default drops all that follows the first
///   bad record, synced votes too.)
/// - RocksDB must not resume after a failed background write: see `error`.
pub(crate) fn base() -> Result<Options, StorageError> {
    let mut options = Options::default()
        .get_options_from_string("max_bgerror_resume_count=0")
        .map_err(|source| StorageError::Database {
            path: Path::new("").to_owned(),
            operation: "setting an option",
            source,
        })?;
    options.set_paranoid_checks(true);
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_recycle_log_file_num(0);
    options.set_max_background_jobs(2);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(1024 * 1024);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_max_manifest_file_size(4 * 1024 * 1024);
    options.set_bytes_per_sync(1024 * 1024);
    Ok(options)
}

/// A write that is synced before it returns.
pub(crate) fn synced() -> WriteOptions {
    let mut options = WriteOptions::default();
    options.set_sync(true);
    options
}

/// A numeric property of a database; 0 where it has none of that name.
pub(crate) fn number(db: &DB, property: &str) -> u64 {
    db.property_int_value(property).ok().flatten().unwrap_or(0)
}

/// Checks that every table file of an open database is there with the length
/// that the database knows: it opens most of them only when they are read.
pub(crate) fn check_files(db: &DB) -> Result<(), StorageError> {
    let list = || {
        db.live_files()
            .map_err(|error| StorageError::database(db.path(), "listing the table files", error))
    };
    for file in list()? {
        let path = db.path().join(file.name.trim_start_matches('/'));
        let damage = match std::fs::metadata(&path) {
            Ok(metadata) if metadata.len() == file.size as u64 => continue,
            Ok(_) => Damage::Length,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Damage::Missing,
            Err(error) => return Err(StorageError::io(&path, "opening", error)),
        };
        // A compaction may have removed it since it was listed.
        if list()?.iter().any(|live| live.name == file.name) {
            return Err(StorageError::corrupt(&path, damage));
        }
    }
    Ok(())
}
