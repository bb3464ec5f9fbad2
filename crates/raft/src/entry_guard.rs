//! What may enter this node's Raft log from a leader.
//!
//! A member's certificate is enough to lead, and so to be copied from. Whoever
//! stole that of a sealed node must propose nothing with it: so the daemon looks
//! at the commands of each AppendEntries before they come near the log.

use openraft::EntryPayload;
use tonic::Status;

use crate::types::AppendRequest;

/// Judges commands that a leader sends.
pub trait EntryGuard: Send + Sync + 'static {
    /// Whether this node takes `commands`, which follow one another in the log,
    /// all or none. Called for each AppendEntries: it must be quick, and it must
    /// not wait.
    ///
    /// # Errors
    ///
    /// [`EntryRefused`]: the leader is told no, and tries again later.
    fn admit(&self, commands: &mut dyn Iterator<Item = &[u8]>) -> Result<(), EntryRefused>;
}

/// A command that this node does not take into its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry was not proposed by an unsealed member: {cause}")]
pub struct EntryRefused {
    /// What is wrong with it.
    pub cause: &'static str,
}

/// Takes everything: for Raft without a daemon, in this crate's tests.
#[doc(hidden)]
pub struct NoEntryGuard;

impl EntryGuard for NoEntryGuard {
    fn admit(&self, _: &mut dyn Iterator<Item = &[u8]>) -> Result<(), EntryRefused> {
        Ok(())
    }
}

/// Has `guard` judge the commands of one request.
pub(crate) fn check(guard: &dyn EntryGuard, append: &AppendRequest) -> Result<(), Status> {
    let mut commands = append.entries.iter().filter_map(|entry| match &entry.payload {
        EntryPayload::Normal(command) => Some(command.0.as_ref()),
        EntryPayload::Blank | EntryPayload::Membership(_) => None,
    });
    guard.admit(&mut commands).map_err(|refused| {
        tracing::warn!(
            leader = append.vote.leader_id.node_id,
            cause = refused.cause,
            "refused entries of a leader"
        );
        Status::permission_denied(refused.to_string())
    })
}
