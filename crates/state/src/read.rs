//! Reads of the replicated state.
//!
//! Each function reads the state that its argument shows. What rows mean, and
//! who may see them, is decided elsewhere.

use std::ops::Range;

use strongroom_audit::{self as audit, Frontier, Hash, Nodes, ProofError};
use strongroom_base::{AuditSequence, BarrierEpoch, KeyId, PrincipalId, Revision, UnixMillis};
use strongroom_format::store::{EpochKind, PlainName};

use crate::{
    Entry, Order, Table, Tables, TablesError, TablesReader,
    layout::{
        META_CLUSTER_TIME, META_FRONTIER, META_MEMBERSHIP, epoch_key, look_up_key, node_key,
        number, plain_key, prefix_end, row_key, split_versioned,
    },
};

/// A row or plain record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// 1 + the applied index on which its writer decided.
    pub revision: Revision,
    /// The sealed row, or the bytes of the plain record.
    pub value: Vec<u8>,
}

/// A committed audit leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredLeaf {
    /// Cluster time of the entry that admitted it.
    pub stamp: UnixMillis,
    /// Its canonical bytes.
    pub leaf: Vec<u8>,
}

impl StoredLeaf {
    /// Its hash in the audit tree.
    #[must_use]
    pub fn hash(&self, sequence: AuditSequence) -> Hash {
        audit::committed_leaf_hash(sequence, self.stamp, &self.leaf)
    }
}

/// How much is sealed under an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochCount {
    /// Whose epoch: rows' or bodies'.
    pub kind: EpochKind,
    /// The epoch.
    pub epoch: BarrierEpoch,
    /// Rows or bodies under it, never 0.
    pub count: u64,
}

fn stored_row(table: Table, stored: &[u8]) -> Result<StoredRow, TablesError> {
    let (revision, value) = split_versioned(table, stored)?;
    Ok(StoredRow { revision, value: value.to_vec() })
}

/// The row with this id in the row table with this number.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn row(
    tables: &impl TablesReader,
    table: u32,
    row_id: &[u8],
) -> Result<Option<StoredRow>, TablesError> {
    let Ok(table) = u8::try_from(table) else { return Ok(None) };
    let stored = tables.get(Table::Rows, &row_key(table, row_id))?;
    stored.map(|stored| stored_row(Table::Rows, &stored)).transpose()
}

/// Rows of the table with this number, by ascending row id, after the id `after`.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn rows_page(
    tables: &impl TablesReader,
    table: u32,
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<(Vec<u8>, StoredRow)>, TablesError> {
    let Ok(table) = u8::try_from(table) else { return Ok(Vec::new()) };
    let mut from = row_key(table, after.unwrap_or_default());
    if after.is_some() {
        from.push(0); // the least key after that of `after`
    }
    let to = prefix_end(&[table]);
    let entries = tables.range(Table::Rows, &from, to.as_deref(), Order::Ascending, limit)?;
    let page = entries.into_iter().map(|(mut key, stored)| {
        key.remove(0);
        Ok((key, stored_row(Table::Rows, &stored)?))
    });
    page.collect()
}

/// The plain record with this name.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn plain(
    tables: &impl TablesReader,
    name: PlainName,
) -> Result<Option<StoredRow>, TablesError> {
    let Some(key) = plain_key(name) else { return Ok(None) };
    let stored = tables.get(Table::Plain, &key)?;
    stored.map(|stored| stored_row(Table::Plain, &stored)).transpose()
}

/// Records the membership that is in force from this entry on. The Raft layer
/// calls it for its own entries; the bytes must be the same on every node.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be written.
pub fn put_membership(tables: &mut impl Tables, membership: &[u8]) -> Result<(), TablesError> {
    tables.put(Table::Meta, META_MEMBERSHIP, membership)
}

/// The membership, as [`put_membership`] recorded it last.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn membership(tables: &impl TablesReader) -> Result<Option<Vec<u8>>, TablesError> {
    tables.get(Table::Meta, META_MEMBERSHIP)
}

