//! The checker is checked: a database with a planted fault must be caught by the
//! comparison with the reference.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};
use strongroom_base::LogIndex;
use strongroom_state::{
    Entry, MapTables, Order, Outcome, Table, Tables, TablesError, TablesReader, apply, scrub,
};
use support::{
    reference::Expected,
    simulation::{Simulation, steps},
};

/// What the database does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing.
    None,
    /// It shows rows as they were before the entry.
    StaleRows,
    /// It forgets when rows were deleted: `meta` 4.
    NoDeletions,
    /// It forgets which batches were applied.
    NoMarks,
    /// It forgets that rows were deleted.
    KeepsRows,
    /// It forgets cluster time.
    NoTime,
    /// It loses counts of epochs.
    NoCounts,
    /// It loses every third leaf.
    LosesLeaves,
}

struct Faulty<'a> {
    fault: Fault,
    before: &'a MapTables,
    tables: &'a mut MapTables,
}

impl Faulty<'_> {
    fn hides(&self, table: Table, key: &[u8]) -> bool {
        match self.fault {
            Fault::NoDeletions => table == Table::Meta && key[0] == 4,
            Fault::NoMarks => table == Table::Deduplication && key.len() == 10,
            Fault::NoTime => table == Table::Meta && key[0] == 1,
            Fault::NoCounts => table == Table::Epochs,
            Fault::LosesLeaves => table == Table::Leaves && key[7] % 3 == 2,
            _ => false,
        }
    }
}

impl TablesReader for Faulty<'_> {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, TablesError> {
        match (self.fault, table) {
            (Fault::StaleRows, Table::Rows) => self.before.get(table, key),
            _ => self.tables.get(table, key),
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
        self.tables.range(table, from, to, order, limit)
    }
}

impl Tables for Faulty<'_> {
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), TablesError> {
        if self.hides(table, key) { Ok(()) } else { self.tables.put(table, key, value) }
    }

    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), TablesError> {
        match (self.fault, table) {
            (Fault::KeepsRows, Table::Rows) => Ok(()),
            _ => self.tables.delete(table, key),
        }
    }
}

/// Whether a run over a database with the fault shows it: by an error, an outcome
/// that the reference doesn't expect, other rows, or the scrubber.
fn is_caught(fault: Fault, runner: &mut TestRunner) -> bool {
    let steps = steps().new_tree(runner).unwrap().current();
    let mut simulation = Simulation::new();
    let mut tables = MapTables::new();
    for step in &steps {
        let Some((index, command, expected)) = simulation.step(step) else { continue };
        let before = tables.clone();
        let mut faulty = Faulty { fault, before: &before, tables: &mut tables };
        let found = match apply(&mut faulty, LogIndex(index), &command).map(|it| it.outcome) {
            Ok(Outcome::Batch(batch)) => Expected::Batch {
                verdicts: batch.verdicts,
                log_index: batch.log_index.0,
                repeated: batch.repeated,
                first_sequence: batch.first_sequence.0,
            },
            Ok(Outcome::HashPoint { nonce, .. }) => Expected::HashPoint { nonce },
            Ok(Outcome::Refused(refusal)) => Expected::Refused(refusal.cause),
            Err(_) => return true,
        };
        if found != expected
            || tables.entries(Table::Rows).count() != simulation.reference.rows.len()
        {
            return true;
        }
    }
    !scrub(&tables).unwrap().is_clean()
}

#[test]
fn every_planted_fault_is_caught_and_nothing_else() {
    for fault in [
        Fault::StaleRows,
        Fault::NoDeletions,
        Fault::NoMarks,
        Fault::KeepsRows,
        Fault::NoTime,
        Fault::NoCounts,
        Fault::LosesLeaves,
    ] {
        let mut runner = TestRunner::deterministic();
        let caught = (0..512).filter(|_| is_caught(fault, &mut runner)).count();
        assert!(caught >= 5, "{fault:?} was caught in {caught} of 512 runs");
    }
    let mut runner = TestRunner::deterministic();
    assert!((0..128).all(|_| !is_caught(Fault::None, &mut runner)));
}
