//! The form of a transaction, checked before anything of it takes effect.
//!
//! What breaks a rule here is *malformed*, on every node and for ever: the rules
//! look at the batch and the entry's index, never at the state.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use strongroom_audit::LeafIndexes;
use strongroom_base::{LogIndex, limits};
use strongroom_format::store::{
    AuditRecord, ClusterRecord, PlainName, Transaction, Write, write::Target as Written,
};

use crate::{
    append::Record,
    guards::{Expectation, Guards, Target},
    layout::sealed_epoch,
    rows::Change,
};

/// A transaction whose form is right.
pub(crate) struct Checked<'a> {
    /// Applied index on which the proposer decided.
    pub(crate) decided_at: LogIndex,
    /// Positions of its guards.
    pub(crate) reads: &'a [u32],
    /// Its write set.
    pub(crate) changes: Vec<Change<'a>>,
    /// Its audit records.
    pub(crate) records: Vec<Record<'a>>,
    /// Cluster version that it writes, where it writes one.
    pub(crate) cluster_version: Option<u32>,
}

/// Checks the form of a transaction in the entry at `index`; `None`: malformed.
///
/// - It was decided on before the entry.
/// - Its reads ascend strictly and lead to well-formed guards.
/// - Each write is well formed, names what no other one does, and is guarded; a
///   deletion, by the version of the row.
/// - Each record has a leaf of a known format, and a sealed body or none.
pub(crate) fn check<'a>(
    transaction: &'a Transaction,
    guards: &Guards<'a>,
    index: LogIndex,
) -> Option<Checked<'a>> {
    let decided_at = LogIndex(transaction.decided_at);
    let reads = &transaction.reads;
    if decided_at >= index
        || !reads.is_sorted_by(|one, next| one < next)
        || reads.iter().any(|position| guards.expectation(*position).is_none())
    {
        return None;
    }
    let changes = transaction.writes.iter().map(change).collect::<Option<Vec<_>>>()?;
    if !changes.is_empty() && !are_guarded(&changes, reads, guards) {
        return None;
    }
    let records = transaction.records.iter().map(record).collect::<Option<_>>()?;
    let cluster_version = cluster_version(&changes)?;
    Some(Checked { decided_at, reads, changes, records, cluster_version })
}

fn change(write: &Write) -> Option<Change<'_>> {
    match write.target.as_ref()? {
        Written::Row(row) => {
            let target = Target::row(row.table, &row.row_id)?;
            if row.sealed.is_empty() {
                return Some(Change { target, value: None });
            }
            sealed_epoch(&row.sealed)?;
            let fits = row.sealed.len() <= limits::ROW_BYTES_MAX;
            fits.then_some(Change { target, value: Some(&row.sealed) })
        }
        Written::Plain(plain) => {
            let target = Target::plain(plain.name)?;
            let fits = plain.value.len() <= limits::PLAIN_BYTES_MAX;
            fits.then_some(Change { target, value: Some(&plain.value) })
        }
    }
}

/// Whether each change names a target of its own that one of `reads` guards.
fn are_guarded(changes: &[Change<'_>], reads: &[u32], guards: &Guards<'_>) -> bool {
    // Whether the target is known to exist, by target.
    let mut guarded: BTreeMap<Target<'_>, bool> = BTreeMap::new();
    for expectation in reads.iter().filter_map(|position| guards.expectation(*position)) {
        if let Some(target) = expectation.target() {
            *guarded.entry(target).or_default() |= matches!(expectation, Expectation::Row { .. });
        }
    }
    let mut written = BTreeSet::new();
    changes.iter().all(|change| {
        let fits = match guarded.get(&change.target) {
            Some(exists) => *exists || change.value.is_some(),
            None => false,
        };
        fits && written.insert(change.target)
    })
}

fn record(record: &AuditRecord) -> Option<Record<'_>> {
    if record.leaf.len() > limits::LEAF_BYTES_MAX || record.body.len() > limits::BODY_BYTES_MAX {
        return None;
    }
    if !record.body.is_empty() {
        sealed_epoch(&record.body)?;
    }
    let indexes = LeafIndexes::parse(&record.leaf).ok()?;
    Some(Record { leaf: &record.leaf, indexes, body: &record.body })
}

/// The cluster version that the changes write, where they do; `None` where the
/// cluster's record is none.
///
/// The one record that is looked into: the version says what `apply` must know.
/// Fields that a later version added are passed over.
fn cluster_version(changes: &[Change<'_>]) -> Option<Option<u32>> {
    let written = changes.iter().find(|change| change.target == Target::Plain(PlainName::Cluster));
    match written.and_then(|change| change.value) {
        Some(value) => ClusterRecord::decode(value).ok().map(|record| Some(record.version)),
        None => Some(None),
    }
}
