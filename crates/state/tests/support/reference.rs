//! The rules of guarded transactions, written down a second time: slowly, from
//! the design and the comments of `log.proto`, without a look at `apply`.
//!
//! Every transaction is tried on a copy of everything, every count is a count,
//! every guard is looked at each time.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use sha2::{Digest, Sha256};
use strongroom_audit::LeafIndexes;
use strongroom_base::limits;
use strongroom_format::store::{
    Batch, ClusterRecord, Command, EpochKind, Guard, PlainName, Transaction, command, guard, write,
};
use strongroom_state::{RefusalCause, Verdict};

pub struct ReferenceLeaf {
    pub stamp_ms: u64,
    pub leaf: Vec<u8>,
    pub body: Vec<u8>,
}

/// What the reference says of a command.
#[derive(Debug, PartialEq, Eq)]
pub enum Expected {
    Batch { verdicts: Vec<Verdict>, log_index: u64, repeated: bool, first_sequence: u64 },
    HashPoint { nonce: u64 },
    Refused(RefusalCause),
}

#[derive(Clone)]
struct Remembered {
    verdicts: Vec<Verdict>,
    log_index: u64,
    first_sequence: u64,
}

#[derive(Default)]
struct Window {
    /// Newest boot of each node.
    boots: BTreeMap<u64, (u64, u64)>,
    /// Everything ever applied, by node, boot count and sequence.
    applied: BTreeMap<(u64, u64, u64), Remembered>,
}

#[derive(Default)]
pub struct Reference {
    pub time_ms: u64,
    /// Table and row id to revision and sealed bytes.
    pub rows: BTreeMap<(u32, Vec<u8>), (u64, Vec<u8>)>,
    pub plain: BTreeMap<i32, (u64, Vec<u8>)>,
    pub leaves: Vec<ReferenceLeaf>,
    deletions: BTreeMap<u32, u64>,
    /// What was applied without a MAC, and with one.
    windows: [Window; 2],
}

/// The part that a transaction may change.
#[derive(Clone, Default)]
struct Draft {
    rows: BTreeMap<(u32, Vec<u8>), (u64, Vec<u8>)>,
    plain: BTreeMap<i32, (u64, Vec<u8>)>,
    deletions: BTreeMap<u32, u64>,
}

impl Reference {
    pub fn apply(&mut self, index: u64, command: &[u8]) -> Expected {
        let command = Command::decode(command).expect("the simulation encodes commands");
        self.time_ms = self.time_ms.max(command.stamp_ms);
        match command.body.expect("the simulation gives every command a body") {
            command::Body::HashPoint(point) => Expected::HashPoint { nonce: point.nonce },
            command::Body::Batch(batch) => {
                let batch = Batch::decode(&batch[..]).expect("the simulation encodes batches");
                self.apply_batch(index, usize::from(!command.mac.is_empty()), &batch)
            }
        }
    }

    fn apply_batch(&mut self, index: u64, window: usize, batch: &Batch) -> Expected {
        let (node, count, sequence) = (batch.node_id, batch.boot_count, batch.sequence);
        let Window { boots, applied } = &mut self.windows[window];
        let newest = boots.get(&node).copied().unwrap_or((0, 0));
        if count < newest.0 || (count == newest.0 && batch.boot_nonce != newest.1) {
            return Expected::Refused(RefusalCause::OlderBoot);
        }
        boots.insert(node, (count, batch.boot_nonce));
        let of_boot = (node, count, 0)..=(node, count, u64::MAX);
        let newest = applied.range(of_boot).next_back().map_or(0, |(key, _)| key.2);
        if sequence + limits::DEDUPLICATION_WINDOW as u64 <= newest {
            return Expected::Refused(RefusalCause::BelowWindow);
        }
        if let Some(Remembered { verdicts, log_index, first_sequence }) =
            applied.get(&(node, count, sequence)).cloned()
        {
            return Expected::Batch { verdicts, log_index, repeated: true, first_sequence };
        }
        let first_sequence = self.leaves.len() as u64;
        let verdicts: Vec<Verdict> =
            batch.transactions.iter().map(|it| self.transact(index, batch, it)).collect();
        let remembered =
            Remembered { verdicts: verdicts.clone(), log_index: index, first_sequence };
        self.windows[window].applied.insert((node, count, sequence), remembered);
        Expected::Batch { verdicts, log_index: index, repeated: false, first_sequence }
    }

