//! Installs the write set of an admitted transaction.
//!
//! Keeps three things true on every write: the count of rows under each epoch,
//! the state hash's accumulator, and the index of each row table's last
//! deletion.

use strongroom_base::{LogIndex, Revision};
use strongroom_format::store::{EpochKind, PlainName};

use crate::{
    RowKey, Table, Tables, TablesError, TablesReader,
    epochs::EpochCounts,
    guards::Target,
    layout::{
        META_ACCUMULATOR, meta_last_deletion, number, plain_key, row_key, sealed_epoch,
        split_versioned, versioned,
    },
    lthash::{Accumulator, Domain},
};

/// A write whose form was checked.
pub(crate) struct Change<'a> {
    /// What is written.
    pub(crate) target: Target<'a>,
    /// The new bytes; `None`: the row is deleted.
    pub(crate) value: Option<&'a [u8]>,
}

/// What one entry changed so far.
#[derive(Default)]
pub(crate) struct Changes {
    accumulator: Option<Accumulator>,
    /// Rows written or deleted, in order.
    pub(crate) rows: Vec<RowKey>,
    /// Plain records written, in order.
    pub(crate) plain: Vec<PlainName>,
}

/// The kept accumulator.
pub(crate) fn accumulator(tables: &impl TablesReader) -> Result<Accumulator, TablesError> {
    let stored = tables.get(Table::Meta, META_ACCUMULATOR)?;
    stored.map_or_else(|| Ok(Accumulator::new()), |stored| Accumulator::decode(&stored))
}

/// Log index of the last deletion of a row of the table; zero where none was.
fn last_deletion(tables: &impl TablesReader, table: u8) -> Result<LogIndex, TablesError> {
    let stored = tables.get(Table::Meta, &meta_last_deletion(table))?;
    let index = stored.map(|stored| number(Table::Meta, &stored)).transpose()?;
    Ok(LogIndex(index.unwrap_or(0)))
}

/// Table, key and domain of what a target names.
fn place(target: &Target<'_>) -> (Table, Vec<u8>, Domain) {
    match target {
        Target::Row { table, row_id } => (Table::Rows, row_key(*table, row_id), Domain::Row),
        Target::Plain(name) => {
            let key = plain_key(*name).expect("a target names a record that there can be");
            (Table::Plain, key.to_vec(), Domain::Plain)
        }
    }
}

/// Whether a version never comes back if a decision at `decided_at` writes what
/// `change` says: it must exceed the present revision, and a row that is created
/// must have been decided on at or after the table's last deletion. Asked before
/// the transaction's first change: what it deletes itself is another row.
pub(crate) fn moves_on(
    tables: &impl TablesReader,
    change: &Change<'_>,
    decided_at: LogIndex,
) -> Result<bool, TablesError> {
    let (table, key, _) = place(&change.target);
    if let Some(stored) = tables.get(table, &key)? {
        let (present, _) = split_versioned(table, &stored)?;
        return Ok(Revision::decided_at(decided_at) > present);
    }
    match change.target {
        Target::Row { table, .. } => Ok(decided_at >= last_deletion(tables, table)?),
        Target::Plain(_) => Ok(true),
    }
}

impl Changes {
    /// Installs a change with a revision, in the entry at `index`.
    pub(crate) fn install(
        &mut self,
        tables: &mut impl Tables,
        epochs: &mut EpochCounts,
        change: &Change<'_>,
        revision: Revision,
        index: LogIndex,
    ) -> Result<(), TablesError> {
        let (table, key, domain) = place(&change.target);
        if self.accumulator.is_none() {
            self.accumulator = Some(accumulator(tables)?);
        }
        let accumulator = self.accumulator.as_mut().expect("loaded above, where it was missing");
        if let Some(stored) = tables.get(table, &key)? {
            accumulator.remove(domain, &key, &stored);
            if domain == Domain::Row {
                let (_, sealed) = split_versioned(table, &stored)?;
                let damaged = TablesError::damaged(table, "a row is too short to be sealed");
                let epoch = sealed_epoch(sealed).ok_or(damaged)?;
                epochs.decrease(tables, EpochKind::Barrier, epoch)?;
            }
        }
        if let Some(value) = change.value {
            let stored = versioned(revision, value);
            accumulator.add(domain, &key, &stored);
            tables.put(table, &key, &stored)?;
            if let (Domain::Row, Some(epoch)) = (domain, sealed_epoch(value)) {
                epochs.increase(tables, EpochKind::Barrier, epoch)?;
            }
        } else {
            tables.delete(table, &key)?;
        }
        match change.target {
            Target::Row { table, row_id } => {
                if change.value.is_none() {
                    let key = meta_last_deletion(table);
                    tables.put(Table::Meta, &key, &index.0.to_be_bytes())?;
                }
                self.rows.push(RowKey { table, row_id: row_id.to_vec() });
            }
            Target::Plain(name) => self.plain.push(name),
        }
        Ok(())
    }

    /// Stores the accumulator, where it changed.
    pub(crate) fn store(&self, tables: &mut impl Tables) -> Result<(), TablesError> {
        match &self.accumulator {
            Some(accumulator) => tables.put(Table::Meta, META_ACCUMULATOR, &accumulator.encode()),
            None => Ok(()),
        }
    }
}
