//! Tables in memory: an ordered map, for tests and simulation.

use std::{collections::BTreeMap, ops::Bound};

use crate::{Entry, Order, Table, Tables, TablesError, TablesReader};

/// Ordered maps that forget everything when dropped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapTables([BTreeMap<Vec<u8>, Vec<u8>>; Table::ALL.len()]);

impl MapTables {
    /// Empty tables.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The entries of one table, ascending.
    pub fn entries(&self, table: Table) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0[table.position()].iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}

impl TablesReader for MapTables {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, TablesError> {
        Ok(self.0[table.position()].get(key).cloned())
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, TablesError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(Vec::new());
        }
        let bounds = (Bound::Included(from), to.map_or(Bound::Unbounded, Bound::Excluded));
        let owned = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        let entries = self.0[table.position()].range::<[u8], _>(bounds).map(owned);
        Ok(match order {
            Order::Ascending => entries.take(limit).collect(),
            Order::Descending => entries.rev().take(limit).collect(),
        })
    }
}

impl Tables for MapTables {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), TablesError> {
        self.0[table.position()].insert(key.to_vec(), value.to_vec());
        Ok(())
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), TablesError> {
        self.0[table.position()].remove(key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(tables: &MapTables, from: &[u8], to: Option<&[u8]>, order: Order) -> Vec<Vec<u8>> {
        let entries = tables.range(Table::Rows, from, to, order, 2).unwrap();
        entries.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn a_range_excludes_its_end_and_keeps_its_limit_from_the_named_end() {
        let mut tables = MapTables::new();
        for key in [b"a", b"b", b"c", b"d"] {
            tables.put(Table::Rows, key, b"").unwrap();
        }
        assert_eq!(keys(&tables, b"a", Some(b"d"), Order::Ascending), [b"a", b"b"]);
        assert_eq!(keys(&tables, b"a", Some(b"d"), Order::Descending), [b"c", b"b"]);
        assert_eq!(keys(&tables, b"d", None, Order::Ascending), [b"d"]);
        assert!(keys(&tables, b"c", Some(b"b"), Order::Ascending).is_empty());
        assert!(tables.range(Table::Leaves, b"", None, Order::Ascending, 9).unwrap().is_empty());
    }
}
