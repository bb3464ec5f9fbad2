//! The scrubber finds every change that somebody makes to a node's tables, or
//! the state hash tells it from the quorum's state.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::BTreeMap;

use strongroom_base::{LogIndex, Revision};
use strongroom_format::store::{PlainName, Transaction};
use strongroom_state::{
    Finding, MapTables, StoredRow, Table, Tables, TablesReader, apply, put_membership, scrub,
    scrub_audit, scrub_rows, state_hash,
};
use support::build::{
    absent, batch, command, delete, plain, put, put_plain, record, sealed, transaction, version,
};

/// A state with something in every table: rows under two epochs, one written
/// twice, one deleted, plain records, audit records with and without bodies.
fn state() -> MapTables {
    let mut tables = MapTables::new();
    let mut index = 0;
    let mut commit = |guards: Vec<_>, transaction: Transaction| {
        index += 1;
        let batch = batch(index, guards, vec![transaction]);
        let applied = apply(&mut tables, LogIndex(index), &command(1000 + index, &batch)).unwrap();
        let strongroom_state::Outcome::Batch(outcome) = applied.outcome else { panic!() };
        assert_eq!(outcome.verdicts, [strongroom_state::Verdict::Admitted]);
    };
    for row in 0..5_u8 {
        let epoch = 1 + u32::from(row % 2);
        let write = put(1, &[row], sealed(epoch, row.into()));
        let mut creation = transaction(u64::from(row), 1, vec![write]);
        creation.records = vec![record(row.into(), 1 + row % 3, 1, epoch)];
        commit(vec![absent(1, &[row])], creation);
    }
    let row = |row: u8, epoch| StoredRow {
        revision: Revision(u64::from(row) + 1),
        value: sealed(epoch, row.into()),
    };
    let again = transaction(5, 1, vec![put(1, &[0], sealed(2, 99))]);
    commit(vec![version(1, &[0], &row(0, 1))], again);
    let gone = transaction(6, 1, vec![delete(1, &[4])]);
    commit(vec![version(1, &[4], &row(4, 1))], gone);
    let names = [PlainName::Keyring, PlainName::SealConfig];
    let mut formation = transaction(7, 2, names.map(|name| put_plain(name, b"record")).to_vec());
    formation.records = vec![record(70, 0, 2, 0), record(71, 3, 0, 2)];
    commit(names.map(|name| plain(name, 0)).to_vec(), formation);
    put_membership(&mut tables, b"three members").unwrap();
    tables
}

fn tampered(tables: &MapTables, tamper: impl FnOnce(&mut MapTables)) -> MapTables {
    let mut tables = tables.clone();
    tamper(&mut tables);
    tables
}

/// Whether a node finds out by itself, and whether its hash is another one.
fn found(tables: &MapTables, honest: &MapTables) -> (bool, bool) {
    let hash = state_hash(tables).ok() != state_hash(honest).ok();
    (!scrub(tables).unwrap().is_clean(), hash)
}

/// What a node finds by itself; the rest another state hash tells.
const FOUND_ALONE: [Table; 8] = [
    Table::Rows,
    Table::Epochs,
    Table::Leaves,
    Table::Bodies,
    Table::Tree,
    Table::LeavesByKey,
    Table::LeavesByPrincipal,
    Table::Plain,
];

fn assert_found(honest: &MapTables, changed: &MapTables, table: Table, what: &str) {
    let (alone, hash) = found(changed, honest);
    assert!(alone || hash, "{what} in {table:?} goes unnoticed");
    assert!(alone || !FOUND_ALONE.contains(&table), "{what} in {table:?} is not found alone");
}

#[test]
fn an_honest_state_is_clean() {
    let report = scrub(&state()).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.rows, report.plain, report.records, report.bodies), (4, 2, 7, 6));
    assert!(scrub(&MapTables::new()).unwrap().is_clean());
}

