//! Laws of the tree: every true proof verifies, no changed one does.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{cell::RefCell, collections::BTreeMap, convert::Infallible};

use proptest::prelude::*;
use strongroom_audit::{
    Frontier, Hash, Nodes, ProofError, consistency_proof, inclusion_proof, leaf_hash,
    verify_consistency, verify_inclusion,
};

/// Largest tree that is tried; crosses several powers of two.
const SIZE_MAX: u64 = 130;

/// A tree of `SIZE_MAX` leaves that remembers its complete nodes and the roots
/// that it had, and counts reads.
struct Tree {
    nodes: BTreeMap<(u8, u64), Hash>,
    roots: Vec<Hash>,
    reads: RefCell<u32>,
}

impl Tree {
    fn new() -> Self {
        let mut frontier = Frontier::new();
        let mut nodes = BTreeMap::new();
        let mut roots = vec![frontier.root()];
        for number in 0..SIZE_MAX {
            let leaf = leaf_hash(&[&number.to_be_bytes()]);
            nodes.insert((0, number), leaf);
            frontier.push(leaf, |level, index, hash| {
                assert_eq!(nodes.insert((level, index), *hash), None, "completed once");
            });
            roots.push(frontier.root());
        }
        Self { nodes, roots, reads: RefCell::new(0) }
    }

    fn root(&self, size: u64) -> &Hash {
        &self.roots[usize::try_from(size).unwrap()]
    }
}

impl Nodes for Tree {
    type Error = Infallible;

    fn node(&self, level: u8, index: u64) -> Result<Hash, Infallible> {
        *self.reads.borrow_mut() += 1;
        Ok(self.nodes[&(level, index)])
    }
}

/// Each way in which a path can differ a little from `path`.
fn changed(path: &[Hash]) -> Vec<Vec<Hash>> {
    let mut changed = vec![[path, &[[7; 32]]].concat(), [&[[7; 32]], path].concat()];
    for position in 0..path.len() {
        let mut flipped = path.to_vec();
        flipped[position][position % 32] ^= 1;
        changed.push(flipped);
        let mut shorter = path.to_vec();
        shorter.remove(position);
        changed.push(shorter);
    }
    changed
}

#[test]
fn what_is_outside_the_tree_has_no_proof() {
    let tree = Tree::new();
    let outside = ProofError::OutOfRange { position: 5, size: 5 };
    assert_eq!(inclusion_proof(&tree, 5, 5), Err(outside));
    let outside = ProofError::OutOfRange { position: 6, size: 5 };
    assert_eq!(consistency_proof(&tree, 6, 5), Err(outside));
    assert!(!verify_inclusion(&tree.nodes[&(0, 5)], 5, 5, &[], tree.root(5)));
    assert!(!verify_consistency(6, tree.root(6), 5, tree.root(5), &[]));
}

proptest! {
    #[test]
    fn inclusion_verifies_and_nothing_like_it_does(
        size in 1..=SIZE_MAX,
        index in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
    ) {
        let tree = Tree::new();
        let size_usize = usize::try_from(size).unwrap();
        let (index, other) = (index.index(size_usize) as u64, other.index(size_usize) as u64);
        let (leaf, root) = (tree.nodes[&(0, index)], tree.root(size));
        let path = inclusion_proof(&tree, index, size).unwrap();
        prop_assert!(*tree.reads.borrow() <= 16, "reads grow with the logarithm");
        prop_assert!(verify_inclusion(&leaf, index, size, &path, root));
        for path in changed(&path) {
            prop_assert!(!verify_inclusion(&leaf, index, size, &path, root));
        }
        if other != index {
            prop_assert!(!verify_inclusion(&leaf, other, size, &path, root));
            prop_assert!(!verify_inclusion(&tree.nodes[&(0, other)], index, size, &path, root));
        }
        prop_assert!(!verify_inclusion(&leaf, index, size, &path, tree.root(size - 1)));
    }

    #[test]
    fn consistency_verifies_and_nothing_like_it_does(
        new in 1..=SIZE_MAX,
        old in any::<prop::sample::Index>(),
    ) {
        let tree = Tree::new();
        let old = old.index(usize::try_from(new).unwrap() + 1) as u64;
        let (old_root, new_root) = (tree.root(old), tree.root(new));
        let path = consistency_proof(&tree, old, new).unwrap();
        prop_assert!(*tree.reads.borrow() <= 16, "reads grow with the logarithm");
        prop_assert!(verify_consistency(old, old_root, new, new_root, &path));
        for path in changed(&path) {
            prop_assert!(!verify_consistency(old, old_root, new, new_root, &path));
        }
        prop_assert!(!verify_consistency(old, &[7; 32], new, new_root, &path));
        prop_assert!(!verify_consistency(old, old_root, new, &[7; 32], &path) || old == 0);
    }
}
