//! Proofs that a record is in the tree, and that a tree grew out of another.
//!
//! RFC 9162, sections 2.1.3 (inclusion) and 2.1.4 (consistency). A proof costs
//! O(log n) reads of complete nodes.

use crate::{Hash, node_hash, tree::empty_root};

/// Complete nodes of a tree, by level (0: leaves) and index.
pub trait Nodes {
    /// Why a node can't be read.
    type Error;

    /// Hash of the complete node.
    ///
    /// # Errors
    ///
    /// The store's own; a node that should be there and isn't is one of them.
    fn node(&self, level: u8, index: u64) -> Result<Hash, Self::Error>;
}

/// Why a proof can't be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError<E> {
    /// No such leaf, or no such tree.
    #[error("position {position} is outside a tree of {size} leaves")]
    OutOfRange {
        /// The leaf's index or the older tree's size.
        position: u64,
        /// Leaves of the tree.
        size: u64,
    },
    /// A node can't be read.
    #[error("a node of the audit tree can't be read")]
    Node(#[source] E),
}

/// Leaves of the left part of a tree of `size` leaves: the largest power of two
/// smaller than `size` (the RFC's k). `size` is at least 2.
fn left_size(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// Hash over `count` leaves from `first` on; `first` is a multiple of the
/// smallest power of two that is no less than `count`.
fn subtree<N: Nodes>(nodes: &N, first: u64, count: u64) -> Result<Hash, N::Error> {
    if count == 0 {
        return Ok(empty_root());
    }
    if count.is_power_of_two() {
        let level = count.trailing_zeros();
        return nodes.node(u8::try_from(level).expect("below 64"), first >> level);
    }
    let left = left_size(count);
    Ok(node_hash(&subtree(nodes, first, left)?, &subtree(nodes, first + left, count - left)?))
}

/// The audit path of leaf `index` in the tree of the first `size` leaves, from
/// the leaf upwards.
///
/// # Errors
///
/// [`ProofError::OutOfRange`] unless `index < size`, and the store's.
pub fn inclusion_proof<N: Nodes>(
    nodes: &N,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProofError<N::Error>> {
    if index >= size {
        return Err(ProofError::OutOfRange { position: index, size });
    }
    let mut path = Vec::new();
    let (mut first, mut count) = (0, size);
    while count > 1 {
        let left = left_size(count);
        let (sibling_first, sibling_count);
        if index - first < left {
            (sibling_first, sibling_count) = (first + left, count - left);
            count = left;
        } else {
            (sibling_first, sibling_count) = (first, left);
            first += left;
            count -= left;
        }
        path.push(subtree(nodes, sibling_first, sibling_count).map_err(ProofError::Node)?);
    }
    path.reverse();
    Ok(path)
}

/// Proof that the tree of the first `new` leaves begins with the tree of the
/// first `old` ones. Empty where `old` is 0 or equals `new`.
///
/// # Errors
///
/// [`ProofError::OutOfRange`] unless `old <= new`, and the store's.
pub fn consistency_proof<N: Nodes>(
    nodes: &N,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProofError<N::Error>> {
    if old > new {
        return Err(ProofError::OutOfRange { position: old, size: new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    // SUBPROOF of RFC 9162, section 2.1.4.1, as a walk down from the root.
    let mut path = Vec::new();
    let (mut first, mut count, mut rest) = (0, new, old);
    let mut whole = true;
    while rest < count {
        let left = left_size(count);
        let (sibling_first, sibling_count);
        if rest <= left {
            (sibling_first, sibling_count) = (first + left, count - left);
            count = left;
        } else {
            (sibling_first, sibling_count) = (first, left);
            first += left;
            count -= left;
            rest -= left;
            whole = false;
        }
        path.push(subtree(nodes, sibling_first, sibling_count).map_err(ProofError::Node)?);
    }
    if !whole {
        path.push(subtree(nodes, first, count).map_err(ProofError::Node)?);
    }
    path.reverse();
    Ok(path)
}

/// True where `path` proves that the leaf with hash `leaf` is the one at
/// `index` of the tree with `size` leaves and `root` (RFC 9162, 2.1.3.2).
#[must_use]
pub fn verify_inclusion(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut fnode, mut snode) = (index, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if snode == 0 {
            return false;
        }
        if fnode & 1 == 1 || fnode == snode {
            hash = node_hash(sibling, &hash);
            while fnode & 1 == 0 && fnode != 0 {
                (fnode, snode) = (fnode >> 1, snode >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (fnode, snode) = (fnode >> 1, snode >> 1);
    }
    snode == 0 && hash == *root
}

/// True where `path` proves that the tree with `new` leaves and `new_root`
/// begins with the one with `old` leaves and `old_root` (RFC 9162, 2.1.4.2).
#[must_use]
pub fn verify_consistency(
    old: u64,
    old_root: &Hash,
    new: u64,
    new_root: &Hash,
    path: &[Hash],
) -> bool {
    if old > new {
        return false;
    }
    if old == new {
        return path.is_empty() && old_root == new_root;
    }
    if old == 0 {
        return path.is_empty() && *old_root == empty_root();
    }
    let mut siblings = path.iter();
    let first = if old.is_power_of_two() { Some(old_root) } else { siblings.next() };
    let Some(first) = first else { return false };
    let (mut fnode, mut snode) = (old - 1, new - 1);
    while fnode & 1 == 1 {
        (fnode, snode) = (fnode >> 1, snode >> 1);
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in siblings {
        if snode == 0 {
            return false;
        }
        if fnode & 1 == 1 || fnode == snode {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while fnode & 1 == 0 && fnode != 0 {
                (fnode, snode) = (fnode >> 1, snode >> 1);
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        (fnode, snode) = (fnode >> 1, snode >> 1);
    }
    snode == 0 && old_hash == *old_root && new_hash == *new_root
}