#[test]
fn every_removed_entry_is_found() {
    let honest = state();
    for table in Table::ALL {
        for (key, _) in honest.entries(table) {
            let changed = tampered(&honest, |tables| tables.delete(table, key).unwrap());
            assert_found(&honest, &changed, table, "a removed entry");
        }
    }
}

#[test]
fn every_flipped_bit_is_found() {
    let honest = state();
    for table in Table::ALL {
        for (key, value) in honest.entries(table) {
            for bit in 0..value.len() * 8 {
                // A body's content is bound by its seal; its epoch is counted.
                if table == Table::Bodies && !(8..40).contains(&bit) {
                    continue;
                }
                let mut flipped = value.to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let changed = tampered(&honest, |it| it.put(table, key, &flipped).unwrap());
                assert_found(&honest, &changed, table, &format!("bit {bit} of {key:?}"));
            }
        }
    }
}

#[test]
fn every_swap_of_two_entries_is_found() {
    let honest = state();
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Bodies) {
        let entries: Vec<_> = honest.entries(table).collect();
        for (one, two) in entries.iter().zip(entries.iter().skip(1)) {
            if one.1 != two.1 {
                let changed = tampered(&honest, |tables| {
                    tables.put(table, one.0, two.1).unwrap();
                    tables.put(table, two.0, one.1).unwrap();
                });
                assert_found(&honest, &changed, table, "a swap");
            }
        }
    }
}

#[test]
fn every_added_entry_is_found() {
    let honest = state();
    for table in Table::ALL.into_iter().filter(|table| *table != Table::Raft) {
        let entries: BTreeMap<_, _> = honest.entries(table).collect();
        let (last, value) = entries.last_key_value().unwrap();
        for key in [[*last, &[1]].concat(), last[..last.len() - 1].to_vec(), vec![9; last.len()]] {
            if entries.contains_key(&key[..]) {
                continue;
            }
            let changed = tampered(&honest, |tables| tables.put(table, &key, value).unwrap());
            assert_found(&honest, &changed, table, &format!("an added entry {key:?}"));
        }
    }
}

#[test]
fn a_row_put_back_is_found_even_where_its_count_is_put_right() {
    let honest = state();
    let old = [&1_u64.to_be_bytes()[..], &sealed(1, 0)].concat();
    let changed = tampered(&honest, |tables| {
        assert!(tables.get(Table::Rows, &[1, 0]).unwrap().is_some_and(|row| row != old));
        tables.put(Table::Rows, &[1, 0], &old).unwrap();
        for (epoch, count) in [(1, 2_u64), (2, 2)] {
            tables.put(Table::Epochs, &[1, 0, 0, 0, epoch], &count.to_be_bytes()).unwrap();
        }
    });
    assert_eq!(scrub(&changed).unwrap().findings, [Finding::Rows]);
    assert!(scrub_audit(&changed).unwrap().is_clean());
    assert!(!scrub_rows(&changed).unwrap().is_clean());
}

#[test]
fn a_whole_state_put_back_is_told_by_its_hash_alone() {
    let honest = state();
    let mut later = honest.clone();
    let use_record = Transaction {
        decided_at: 8,
        records: vec![record(1000, 1, 1, 1)],
        ..Transaction::default()
    };
    let next = command(2000, &batch(9, vec![], vec![use_record]));
    apply(&mut later, LogIndex(9), &next).unwrap();
    assert_eq!(found(&honest, &later), (false, true));
}

#[test]
fn findings_are_bounded_and_counted() {
    let honest = state();
    let changed = tampered(&honest, |tables| {
        for row in 0..200_u8 {
            tables.put(Table::Rows, &[7, row], b"not sealed").unwrap();
        }
    });
    let report = scrub(&changed).unwrap();
    assert_eq!(report.findings.len(), 64);
    assert_eq!(report.further, 200 + 1 - 64);
    assert_eq!(report.to_string(), "an entry of the table rows is malformed (and 200 more)");
}
