//! Applies one committed entry.
//!
//! Deterministic and total: the same entries give the same tables everywhere,
//! and any bytes give an outcome. An entry's changes to the tables must be made
//! durable at once or not at all, together with the caller's record of having
//! applied it.

use prost::Message;
use strongroom_base::{AuditSequence, BootId, LogIndex, NodeId, Revision, UnixMillis, limits};
use strongroom_format::{
    COMMAND_FORMAT,
    store::{Batch, Command, Transaction, command::Body},
};

use crate::{
    Applied, BatchId, BatchOutcome, BatchRefusal, Outcome, RefusalCause, Table, Tables,
    TablesError, Verdict,
    append::Appender,
    deduplication::{self, Lane, Mark, Standing},
    epochs::EpochCounts,
    guards::Guards,
    layout::META_CLUSTER_TIME,
    read,
    rows::{self, Changes},
    state_hash, transaction,
};

/// Bytes of a batch's MAC.
const MAC_BYTES: usize = 32;

/// Newest cluster version whose effects this program knows.
pub const CLUSTER_VERSION_MAX: u32 = 1;

/// Applies the command of the committed entry at `index`.
///
/// Cluster time becomes the command's stamp where that is later. A batch's
/// transactions then apply in order, each whole or not at all, unless the batch
/// repeats one that was applied, is too old, or breaks a bound.
///
/// # Errors
///
/// [`TablesError`]: nothing of the entry may be kept, and the node stops. An
/// entry that takes the cluster to a version that this program doesn't know is
/// [`TablesError::ProgramTooOld`].
pub fn apply(
    tables: &mut impl Tables,
    index: LogIndex,
    command: &[u8],
) -> Result<Applied, TablesError> {
    let stamp = read::cluster_time(tables)?;
    let Ok(decoded) = Command::decode(command) else {
        return refused(tables, stamp, RefusalCause::Undecodable, None);
    };
    if decoded.format != COMMAND_FORMAT {
        return refused(tables, stamp, RefusalCause::UnknownCommand, None);
    }
    if decoded.encoded_len() != command.len() {
        return refused(tables, stamp, RefusalCause::Undecodable, None);
    }
    if decoded.stamp_ms > UnixMillis::MAX.0 || !matches!(decoded.mac.len(), 0 | MAC_BYTES) {
        return refused(tables, stamp, RefusalCause::Malformed, None);
    }
    let later = UnixMillis(decoded.stamp_ms);
    let stamp = if later > stamp {
        tables.put(Table::Meta, META_CLUSTER_TIME, &later.0.to_be_bytes())?;
        later
    } else {
        stamp
    };
    match decoded.body {
        None => refused(tables, stamp, RefusalCause::UnknownCommand, None),
        Some(Body::HashPoint(point)) => {
            let hash = state_hash(tables)?;
            let (node_id, nonce) = (point.node_id, point.nonce);
            no_effect(tables, stamp, Outcome::HashPoint { node_id, nonce, hash })
        }
        Some(Body::Batch(bytes)) => {
            let lane = if decoded.mac.is_empty() { Lane::Unproven } else { Lane::Proven };
            apply_batch(tables, index, stamp, lane, &bytes)
        }
    }
}

/// What an entry did that changed nothing but cluster time.
fn no_effect(
    tables: &impl Tables,
    stamp: UnixMillis,
    outcome: Outcome,
) -> Result<Applied, TablesError> {
    Ok(Applied {
        stamp,
        outcome,
        rows_changed: Vec::new(),
        plain_changed: Vec::new(),
        first_sequence: AuditSequence(read::audit_size(tables)?),
        records: 0,
    })
}

fn refused(
    tables: &impl Tables,
    stamp: UnixMillis,
    cause: RefusalCause,
    batch: Option<BatchId>,
) -> Result<Applied, TablesError> {
    no_effect(tables, stamp, Outcome::Refused(BatchRefusal { cause, batch }))
}

