//! A decision: what was relied on, what is to change, and what is recorded.
//!
//! A decision takes effect when the replicated state admits the transaction
//! made of it ([`crate::transaction`]), or not at all. Its outcome, refusals
//! included, is told to nobody before that.

use std::sync::Arc;

use strongroom_base::{BarrierEpoch, LogIndex, Revision, UnixMillis};
use strongroom_crypto::{IndexKey, TokenSecret, name_row_id, token_row_id};
use strongroom_format::store::{EpochKind, PlainName};

use crate::{
    access::Authenticated,
    cluster::Cluster,
    errors::Refusal,
    events::EventDraft,
    read::{Found, Opened, ReadError, ReadSet, Rows},
    rows::{Row, TypedRow},
    tables::{RowId, RowTable},
};

/// Turns names and tokens into row ids, under the index key.
pub trait NameIndex {
    /// Row id of a name in `table`: the same name in two tables has two ids.
    fn name(&self, table: RowTable, name: &[u8]) -> RowId;

    /// Row id of a bearer token.
    fn token(&self, token: &TokenSecret) -> RowId;
}

impl NameIndex for IndexKey {
    fn name(&self, table: RowTable, name: &[u8]) -> RowId {
        RowId::hashed(name_row_id(self, table.number(), name))
    }

    fn token(&self, token: &TokenSecret) -> RowId {
        RowId::hashed(token_row_id(self, token))
    }
}

/// What a decision stands on, beside the rows that it reads.
#[derive(Clone, Copy)]
pub struct Basis<'a> {
    /// Rows of the applied state.
    pub rows: &'a dyn Rows,
    /// Row ids of names.
    pub index: &'a dyn NameIndex,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// Revision of the keyring under which rows and bodies will be sealed: in
    /// every read set, so that nothing is written under an older one.
    pub keyring: Revision,
    /// Applied index, taken before the decision began.
    pub applied: LogIndex,
    /// Cluster time at that index, or a later one known from a `ReadIndex`.
    pub cluster_time: UnixMillis,
    /// The node's clock: data of what is created.
    pub node_time: UnixMillis,
}

/// A change of a row.
pub struct RowChange {
    /// Its table.
    pub table: RowTable,
    /// Its id.
    pub id: RowId,
    /// The new row; `None`: the row is deleted.
    pub row: Option<TypedRow>,
}

/// A change of a plain record.
pub struct PlainChange {
    /// Which one.
    pub name: PlainName,
    /// Its new bytes.
    pub value: Vec<u8>,
}

/// What was decided, ready to be proposed.
pub struct Decision {
    /// Applied index decided on: at least that of the basis and of every row
    /// read. What the decision writes gets the revision after it.
    pub decided_at: LogIndex,
    /// What was relied on. Every row or plain record written is in it.
    pub reads: ReadSet,
    /// Rows to change, each once.
    pub writes: Vec<RowChange>,
    /// Plain records to change, each once.
    pub plain_writes: Vec<PlainChange>,
    /// Not before this cluster time.
    pub not_before: Option<UnixMillis>,
    /// Not after this cluster time: the end of the caller's token.
    pub not_after: Option<UnixMillis>,
    /// What is recorded.
    pub event: EventDraft,
}

impl Decision {
    /// Revision of everything that the decision writes.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision::decided_at(self.decided_at)
    }

    /// Checks what every decision must hold.
    ///
    /// # Panics
    ///
    /// Panics where something written was not read, or is written twice: the
    /// replicated state would refuse the transaction for ever.
    pub fn assert_invariants(&self) {
        for (at, change) in self.writes.iter().enumerate() {
            let row = (change.table, &change.id);
            assert!(self.reads.has_row(change.table, &change.id), "{row:?} was not read");
            let twice = self.writes[..at].iter().any(|other| (other.table, &other.id) == row);
            assert!(!twice, "{row:?} is written twice");
            let right = change.row.as_ref().is_none_or(|typed| typed.table() == change.table);
            assert!(right, "{row:?} is written as a row of another table");
        }
        for (at, change) in self.plain_writes.iter().enumerate() {
            assert!(self.reads.has_plain(change.name), "{:?} was not read", change.name);
            let twice = self.plain_writes[..at].iter().any(|other| other.name == change.name);
            assert!(!twice, "{:?} is written twice", change.name);
        }
        assert!(self.reads.newest().0 <= self.decided_at.0, "decided before what was read");
    }
}

/// A decision with what the caller gets once it is admitted.
#[must_use = "a decision that is not proposed never happened"]
pub struct Decided<R> {
    /// To be proposed.
    pub decision: Decision,
    /// To be released when the decision is admitted, and not before.
    pub result: Result<R, Refusal>,
}

/// A look at the state that changes nothing and is not recorded one by one.
pub type Viewed<R> = Result<Result<R, Refusal>, ReadError>;

/// The first half of deciding: reading.
pub(crate) struct Reading<'a> {
    pub(crate) basis: &'a Basis<'a>,
    reads: ReadSet,
    not_after: Option<UnixMillis>,
}

impl<'a> Reading<'a> {
    /// Begins on behalf of a caller: all that its rights rest on is read.
    pub(crate) fn by(basis: &'a Basis<'a>, caller: &Authenticated) -> Self {
        let mut reads = caller.reads.clone();
        reads.expect_plain(PlainName::Keyring, basis.keyring);
        Self { basis, reads, not_after: caller.expires }
    }

