//! Keys and values of the log database.
//!
//! | key | value's body |
//! |---|---|
//! | `01` ‖ index (8) | term (8) ‖ payload |
//! | `00` ‖ `format` | format of the database (8) |
//! | `00` ‖ `start` | first entry's index (8); there only while an entry is and nothing was purged |
//! | `00` ‖ `purged` | index purged through (8) ‖ bytes of the Raft layer |
//! | `00` ‖ `vote` | number of this vote, from 1 (8) ‖ bytes of the Raft layer |
//!
//! A value is its format (1) ‖ body ‖ checksum (8): the first bytes of SHA-256
//! over key ‖ format ‖ body. So a value that rotted in memory, in a cache, or
//! was found under another key, is told from the one that was written.
//! Integers are big endian.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::error::{Damage, LogKey};

/// Format of every value.
const VALUE_FORMAT: u8 = 1;
/// First byte of an entry's key.
const ENTRY: u8 = 1;
/// Bytes of a value's checksum.
const CHECKSUM_BYTES: usize = 8;

/// Bytes that an entry takes in memory and on disk beyond its payload.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = 9 + 1 + 8 + CHECKSUM_BYTES;

/// Key of the database's format.
pub(super) const FORMAT: Meta = Meta("format");
/// Key of the first entry's index.
pub(super) const START: Meta = Meta("start");
/// Key of what was purged.
pub(super) const PURGED: Meta = Meta("purged");
/// Key of the vote.
pub(super) const VOTE: Meta = Meta("vote");

/// One entry of the Raft log. The payload belongs to the Raft layer.
#[derive(Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Its index.
    pub index: u64,
    /// Term of the leader that made it.
    pub term: u64,
    /// What the Raft layer stores of it.
    pub payload: Bytes,
}

impl std::fmt::Debug for LogEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { index, term, payload } = self;
        write!(f, "LogEntry {{ index: {index}, term: {term}, {} bytes }}", payload.len())
    }
}

impl LogEntry {
    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        self.payload.len() + ENTRY_OVERHEAD_BYTES
    }

    /// Value under which it is stored.
    pub(super) fn value(&self) -> Vec<u8> {
        seal(&entry_key(self.index), &[&self.term.to_be_bytes(), &self.payload])
    }

    /// The entry in a key and value of the database.
    pub(super) fn from_stored(key: &[u8], value: &[u8]) -> Result<Self, Damage> {
        let index = match key {
            [ENTRY, index @ ..] => index.try_into().map(u64::from_be_bytes),
            _ => return Err(Damage::Shape),
        };
        let index = index.map_err(|_| Damage::Shape)?;
        let name = LogKey::Entry(index);
        let body = open(name, key, value)?;
        let (term, payload) = body.split_first_chunk().ok_or(Damage::Value { key: name })?;
        let payload = Bytes::copy_from_slice(payload);
        Ok(Self { index, term: u64::from_be_bytes(*term), payload })
    }
}

/// A value of the log's own, by name.
#[derive(Clone, Copy)]
pub(super) struct Meta(&'static str);

impl Meta {
    pub(super) fn key(self) -> Vec<u8> {
        [&[0], self.0.as_bytes()].concat()
    }

    pub(super) fn value(self, number: u64, rest: &[u8]) -> Vec<u8> {
        seal(&self.key(), &[&number.to_be_bytes(), rest])
    }

    /// Number and further bytes of a stored value.
    pub(super) fn read(self, value: &[u8]) -> Result<(u64, Bytes), Damage> {
        let name = LogKey::Meta(self.0);
        let body = open(name, &self.key(), value)?;
        let (number, rest) = body.split_first_chunk().ok_or(Damage::Value { key: name })?;
        Ok((u64::from_be_bytes(*number), Bytes::copy_from_slice(rest)))
    }
}

/// Key of the entry with this index.
pub(super) fn entry_key(index: u64) -> [u8; 9] {
    let mut key = [ENTRY; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// Key beyond every entry's.
pub(super) const ENTRIES_END: [u8; 1] = [ENTRY + 1];

fn seal(key: &[u8], body: &[&[u8]]) -> Vec<u8> {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let mut value = Vec::with_capacity(1 + length + CHECKSUM_BYTES);
    value.push(VALUE_FORMAT);
    body.iter().for_each(|part| value.extend_from_slice(part));
    let checksum = checksum(key, &value);
    value.extend_from_slice(&checksum);
    value
}

fn open<'a>(name: LogKey, key: &[u8], value: &'a [u8]) -> Result<&'a [u8], Damage> {
    let damaged = Damage::Value { key: name };
    let (framed, found) = value.split_last_chunk().ok_or(damaged.clone())?;
    if *found != checksum(key, framed) {
        return Err(damaged);
    }
    match framed {
        [VALUE_FORMAT, body @ ..] => Ok(body),
        _ => Err(Damage::Shape),
    }
}

fn checksum(key: &[u8], framed: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = Sha256::new().chain_update(key).chain_update(framed).finalize();
    *digest.first_chunk().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> LogEntry {
        LogEntry { index: 7, term: 3, payload: Bytes::from_static(b"payload") }
    }

    #[test]
    fn every_flipped_bit_of_an_entry_is_refused() {
        let value = entry().value();
        for position in 0..value.len() {
            for bit in 0..8 {
                let mut flipped = value.clone();
                flipped[position] ^= 1 << bit;
                assert!(LogEntry::from_stored(&entry_key(7), &flipped).is_err());
            }
            assert!(LogEntry::from_stored(&entry_key(7), &value[..position]).is_err());
        }
    }

    #[test]
    fn an_entry_under_another_index_is_refused() {
        let moved = LogEntry::from_stored(&entry_key(8), &entry().value());
        assert_eq!(moved, Err(Damage::Value { key: LogKey::Entry(8) }));
    }

    #[test]
    fn an_entry_and_a_vote_are_read_as_they_were_written() {
        assert_eq!(LogEntry::from_stored(&entry_key(7), &entry().value()), Ok(entry()));
        let vote = VOTE.value(4, b"vote");
        assert_eq!(VOTE.read(&vote), Ok((4, Bytes::from_static(b"vote"))));
        assert!(PURGED.read(&vote).is_err());
    }

    #[test]
    fn an_entry_has_its_frozen_bytes() {
        let hex = data_encoding::HEXLOWER.encode(&entry().value());
        assert_eq!(hex, include_str!("../../testdata/format/v1/log-entry.hex").trim());
    }
}
