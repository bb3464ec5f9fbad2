//! How much is sealed under each epoch, kept on every write.

use std::collections::{BTreeMap, btree_map::Entry};

use strongroom_base::BarrierEpoch;
use strongroom_format::store::EpochKind;

use crate::{Table, Tables, TablesError, TablesReader, layout::epoch_key, read::rows_under};

/// Counts that one entry reads and changes, stored once at its end.
#[derive(Default)]
pub(crate) struct EpochCounts(BTreeMap<(EpochKind, BarrierEpoch), Count>);

struct Count {
    stored: u64,
    present: u64,
}

impl EpochCounts {
    /// Rows or bodies under an epoch, as of the entry's changes so far.
    pub(crate) fn count(
        &self,
        tables: &impl TablesReader,
        kind: EpochKind,
        epoch: BarrierEpoch,
    ) -> Result<u64, TablesError> {
        match self.0.get(&(kind, epoch)) {
            Some(count) => Ok(count.present),
            None => rows_under(tables, kind, epoch),
        }
    }

    /// One more is sealed under the epoch.
    pub(crate) fn increase(
        &mut self,
        tables: &impl TablesReader,
        kind: EpochKind,
        epoch: BarrierEpoch,
    ) -> Result<(), TablesError> {
        self.change(tables, kind, epoch, |count| count.checked_add(1))
    }

    /// One less is sealed under the epoch.
    pub(crate) fn decrease(
        &mut self,
        tables: &impl TablesReader,
        kind: EpochKind,
        epoch: BarrierEpoch,
    ) -> Result<(), TablesError> {
        self.change(tables, kind, epoch, |count| count.checked_sub(1))
    }

    fn change(
        &mut self,
        tables: &impl TablesReader,
        kind: EpochKind,
        epoch: BarrierEpoch,
        change: impl Fn(u64) -> Option<u64>,
    ) -> Result<(), TablesError> {
        let count = match self.0.entry((kind, epoch)) {
            Entry::Occupied(count) => count.into_mut(),
            Entry::Vacant(vacant) => {
                let stored = rows_under(tables, kind, epoch)?;
                vacant.insert(Count { stored, present: stored })
            }
        };
        let damaged = TablesError::damaged(Table::Epochs, "fewer are counted than there are");
        count.present = change(count.present).ok_or(damaged)?;
        Ok(())
    }

    /// Stores what changed.
    pub(crate) fn store(self, tables: &mut impl Tables) -> Result<(), TablesError> {
        for ((kind, epoch), count) in self.0 {
            let key = epoch_key(kind, epoch);
            match count.present {
                present if present == count.stored => {}
                0 => tables.delete(Table::Epochs, &key)?,
                present => tables.put(Table::Epochs, &key, &present.to_be_bytes())?,
            }
        }
        Ok(())
    }
}
