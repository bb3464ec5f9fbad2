//! Changes on top of tables, thrown away unless committed: what a write batch
//! of a database does.

use std::{cell::Cell, collections::BTreeMap};

use strongroom_state::{Entry, MapTables, Order, Table, Tables, TablesError, TablesReader};

pub struct Overlay<'a> {
    base: &'a MapTables,
    changes: BTreeMap<(Table, Vec<u8>), Option<Vec<u8>>>,
    /// Writes that still succeed.
    budget: Cell<usize>,
}

impl<'a> Overlay<'a> {
    pub fn new(base: &'a MapTables) -> Self {
        Self::failing_after(base, usize::MAX)
    }

    /// The write after the first `writes` ones fails, as a full disk would.
    pub fn failing_after(base: &'a MapTables, writes: usize) -> Self {
        Self { base, changes: BTreeMap::new(), budget: Cell::new(writes) }
    }

    /// The base with the changes.
    pub fn committed(self) -> MapTables {
        let mut tables = self.base.clone();
        for ((table, key), value) in self.changes {
            match value {
                Some(value) => tables.put(table, &key, &value).unwrap(),
                None => tables.delete(table, &key).unwrap(),
            }
        }
        tables
    }

    fn change(
        &mut self,
        table: Table,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), TablesError> {
        let budget = self.budget.get();
        self.budget.set(budget.saturating_sub(1));
        if budget == 0 {
            return Err(TablesError::database("no space left"));
        }
        self.changes.insert((table, key.to_vec()), value.map(<[u8]>::to_vec));
        Ok(())
    }
}

impl TablesReader for Overlay<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, TablesError> {
        match self.changes.get(&(table, key.to_vec())) {
            Some(changed) => Ok(changed.clone()),
            None => self.base.get(table, key),
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
        let stored = self.base.range(table, from, to, Order::Ascending, usize::MAX)?;
        let mut entries: BTreeMap<_, _> = stored.into_iter().collect();
        let inside = |key: &[u8]| key >= from && to.is_none_or(|to| key < to);
        for ((changed, key), value) in &self.changes {
            if *changed == table && inside(key) {
                match value {
                    Some(value) => entries.insert(key.clone(), value.clone()),
                    None => entries.remove(key),
                };
            }
        }
        Ok(match order {
            Order::Ascending => entries.into_iter().take(limit).collect(),
            Order::Descending => entries.into_iter().rev().take(limit).collect(),
        })
    }
}

impl Tables for Overlay<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), TablesError> {
        self.change(table, key, Some(value))
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), TablesError> {
        self.change(table, key, None)
    }
}