    fn transact(&mut self, index: u64, batch: &Batch, transaction: &Transaction) -> Verdict {
        if is_malformed(index, batch, transaction) {
            return Verdict::Malformed;
        }
        if transaction.not_before_ms > self.time_ms {
            return Verdict::TooEarly;
        }
        if transaction.not_after_ms > 0 && transaction.not_after_ms < self.time_ms {
            return Verdict::TooLate;
        }
        let reads = transaction.reads.iter().map(|read| &batch.guards[*read as usize]);
        if !reads.into_iter().all(|guard| self.holds(guard)) {
            return Verdict::Superseded;
        }
        let mut draft = Draft {
            rows: self.rows.clone(),
            plain: self.plain.clone(),
            deletions: self.deletions.clone(),
        };
        for write in &transaction.writes {
            let target = write.target.as_ref().unwrap();
            if !draft.write(index, transaction.decided_at, target, &self.deletions) {
                return Verdict::Superseded;
            }
        }
        (self.rows, self.plain, self.deletions) = (draft.rows, draft.plain, draft.deletions);
        for record in &transaction.records {
            self.leaves.push(ReferenceLeaf {
                stamp_ms: self.time_ms,
                leaf: record.leaf.clone(),
                body: record.body.clone(),
            });
        }
        Verdict::Admitted
    }

    fn holds(&self, guard: &Guard) -> bool {
        match guard.expect.as_ref().unwrap() {
            guard::Expect::Row(row) => {
                self.rows.get(&(row.table, row.row_id.clone())).is_some_and(|(revision, sealed)| {
                    *revision == row.revision && sealed.ends_with(&row.tag)
                })
            }
            guard::Expect::Absent(row) => !self.rows.contains_key(&(row.table, row.row_id.clone())),
            guard::Expect::Plain(plain) => {
                self.plain.get(&plain.name).map_or(0, |record| record.0) == plain.revision
            }
            guard::Expect::EpochUnused(unused) => self.counted(unused.kind(), unused.epoch) == 0,
        }
    }

    /// How much is sealed under an epoch.
    pub fn counted(&self, kind: EpochKind, epoch: u32) -> u64 {
        let under = |sealed: &[u8]| sealed.get(1..5) == Some(&epoch.to_be_bytes());
        let count = match kind {
            EpochKind::Audit => self.leaves.iter().filter(|leaf| under(&leaf.body)).count(),
            _ => self.rows.values().filter(|row| under(&row.1)).count(),
        };
        count as u64
    }

    /// Root of the audit tree, by the definition (RFC 6962, section 2.1).
    pub fn root(&self) -> [u8; 32] {
        fn of(leaves: &[[u8; 32]]) -> [u8; 32] {
            match leaves {
                [] => Sha256::digest([]).into(),
                [leaf] => *leaf,
                _ => {
                    let middle = leaves.len().next_power_of_two() / 2;
                    let (left, right) = leaves.split_at(middle);
                    Sha256::digest([&[1][..], &of(left), &of(right)].concat()).into()
                }
            }
        }
        let hash = |(sequence, leaf): (usize, &ReferenceLeaf)| {
            let numbers = [sequence as u64, leaf.stamp_ms].map(u64::to_be_bytes);
            Sha256::digest([&[0][..], numbers.as_flattened(), &leaf.leaf].concat()).into()
        };
        of(&self.leaves.iter().enumerate().map(hash).collect::<Vec<_>>())
    }
}