    /// Begins on behalf of the cluster itself.
    pub(crate) fn by_itself(basis: &'a Basis<'a>) -> Self {
        let mut reads = ReadSet::default();
        reads.expect_plain(PlainName::Keyring, basis.keyring);
        Self { basis, reads, not_after: None }
    }

    /// Reads a row.
    pub(crate) fn find<T: Row>(&mut self, id: RowId) -> Result<Option<Found<T>>, ReadError> {
        self.reads.find(self.basis.rows, id)
    }

    /// Reads a row that another row names.
    pub(crate) fn must_find<T: Row>(&mut self, id: RowId) -> Result<Found<T>, ReadError> {
        self.find(id)?.ok_or_else(|| ReadError::dangling(T::TABLE))
    }

    /// Reads a row of any table and copies it; `None` where there is none, or
    /// where it was read before.
    pub(crate) fn copy(
        &mut self,
        table: RowTable,
        id: RowId,
    ) -> Result<Option<TypedRow>, ReadError> {
        if self.reads.has_row(table, &id) {
            return Ok(None);
        }
        let opened = self.reads.open(self.basis.rows, table, id)?;
        let copy = |opened: Arc<Opened>| TypedRow::decode(table, opened.row.encode().expose());
        opened.map(copy).transpose().map_err(|error| ReadError::record(table, error))
    }

    /// Relies on the absence of a row with a fresh random id.
    pub(crate) fn expect_absent(&mut self, table: RowTable, id: RowId) {
        self.reads.expect_absent(table, id);
    }

    /// Relies on an epoch having nothing left under it.
    pub(crate) fn expect_unused(&mut self, kind: EpochKind, epoch: BarrierEpoch) {
        self.reads.expect_unused(kind, epoch);
    }

    /// Revision that a settling right now would give.
    pub(crate) fn revision(&self) -> Revision {
        Revision::decided_at(decided_at(&self.reads, self.basis.applied))
    }

    /// Reads no more; the revision of what is written is known from here on.
    pub(crate) fn settle(self) -> Writing {
        let Self { basis, reads, not_after } = self;
        Writing::new(reads, basis.applied, not_after)
    }

    /// Decides against, with a record of the refusal.
    pub(crate) fn refuse<R>(self, event: EventDraft, refusal: Refusal) -> Decided<R> {
        let decision = self.settle().finish(event.refused(&refusal));
        Decided { decision, result: Err(refusal) }
    }

    /// Decides for, with nothing to write.
    pub(crate) fn allow<R>(self, event: EventDraft, result: R) -> Decided<R> {
        Decided { decision: self.settle().finish(event), result: Ok(result) }
    }
}

/// The second half of deciding: saying what changes.
pub(crate) struct Writing {
    decided_at: LogIndex,
    reads: ReadSet,
    not_after: Option<UnixMillis>,
    writes: Vec<RowChange>,
    plain_writes: Vec<PlainChange>,
}

impl Writing {
    pub(crate) fn new(reads: ReadSet, applied: LogIndex, not_after: Option<UnixMillis>) -> Self {
        let decided_at = decided_at(&reads, applied);
        Self { decided_at, reads, not_after, writes: Vec::new(), plain_writes: Vec::new() }
    }

    /// Applied index decided on.
    pub(crate) fn decided_at(&self) -> LogIndex {
        self.decided_at
    }

    /// Revision of all that is written.
    pub(crate) fn revision(&self) -> Revision {
        Revision::decided_at(self.decided_at)
    }

    /// Writes a row.
    pub(crate) fn put<T: Row>(&mut self, id: RowId, row: T) {
        self.put_typed(id, row.into_typed());
    }

    /// Writes a row of any table.
    pub(crate) fn put_typed(&mut self, id: RowId, row: TypedRow) {
        self.writes.push(RowChange { table: row.table(), id, row: Some(row) });
    }

    /// Deletes a row.
    pub(crate) fn delete(&mut self, table: RowTable, id: RowId) {
        self.writes.push(RowChange { table, id, row: None });
    }

    /// Whether a row is written already.
    pub(crate) fn writes_row(&self, table: RowTable, id: &RowId) -> bool {
        self.writes.iter().any(|change| change.table == table && change.id == *id)
    }

    /// Writes a plain record.
    pub(crate) fn put_plain(&mut self, name: PlainName, value: Vec<u8>) {
        self.plain_writes.push(PlainChange { name, value });
    }

    /// The decision.
    pub(crate) fn finish(self, event: EventDraft) -> Decision {
        let Self { decided_at, reads, not_after, writes, plain_writes } = self;
        let decision = Decision {
            decided_at,
            reads,
            writes,
            plain_writes,
            not_before: None,
            not_after,
            event,
        };
        decision.assert_invariants();
        decision
    }

    /// The decision, with a result.
    pub(crate) fn allow<R>(self, event: EventDraft, result: R) -> Decided<R> {
        Decided { decision: self.finish(event), result: Ok(result) }
    }
}

/// The applied index decided on. What has revision r was applied at index r or
/// later: the node that read it has applied r.
fn decided_at(reads: &ReadSet, applied: LogIndex) -> LogIndex {
    applied.max(LogIndex(reads.newest().0))
}
