//! The disk of a node: data directory, Raft log, state database, snapshots.
//!
//! Decides nothing about Raft or about what rows mean: log payloads, votes and
//! rows are bytes of others. What it answers for is what is durable when, that
//! damage is found before wrong data is served, and that a failed write ends
//! the node.
//!
//! | part | holds |
//! |---|---|
//! | [`DataDir`] | whose the directory is, and starts of the node so far |
//! | [`RaftLog`] | log entries, vote, what was purged: one synced write for all that waits |
//! | [`StateDb`] | the tables of the replicated state, without a log of their own |
//! | [`SnapshotDir`], [`SnapshotWriter`] | checkpoints of the state, kept and received |
//! | [`CeremonyBacklog`] | ceremony records that wait for a quorum |
//!
//! All of it blocks: the callers keep it off the threads of async runtimes, but
//! for submissions to the [`RaftLog`], which only queue.

#![allow(
    clippy::disallowed_methods,
    reason = "measures how long writes take and wait, on the monotonic clock"
)]

mod ceremony;
mod data_dir;
mod error;
mod files;
mod identity;
mod log;
mod options;
mod state;

pub use ceremony::{CEREMONY_RECORD_BYTES_MAX, CeremonyBacklog, CeremonyError, CeremonyRecord};
pub use data_dir::{DataDir, DataDirError};
pub use error::{Damage, FatalHook, LogKey, StorageError};
pub use log::{AfterSync, BeforeSync, Done, LogEntry, LogOptions, LogStats, RaftLog};
pub use state::{
    Checkpoint, SnapshotDir, SnapshotError, SnapshotManifest, SnapshotWriter, StateBatch, StateDb,
    StateOptions, StateReader, StateStats, StateView,
};
