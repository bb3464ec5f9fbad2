//! `apply` on tables in memory: guards compared, leaves appended, tree and state
//! hash kept. What the database costs comes on top.

/// Builders of commands, those of the laws of `apply`.
#[path = "../../../crates/state/tests/support/build.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "shared with tests, which use other parts of it"
)]
pub(crate) mod build;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use strongroom_base::LogIndex;
use strongroom_format::store::{Guard, PlainName, Transaction};
use strongroom_state::{Applied, MapTables, Outcome, Verdict, apply, row};

/// Rows that a use relies on: token, principal, role, key, material.
const ROWS: u32 = 5;
const ROW_ID: [u8; 16] = [7; 16];
/// Audit records that are there before.
const RECORDS: u64 = 512;

pub(crate) fn measure(criterion: &mut Criterion) {
    let (tables, guards) = prepared();
    let mut group = criterion.benchmark_group("apply");
    for uses in [1, 40, 256] {
        let command = command(3, &guards, RECORDS..RECORDS + uses);
        let once = |tables: &mut MapTables| {
            apply(tables, LogIndex(3), black_box(&command)).expect("tables in memory don't fail")
        };
        assert!(all_admitted(&once(&mut tables.clone()), uses), "measures what it says");
        group.throughput(Throughput::Elements(uses));
        group.bench_function(BenchmarkId::new("uses in one entry", uses), |bencher| {
            bencher.iter_batched_ref(|| tables.clone(), once, BatchSize::LargeInput);
        });
    }
    group.finish();
}

/// Tables with the rows and some records, and the read set of a use.
fn prepared() -> (MapTables, Vec<Guard>) {
    let mut tables = MapTables::new();
    let rows = (1..=ROWS).map(|table| build::put(table, &ROW_ID, build::sealed(1, 1)));
    let keyring = build::put_plain(PlainName::Keyring, b"keyring");
    let writes = rows.chain([keyring]).collect();
    let absent = (1..=ROWS).map(|table| build::absent(table, &ROW_ID));
    let guards: Vec<_> = absent.chain([build::plain(PlainName::Keyring, 0)]).collect();
    let batch = build::batch(1, guards, vec![build::transaction(0, ROWS + 1, writes)]);
    let applied = apply(&mut tables, LogIndex(1), &build::command(1, &batch));
    assert!(all_admitted(&applied.expect("tables in memory don't fail"), 1), "the rows are there");

    let version = |table| {
        let row = row(&tables, table, &ROW_ID).expect("tables in memory don't fail");
        build::version(table, &ROW_ID, &row.expect("it was put there"))
    };
    let guards: Vec<_> =
        (1..=ROWS).map(version).chain([build::plain(PlainName::Keyring, 1)]).collect();
    let command = command(2, &guards, 0..RECORDS);
    let applied = apply(&mut tables, LogIndex(2), &command).expect("tables in memory don't fail");
    assert!(all_admitted(&applied, RECORDS), "the records are there");
    (tables, guards)
}

/// The entry at `index`: one batch of uses, one for each number.
fn command(index: u64, guards: &[Guard], numbers: std::ops::Range<u64>) -> Vec<u8> {
    let uses = numbers.map(|number| Transaction {
        records: vec![build::record(number, 1, 1, 1)],
        ..build::transaction(index - 1, ROWS + 1, Vec::new())
    });
    build::command(index, &build::batch(index, guards.to_vec(), uses.collect()))
}

fn all_admitted(applied: &Applied, count: u64) -> bool {
    match &applied.outcome {
        Outcome::Batch(outcome) => {
            outcome.verdicts.len() as u64 == count
                && outcome.verdicts.iter().all(|verdict| *verdict == Verdict::Admitted)
        }
        _ => false,
    }
}
