//! Audit events: canonical bytes, their tree, proofs.
//!
//! An audit record is a [`Leaf`], which stays, and a sealed body, which may be
//! pruned. The leaves form a Merkle tree (RFC 6962, section 2.1; RFC 9162,
//! section 2.1), so that nobody can take one away or change it unseen. Does no
//! I/O, reads no clock, draws no randomness: the proposing node makes leaves,
//! crate `state` appends them, readers decode and verify them.

mod commitment;
mod detail;
mod leaf;
mod operation;
mod proof;
mod reason;
mod tree;

pub use commitment::Commitments;
pub use detail::{Detail, DetailError, Fact, FactName};
pub use leaf::{
    FURTHER_KEYS_MAX, Kind, Leaf, LeafError, LeafIndexes, LeafOutcome, committed_leaf_hash,
};
pub use operation::Operation;
pub use proof::{
    Nodes, ProofError, consistency_proof, inclusion_proof, verify_consistency, verify_inclusion,
};
pub use reason::Reason;
pub use tree::{Frontier, Hash, TreeError, empty_root, leaf_hash, node_hash};
