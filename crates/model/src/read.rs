//! Reading rows, and remembering what was read.
//!
//! A decision reads through a [`ReadSet`] only, so that everything it relied
//! on, absences included, becomes a guard of its transaction. The same row is
//! read once: a decision never sees two versions of it.

use std::{error::Error, marker::PhantomData, ops::Deref, sync::Arc};

use strongroom_base::{BarrierEpoch, Revision};
use strongroom_format::store;

use crate::{
    cluster::RecordError,
    rows::{Row, TypedRow},
    tables::{RowId, RowTable},
};

/// A row, opened and understood, with its version.
pub struct Opened {
    /// Its revision.
    pub revision: Revision,
    /// Tag of its seal: the last 16 bytes of the sealed row.
    pub tag: [u8; 16],
    /// What it says.
    pub row: TypedRow,
}

/// Rows of this node's applied state, opened.
///
/// Implementations may cache by (row, version). What they return must have
/// been the applied state at some time during the decision; that it still is
/// at commit is what the guards are for.
pub trait Rows {
    /// The row, or `None` where there is none.
    ///
    /// # Errors
    ///
    /// [`ReadError`] where the row can't be had; nothing is decided then.
    fn read(&self, table: RowTable, id: &RowId) -> Result<Option<Arc<Opened>>, ReadError>;
}

/// Why a row can't be read: no refusal, but an error of this node.
#[derive(Debug, thiserror::Error)]
#[error("a row of the table of {} can't be read", .table.name())]
pub struct ReadError {
    /// Its table.
    pub table: RowTable,
    /// Why.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// A record that contradicts the row it is in.
#[derive(Debug, thiserror::Error)]
pub enum Contradiction {
    /// A row of one table came as the row of another.
    #[error("asked for one table, got another")]
    Table,
    /// A row names another that does not exist.
    #[error("it is named by another row and does not exist")]
    Dangling,
}

impl ReadError {
    /// The bytes are not understood.
    #[must_use]
    pub fn record(table: RowTable, source: RecordError) -> Self {
        Self { table, source: Box::new(source) }
    }

    /// A row that must be there, because another names it, is not.
    pub(crate) fn dangling(table: RowTable) -> Self {
        Self { table, source: Box::new(Contradiction::Dangling) }
    }
}

/// A row of a known type.
pub struct Found<T> {
    opened: Arc<Opened>,
    row: PhantomData<T>,
}

impl<T: Row> Found<T> {
    fn new(opened: Arc<Opened>) -> Result<Self, ReadError> {
        match T::of(&opened.row) {
            Some(_) => Ok(Self { opened, row: PhantomData }),
            None => Err(ReadError { table: T::TABLE, source: Box::new(Contradiction::Table) }),
        }
    }

    /// Its revision.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.opened.revision
    }
}

impl<T: Row> Deref for Found<T> {
    type Target = T;

    fn deref(&self) -> &T {
        T::of(&self.opened.row).expect("the type was checked when the row was found")
    }
}

impl<T> Clone for Found<T> {
    fn clone(&self) -> Self {
        Self { opened: Arc::clone(&self.opened), row: PhantomData }
    }
}

/// Version of a row as a decision saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Version {
    /// Its revision.
    pub revision: Revision,
    /// Tag of its seal.
    pub tag: [u8; 16],
}

#[derive(Clone)]
struct RowRead {
    table: RowTable,
    id: RowId,
    seen: Seen,
}

#[derive(Clone)]
enum Seen {
    Absent,
    Opened(Arc<Opened>),
    /// Known by its version only: sealed under a keyring that is gone.
    Sealed(Version),
}

/// What a decision relied on.
#[derive(Clone, Default)]
pub struct ReadSet {
    rows: Vec<RowRead>,
    plains: Vec<(store::PlainName, Revision)>,
    unused: Vec<(store::EpochKind, BarrierEpoch)>,
}

impl ReadSet {
    /// Reads a row and remembers its version or its absence.
    ///
    /// # Errors
    ///
    /// [`ReadError`], also where the row is not of `T`'s table.
    pub fn find<T: Row>(
        &mut self,
        rows: &dyn Rows,
        id: RowId,
    ) -> Result<Option<Found<T>>, ReadError> {
        if let Some(read) = self.read_of(T::TABLE, &id) {
            return match &read.seen {
                Seen::Opened(opened) => Found::new(Arc::clone(opened)).map(Some),
                Seen::Absent | Seen::Sealed(_) => Ok(None),
            };
        }
        self.open(rows, T::TABLE, id)?.map(Found::new).transpose()
    }

