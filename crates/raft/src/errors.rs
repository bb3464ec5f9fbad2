//! What can go wrong, from the caller's point of view.

use std::error::Error as StdError;

use openraft::errors::{
    ClientWriteError, Fatal, ForwardReason, ForwardToLeader, LinearizableReadError,
    RaftError as LibraryError,
};
use strongroom_base::NodeId;

use crate::{config::ConfigError, types::TypeConfig};

/// Why a command was not applied, or is not known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// This node doesn't lead. Surely not proposed.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// The command is larger than a log entry may be. Surely not proposed.
    #[error("the command has {bytes} bytes, at most {bytes_max} are taken")]
    TooLarge {
        /// Size of the command.
        bytes: usize,
        /// The bound.
        bytes_max: usize,
    },
    /// This node leads but has lost contact with a quorum. Surely not proposed.
    #[error("the leader has no contact with a quorum")]
    NoQuorum,
    /// Proposed; whether it was or will be committed is not known.
    #[error("the outcome is not known")]
    Unknown,
    /// This node's Raft has stopped. Surely not proposed.
    #[error("raft has stopped on this node")]
    Stopped,
}

/// Why no read index was obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// This node doesn't lead.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// No quorum confirmed in time that this node still leads.
    #[error("no quorum confirmed this node's leadership")]
    NoQuorum,
    /// This node's Raft has stopped.
    #[error("raft has stopped on this node")]
    Stopped,
}

/// Raft has stopped on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("raft has stopped on this node")]
pub struct Stopped;

/// Why starting Raft, or an administrative step, failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RaftError {
    /// The node takes no part in Raft yet: it waits to hear what its peers
    /// remember of it.
    #[error("the node has just started, and waits for its peers before it takes part")]
    Silent,
    /// Settings that can't be used.
    #[error("the raft settings can't be used")]
    Config(#[from] ConfigError),
    /// Reading the stored log or state failed, or they contradict each other.
    #[error("the stored raft log or state can't be used")]
    Storage(#[source] Box<dyn StdError + Send + Sync>),
    /// This node already belongs to a cluster with other members.
    #[error("this node already belongs to a cluster with other members")]
    AlreadyFormed,
    /// Members that can't form a cluster.
    #[error("the members can't form a cluster: {cause}")]
    Members {
        /// What is wrong with them.
        cause: &'static str,
    },
    /// The named node is no member without a data directory.
    #[error("node {node} is no member that waits for its data directory")]
    NotBindable {
        /// The node.
        node: NodeId,
    },
    /// Only a leader can do this.
    #[error("this node does not lead")]
    NotLeader {
        /// Who does, as far as this node knows.
        leader: Option<NodeId>,
    },
    /// There is no voter that could lead instead.
    #[error("no other voter is reachable and up to date")]
    NoCandidate,
    /// The named node is no voter, or this one.
    #[error("node {node} is no other voter")]
    NotVoter {
        /// The node.
        node: NodeId,
    },
    /// The other node did not take leadership over in time.
    #[error("node {node} did not take leadership over within {timeout_ms} ms")]
    NotTransferred {
        /// The node.
        node: NodeId,
        /// The time that it had.
        timeout_ms: u64,
    },
    /// Raft has stopped on this node.
    #[error("raft has stopped on this node")]
    Stopped,
}

/// Why the process must end: going on would hold the cluster back or risk its
/// log. Handed to the exit hook, once.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FatalReason {
    /// The disk under the Raft log hangs.
    #[error("a write to the raft log has taken {lag_ms} ms, more than twice {lag_max_ms} ms allow")]
    FlushLag {
        /// Age of the oldest write that is not finished.
        lag_ms: u64,
        /// The setting `flush_lag_max_ms`.
        lag_max_ms: u64,
    },
    /// Raft itself stopped: a failed read or write, or a broken invariant.
    #[error("raft stopped: {cause}")]
    Stopped {
        /// What the library says.
        cause: String,
    },
}

