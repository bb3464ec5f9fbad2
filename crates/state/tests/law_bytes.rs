//! Whatever bytes are committed, `apply` gives an outcome, and the tables stay
//! whole.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use proptest::prelude::*;
use prost::Message;
use strongroom_base::LogIndex;
use strongroom_format::store::{
    Batch, Command, EpochUnused, Guard, HashPoint, PlainVersion, PlainWrite, RowAbsent, RowVersion,
    RowWrite, Transaction, Write, command, guard, write,
};
use strongroom_state::{MapTables, Outcome, apply, recomputed_hash, scrub, state_hash};
use support::{
    build::record,
    simulation::{Simulation, Step, steps},
};

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, Just(u64::MAX), any::<u64>()]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..4_u32, 1 => any::<u32>()]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(0..3_u8, 0..3),
        1 => prop::collection::vec(any::<u8>(), 0..80),
    ]
}

fn name() -> impl Strategy<Value = i32> {
    prop_oneof![8 => -1..6_i32, 1 => any::<i32>()]
}

fn any_guard() -> impl Strategy<Value = Guard> {
    let expect = prop_oneof![
        (small(), bytes(), number(), bytes()).prop_map(|(table, row_id, revision, tag)| {
            guard::Expect::Row(RowVersion { table, row_id, revision, tag })
        }),
        (small(), bytes())
            .prop_map(|(table, row_id)| guard::Expect::Absent(RowAbsent { table, row_id })),
        (name(), number())
            .prop_map(|(name, revision)| guard::Expect::Plain(PlainVersion { name, revision })),
        (name(), small())
            .prop_map(|(kind, epoch)| guard::Expect::EpochUnused(EpochUnused { kind, epoch })),
    ];
    prop::option::weighted(0.95, expect).prop_map(|expect| Guard { expect })
}

fn any_write() -> impl Strategy<Value = Write> {
    let target = prop_oneof![
        (small(), bytes(), prop::collection::vec(0..3_u8, 0..40)).prop_map(
            |(table, row_id, sealed)| write::Target::Row(RowWrite { table, row_id, sealed })
        ),
        (name(), bytes())
            .prop_map(|(name, value)| write::Target::Plain(PlainWrite { name, value })),
    ];
    prop::option::weighted(0.95, target).prop_map(|target| Write { target })
}

prop_compose! {
    fn any_transaction()(
        decided_at in number(),
        reads in prop::collection::btree_set(0..6_u32, 0..5),
        writes in prop::collection::vec(any_write(), 0..3),
        records in prop::collection::vec((any::<bool>(), bytes(), bytes()), 0..3),
        not_before_ms in prop::option::weighted(0.1, number()),
        not_after_ms in prop::option::weighted(0.1, number()),
    ) -> Transaction {
        let records = records.into_iter().map(|(whole, leaf, body)| {
            let mut record = record(1, 1, 1, 1);
            if !whole {
                (record.leaf, record.body) = (leaf, body);
            }
            record
        });
        Transaction {
            decided_at,
            reads: reads.into_iter().collect(),
            writes,
            records: records.collect(),
            not_before_ms: not_before_ms.unwrap_or(0),
            not_after_ms: not_after_ms.unwrap_or(0),
        }
    }
}

prop_compose! {
    fn any_batch()(
        node_id in prop_oneof![8 => 1..3_u64, 1 => number()],
        boot_count in prop_oneof![8 => Just(1_u64), 1 => number()],
        sequence in number(),
        guards in prop::collection::vec(any_guard(), 0..6),
        transactions in prop::collection::vec(any_transaction(), 0..4),
    ) -> Batch {
        Batch { node_id, boot_count, boot_nonce: 1, sequence, guards, transactions }
    }
}

/// A command of some shape, or bytes of none.
fn any_command() -> impl Strategy<Value = Vec<u8>> {
    let body = prop_oneof![
        8 => any_batch().prop_map(|batch| command::Body::Batch(batch.encode_to_vec())),
        1 => prop::collection::vec(any::<u8>(), 0..60).prop_map(command::Body::Batch),
        1 => (number(), number()).prop_map(|(node_id, nonce)| {
            command::Body::HashPoint(HashPoint { node_id, nonce })
        }),
    ];
    let format = prop_oneof![12 => Just(1_u32), 1 => small()];
    let mac = prop_oneof![4 => Just(0_usize), 4 => Just(32), 1 => 0..70_usize];
    let mac = mac.prop_map(|bytes| vec![7; bytes]);
    prop_oneof![
        8 => (format, number(), prop::option::weighted(0.95, body), mac).prop_map(
            |(format, stamp_ms, body, mac)| Command { format, stamp_ms, body, mac }.encode_to_vec()
        ),
        1 => prop::collection::vec(any::<u8>(), 0..100),
    ]
}

/// Applies the commands from index 1 on; what became of each.
fn applied(tables: &mut MapTables, commands: &[Vec<u8>]) -> Vec<Outcome> {
    let entries = (1..).zip(commands);
    let outcome = |(index, command): (u64, &Vec<u8>)| {
        let outcome = apply(tables, LogIndex(index), command).unwrap().outcome;
        assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome.clone()));
        outcome
    };
    entries.map(outcome).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_command_has_an_outcome_and_leaves_the_tables_whole(
        commands in prop::collection::vec(any_command(), 1..12),
    ) {
        let (mut one, mut other) = (MapTables::new(), MapTables::new());
        prop_assert_eq!(applied(&mut one, &commands), applied(&mut other, &commands));
        prop_assert_eq!(&one, &other);
        let report = scrub(&one).unwrap();
        prop_assert!(report.is_clean(), "{report}");
        prop_assert_eq!(recomputed_hash(&one).unwrap(), state_hash(&one).unwrap());
    }

    #[test]
    fn changed_bytes_of_a_true_command_do_no_harm(
        steps in steps(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 60),
    ) {
        let mut simulation = Simulation::new();
        let entries = steps.iter().filter_map(|step: &Step| simulation.step(step));
        let commands: Vec<Vec<u8>> = entries
            .zip(changes)
            .map(|((_, mut command, _), (position, value))| {
                let position = position.index(command.len());
                command[position] = value;
                command
            })
            .collect();
        let mut tables = MapTables::new();
        applied(&mut tables, &commands);
        let report = scrub(&tables).unwrap();
        prop_assert!(report.is_clean(), "{report}");
    }
}
