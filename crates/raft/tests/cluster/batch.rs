//! Commands that create rows.

use bytes::Bytes;
use prost::Message as _;
use strongroom_format::store::{
    Batch, Command, Guard, RowAbsent, RowWrite, Transaction, Write, command, guard, write,
};
use strongroom_state::{BatchOutcome, Outcome, Verdict};

/// A batch of `proposer` that creates row `sequence` of its own, with `bytes`
/// bytes of content.
pub(crate) fn create_row(proposer: u64, sequence: u64, decided_at: u64, bytes: usize) -> Bytes {
    let row_id = row_id(proposer, sequence);
    let absent = RowAbsent { table: 1, row_id: row_id.clone() };
    let mut sealed = vec![1, 0, 0, 0, 1];
    sealed.extend(sequence.to_be_bytes());
    sealed.resize(sealed.len() + bytes.max(32), 0xAA);
    let row = RowWrite { table: 1, row_id, sealed };
    let transaction = Transaction {
        decided_at,
        reads: vec![0],
        writes: vec![Write { target: Some(write::Target::Row(row)) }],
        ..Transaction::default()
    };
    let batch = Batch {
        node_id: proposer,
        boot_count: 1,
        boot_nonce: 7,
        sequence,
        guards: vec![Guard { expect: Some(guard::Expect::Absent(absent)) }],
        transactions: vec![transaction],
    };
    let body = Some(command::Body::Batch(batch.encode_to_vec()));
    let stamp_ms = 1_800_000_000_000 + sequence;
    Command { format: 1, stamp_ms, body, mac: Vec::new() }.encode_to_vec().into()
}

pub(crate) fn row_id(proposer: u64, sequence: u64) -> Vec<u8> {
    [proposer.to_be_bytes(), sequence.to_be_bytes()].concat()
}

/// The outcome of a batch; fails the test where the command was refused.
pub(crate) fn outcome(bytes: &[u8]) -> BatchOutcome {
    match Outcome::decode(bytes) {
        Ok(Outcome::Batch(outcome)) => outcome,
        other => panic!("no outcome of a batch: {other:?}"),
    }
}

pub(crate) fn is_admitted(bytes: &[u8]) -> bool {
    outcome(bytes).verdicts == [Verdict::Admitted]
}
