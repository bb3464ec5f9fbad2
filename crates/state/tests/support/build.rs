//! Builders of batches, guards, writes and records.

use prost::Message;
use strongroom_audit::{Detail, Kind, Leaf, LeafOutcome, Operation};
use strongroom_base::{AttemptId, KeyId, NodeId, PrincipalId, UnixMillis};
use strongroom_format::store::{
    AuditRecord, Batch, Command, EpochKind, EpochUnused, Guard, HashPoint, PlainName, PlainVersion,
    PlainWrite, RowAbsent, RowVersion, RowWrite, Transaction, Write, command, guard, write,
};
use strongroom_state::{StoredRow, layout::TAG_BYTES};

/// Something that looks sealed under `epoch`; `content` makes it unique.
pub fn sealed(epoch: u32, content: u64) -> Vec<u8> {
    let mut bytes = vec![1];
    bytes.extend(epoch.to_be_bytes());
    bytes.extend(content.to_be_bytes());
    bytes.extend([0xAA; 8]);
    bytes.extend(content.to_be_bytes());
    bytes
}

pub fn version(table: u32, row_id: &[u8], row: &StoredRow) -> Guard {
    let tag = row.value[row.value.len() - TAG_BYTES..].to_vec();
    let revision = row.revision.0;
    expect(guard::Expect::Row(RowVersion { table, row_id: row_id.to_vec(), revision, tag }))
}

pub fn absent(table: u32, row_id: &[u8]) -> Guard {
    expect(guard::Expect::Absent(RowAbsent { table, row_id: row_id.to_vec() }))
}

pub fn plain(name: PlainName, revision: u64) -> Guard {
    expect(guard::Expect::Plain(PlainVersion { name: name.into(), revision }))
}

pub fn unused(kind: EpochKind, epoch: u32) -> Guard {
    expect(guard::Expect::EpochUnused(EpochUnused { kind: kind.into(), epoch }))
}

pub fn expect(expect: guard::Expect) -> Guard {
    Guard { expect: Some(expect) }
}

pub fn put(table: u32, row_id: &[u8], sealed: Vec<u8>) -> Write {
    let row = RowWrite { table, row_id: row_id.to_vec(), sealed };
    Write { target: Some(write::Target::Row(row)) }
}

pub fn delete(table: u32, row_id: &[u8]) -> Write {
    put(table, row_id, Vec::new())
}

pub fn put_plain(name: PlainName, value: &[u8]) -> Write {
    let plain = PlainWrite { name: name.into(), value: value.to_vec() };
    Write { target: Some(write::Target::Plain(plain)) }
}

/// A record about `key` by `principal`, with a body under audit epoch `epoch`
/// unless that is zero.
pub fn record(number: u64, key: u8, principal: u8, epoch: u32) -> AuditRecord {
    let leaf = Leaf {
        kind: Kind::Use,
        operation: Operation::Decrypt,
        outcome: LeafOutcome::Success,
        attempt: AttemptId::from_bytes(u128::from(number).to_be_bytes()),
        principal: (principal != 0).then_some(PrincipalId::from_bytes([principal; 16])),
        key: (key != 0).then_some(KeyId::from_bytes([key; 16])),
        key_version: None,
        node: NodeId::new(1).unwrap(),
        boot_count: 1,
        node_time: UnixMillis(number),
        item_count: 0,
        further_keys: if key == 3 { vec![KeyId::from_bytes([1; 16])] } else { Vec::new() },
        commitments: None,
        detail: Detail::default(),
    };
    let body = if epoch == 0 { Vec::new() } else { sealed(epoch, number) };
    AuditRecord { leaf: leaf.encode().unwrap(), body }
}

pub fn command(stamp_ms: u64, batch: &Batch) -> Vec<u8> {
    let body = Some(command::Body::Batch(batch.encode_to_vec()));
    Command { format: 1, stamp_ms, body, mac: Vec::new() }.encode_to_vec()
}

/// A command whose batch has a MAC, or has none; the same batch always the same.
pub fn command_of_either_lane(stamp_ms: u64, batch: &Batch) -> Vec<u8> {
    let batch = batch.encode_to_vec();
    let proven = batch.iter().fold(0_u8, |sum, byte| sum ^ byte) % 4 != 0;
    let mac = if proven { vec![7; 32] } else { Vec::new() };
    let body = Some(command::Body::Batch(batch));
    Command { format: 1, stamp_ms, body, mac }.encode_to_vec()
}

pub fn hash_point(stamp_ms: u64, nonce: u64) -> Vec<u8> {
    let body = Some(command::Body::HashPoint(HashPoint { node_id: 1, nonce }));
    Command { format: 1, stamp_ms, body, mac: Vec::new() }.encode_to_vec()
}

/// A batch of node 1, boot 1.
pub fn batch(sequence: u64, guards: Vec<Guard>, transactions: Vec<Transaction>) -> Batch {
    Batch { node_id: 1, boot_count: 1, boot_nonce: 7, sequence, guards, transactions }
}

/// A transaction that reads every one of the first `guards` guards.
pub fn transaction(decided_at: u64, guards: u32, writes: Vec<Write>) -> Transaction {
    Transaction { decided_at, reads: (0..guards).collect(), writes, ..Transaction::default() }
}
