//! Appends audit records: leaf, body, tree, look-ups.

use strongroom_audit::{Frontier, LeafIndexes, committed_leaf_hash};
use strongroom_base::{AuditSequence, UnixMillis};
use strongroom_format::store::EpochKind;

use crate::{
    Table, Tables, TablesError, TablesReader,
    epochs::EpochCounts,
    layout::{META_FRONTIER, look_up_key, node_key, sealed_epoch},
    read,
};

/// A record whose form was checked.
pub(crate) struct Record<'a> {
    /// Canonical bytes of the leaf.
    pub(crate) leaf: &'a [u8],
    /// What look-ups find it by.
    pub(crate) indexes: LeafIndexes<'a>,
    /// The sealed body; empty: none.
    pub(crate) body: &'a [u8],
}

/// The end of the audit log, while one entry appends to it.
pub(crate) struct Appender {
    frontier: Frontier,
    first: AuditSequence,
    stamp: UnixMillis,
    value: Vec<u8>,
}

impl Appender {
    /// For an entry at cluster time `stamp`.
    pub(crate) fn load(tables: &impl TablesReader, stamp: UnixMillis) -> Result<Self, TablesError> {
        let frontier = read::frontier(tables)?;
        let first = AuditSequence(frontier.size());
        Ok(Self { frontier, first, stamp, value: Vec::new() })
    }

    /// Sequence number of the entry's first record, or of the next one.
    pub(crate) const fn first_sequence(&self) -> AuditSequence {
        self.first
    }

    /// Records that the entry appended so far.
    pub(crate) const fn records(&self) -> u64 {
        self.frontier.size() - self.first.0
    }

    /// Appends a record.
    pub(crate) fn append(
        &mut self,
        tables: &mut impl Tables,
        epochs: &mut EpochCounts,
        record: &Record<'_>,
    ) -> Result<(), TablesError> {
        let sequence = AuditSequence(self.frontier.size());
        let key = sequence.0.to_be_bytes();
        self.value.clear();
        self.value.extend(self.stamp.0.to_be_bytes());
        self.value.extend_from_slice(record.leaf);
        tables.put(Table::Leaves, &key, &self.value)?;
        if let Some(epoch) = sealed_epoch(record.body) {
            tables.put(Table::Bodies, &key, record.body)?;
            epochs.increase(tables, EpochKind::Audit, epoch)?;
        }
        for id in record.indexes.keys() {
            tables.put(Table::LeavesByKey, &look_up_key(id.as_bytes(), sequence.0), &[])?;
        }
        if let Some(id) = record.indexes.principal {
            tables.put(Table::LeavesByPrincipal, &look_up_key(id.as_bytes(), sequence.0), &[])?;
        }
        let hash = committed_leaf_hash(sequence, self.stamp, record.leaf);
        let mut written = Ok(());
        self.frontier.push(hash, |level, index, hash| {
            if written.is_ok() {
                written = tables.put(Table::Tree, &node_key(level, index), hash);
            }
        });
        written
    }

    /// Stores the end of the audit log, where it moved.
    pub(crate) fn store(self, tables: &mut impl Tables) -> Result<(), TablesError> {
        if self.records() == 0 {
            return Ok(());
        }
        tables.put(Table::Meta, META_FRONTIER, &self.frontier.encode())
    }
}
