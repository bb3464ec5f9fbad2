//! `apply` against the naive reference, over simulated proposers.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use proptest::prelude::*;
use strongroom_base::{AuditSequence, BarrierEpoch, KeyId, LogIndex, PrincipalId, UnixMillis};
use strongroom_format::store::{EpochKind, PlainName};
use strongroom_state::{
    MapTables, Order, Outcome, apply, audit_size, body, cluster_time, epochs, leaf, leaves_by_key,
    leaves_by_principal, plain, recomputed_hash, row, rows_page, rows_under, scrub, state_hash,
    tree_root,
};
use support::{
    reference::{Expected, Reference},
    simulation::{EPOCHS, Simulation, Step, TABLES, steps},
};

/// The whole of the tables, as the reference has it.
fn assert_equal(tables: &MapTables, reference: &Reference) {
    assert_eq!(cluster_time(tables).unwrap(), UnixMillis(reference.time_ms));
    for table in 1..=TABLES {
        let page = rows_page(tables, table, None, usize::MAX).unwrap();
        let found = page.into_iter().map(|(id, row)| ((table, id), (row.revision.0, row.value)));
        let expected = reference.rows.iter().filter(|((of, _), _)| *of == table);
        let expected = expected.map(|(key, row)| (key.clone(), row.clone()));
        assert_eq!(found.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
    }
    for ((table, row_id), (revision, value)) in &reference.rows {
        let found = row(tables, *table, row_id).unwrap().unwrap();
        assert_eq!((found.revision.0, &found.value), (*revision, value));
    }
    let keyring = plain(tables, PlainName::Keyring).unwrap().map(|it| (it.revision.0, it.value));
    assert_eq!(keyring.as_ref(), reference.plain.get(&PlainName::Keyring.into()));
    let mut counted = 0;
    for kind in [EpochKind::Barrier, EpochKind::Audit] {
        for epoch in 1..=EPOCHS {
            let count = rows_under(tables, kind, BarrierEpoch(epoch)).unwrap();
            assert_eq!(count, reference.counted(kind, epoch), "{kind:?} epoch {epoch}");
            counted += usize::from(count > 0);
        }
    }
    assert_eq!(epochs(tables).unwrap().len(), counted);
    assert_equal_audit(tables, reference);
}

fn assert_equal_audit(tables: &MapTables, reference: &Reference) {
    assert_eq!(audit_size(tables).unwrap(), reference.leaves.len() as u64);
    assert_eq!(tree_root(tables).unwrap(), reference.root());
    for (position, expected) in reference.leaves.iter().enumerate() {
        let sequence = AuditSequence(position as u64);
        let found = leaf(tables, sequence).unwrap().unwrap();
        assert_eq!(found.stamp, UnixMillis(expected.stamp_ms));
        assert_eq!(found.leaf, expected.leaf);
        assert_eq!(body(tables, sequence).unwrap().unwrap_or_default(), expected.body);
    }
    let everything = AuditSequence(0)..AuditSequence(u64::MAX);
    let about = |wanted: &dyn Fn(&strongroom_audit::LeafIndexes<'_>) -> bool| {
        let leaves = reference.leaves.iter().enumerate();
        let found = leaves
            .filter(|(_, leaf)| wanted(&strongroom_audit::LeafIndexes::parse(&leaf.leaf).unwrap()));
        found.map(|(position, _)| AuditSequence(position as u64)).collect::<Vec<_>>()
    };
    for id in 1..4_u8 {
        let key = KeyId::from_bytes([id; 16]);
        let found = leaves_by_key(tables, &key, everything.clone(), Order::Ascending, usize::MAX);
        assert_eq!(found.unwrap(), about(&|it| it.keys().any(|it| it == key)));
        let principal = PrincipalId::from_bytes([id; 16]);
        let mut expected = about(&|it| it.principal == Some(principal));
        expected.reverse();
        let all = everything.clone();
        let found = leaves_by_principal(tables, &principal, all, Order::Descending, usize::MAX);
        assert_eq!(found.unwrap(), expected);
    }
}

/// Applies an entry and holds what it says against the reference.
fn apply_and_compare(tables: &mut MapTables, index: u64, command: &[u8], expected: &Expected) {
    let before = tables.clone();
    let first = audit_size(tables).unwrap();
    let applied = apply(tables, LogIndex(index), command).unwrap();
    assert_eq!(applied.stamp, cluster_time(tables).unwrap());
    assert_eq!(applied.first_sequence, AuditSequence(first));
    assert_eq!(applied.records, audit_size(tables).unwrap() - first);
    let changed = before
        .entries(strongroom_state::Table::Rows)
        .ne(tables.entries(strongroom_state::Table::Rows));
    assert_eq!(changed, !applied.rows_changed.is_empty());
    let found = match applied.outcome {
        Outcome::Batch(batch) => Expected::Batch {
            verdicts: batch.verdicts,
            log_index: batch.log_index.0,
            repeated: batch.repeated,
            first_sequence: batch.first_sequence.0,
        },
        Outcome::HashPoint { nonce, hash, .. } => {
            assert_eq!(hash, state_hash(tables).unwrap());
            Expected::HashPoint { nonce }
        }
        Outcome::Refused(refusal) => Expected::Refused(refusal.cause),
    };
    assert_eq!(&found, expected);
}

fn run(steps: &[Step]) -> (MapTables, Simulation) {
    let mut simulation = Simulation::new();
    let mut tables = MapTables::new();
    for step in steps {
        if let Some((index, command, expected)) = simulation.step(step) {
            apply_and_compare(&mut tables, index, &command, &expected);
        }
    }
    (tables, simulation)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn apply_does_what_the_reference_does(steps in steps()) {
        let (tables, simulation) = run(&steps);
        assert_equal(&tables, &simulation.reference);
        let report = scrub(&tables).unwrap();
        prop_assert!(report.is_clean(), "{report}");
        prop_assert_eq!(recomputed_hash(&tables).unwrap(), state_hash(&tables).unwrap());
    }
}

/// The simulation would prove nothing if it never came to the interesting cases.
#[test]
fn the_simulation_reaches_every_verdict_and_refusal() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    use std::collections::BTreeMap;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let mut changes = (0, 0);
    for _ in 0..400 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let mut simulation = Simulation::new();
        for step in &steps {
            let rows = simulation.reference.rows.len();
            match simulation.step(step) {
                Some((_, _, Expected::Batch { verdicts, repeated, .. })) => {
                    let names = verdicts.iter().map(|verdict| format!("{verdict:?}"));
                    names.chain(repeated.then_some("repeated".into())).for_each(|name| {
                        *seen.entry(name).or_default() += 1;
                    });
                }
                Some((_, _, Expected::Refused(cause))) => {
                    *seen.entry(format!("{cause:?}")).or_default() += 1;
                }
                _ => {}
            }
            changes.0 += u64::from(simulation.reference.rows.len() > rows);
            changes.1 += u64::from(simulation.reference.rows.len() < rows);
        }
    }
    for name in [
        "Admitted",
        "Superseded",
        "Malformed",
        "TooEarly",
        "TooLate",
        "repeated",
        "OlderBoot",
        "BelowWindow",
    ] {
        assert!(seen.get(name).is_some_and(|count| *count >= 20), "{name}: {seen:?}");
    }
    assert!(changes.0 > 100 && changes.1 > 100, "rows created and deleted: {changes:?}");
}
