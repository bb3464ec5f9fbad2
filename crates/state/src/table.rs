//! The tables of the replicated state, and what `apply` needs of a database.

use std::error::Error;

/// A named table: an ordered map from bytes to bytes.
///
/// The numbers are a stored format. [`crate::layout`] documents keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Table {
    /// Sealed rows.
    Rows = 1,
    /// How many rows or bodies are sealed under each epoch.
    Epochs = 2,
    /// Audit leaves by sequence number.
    Leaves = 3,
    /// Sealed bodies of audit records by sequence number.
    Bodies = 4,
    /// Interior nodes of the audit tree.
    Tree = 5,
    /// Sequence numbers of audit records by key.
    LeavesByKey = 6,
    /// Sequence numbers of audit records by principal.
    LeavesByPrincipal = 7,
    /// Marks by which a repeated batch is known.
    Deduplication = 8,
    /// What a sealed node needs to read.
    Plain = 9,
    /// Cluster time, the audit tree's frontier, the state hash's accumulator,
    /// deletion indexes, membership.
    Meta = 10,
    /// The Raft layer's own: last applied log id and the like. Written by it,
    /// in the same write as an entry's effect; never read here and no part of
    /// the state hash.
    Raft = 11,
}

impl Table {
    /// Every table, ascending by number.
    pub const ALL: [Self; 11] = [
        Self::Rows,
        Self::Epochs,
        Self::Leaves,
        Self::Bodies,
        Self::Tree,
        Self::LeavesByKey,
        Self::LeavesByPrincipal,
        Self::Deduplication,
        Self::Plain,
        Self::Meta,
        Self::Raft,
    ];

    /// Its name in a database. A stored format.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Epochs => "epochs",
            Self::Leaves => "leaves",
            Self::Bodies => "bodies",
            Self::Tree => "tree",
            Self::LeavesByKey => "leaves_by_key",
            Self::LeavesByPrincipal => "leaves_by_principal",
            Self::Deduplication => "deduplication",
            Self::Plain => "plain",
            Self::Meta => "meta",
            Self::Raft => "raft",
        }
    }

    /// Position in [`Table::ALL`].
    #[must_use]
    pub const fn position(self) -> usize {
        self as usize - 1
    }
}

/// Direction of a walk over a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// Key and value of an entry of a table.
pub type Entry = (Vec<u8>, Vec<u8>);

/// Why the tables can't be read or written, or hold what no `apply` wrote.
///
/// An environment error: the node stops, because an entry that can't be applied
/// here was applied elsewhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TablesError {
    /// The database failed.
    #[error("the state database failed")]
    Database(#[source] Box<dyn Error + Send + Sync>),
    /// A value that `apply` keeps has a shape that `apply` never wrote.
    #[error(
        "the table {} is damaged: {detail}; replace this node's data directory \
         and let it join again as a new member", table.name()
    )]
    Damaged {
        /// The table.
        table: Table,
        /// What is wrong.
        detail: &'static str,
    },
    /// The cluster decided on a version whose effects this program doesn't know.
    #[error(
        "the cluster has version {cluster}, this program knows versions up to \
         {known}: run a newer version of Strongroom"
    )]
    ProgramTooOld {
        /// Version of the cluster.
        cluster: u32,
        /// Newest version that this program knows.
        known: u32,
    },
}

impl TablesError {
    /// Wraps the error of a database.
    pub fn database(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Database(error.into())
    }

    /// Says that a kept value is damaged.
    pub(crate) fn damaged(table: Table, detail: &'static str) -> Self {
        Self::Damaged { table, detail }
    }
}

/// Reads of the tables, all as of one state.
pub trait TablesReader {
    /// The value under a key.
    ///
    /// # Errors
    ///
    /// [`TablesError`] when the database can't tell.
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, TablesError>;

    /// Entries with `from <= key < to` (`None`: to the table's end), from the
    /// end that `order` names, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`TablesError`] when the database can't tell.
    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, TablesError>;
}

/// Tables that are being changed. Reads see the changes made so far.
///
/// The caller makes all changes of an entry, and its own record of having
/// applied it, durable at once or not at all.
pub trait Tables: TablesReader {
    /// Puts a value under a key, over the one that is there.
    ///
    /// # Errors
    ///
    /// [`TablesError`]: the changes made so far must be thrown away.
    fn put(&mut self, table: Table, key: &[u8], value: &[u8]) -> Result<(), TablesError>;

    /// Removes a key, where it is there.
    ///
    /// # Errors
    ///
    /// [`TablesError`]: the changes made so far must be thrown away.
    fn delete(&mut self, table: Table, key: &[u8]) -> Result<(), TablesError>;
}

impl<T: TablesReader + ?Sized> TablesReader for &T {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, TablesError> {
        (**self).get(table, key)
    }

    fn range(
        &self,
        table: Table,
        from: &[u8],
        to: Option<&[u8]>,
        order: Order,
        limit: usize,
    ) -> Result<Vec<Entry>, TablesError> {
        (**self).range(table, from, to, order, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_names_are_those_of_the_list() {
        for (position, table) in Table::ALL.into_iter().enumerate() {
            assert_eq!(table.position(), position);
            assert!(Table::ALL.iter().all(|other| *other == table || other.name() != table.name()));
        }
    }
}