fn apply_batch(
    tables: &mut impl Tables,
    index: LogIndex,
    stamp: UnixMillis,
    lane: Lane,
    bytes: &[u8],
) -> Result<Applied, TablesError> {
    if bytes.len() > limits::BATCH_BYTES_MAX {
        return refused(tables, stamp, RefusalCause::Malformed, None);
    }
    let batch = match Batch::decode(bytes) {
        Ok(batch) if batch.encoded_len() == bytes.len() => batch,
        _ => return refused(tables, stamp, RefusalCause::Undecodable, None),
    };
    let id = BatchId {
        node_id: batch.node_id,
        boot: BootId { count: batch.boot_count, nonce: batch.boot_nonce },
        sequence: batch.sequence,
    };
    if NodeId::new(batch.node_id).is_err() {
        return refused(tables, stamp, RefusalCause::Malformed, None);
    }
    if !is_well_formed(&batch) {
        return refused(tables, stamp, RefusalCause::Malformed, Some(id));
    }
    let newest = match deduplication::standing(tables, lane, &id)? {
        Standing::First { newest } => newest,
        Standing::Repeats(mark) => {
            return no_effect(tables, stamp, Outcome::Batch(outcome(&id, mark, true)));
        }
        Standing::Refused(cause) => return refused(tables, stamp, cause, Some(id)),
    };

    let mut work = Work {
        index,
        stamp,
        guards: Guards::new(&batch.guards),
        epochs: EpochCounts::default(),
        changes: Changes::default(),
        appender: Appender::load(tables, stamp)?,
    };
    let mut verdicts = Vec::with_capacity(batch.transactions.len());
    for transaction in &batch.transactions {
        verdicts.push(work.apply(tables, transaction)?);
    }
    let (first_sequence, records) = (work.appender.first_sequence(), work.appender.records());
    let mark = Mark { log_index: index, first_sequence, verdicts };
    deduplication::remember(tables, lane, &id, newest, &mark)?;
    let Changes { rows: rows_changed, plain: plain_changed, .. } = work.store(tables)?;
    let outcome = Outcome::Batch(outcome(&id, mark, false));
    Ok(Applied { stamp, outcome, rows_changed, plain_changed, first_sequence, records })
}

fn is_well_formed(batch: &Batch) -> bool {
    batch.boot_count != 0
        && batch.sequence != 0
        && batch.guards.len() <= limits::BATCH_GUARDS_MAX
        && batch.transactions.len() <= limits::BATCH_TRANSACTIONS_MAX
}

fn outcome(id: &BatchId, mark: Mark, repeated: bool) -> BatchOutcome {
    BatchOutcome {
        node_id: id.node_id,
        boot: id.boot,
        sequence: id.sequence,
        log_index: mark.log_index,
        repeated,
        verdicts: mark.verdicts,
        first_sequence: mark.first_sequence,
    }
}

/// A batch in the middle of being applied.
struct Work<'a> {
    index: LogIndex,
    stamp: UnixMillis,
    guards: Guards<'a>,
    epochs: EpochCounts,
    changes: Changes,
    appender: Appender,
}

impl<'a> Work<'a> {
    fn apply(
        &mut self,
        tables: &mut impl Tables,
        transaction: &'a Transaction,
    ) -> Result<Verdict, TablesError> {
        let Some(checked) = transaction::check(transaction, &self.guards, self.index) else {
            return Ok(Verdict::Malformed);
        };
        if self.stamp.0 < transaction.not_before_ms {
            return Ok(Verdict::TooEarly);
        }
        if transaction.not_after_ms != 0 && self.stamp.0 > transaction.not_after_ms {
            return Ok(Verdict::TooLate);
        }
        if !self.guards.all_hold(tables, &self.epochs, checked.reads)? {
            return Ok(Verdict::Superseded);
        }
        for change in &checked.changes {
            if !rows::moves_on(tables, change, checked.decided_at)? {
                return Ok(Verdict::Superseded);
            }
        }
        if let Some(cluster) = checked.cluster_version.filter(|it| *it > CLUSTER_VERSION_MAX) {
            return Err(TablesError::ProgramTooOld { cluster, known: CLUSTER_VERSION_MAX });
        }
        let revision = Revision::decided_at(checked.decided_at);
        for change in &checked.changes {
            self.changes.install(tables, &mut self.epochs, change, revision, self.index)?;
            self.guards.written(&change.target);
        }
        for record in &checked.records {
            self.appender.append(tables, &mut self.epochs, record)?;
        }
        Ok(Verdict::Admitted)
    }

    fn store(self, tables: &mut impl Tables) -> Result<Changes, TablesError> {
        self.epochs.store(tables)?;
        self.changes.store(tables)?;
        self.appender.store(tables)?;
        Ok(self.changes)
    }
}
