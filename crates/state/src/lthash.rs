//! A hash of a set that takes elements in and out one at a time.
//!
//! LtHash-16-1024 (Bellare and Micciancio, "A new paradigm for collision-free
//! hashing", 1997; Lewi et al., "Securing update propagation with homomorphic
//! hashing", 2019): an element is stretched to 1,024 lanes of 16 bits by
//! BLAKE3's extendable output, and the set's hash is the sum of its elements,
//! lane by lane, modulo 2^16. Finding other elements with the same sum is a
//! lattice problem of some 200 bits; sums or XORs of short digests would fall to
//! linear algebra.
//!
//! `element = BLAKE3-XOF(derive-key context, length of key(8) ‖ key ‖ value)`

use crate::{Table, TablesError};

const LANES: usize = 1024;
/// Bytes of an encoded accumulator: the lanes, little endian.
pub(crate) const ACCUMULATOR_BYTES: usize = 2 * LANES;

/// Whose elements they are, so that a row can't stand for a plain record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Domain {
    /// Entries of the table of rows.
    Row,
    /// Entries of the table of plain records.
    Plain,
}

impl Domain {
    const fn context(self) -> &'static str {
        match self {
            Self::Row => "strongroom 2026-11 state hash, row, 1",
            Self::Plain => "strongroom 2026-11 state hash, plain record, 1",
        }
    }
}

/// Sum of the elements taken in less those taken out.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Accumulator(Box<[u16; LANES]>);

impl Accumulator {
    /// Of the empty set.
    pub(crate) fn new() -> Self {
        Self(Box::new([0; LANES]))
    }

    /// Takes an element in.
    pub(crate) fn add(&mut self, domain: Domain, key: &[u8], value: &[u8]) {
        self.combine(domain, key, value, u16::wrapping_add);
    }

    /// Takes an element out that is in.
    pub(crate) fn remove(&mut self, domain: Domain, key: &[u8], value: &[u8]) {
        self.combine(domain, key, value, u16::wrapping_sub);
    }

    fn combine(&mut self, domain: Domain, key: &[u8], value: &[u8], with: fn(u16, u16) -> u16) {
        let mut hasher = blake3::Hasher::new_derive_key(domain.context());
        hasher.update(&(key.len() as u64).to_be_bytes()).update(key).update(value);
        let mut element = [0; ACCUMULATOR_BYTES];
        hasher.finalize_xof().fill(&mut element);
        let (lanes, _) = element.as_chunks();
        for (sum, lane) in self.0.iter_mut().zip(lanes) {
            *sum = with(*sum, u16::from_le_bytes(*lane));
        }
    }

    /// The lanes, little endian.
    pub(crate) fn encode(&self) -> Vec<u8> {
        self.0.iter().flat_map(|lane| lane.to_le_bytes()).collect()
    }

    /// Reads what [`Accumulator::encode`] wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, TablesError> {
        let mut accumulator = Self::new();
        let (lanes, rest) = bytes.as_chunks();
        if lanes.len() != LANES || !rest.is_empty() {
            return Err(TablesError::damaged(Table::Meta, "the accumulator is not 2,048 bytes"));
        }
        for (sum, lane) in accumulator.0.iter_mut().zip(lanes) {
            *sum = u16::from_le_bytes(*lane);
        }
        Ok(accumulator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(elements: &[(Domain, &[u8], &[u8])]) -> Vec<u8> {
        let mut accumulator = Accumulator::new();
        elements.iter().for_each(|(domain, key, value)| accumulator.add(*domain, key, value));
        accumulator.encode()
    }

    #[test]
    fn moving_a_byte_between_key_value_and_domain_changes_the_hash() {
        let hashes = [
            of(&[(Domain::Row, b"ab", b"c")]),
            of(&[(Domain::Row, b"a", b"bc")]),
            of(&[(Domain::Plain, b"ab", b"c")]),
            of(&[(Domain::Row, b"ab", b"c"), (Domain::Row, b"ab", b"c")]),
            of(&[]),
        ];
        for (position, hash) in hashes.iter().enumerate() {
            assert!(!hashes[position + 1..].contains(hash));
        }
    }

    #[test]
    fn an_accumulator_of_another_length_is_damaged() {
        assert!(Accumulator::decode(&[0; ACCUMULATOR_BYTES - 1]).is_err());
        assert!(Accumulator::decode(&[0; ACCUMULATOR_BYTES + 2]).is_err());
    }

    #[test]
    fn order_does_not_matter_and_removal_undoes_addition() {
        let (one, two) =
            ((Domain::Row, &b"1"[..], &b"x"[..]), (Domain::Plain, &b"2"[..], &b"y"[..]));
        assert_eq!(of(&[one, two]), of(&[two, one]));
        let mut accumulator = Accumulator::decode(&of(&[one, two])).unwrap();
        accumulator.remove(two.0, two.1, two.2);
        assert_eq!(accumulator.encode(), of(&[one]));
        accumulator.remove(one.0, one.1, one.2);
        assert!(accumulator == Accumulator::new());
    }
}
