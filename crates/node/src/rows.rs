//! Rows of this node's applied state, opened; with a cache.
//!
//! The cache is keyed by (table, row id) and holds the newest version that was
//! read; `apply` tells it of every change. It is never what a release rests on:
//! the guards of each attempt name the versions it used, and the replicated
//! state compares them at commit.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use parking_lot::RwLock;
use quick_cache::sync::Cache;
use strongroom_base::limits;
use strongroom_crypto::{RowAddress, TokenSecret};
use strongroom_format::store::{self, guard::Expect};
use strongroom_model::{NameIndex, Opened, ReadError, RowId, RowTable, Rows, TypedRow};
use strongroom_state::StoredRow;
use strongroom_storage::StateDb;

use crate::lifecycle::Secrets;

type Key = (RowTable, RowId);

/// Opened rows of one unsealing.
pub(crate) struct RowCache {
    rows: Cache<Key, Arc<Opened>>,
    /// Raised by each change that `apply` tells of. A row that was read before
    /// a change and comes to be kept after it is not kept.
    changes: RwLock<u64>,
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Default for RowCache {
    fn default() -> Self {
        Self {
            rows: Cache::new(limits::ROW_CACHE_ROWS_MAX),
            changes: RwLock::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        }
    }
}

impl RowCache {
    /// Forgets rows that changed.
    pub(crate) fn changed(&self, rows: impl Iterator<Item = Key>) {
        let mut changes = self.changes.write();
        *changes += 1;
        for key in rows {
            self.rows.remove(&key);
        }
    }

    /// Forgets everything; the rows are wiped as their last borrowers let go.
    pub(crate) fn clear(&self) {
        let mut changes = self.changes.write();
        *changes += 1;
        self.rows.clear();
    }

    /// Forgets the rows that guards name: what was read of them is outdated.
    pub(crate) fn forget(&self, guards: &[store::Guard]) {
        for guard in guards {
            let (table, id) = match &guard.expect {
                Some(Expect::Row(row)) => (row.table, &row.row_id),
                Some(Expect::Absent(row)) => (row.table, &row.row_id),
                _ => continue,
            };
            if let (Some(table), Ok(id)) = (RowTable::from_number(table), RowId::from_slice(id)) {
                self.rows.remove(&(table, id));
            }
        }
    }

    /// Rows found and not found so far.
    #[must_use]
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.hits.load(Ordering::Relaxed), self.misses.load(Ordering::Relaxed))
    }

    fn keep(&self, seen: u64, key: Key, row: &Arc<Opened>) {
        let changes = self.changes.read();
        if *changes == seen {
            self.rows.insert(key, Arc::clone(row));
        }
    }
}

/// The rows that one attempt reads, with the secrets that open them.
pub(crate) struct RowView<'a> {
    state: &'a StateDb,
    cache: &'a RowCache,
    secrets: &'a Secrets,
}

impl<'a> RowView<'a> {
    /// A view of `state` under `secrets`.
    #[must_use]
    pub(crate) fn new(state: &'a StateDb, cache: &'a RowCache, secrets: &'a Secrets) -> Self {
        Self { state, cache, secrets }
    }

    fn open(&self, table: RowTable, id: &RowId) -> Result<Option<Opened>, ReadError> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| ReadError { table, source };
        let stored = strongroom_state::row(&self.state.latest(), table.number(), id.as_bytes())
            .map_err(|error| failed(Box::new(error)))?;
        stored.map(|stored| open(self.secrets, table, id.as_bytes(), &stored)).transpose()
    }
}

/// Opens a stored row, past every cache.
///
/// # Errors
///
/// [`ReadError`] where it is not sealed under `secrets` in this place, or is not
/// understood.
pub(crate) fn open(
    secrets: &Secrets,
    table: RowTable,
    row_id: &[u8],
    stored: &StoredRow,
) -> Result<Opened, ReadError> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| ReadError { table, source };
    let revision = stored.revision;
    let address = RowAddress { history: secrets.cluster.history, table: table.number(), row_id };
    let plain = secrets
        .keyring()
        .open_row(&address, revision, &stored.value)
        .map_err(|error| failed(Box::new(error)))?;
    let tag = strongroom_crypto::row_tag(&stored.value).map_err(|error| failed(Box::new(error)))?;
    let row =
        TypedRow::decode(table, plain.expose()).map_err(|error| ReadError::record(table, error))?;
    Ok(Opened { revision, tag, row })
}

impl Rows for RowView<'_> {
    fn read(&self, table: RowTable, id: &RowId) -> Result<Option<Arc<Opened>>, ReadError> {
        let key = (table, *id);
        if let Some(row) = self.cache.rows.get(&key) {
            self.cache.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(Some(row));
        }
        self.cache.misses.fetch_add(1, Ordering::Relaxed);
        let seen = *self.cache.changes.read();
        let Some(row) = self.open(table, id)? else { return Ok(None) };
        let row = Arc::new(row);
        self.cache.keep(seen, key, &row);
        Ok(Some(row))
    }
}

impl NameIndex for RowView<'_> {
    fn name(&self, table: RowTable, name: &[u8]) -> RowId {
        RowId::hashed(self.secrets.keyring().name_row_id(table.number(), name))
    }

    fn token(&self, token: &TokenSecret) -> RowId {
        RowId::hashed(self.secrets.keyring().token_row_id(token))
    }
}