impl Draft {
    /// Makes a write; false where a version could come back. `deletions` are
    /// those before the transaction: what it deletes itself is another row.
    fn write(
        &mut self,
        index: u64,
        decided_at: u64,
        target: &write::Target,
        deletions: &BTreeMap<u32, u64>,
    ) -> bool {
        let revision = decided_at + 1;
        match target {
            write::Target::Row(row) => {
                let key = (row.table, row.row_id.clone());
                let moves_on = match self.rows.get(&key) {
                    Some(present) => revision > present.0,
                    None => decided_at >= *deletions.get(&row.table).unwrap_or(&0),
                };
                if row.sealed.is_empty() {
                    self.rows.remove(&key);
                    self.deletions.insert(row.table, index);
                } else {
                    self.rows.insert(key, (revision, row.sealed.clone()));
                }
                moves_on
            }
            write::Target::Plain(plain) => {
                let present = self.plain.insert(plain.name, (revision, plain.value.clone()));
                present.is_none_or(|present| revision > present.0)
            }
        }
    }
}

/// What a guard or write names, as text.
fn row_name(table: u32, row_id: &[u8]) -> String {
    format!("row {table} {row_id:?}")
}

fn guard_name(guard: &Guard) -> Option<String> {
    match guard.expect.as_ref()? {
        guard::Expect::Row(row) => Some(row_name(row.table, &row.row_id)),
        guard::Expect::Absent(row) => Some(row_name(row.table, &row.row_id)),
        guard::Expect::Plain(plain) => Some(format!("plain {}", plain.name)),
        guard::Expect::EpochUnused(_) => None,
    }
}

fn is_row(table: u32, row_id: &[u8]) -> bool {
    (1..=255).contains(&table) && !row_id.is_empty() && row_id.len() <= 64
}

fn is_plain(name: i32) -> bool {
    (1..=4).contains(&name)
}

fn is_sealed(bytes: &[u8]) -> bool {
    (21..=65536).contains(&bytes.len()) && bytes[1..5] != [0; 4]
}

fn is_guard(guard: &Guard) -> bool {
    match &guard.expect {
        None => false,
        Some(guard::Expect::Row(row)) => {
            is_row(row.table, &row.row_id) && row.revision > 0 && row.tag.len() == 16
        }
        Some(guard::Expect::Absent(row)) => is_row(row.table, &row.row_id),
        Some(guard::Expect::Plain(plain)) => is_plain(plain.name),
        Some(guard::Expect::EpochUnused(unused)) => {
            (1..=2).contains(&unused.kind) && unused.epoch > 0
        }
    }
}

fn is_malformed(index: u64, batch: &Batch, transaction: &Transaction) -> bool {
    let reads: Vec<Option<&Guard>> =
        transaction.reads.iter().map(|read| batch.guards.get(*read as usize)).collect();
    let ascending = transaction.reads.windows(2).all(|pair| pair[0] < pair[1]);
    let guards_ok = reads.iter().all(|guard| guard.is_some_and(is_guard));
    if transaction.decided_at >= index || !ascending || !guards_ok {
        return true;
    }
    let mut written = BTreeSet::new();
    for write in &transaction.writes {
        let (name, ok) = match &write.target {
            None => return true,
            Some(write::Target::Row(row)) => {
                let guarded_by_version = reads.iter().flatten().any(|guard| {
                    matches!(&guard.expect, Some(guard::Expect::Row(_)))
                        && guard_name(guard) == Some(row_name(row.table, &row.row_id))
                });
                let value_ok =
                    if row.sealed.is_empty() { guarded_by_version } else { is_sealed(&row.sealed) };
                (row_name(row.table, &row.row_id), is_row(row.table, &row.row_id) && value_ok)
            }
            Some(write::Target::Plain(plain)) => {
                let version_ok = plain.name != i32::from(PlainName::Cluster)
                    || ClusterRecord::decode(&plain.value[..]).is_ok();
                let ok = is_plain(plain.name) && plain.value.len() <= 262_144 && version_ok;
                (format!("plain {}", plain.name), ok)
            }
        };
        let guarded = reads.iter().flatten().any(|guard| guard_name(guard) == Some(name.clone()));
        if !ok || !guarded || !written.insert(name) {
            return true;
        }
    }
    transaction.records.iter().any(|record| {
        let body_ok = record.body.is_empty() || is_sealed(&record.body);
        record.leaf.len() > 4096 || !body_ok || LeafIndexes::parse(&record.leaf).is_err()
    })
}
