//! Proposers that decide on old states, batches that arrive late, twice and out
//! of order.

use proptest::prelude::*;
use strongroom_base::Revision;
use strongroom_format::store::{Batch, EpochKind, Guard, PlainName, Transaction, write};
use strongroom_state::StoredRow;

use super::{
    build::{
        absent, command_of_either_lane, delete, hash_point, plain, put, put_plain, record, sealed,
        unused, version,
    },
    reference::{Expected, Reference},
};

pub const TABLES: u32 = 2;
pub const ROWS: u8 = 3;
pub const EPOCHS: u32 = 3;
pub const NODES: u64 = 3;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Step {
    /// A node decides on the present state; its batch is in flight.
    Decide { node: u64, transactions: Vec<Plan>, skip: u64 },
    /// A batch in flight is proposed, the first time or once more.
    Propose { which: prop::sample::Index, stamp_ms: u64 },
    /// A node starts anew; what it had in flight may still arrive. `imitates`:
    /// under its old boot count, as from a directory that was put back.
    Restart { node: u64, imitates: bool },
    /// Nodes compare their states.
    HashPoint { stamp_ms: u64 },
}

/// What a transaction is to do.
#[derive(Clone, Debug)]
pub struct Plan {
    reads: Vec<(u32, u8)>,
    writes: Vec<(u32, u8, Change)>,
    plain: Option<(bool, u8)>,
    unused: Option<(bool, u32)>,
    records: Vec<(u8, u8, u32)>,
    times: (u64, u64),
    sabotage: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
enum Change {
    Put { epoch: u32 },
    Delete,
}

fn plan() -> impl Strategy<Value = Plan> {
    let row = || (1..=TABLES, 0..ROWS);
    let change = prop_oneof![
        1 => (1..=EPOCHS).prop_map(|epoch| Change::Put { epoch }),
        1 => Just(Change::Delete),
    ];
    let write = (1..=TABLES, 0..ROWS, change);
    // Mostly none, so that transactions are mostly about rows and records.
    let rarely = prop::option::weighted(0.15, any::<bool>());
    let times = prop_oneof![
        8 => Just((0, 0)),
        1 => (0..60_u64, Just(0)),
        1 => (Just(0), 1..60_u64),
    ];
    (
        prop::collection::vec(row(), 0..3),
        prop::collection::vec(write, 0..3),
        (rarely.clone(), any::<u8>()),
        (rarely, 1..=EPOCHS),
        prop::collection::vec((0..4_u8, 0..3_u8, 0..=EPOCHS), 0..3),
        times,
        prop::option::weighted(0.1, 0..SABOTAGES),
    )
        .prop_map(|(reads, writes, plain, unused, records, times, sabotage)| Plan {
            reads,
            writes,
            plain: plain.0.map(|it| (it, plain.1)),
            unused: unused.0.map(|it| (it, unused.1)),
            records,
            times,
            sabotage,
        })
}

fn step() -> impl Strategy<Value = Step> {
    let node = 1..=NODES;
    let skip = prop_oneof![12 => Just(0_u64), 2 => 1..4_u64, 1 => 60..70_u64];
    let index = any::<prop::sample::Index>();
    prop_oneof![
        8 => (node.clone(), prop::collection::vec(plan(), 0..4), skip)
            .prop_map(|(node, transactions, skip)| Step::Decide { node, transactions, skip }),
        10 => (index, 0..60_u64)
            .prop_map(|(which, stamp_ms)| Step::Propose { which, stamp_ms }),
        1 => (node, prop::bool::weighted(0.2))
            .prop_map(|(node, imitates)| Step::Restart { node, imitates }),
        1 => (0..60_u64).prop_map(|stamp_ms| Step::HashPoint { stamp_ms }),
    ]
}

/// Some steps.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..60)
}

struct Proposer {
    boot_count: u64,
    boot_nonce: u64,
    sequence: u64,
}

/// The simulated cluster; its reference is where decisions are taken.
pub struct Simulation {
    pub reference: Reference,
    /// Log index of the newest entry.
    pub index: u64,
    proposers: Vec<Proposer>,
    in_flight: Vec<Batch>,
    unique: u64,
}

impl Simulation {
    pub fn new() -> Self {
        let proposer = |_| Proposer { boot_count: 1, boot_nonce: 1, sequence: 0 };
        Self {
            reference: Reference::default(),
            index: 0,
            proposers: (1..=NODES).map(proposer).collect(),
            in_flight: Vec::new(),
            unique: 0,
        }
    }

    /// Takes a step; the entry that it committed, and what the reference says.
    pub fn step(&mut self, step: &Step) -> Option<(u64, Vec<u8>, Expected)> {
        let command = match step {
            Step::Decide { node, transactions, skip } => {
                let batch = self.decide(*node, transactions, *skip);
                self.in_flight.push(batch);
                return None;
            }
            Step::Restart { node, imitates } => {
                self.unique += 1;
                let proposer = &mut self.proposers[usize::try_from(node - 1).unwrap()];
                proposer.boot_count += u64::from(!imitates);
                proposer.boot_nonce = self.unique;
                proposer.sequence = 0;
                return None;
            }
            Step::Propose { which, stamp_ms } => {
                if self.in_flight.is_empty() {
                    return None;
                }
                command_of_either_lane(*stamp_ms, which.get(&self.in_flight))
            }
            Step::HashPoint { stamp_ms } => hash_point(*stamp_ms, self.index),
        };
        self.index += 1;
        let expected = self.reference.apply(self.index, &command);
        Some((self.index, command, expected))
    }