    /// Reads a row that was not read before.
    pub(crate) fn open(
        &mut self,
        rows: &dyn Rows,
        table: RowTable,
        id: RowId,
    ) -> Result<Option<Arc<Opened>>, ReadError> {
        let opened = rows.read(table, &id)?;
        let seen = opened.clone().map_or(Seen::Absent, Seen::Opened);
        self.rows.push(RowRead { table, id, seen });
        Ok(opened)
    }

    /// Relies on the absence of a row without reading it: for a fresh random
    /// id, which no row can have.
    pub fn expect_absent(&mut self, table: RowTable, id: RowId) {
        if self.read_of(table, &id).is_none() {
            self.rows.push(RowRead { table, id, seen: Seen::Absent });
        }
    }

    /// Relies on the version of a row that can't be opened.
    pub fn expect_sealed(&mut self, table: RowTable, id: RowId, version: Version) {
        if self.read_of(table, &id).is_none() {
            self.rows.push(RowRead { table, id, seen: Seen::Sealed(version) });
        }
    }

    /// Relies on the revision of a plain record.
    pub fn expect_plain(&mut self, name: store::PlainName, revision: Revision) {
        if !self.plains.iter().any(|(known, _)| *known == name) {
            self.plains.push((name, revision));
        }
    }

    /// Relies on an epoch having nothing left under it.
    pub fn expect_unused(&mut self, kind: store::EpochKind, epoch: BarrierEpoch) {
        if !self.unused.contains(&(kind, epoch)) {
            self.unused.push((kind, epoch));
        }
    }

    /// Whether a row, present or absent, was read.
    #[must_use]
    pub fn has_row(&self, table: RowTable, id: &RowId) -> bool {
        self.read_of(table, id).is_some()
    }

    /// Whether a plain record was read.
    #[must_use]
    pub fn has_plain(&self, name: store::PlainName) -> bool {
        self.plains.iter().any(|(known, _)| *known == name)
    }

    /// Number of guards.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len() + self.plains.len() + self.unused.len()
    }

    /// Whether nothing was relied on.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The highest revision among what was read; absent where there is none.
    ///
    /// What has revision r was applied at index r or later, so the node that
    /// read it has applied r.
    #[must_use]
    pub fn newest(&self) -> Revision {
        let rows = self.rows.iter().map(|read| read.seen.revision());
        let plains = self.plains.iter().map(|(_, revision)| *revision);
        rows.chain(plains).max().unwrap_or(Revision::ABSENT)
    }

    /// The guards, each once.
    #[must_use]
    pub fn guards(&self) -> Vec<store::Guard> {
        use store::guard::Expect;
        let rows = self.rows.iter().map(RowRead::expect);
        let plains = self.plains.iter().map(|(name, revision)| {
            Expect::Plain(store::PlainVersion { name: (*name).into(), revision: revision.0 })
        });
        let unused = self.unused.iter().map(|(kind, epoch)| {
            Expect::EpochUnused(store::EpochUnused { kind: (*kind).into(), epoch: epoch.0 })
        });
        let all = rows.chain(plains).chain(unused);
        all.map(|expect| store::Guard { expect: Some(expect) }).collect()
    }

    fn read_of(&self, table: RowTable, id: &RowId) -> Option<&RowRead> {
        self.rows.iter().find(|read| read.table == table && read.id == *id)
    }
}

impl RowRead {
    fn expect(&self) -> store::guard::Expect {
        use store::guard::Expect;
        let (table, row_id) = (self.table.number(), self.id.as_bytes().to_vec());
        match self.seen.version() {
            None => Expect::Absent(store::RowAbsent { table, row_id }),
            Some(Version { revision, tag }) => Expect::Row(store::RowVersion {
                table,
                row_id,
                revision: revision.0,
                tag: tag.to_vec(),
            }),
        }
    }
}

impl Seen {
    fn version(&self) -> Option<Version> {
        match self {
            Self::Absent => None,
            Self::Opened(row) => Some(Version { revision: row.revision, tag: row.tag }),
            Self::Sealed(version) => Some(*version),
        }
    }

    fn revision(&self) -> Revision {
        self.version().map_or(Revision::ABSENT, |version| version.revision)
    }
}