/// Cluster time: the largest stamp so far; zero at first.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn cluster_time(tables: &impl TablesReader) -> Result<UnixMillis, TablesError> {
    let stored = tables.get(Table::Meta, META_CLUSTER_TIME)?;
    let time = stored.map(|stored| number(Table::Meta, &stored)).transpose()?;
    Ok(UnixMillis(time.unwrap_or(0)))
}

/// Rows or bodies that are sealed under an epoch.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn rows_under(
    tables: &impl TablesReader,
    kind: EpochKind,
    epoch: BarrierEpoch,
) -> Result<u64, TablesError> {
    let stored = tables.get(Table::Epochs, &epoch_key(kind, epoch))?;
    Ok(stored.map(|stored| number(Table::Epochs, &stored)).transpose()?.unwrap_or(0))
}

/// Every epoch under which something is sealed, ascending by kind and epoch.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn epochs(tables: &impl TablesReader) -> Result<Vec<EpochCount>, TablesError> {
    let entries = tables.range(Table::Epochs, &[], None, Order::Ascending, usize::MAX)?;
    let counts = entries.into_iter().map(|(key, count)| {
        let damaged = TablesError::damaged(Table::Epochs, "a key is no epoch");
        let (kind, epoch) = key.split_first_chunk::<1>().ok_or(damaged)?;
        let epoch = epoch.try_into().map(u32::from_be_bytes);
        match (EpochKind::try_from(i32::from(kind[0])), epoch) {
            (Ok(kind), Ok(epoch)) if kind != EpochKind::Unspecified => {
                let count = number(Table::Epochs, &count)?;
                Ok(EpochCount { kind, epoch: BarrierEpoch(epoch), count })
            }
            _ => Err(TablesError::damaged(Table::Epochs, "a key is no epoch")),
        }
    });
    counts.collect()
}

/// A leaf out of its value.
pub(crate) fn stored_leaf(stored: &[u8]) -> Result<StoredLeaf, TablesError> {
    let damaged = TablesError::damaged(Table::Leaves, "a leaf has no stamp");
    let (stamp, leaf) = stored.split_first_chunk().ok_or(damaged)?;
    Ok(StoredLeaf { stamp: UnixMillis(u64::from_be_bytes(*stamp)), leaf: leaf.to_vec() })
}

/// The audit leaf with this sequence number.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn leaf(
    tables: &impl TablesReader,
    sequence: AuditSequence,
) -> Result<Option<StoredLeaf>, TablesError> {
    let stored = tables.get(Table::Leaves, &sequence.0.to_be_bytes())?;
    stored.map(|stored| stored_leaf(&stored)).transpose()
}

/// The sealed body of the audit record with this sequence number; `None` where
/// it has none, or none any more.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn body(
    tables: &impl TablesReader,
    sequence: AuditSequence,
) -> Result<Option<Vec<u8>>, TablesError> {
    tables.get(Table::Bodies, &sequence.0.to_be_bytes())
}

/// Audit leaves with sequence numbers in `sequences`, from the end that `order`
/// names, at most `limit`.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn leaves_page(
    tables: &impl TablesReader,
    sequences: Range<AuditSequence>,
    order: Order,
    limit: usize,
) -> Result<Vec<(AuditSequence, StoredLeaf)>, TablesError> {
    let (from, to) = (sequences.start.0.to_be_bytes(), sequences.end.0.to_be_bytes());
    let entries = tables.range(Table::Leaves, &from, Some(&to), order, limit)?;
    let page = entries.into_iter().map(|(key, stored)| {
        Ok((AuditSequence(number(Table::Leaves, &key)?), stored_leaf(&stored)?))
    });
    page.collect()
}

fn look_up(
    tables: &impl TablesReader,
    table: Table,
    id: &[u8; 16],
    sequences: Range<AuditSequence>,
    order: Order,
    limit: usize,
) -> Result<Vec<AuditSequence>, TablesError> {
    let (from, to) = (look_up_key(id, sequences.start.0), look_up_key(id, sequences.end.0));
    let entries = tables.range(table, &from, Some(&to), order, limit)?;
    let sequence = |(key, _): Entry| {
        let damaged = TablesError::damaged(table, "a key has no sequence number");
        number(table, key.get(16..).ok_or(damaged)?).map(AuditSequence)
    };
    entries.into_iter().map(sequence).collect()
}

