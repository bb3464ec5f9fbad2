//! The replicated state: guarded transactions, `apply`, tables and verdicts.
//!
//! Content-blind: a transaction says what its decision read and what it writes,
//! and [`apply`] compares the one and installs the other. It does no I/O of its
//! own, reads no clock, draws no randomness and opens nothing that is sealed, so
//! that every node comes to the same state, sealed or not. The Raft layer drives
//! it, one committed entry after the other, over [`Tables`] that it commits.

mod append;
mod apply;
mod deduplication;
mod epochs;
mod guards;
mod hash;
pub mod layout;
mod lthash;
mod map;
mod outcome;
mod read;
mod rows;
mod scrub;
mod table;
mod transaction;

pub use apply::{CLUSTER_VERSION_MAX, apply};
pub use hash::state_hash;
pub use map::MapTables;
pub use outcome::{
    Applied, BatchId, BatchOutcome, BatchRefusal, Outcome, OutcomeError, RefusalCause, RowKey,
    StateHash, Verdict,
};
pub use read::{
    EpochCount, StoredLeaf, StoredRow, audit_size, body, cluster_time, consistency_proof, epochs,
    first_leaf_not_before, inclusion_proof, leaf, leaves_by_key, leaves_by_principal, leaves_page,
    membership, plain, put_membership, row, rows_page, rows_under, tree_root,
};
pub use scrub::{Finding, ScrubReport, recomputed_hash, scrub, scrub_audit, scrub_rows};
pub use table::{Entry, Order, Table, Tables, TablesError, TablesReader};
