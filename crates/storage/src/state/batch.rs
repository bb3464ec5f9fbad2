//! A batch of changes: an overlay over the database, written as one.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, atomic::Ordering},
};

use rocksdb::ReadOptions;
use strongroom_base::LogIndex;
use strongroom_state::{Entry, Order, Table, Tables, TablesError, TablesReader};

use super::{StateDb, generation::Generation};
use crate::StorageError;

/// Changed keys of one table; `None`: deleted.
type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;
/// One of them.
type Change<'a> = (&'a Vec<u8>, &'a Option<Vec<u8>>);

/// Changes that are read back from memory until they are committed as one.
/// Dropped without a commit, they never were.
pub struct StateBatch {
    state: StateDb,
    generation: Arc<Generation>,
    changes: [Changes; Table::ALL.len()],
}

impl StateBatch {
    pub(super) fn new(state: StateDb, generation: Arc<Generation>) -> Self {
        Self { state, generation, changes: Default::default() }
    }

    /// Makes the changes visible to readers, all at once, as the state after
    /// the entry `applied`. Not yet durable: see [`StateDb::flush`].
    ///
    /// # Errors
    ///
    /// [`StorageError`], told to the fatal hook too.
    pub fn commit(self, applied: LogIndex) -> Result<(), StorageError> {
        let inner = &self.state.inner;
        inner.fatal.check()?;
        let _commits = inner.commits.lock();
        if !Arc::ptr_eq(&self.generation, &self.state.generation()) {
            return Err(StorageError::Superseded);
        }
        let applied_next = applied.next().0;
        let changes = Table::ALL.into_iter().flat_map(|table| {
            let changes = self.changes[table.position()].iter();
            changes.map(move |(key, value)| (table, key.as_slice(), value.as_deref()))
        });
        self.generation
            .write(changes, applied_next)
            .inspect_err(|error| inner.fatal.report(error))?;
        inner.applied_next.store(applied_next, Ordering::Release);
        Ok(())
    }

    fn merged(
        &self,
        table: Table,
        bounds: (&[u8], Option<&[u8]>),
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, StorageError> {
        let changes = &self.changes[table.position()];
        let (from, to) = bounds;
        let range = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let overlay: Box<dyn Iterator<Item = Change<'_>>> = match order {
            Order::Ascending => Box::new(changes.range::<[u8], _>(range)),
            Order::Descending => Box::new(changes.range::<[u8], _>(range).rev()),
        };
        let mut merge = Merge { overlay: overlay.peekable(), order, limit, merged: Vec::new() };
        self.generation.walk(table, bounds, order, ReadOptions::default(), |key, value| {
            merge.before(key) && merge.stored(key, value)
        })?;
        Ok(merge.finish())
    }
}

/// Merges changes with stored entries that come in the same order.
struct Merge<'a> {
    overlay: std::iter::Peekable<Box<dyn Iterator<Item = Change<'a>> + 'a>>,
    order: Order,
    limit: usize,
    merged: Vec<Entry>,
}

impl Merge<'_> {
    /// Takes the changes that come before the stored `key`; false: enough.
    fn before(&mut self, key: &[u8]) -> bool {
        let order = self.order;
        while self.merged.len() < self.limit
            && let Some((changed, value)) = self.overlay.next_if(|(changed, _)| match order {
                Order::Ascending => changed.as_slice() < key,
                Order::Descending => changed.as_slice() > key,
            })
        {
            self.merged.extend(value.clone().map(|value| (changed.clone(), value)));
        }
        self.merged.len() < self.limit
    }

    /// Takes the stored entry, or the change of it; false: enough.
    fn stored(&mut self, key: &[u8], value: &[u8]) -> bool {
        match self.overlay.next_if(|(changed, _)| changed.as_slice() == key) {
            Some((_, changed)) => {
                self.merged.extend(changed.clone().map(|value| (key.to_vec(), value)));
            }
            None => self.merged.push((key.to_vec(), value.to_vec())),
        }
        self.merged.len() < self.limit
    }

    /// Takes the changes beyond the last stored entry.
    fn finish(mut self) -> Vec<Entry> {
        while self.merged.len() < self.limit
            && let Some((key, value)) = self.overlay.next()
        {
            self.merged.extend(value.clone().map(|value| (key.clone(), value)));
        }
        self.merged
    }
}

impl TablesReader for StateBatch {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, TablesError> {
        match self.changes[table.position()].get(key) {
            Some(value) => Ok(value.clone()),
            None => self
                .generation
                .value(table, key, &ReadOptions::default())
                .map_err(TablesError::database),
        }
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, TablesError> {
        if limit == 0 || to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        self.merged(table, (from, to), order, limit).map_err(TablesError::database)
    }
}

impl Tables for StateBatch {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), TablesError> {
        self.changes[table.position()].insert(key.to_vec(), Some(value.to_vec()));
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), TablesError> {
        self.changes[table.position()].insert(key.to_vec(), None);
        Ok(())
    }
}
