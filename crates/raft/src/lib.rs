//! Raft for this product: the only crate that names openraft.
//!
//! | part | does |
//! |---|---|
//! | [`RaftNode`] | proposes, reads, reports; all that the daemon needs |
//! | `log_store`, `state_machine` | adapters from the library's storage traits to crate `storage` |
//! | `state_thread` | the one thread that changes the replicated state |
//! | `network`, `pipeline`, `snapshot_send` | calls to the other members |
//! | `service`, `validate`, `snapshot_receive` | calls from them |
//! | [`PeerPool`], [`PeerGuard`] | connections to peers, and who may call |
//! | `memory` | how far each peer had come, told to it when it starts again |
//! | [`EntryGuard`] | which entries are taken from a leader |
//! | `monitor`, `watchdog` | a log that grows, a disk that hangs |
//!
//! What the library gets wrong by default and is set right here: pre-vote is on
//! and answered by the peer; appends are pipelined and bounded in bytes; a
//! restarted leader is elected anew; a follower that lost its log is never
//! believed; `apply` waits for the node's own log and has a thread of its own;
//! a leader whose disk hangs hands over.

#![allow(
    clippy::disallowed_methods,
    reason = "Raft runs on a monotonic clock and measures how long disks and peers take"
)]

mod codec;
mod config;
mod entry_guard;
mod errors;
mod gate;
mod identity;
mod log_store;
mod memory;
mod monitor;
mod network;
mod node;
mod peers;
mod pipeline;
mod reads;
mod retention;
mod service;
mod snapshot_receive;
mod snapshot_send;
mod state_machine;
mod state_thread;
mod status;
mod types;
mod validate;
mod watchdog;

pub use config::{ConfigError, RaftConfig};
pub use entry_guard::{EntryGuard, EntryRefused, NoEntryGuard};
pub use errors::{FatalReason, ProposeError, RaftError, ReadError, Stopped};
pub use identity::{LocalIdentity, PeerGuard, PeerMetadata, PeerOrigin, PeerRefusal};
pub use memory::Position;
pub use node::{PeerService, Proposed, RaftNode};
pub use peers::{PeerChannel, PeerPool};
pub use state_thread::ApplyObserver;
pub use status::{Member, MemberStatus, RaftRole, RaftStatus};
pub use watchdog::ExitHook;

/// What openraft's own storage suite needs; for this crate's tests only.
#[doc(hidden)]
pub mod conformance {
    pub use crate::{
        gate::{ApplyGate, LogGate, NoGate},
        log_store::LogStore,
        state_machine::{SnapshotBuilder, StateMachine},
        types::{Command, PeerNode, Reply, TypeConfig},
    };
}