/// Sequence numbers in `sequences` of the audit records about a key, from the
/// end that `order` names, at most `limit`.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn leaves_by_key(
    tables: &impl TablesReader,
    key: &KeyId,
    sequences: Range<AuditSequence>,
    order: Order,
    limit: usize,
) -> Result<Vec<AuditSequence>, TablesError> {
    look_up(tables, Table::LeavesByKey, key.as_bytes(), sequences, order, limit)
}

/// Sequence numbers in `sequences` of the audit records of a principal's
/// attempts, from the end that `order` names, at most `limit`.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn leaves_by_principal(
    tables: &impl TablesReader,
    principal: &PrincipalId,
    sequences: Range<AuditSequence>,
    order: Order,
    limit: usize,
) -> Result<Vec<AuditSequence>, TablesError> {
    look_up(tables, Table::LeavesByPrincipal, principal.as_bytes(), sequences, order, limit)
}

/// The right edge of the audit tree.
pub(crate) fn frontier(tables: &impl TablesReader) -> Result<Frontier, TablesError> {
    let Some(stored) = tables.get(Table::Meta, META_FRONTIER)? else { return Ok(Frontier::new()) };
    let damaged = TablesError::damaged(Table::Meta, "the audit tree's frontier is none");
    Frontier::decode(&stored).map_err(|_| damaged)
}

/// Number of audit records: the sequence number that comes next.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn audit_size(tables: &impl TablesReader) -> Result<u64, TablesError> {
    frontier(tables).map(|frontier| frontier.size())
}

/// Root hash of the audit tree.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn tree_root(tables: &impl TablesReader) -> Result<Hash, TablesError> {
    frontier(tables).map(|frontier| frontier.root())
}

/// The first audit record committed at or after `time`; the next sequence number
/// where there is none. Cluster time never decreases, so all later ones are, too.
///
/// # Errors
///
/// [`TablesError`] when the tables can't be read.
pub fn first_leaf_not_before(
    tables: &impl TablesReader,
    time: UnixMillis,
) -> Result<AuditSequence, TablesError> {
    let (mut low, mut high) = (0, audit_size(tables)?);
    while low < high {
        let middle = low + (high - low) / 2;
        let found = leaf(tables, AuditSequence(middle))?;
        let damaged = TablesError::damaged(Table::Leaves, "a leaf is missing");
        if found.ok_or(damaged)?.stamp < time {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(AuditSequence(low))
}

/// Complete nodes of the audit tree, as the tables hold them.
struct StoredNodes<'a, T>(&'a T);

impl<T: TablesReader> Nodes for StoredNodes<'_, T> {
    type Error = TablesError;

    fn node(&self, level: u8, index: u64) -> Result<Hash, TablesError> {
        let hash = if level == 0 {
            let sequence = AuditSequence(index);
            leaf(self.0, sequence)?.map(|leaf| leaf.hash(sequence))
        } else {
            let stored = self.0.get(Table::Tree, &node_key(level, index))?;
            stored.and_then(|stored| stored.try_into().ok())
        };
        hash.ok_or(TablesError::damaged(Table::Tree, "a node is missing"))
    }
}

/// Proof that a record is in the tree of the first `size` records.
///
/// # Errors
///
/// [`ProofError::OutOfRange`] unless `sequence < size`; `size` must be no more
/// than [`audit_size`], else a node is missing.
pub fn inclusion_proof(
    tables: &impl TablesReader,
    sequence: AuditSequence,
    size: u64,
) -> Result<Vec<Hash>, ProofError<TablesError>> {
    audit::inclusion_proof(&StoredNodes(tables), sequence.0, size)
}

/// Proof that the tree of the first `new` records begins with that of the first
/// `old` ones.
///
/// # Errors
///
/// [`ProofError::OutOfRange`] unless `old <= new`; `new` must be no more than
/// [`audit_size`], else a node is missing.
pub fn consistency_proof(
    tables: &impl TablesReader,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProofError<TablesError>> {
    audit::consistency_proof(&StoredNodes(tables), old, new)
}