    fn decide(&mut self, node: u64, plans: &[Plan], skip: u64) -> Batch {
        let proposer = &mut self.proposers[usize::try_from(node - 1).unwrap()];
        proposer.sequence += 1 + skip;
        let mut batch = Batch {
            node_id: node,
            boot_count: proposer.boot_count,
            boot_nonce: proposer.boot_nonce,
            sequence: proposer.sequence,
            guards: Vec::new(),
            transactions: Vec::new(),
        };
        for plan in plans {
            let transaction = self.transaction(plan, &mut batch.guards);
            batch.transactions.push(transaction);
        }
        batch
    }

    /// The guard of a row as it is now.
    fn row_guard(&self, table: u32, row: u8) -> Guard {
        match self.reference.rows.get(&(table, vec![row])) {
            Some((revision, value)) => {
                let stored = StoredRow { revision: Revision(*revision), value: value.clone() };
                version(table, &[row], &stored)
            }
            None => absent(table, &[row]),
        }
    }

    fn transaction(&mut self, plan: &Plan, guards: &mut Vec<Guard>) -> Transaction {
        let mut reads: Vec<u32> = Vec::new();
        let mut read = |guard: Guard| {
            let position = guards.iter().position(|it| *it == guard).unwrap_or(guards.len());
            if position == guards.len() {
                guards.push(guard);
            }
            reads.push(u32::try_from(position).unwrap());
        };
        let mut writes = Vec::new();
        for (table, row) in &plan.reads {
            read(self.row_guard(*table, *row));
        }
        for (table, row, change) in &plan.writes {
            read(self.row_guard(*table, *row));
            self.unique += 1;
            let exists = self.reference.rows.contains_key(&(*table, vec![*row]));
            let write = match change {
                Change::Put { epoch } => put(*table, &[*row], sealed(*epoch, self.unique)),
                Change::Delete if exists => delete(*table, &[*row]),
                Change::Delete => continue,
            };
            // A plan may name a row twice; it is written once.
            let names_it = |it: &strongroom_format::store::Write| match &it.target {
                Some(write::Target::Row(it)) => it.table == *table && it.row_id == [*row],
                _ => false,
            };
            if !writes.iter().any(names_it) {
                writes.push(write);
            }
        }
        if let Some((written, value)) = plan.plain {
            let name = PlainName::Keyring;
            let present = self.reference.plain.get(&name.into());
            read(plain(name, present.map_or(0, |record| record.0)));
            if written {
                writes.push(put_plain(name, &[value]));
            }
        }
        if let Some((rows, epoch)) = plan.unused {
            let kind = if rows { EpochKind::Barrier } else { EpochKind::Audit };
            read(unused(kind, epoch));
        }
        reads.sort_unstable();
        reads.dedup();
        let records = plan.records.iter().map(|(key, principal, epoch)| {
            self.unique += 1;
            record(self.unique, *key, *principal, *epoch)
        });
        let mut transaction = Transaction {
            decided_at: self.index,
            reads,
            writes,
            records: records.collect(),
            not_before_ms: plan.times.0,
            not_after_ms: plan.times.1,
        };
        if let Some(sabotage) = plan.sabotage {
            self.spoil(sabotage, &mut transaction, guards);
        }
        transaction
    }

    /// Breaks one rule, where the transaction has what the rule is about.
    fn spoil(&mut self, sabotage: u8, transaction: &mut Transaction, guards: &mut Vec<Guard>) {
        match sabotage {
            0 => transaction.decided_at = u64::MAX,
            1 => transaction.decided_at = transaction.decided_at.saturating_sub(3),
            2 => transaction.reads.reverse(),
            3 => transaction.reads.clear(),
            4 => transaction.writes.extend(transaction.writes.first().cloned()),
            5 => transaction.writes.push(put(1, b"unguarded", sealed(1, 1))),
            6 => transaction.writes.push(put(256, &[0], sealed(1, 1))),
            7 => transaction.records.push(Default::default()),
            8 => transaction.reads.push(9000),
            9 => {
                transaction.reads.push(u32::try_from(guards.len()).unwrap());
                guards.push(Guard { expect: None });
            }
            10 => {
                let mut spoilt = record(0, 1, 1, 1);
                spoilt.body.truncate(20);
                transaction.records.push(spoilt);
            }
            _ => {
                // Deletes what is not there, guarded by its absence.
                transaction.reads.push(u32::try_from(guards.len()).unwrap());
                guards.push(absent(1, b"nothing"));
                transaction.writes.push(delete(1, b"nothing"));
            }
        }
    }
}

/// Number of ways in which [`Simulation::spoil`] breaks a rule.
const SABOTAGES: u8 = 12;
