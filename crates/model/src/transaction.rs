//! Encoding of a decision: rows and bodies sealed, guards listed, the leaf in
//! its canonical bytes.

use prost::Message;
use strongroom_base::{Revision, limits};
use strongroom_format::store;

use crate::{
    decision::{Decision, PlainChange, RowChange},
    events::{self, Circumstances},
    tables::{RowId, RowTable},
};

/// Seals under the keyring whose revision the decision relied on.
pub trait Sealer {
    /// Seals a row for its place and revision.
    fn seal_row(
        &mut self,
        table: RowTable,
        id: &RowId,
        revision: Revision,
        plaintext: &[u8],
    ) -> Vec<u8>;

    /// Seals the body of the leaf with this digest.
    fn seal_body(&mut self, leaf_digest: &[u8; 32], plaintext: &[u8]) -> Vec<u8>;
}

/// A transaction ready to be proposed.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    /// The transaction; its `reads` are indexes into `guards`, all of them.
    pub transaction: store::Transaction,
    /// Its read set.
    pub guards: Vec<store::Guard>,
}

/// A transaction that no batch can hold; refused before it is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the transaction has {bytes} bytes, {max} are allowed", max = limits::TRANSACTION_BYTES_MAX)]
pub struct TooLarge {
    /// Its size.
    pub bytes: usize,
}

/// Encodes a decision of an unsealed node. `salt` is drawn for this record.
///
/// # Errors
///
/// [`TooLarge`] beyond [`limits::TRANSACTION_BYTES_MAX`].
pub fn encode_transaction(
    decision: &Decision,
    circumstances: &Circumstances,
    salt: [u8; 16],
    sealer: &mut dyn Sealer,
) -> Result<Encoded, TooLarge> {
    let record = events::record(&decision.event, circumstances, salt);
    let body = record.body.encode_to_vec();
    let body = sealer.seal_body(&events::leaf_digest(&record.leaf), &body);
    encode(decision, store::AuditRecord { leaf: record.leaf, body }, |change, row| {
        // The one place where a row's plaintext leaves its type, to be sealed.
        sealer.seal_row(change.table, &change.id, decision.revision(), row)
    })
}

/// Encodes a decision whose record is a leaf without a body: a step of the
/// seal's ceremony. Only `init`'s decision writes rows; it gives the sealer of
/// the keyring that it made.
///
/// # Errors
///
/// [`TooLarge`] beyond [`limits::TRANSACTION_BYTES_MAX`].
///
/// # Panics
///
/// Panics where rows are written and no sealer is given.
pub fn encode_leaf_only(
    decision: &Decision,
    circumstances: &Circumstances,
    mut sealer: Option<&mut dyn Sealer>,
) -> Result<Encoded, TooLarge> {
    let leaf = events::leaf_only(&decision.event, circumstances);
    encode(decision, store::AuditRecord { leaf, body: Vec::new() }, |change, row| {
        let sealer = sealer.as_mut().expect("who writes rows gives the keyring's sealer");
        sealer.seal_row(change.table, &change.id, decision.revision(), row)
    })
}

fn encode(
    decision: &Decision,
    record: store::AuditRecord,
    mut seal_row: impl FnMut(&RowChange, &[u8]) -> Vec<u8>,
) -> Result<Encoded, TooLarge> {
    let rows = decision.writes.iter().map(|change| store::RowWrite {
        table: change.table.number(),
        row_id: change.id.as_bytes().to_vec(),
        sealed: match &change.row {
            Some(row) => seal_row(change, row.encode().expose()),
            None => Vec::new(),
        },
    });
    let rows = rows.map(store::write::Target::Row);
    let plains = decision.plain_writes.iter().map(|PlainChange { name, value }| {
        let write = store::PlainWrite { name: (*name).into(), value: value.clone() };
        store::write::Target::Plain(write)
    });
    let guards = decision.reads.guards();
    let reads = 0..u32::try_from(guards.len()).expect("read sets are bounded");
    let writes = rows.chain(plains).map(|target| store::Write { target: Some(target) }).collect();
    let transaction = store::Transaction {
        decided_at: decision.decided_at.0,
        reads: reads.collect(),
        writes,
        records: vec![record],
        not_before_ms: decision.not_before.unwrap_or_default().0,
        not_after_ms: decision.not_after.unwrap_or_default().0,
    };
    let bytes = transaction.encoded_len() + guards.iter().map(Message::encoded_len).sum::<usize>();
    if bytes > limits::TRANSACTION_BYTES_MAX {
        return Err(TooLarge { bytes });
    }
    Ok(Encoded { transaction, guards })
}
