//! The hash tree: leaf and node hashes, and appending.
//!
//! RFC 6962, section 2.1, with SHA-256: `MTH({}) = SHA-256()`, a leaf is
//! `SHA-256(0x00 ‖ data)`, an interior node `SHA-256(0x01 ‖ left ‖ right)`.
//!
//! A *complete* node at (level, index) covers the leaves `index * 2^level` up
//! to `(index + 1) * 2^level`; it never changes once its last leaf is there.
//! Complete nodes are what is kept; level 0 are the leaves themselves.

use sha2::{Digest, Sha256};

/// A hash of a leaf, a node or a tree.
pub type Hash = [u8; 32];

/// Hash of the tree without leaves.
#[must_use]
pub fn empty_root() -> Hash {
    Sha256::new().finalize().into()
}

/// Hash of a leaf whose data is the concatenation of `parts`.
#[must_use]
pub fn leaf_hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new_with_prefix([0]);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Hash of an interior node.
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [1; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    Sha256::digest(bytes).into()
}

/// The bytes are no frontier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no frontier of a tree")]
pub struct TreeError;

/// The right edge of a tree: what appending and the root need.
///
/// Invariant: one peak for each bit that is set in `size`, the root of the
/// complete subtree of that many leaves, the largest first.
///
/// Encoded: size (8, big endian) ‖ peaks (32 each).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

impl Frontier {
    /// The tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf by its hash. `complete` is told each interior node that
    /// this completes: level (from 1), index, hash.
    ///
    /// # Panics
    ///
    /// Panics at 2^64 - 1 leaves, which no cluster reaches.
    pub fn push(&mut self, leaf: Hash, mut complete: impl FnMut(u8, u64, &Hash)) {
        let mut node = leaf;
        let mut level = 0;
        while self.size >> level & 1 == 1 {
            let left = self.peaks.pop().expect("a peak for each bit set in the size");
            node = node_hash(&left, &node);
            level += 1;
            complete(level, self.size >> level, &node);
        }
        self.peaks.push(node);
        self.size = self.size.checked_add(1).expect("fewer than 2^64 records were ever made");
    }

    /// Hash of the whole tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let mut peaks = self.peaks.iter().rev();
        let Some(smallest) = peaks.next() else { return empty_root() };
        peaks.fold(*smallest, |right, left| node_hash(left, &right))
    }

    /// Its bytes; layout in the type's doc.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 + 32 * self.peaks.len());
        bytes.extend(self.size.to_be_bytes());
        bytes.extend(self.peaks.as_flattened());
        bytes
    }

    /// Reads what [`Frontier::encode`] wrote.
    ///
    /// # Errors
    ///
    /// [`TreeError`] unless there is one peak for each bit of the size.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let (size, peaks) = bytes.split_first_chunk().ok_or(TreeError)?;
        let size = u64::from_be_bytes(*size);
        let (peaks, rest) = peaks.as_chunks();
        if rest.is_empty() && peaks.len() == size.count_ones() as usize {
            Ok(Self { size, peaks: peaks.to_vec() })
        } else {
            Err(TreeError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, word for word (RFC 6962, section 2.1).
    fn defined_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => empty_root(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                node_hash(&defined_root(left), &defined_root(right))
            }
        }
    }

    #[test]
    fn a_frontier_with_a_peak_too_many_or_too_few_is_refused() {
        let mut frontier = Frontier::new();
        (0..5).for_each(|number| frontier.push(leaf_hash(&[&[number]]), |_, _, _| {}));
        let bytes = frontier.encode();
        assert_eq!(Frontier::decode(&bytes), Ok(frontier));
        assert_eq!(Frontier::decode(&bytes[..40]), Err(TreeError));
        assert_eq!(Frontier::decode(&[&bytes[..], &[0; 32]].concat()), Err(TreeError));
        assert_eq!(Frontier::decode(&[]), Err(TreeError));
    }

    #[test]
    fn every_root_is_the_defined_one() {
        let mut frontier = Frontier::new();
        let mut leaves = Vec::new();
        for number in 0..70_u8 {
            assert_eq!(frontier.root(), defined_root(&leaves), "{number} leaves");
            assert_eq!(Frontier::decode(&frontier.encode()), Ok(frontier.clone()));
            let leaf = leaf_hash(&[&[number]]);
            leaves.push(leaf);
            frontier.push(leaf, |level, index, hash| {
                let (first, count) = ((index as usize) << level, 1 << level);
                assert_eq!(*hash, defined_root(&leaves[first..first + count]));
            });
        }
    }
}
