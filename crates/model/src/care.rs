//! Care of the cluster by an administrator: the barrier's epochs, and acts that
//! are only recorded.

use strongroom_audit::{Fact, Operation};
use strongroom_base::{BarrierEpoch, Revision};
use strongroom_format::store::{EpochKind, PlainName};

use crate::{
    access::{Authenticated, authorise},
    decision::{Basis, Decided, Decision, Reading},
    errors::Refusal,
    events::EventDraft,
    facts,
    read::ReadError,
    tables::{RowId, RowTable},
};

/// A keyring with a new newest epoch, wrapped.
pub struct RotatedKeyring {
    /// Bytes of the plain record.
    pub wrapped: Vec<u8>,
    /// Newest barrier epoch.
    pub barrier: BarrierEpoch,
    /// Newest audit epoch.
    pub audit: BarrierEpoch,
}

/// Gives the keyring a new barrier and audit epoch.
///
/// Every write has the keyring's revision in its read set: what was prepared
/// under the old keyring and is not committed yet is superseded.
///
/// `rotate` makes the new keyring and wraps it for the revision that its
/// record gets; it may refuse ([`Refusal::KeyringFull`]).
pub fn rotate_barrier(
    basis: &Basis<'_>,
    caller: &Authenticated,
    rotate: impl FnOnce(Revision) -> Result<RotatedKeyring, Refusal>,
) -> Decided<(BarrierEpoch, BarrierEpoch)> {
    let event = EventDraft::by(caller, Operation::RotateBarrier);
    let reading = Reading::by(basis, caller);
    if let Err(refusal) = authorise(caller, Operation::RotateBarrier) {
        return reading.refuse(event, refusal);
    }
    let rotated = match rotate(reading.revision()) {
        Ok(rotated) => rotated,
        Err(refusal) => return reading.refuse(event, refusal),
    };
    let mut writing = reading.settle();
    writing.put_plain(PlainName::Keyring, rotated.wrapped);
    let event =
        event.fact(facts::barrier_epoch(rotated.barrier)).fact(facts::audit_epoch(rotated.audit));
    writing.allow(event, (rotated.barrier, rotated.audit))
}

/// Drops an epoch under which nothing is left.
///
/// `left` is what the applied state counts under it. `drop` makes the keyring
/// without the epoch and wraps it for the revision that its record gets; it
/// refuses the newest ([`Refusal::EpochInUse`]) and unknown ones
/// ([`Refusal::EpochNotFound`]).
pub fn drop_epoch(
    basis: &Basis<'_>,
    caller: &Authenticated,
    kind: EpochKind,
    epoch: BarrierEpoch,
    left: u64,
    drop: impl FnOnce(Revision) -> Result<Vec<u8>, Refusal>,
) -> Decided<()> {
    let event = EventDraft::by(caller, Operation::DropBarrierEpoch).fact(match kind {
        EpochKind::Audit => facts::audit_epoch(epoch),
        EpochKind::Barrier | EpochKind::Unspecified => facts::barrier_epoch(epoch),
    });
    let mut reading = Reading::by(basis, caller);
    if let Err(refusal) = authorise(caller, Operation::DropBarrierEpoch) {
        return reading.refuse(event, refusal);
    }
    if left > 0 {
        return reading.refuse(event, Refusal::EpochInUse { epoch: epoch.0 });
    }
    let wrapped = match drop(reading.revision()) {
        Ok(wrapped) => wrapped,
        Err(refusal) => return reading.refuse(event, refusal),
    };
    reading.expect_unused(kind, epoch);
    let mut writing = reading.settle();
    writing.put_plain(PlainName::Keyring, wrapped);
    writing.allow(event, ())
}

/// Writes rows anew as they are, so that they get sealed under the newest
/// barrier epoch: how an older epoch comes to be unused after a rotation. The
/// caller chooses rows under an older epoch, few enough for one transaction
/// (8 of the largest). Rows that are gone are passed over; `None` where none is
/// left.
///
/// What a row says stays, a token's revision of issue included, so that nothing
/// revoked comes back. The record is the cluster's own: who asked for the
/// rotation is in the record of the rotation.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn rewrite_rows(
    basis: &Basis<'_>,
    rows: &[(RowTable, RowId)],
    newest: BarrierEpoch,
) -> Result<Option<Decision>, ReadError> {
    let mut reading = Reading::by_itself(basis);
    let mut rewritten = Vec::with_capacity(rows.len());
    for (table, id) in rows {
        if let Some(row) = reading.copy(*table, *id)? {
            rewritten.push((*id, row));
        }
    }
    if rewritten.is_empty() {
        return Ok(None);
    }
    let count = u64::try_from(rewritten.len()).expect("a length fits 64 bits");
    let mut writing = reading.settle();
    rewritten.into_iter().for_each(|(id, row)| writing.put_typed(id, row));
    let event = EventDraft::by_itself(Operation::RotateBarrier)
        .fact(facts::barrier_epoch(newest))
        .fact(facts::count(count));
    Ok(Some(writing.finish(event)))
}

/// Records an act of an administrator on the cluster or a node that writes no
/// row: handing leadership over, a snapshot, sealing, forgetting shares. The
/// act follows once the record is admitted.
pub fn record_act(
    basis: &Basis<'_>,
    caller: &Authenticated,
    operation: Operation,
    facts: &[Fact],
) -> Decided<()> {
    let by = EventDraft::by(caller, operation);
    let event = facts.iter().fold(by, |event, fact| event.fact(*fact));
    let reading = Reading::by(basis, caller);
    match authorise(caller, operation) {
        Ok(()) => reading.allow(event, ()),
        Err(refusal) => reading.refuse(event, refusal),
    }
}
