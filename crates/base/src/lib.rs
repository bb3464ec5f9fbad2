//! Newtypes, bounds and time as a value: the vocabulary of all other crates.
//!
//! Decides nothing and does no I/O. A bare `u64` never crosses a crate border
//! where one of these types says what it is.

mod ids;
pub mod limits;
mod raft;
mod time;

pub use ids::{
    AccountId, AttemptId, AuditSequence, ClusterId, HistoryId, IdError, Incarnation, KeyId,
    KeyVersion, MaterialId, NodeId, PrincipalId, RequestId, TokenId,
};
pub use raft::{BarrierEpoch, BootId, LogIndex, Revision, SealEpoch, Term};
pub use time::UnixMillis;

/// Compiled anew when another checkout is built in the same build directory
/// (`.cargo/config.toml`). None without that file: a vendored copy of the crate.
const _: Option<&str> = option_env!("STRONGROOM_CHECKOUT");
