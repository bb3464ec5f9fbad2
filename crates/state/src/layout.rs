//! Keys and values of the tables.
//!
//! Format 1 of the state (`strongroom_format::STATE_FORMAT`). Integers big
//! endian, so that keys sort as their numbers do.
//!
//! | table | key | value |
//! |---|---|---|
//! | rows | table (1) ‖ row id | revision (8) ‖ sealed row |
//! | epochs | kind (1) ‖ epoch (4) | count (8), never 0 |
//! | leaves | sequence (8) | cluster time (8) ‖ canonical leaf |
//! | bodies | sequence (8) | sealed body |
//! | tree | level (1), from 1 ‖ index (8) | hash of the complete node (32) |
//! | leaves_by_key | key id (16) ‖ sequence (8) | empty |
//! | leaves_by_principal | principal id (16) ‖ sequence (8) | empty |
//! | deduplication | node (8) ‖ 0 | boot count (8) ‖ boot nonce (8) ‖ newest sequence (8) |
//! | deduplication | node (8) ‖ 1 ‖ sequence mod 64 (1) | boot count (8) ‖ sequence (8) ‖ log index (8) ‖ first audit sequence (8) ‖ verdicts |
//! | plain | name (1) | revision (8) ‖ record |
//! | meta | 1 | cluster time (8) |
//! | meta | 2 | frontier of the audit tree (crate `audit`) |
//! | meta | 3 | accumulator of the state hash (2,048) |
//! | meta | 4 ‖ table (1) | log index of the last deletion of a row of the table (8) |
//! | meta | 5 | membership, as the Raft layer encodes it |

use strongroom_base::{BarrierEpoch, Revision};
use strongroom_format::store::{EpochKind, PlainName};

use crate::{Table, TablesError};

/// Bytes of a sealed value's head: format (1) ‖ epoch (4).
pub const SEALED_HEAD_BYTES: usize = 5;
/// Bytes of a row's tag, at the end of its sealed value.
pub const TAG_BYTES: usize = 16;
/// Least bytes of a sealed value: head and tag do not overlap.
pub const SEALED_BYTES_MIN: usize = SEALED_HEAD_BYTES + TAG_BYTES;

/// Key in `meta`: cluster time.
pub(crate) const META_CLUSTER_TIME: &[u8] = &[1];
/// Key in `meta`: frontier of the audit tree.
pub(crate) const META_FRONTIER: &[u8] = &[2];
/// Key in `meta`: accumulator of the state hash.
pub(crate) const META_ACCUMULATOR: &[u8] = &[3];
/// Key in `meta`: membership.
pub(crate) const META_MEMBERSHIP: &[u8] = &[5];

/// Key in `meta` of a row table's last deletion.
pub(crate) const fn meta_last_deletion(table: u8) -> [u8; 2] {
    [4, table]
}

/// Key of a row.
#[must_use]
pub fn row_key(table: u8, row_id: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + row_id.len());
    key.push(table);
    key.extend_from_slice(row_id);
    key
}

/// Key of a plain record; `None` for the name that is never valid.
#[must_use]
pub fn plain_key(name: PlainName) -> Option<[u8; 1]> {
    match name {
        PlainName::Unspecified => None,
        name => u8::try_from(i32::from(name)).ok().map(|number| [number]),
    }
}

/// Value of a row or plain record.
pub(crate) fn versioned(revision: Revision, value: &[u8]) -> Vec<u8> {
    let mut stored = Vec::with_capacity(8 + value.len());
    stored.extend(revision.0.to_be_bytes());
    stored.extend_from_slice(value);
    stored
}

/// Revision and content of a row or plain record.
pub(crate) fn split_versioned(
    table: Table,
    stored: &[u8],
) -> Result<(Revision, &[u8]), TablesError> {
    let damaged = TablesError::damaged(table, "an entry has no revision");
    let (revision, value) = stored.split_first_chunk().ok_or(damaged)?;
    Ok((Revision(u64::from_be_bytes(*revision)), value))
}

/// Key of an epoch's count.
pub(crate) fn epoch_key(kind: EpochKind, epoch: BarrierEpoch) -> [u8; 5] {
    let [a, b, c, d] = epoch.0.to_be_bytes();
    [u8::try_from(i32::from(kind)).expect("kinds of epochs are small numbers"), a, b, c, d]
}

/// The epoch in a sealed value's head; `None` where the value is too short to be
/// sealed, or its epoch is 0.
#[must_use]
pub fn sealed_epoch(sealed: &[u8]) -> Option<BarrierEpoch> {
    if sealed.len() < SEALED_BYTES_MIN {
        return None;
    }
    let epoch = u32::from_be_bytes([sealed[1], sealed[2], sealed[3], sealed[4]]);
    (epoch != 0).then_some(BarrierEpoch(epoch))
}

/// Key of an interior node of the audit tree.
pub(crate) fn node_key(level: u8, index: u64) -> [u8; 9] {
    let mut key = [level; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Key of a look-up entry.
pub(crate) fn look_up_key(id: &[u8; 16], sequence: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(id);
    key[16..].copy_from_slice(&sequence.to_be_bytes());
    key
}

/// The integer that a value of exactly eight bytes is.
pub(crate) fn number(table: Table, value: &[u8]) -> Result<u64, TablesError> {
    let bytes = value.try_into();
    bytes
        .map(u64::from_be_bytes)
        .map_err(|_| TablesError::damaged(table, "a number is not 8 bytes"))
}

/// The least key greater than every key that begins with `prefix`; `None` where
/// there is none.
pub(crate) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_short_or_of_epoch_zero_is_not_sealed() {
        assert_eq!(sealed_epoch(&[1; 20]), None);
        assert_eq!(sealed_epoch(&[0; 21]), None);
        assert_eq!(sealed_epoch(&[1; 21]), Some(BarrierEpoch(0x0101_0101)));
    }

    #[test]
    fn a_prefix_ends_right_after_its_keys() {
        assert_eq!(prefix_end(&[1, 2]), Some(vec![1, 3]));
        assert_eq!(prefix_end(&[1, 255]), Some(vec![2]));
        assert_eq!(prefix_end(&[255, 255]), None);
        assert_eq!(prefix_end(&[]), None);
    }
}
