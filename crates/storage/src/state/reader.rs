//! Reads of the state: of the newest one, or as of one moment.

use std::sync::Arc;

use rocksdb::{ReadOptions, Snapshot};
use strongroom_state::{Entry, Order, Table, TablesError, TablesReader};

use super::generation::Generation;

/// The state as it is at each read. Keeps the database it was taken from alive,
/// also after a snapshot replaced it.
#[derive(Clone)]
pub struct StateView {
    generation: Arc<Generation>,
}

/// The state as of the moment when this was made.
pub struct StateReader<'a> {
    generation: &'a Generation,
    snapshot: Snapshot<'a>,
}

impl StateView {
    pub(super) fn new(generation: Arc<Generation>) -> Self {
        Self { generation }
    }

    /// Fixes the state as of now for several reads. Cheap; holds back the
    /// database's cleaning while it lives.
    #[must_use]
    pub fn reader(&self) -> StateReader<'_> {
        let generation = &*self.generation;
        StateReader { generation, snapshot: generation.db().snapshot() }
    }
}

impl StateReader<'_> {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options
    }
}

impl TablesReader for StateView {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, TablesError> {
        self.generation.value(table, key, &ReadOptions::default()).map_err(TablesError::database)
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, TablesError> {
        self.generation
            .entries(table, (from, to), order, limit, ReadOptions::default())
            .map_err(TablesError::database)
    }
}

impl TablesReader for StateReader<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, TablesError> {
        self.generation.value(table, key, &self.options()).map_err(TablesError::database)
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, TablesError> {
        self.generation
            .entries(table, (from, to), order, limit, self.options())
            .map_err(TablesError::database)
    }
}