/// The id as a [`NodeId`]; the library's are always in range, as they come from
/// one.
pub(crate) fn node_id(id: u64) -> Option<NodeId> {
    NodeId::new(id).ok()
}

fn leader(forward: &ForwardToLeader<TypeConfig>) -> Option<NodeId> {
    forward.leader_id.and_then(node_id)
}

impl From<LibraryError<TypeConfig, ClientWriteError<TypeConfig>>> for ProposeError {
    fn from(error: LibraryError<TypeConfig, ClientWriteError<TypeConfig>>) -> Self {
        match error {
            LibraryError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
                match forward.reason {
                    ForwardReason::LeaseExpired => Self::NoQuorum,
                    ForwardReason::NotLeader | ForwardReason::LeadershipTransfer => {
                        Self::NotLeader { leader: leader(&forward) }
                    }
                }
            }
            // Discarded here, perhaps committed by another leader before; and a
            // core that stopped may have appended the entry first.
            LibraryError::APIError(_) | LibraryError::Fatal(_) => Self::Unknown,
        }
    }
}

impl From<LibraryError<TypeConfig, LinearizableReadError<TypeConfig>>> for ReadError {
    fn from(error: LibraryError<TypeConfig, LinearizableReadError<TypeConfig>>) -> Self {
        match error {
            LibraryError::APIError(LinearizableReadError::ForwardToLeader(forward)) => {
                Self::NotLeader { leader: leader(&forward) }
            }
            LibraryError::APIError(LinearizableReadError::QuorumNotEnough(_)) => Self::NoQuorum,
            LibraryError::Fatal(_) => Self::Stopped,
        }
    }
}

impl From<Fatal<TypeConfig>> for RaftError {
    fn from(error: Fatal<TypeConfig>) -> Self {
        match error {
            Fatal::StorageError(error) => Self::Storage(Box::new(error)),
            Fatal::Panicked | Fatal::Stopped => Self::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use openraft::errors::QuorumNotEnough;

    use super::*;

    fn write(error: ClientWriteError<TypeConfig>) -> ProposeError {
        LibraryError::APIError(error).into()
    }

    #[test]
    fn only_what_was_surely_not_proposed_is_said_to_be() {
        let forward = |reason| ForwardToLeader::empty().with_reason(reason);
        let other = Some(NodeId::new(2).unwrap());
        let to_other = ForwardToLeader::new(2, crate::types::PeerNode::default());

        assert_eq!(
            write(ClientWriteError::ForwardToLeader(forward(ForwardReason::NotLeader))),
            ProposeError::NotLeader { leader: None }
        );
        assert_eq!(
            write(ClientWriteError::ForwardToLeader(forward(ForwardReason::LeaseExpired))),
            ProposeError::NoQuorum
        );
        assert_eq!(
            write(ClientWriteError::ForwardToLeader(
                to_other.clone().with_reason(ForwardReason::LeadershipTransfer)
            )),
            ProposeError::NotLeader { leader: other }
        );
        assert_eq!(write(ClientWriteError::LogEntryDiscarded(to_other)), ProposeError::Unknown);
        assert_eq!(ProposeError::from(LibraryError::Fatal(Fatal::Stopped)), ProposeError::Unknown);
    }

    #[test]
    fn a_read_without_quorum_is_told_from_one_at_a_follower() {
        let quorum = QuorumNotEnough { cluster: String::new(), got: [1].into() };
        let error = LinearizableReadError::QuorumNotEnough(quorum);
        assert_eq!(ReadError::from(LibraryError::APIError(error)), ReadError::NoQuorum);
        let error = LinearizableReadError::ForwardToLeader(ForwardToLeader::empty());
        assert_eq!(
            ReadError::from(LibraryError::APIError(error)),
            ReadError::NotLeader { leader: None }
        );
    }
}
