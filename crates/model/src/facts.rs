//! Public facts of events, from typed values. Names and addresses are none:
//! they belong into the body.

use strongroom_audit::{Fact, FactName};
use strongroom_base::{BarrierEpoch, KeyId, LogIndex, NodeId, PrincipalId, SealEpoch, TokenId};

use crate::role::Role;

/// The role that the event is about.
#[must_use]
pub fn role(role: Role) -> Fact {
    Fact::Number(FactName::Role, role.number().into())
}

/// The principal that was acted on.
#[must_use]
pub fn principal(id: PrincipalId) -> Fact {
    Fact::Id(FactName::Principal, *id.as_bytes())
}

/// The token that was acted on.
#[must_use]
pub fn token(id: TokenId) -> Fact {
    Fact::Id(FactName::Token, *id.as_bytes())
}

/// The key that a ciphertext was under before.
#[must_use]
pub fn source_key(id: KeyId) -> Fact {
    Fact::Id(FactName::SourceKey, *id.as_bytes())
}

/// Counts root keys.
#[must_use]
pub fn seal_epoch(epoch: SealEpoch) -> Fact {
    Fact::Number(FactName::SealEpoch, epoch.0)
}

/// Shares made.
#[must_use]
pub fn shares(shares: u8) -> Fact {
    Fact::Number(FactName::Shares, shares.into())
}

/// Shares that unseal.
#[must_use]
pub fn threshold(threshold: u8) -> Fact {
    Fact::Number(FactName::Threshold, threshold.into())
}

/// Index of the share.
#[must_use]
pub fn share_index(index: u8) -> Fact {
    Fact::Number(FactName::ShareIndex, index.into())
}

/// Shares gathered so far.
#[must_use]
pub fn progress(progress: u8) -> Fact {
    Fact::Number(FactName::Progress, progress.into())
}

/// A barrier epoch.
#[must_use]
pub fn barrier_epoch(epoch: BarrierEpoch) -> Fact {
    Fact::Number(FactName::BarrierEpoch, epoch.0.into())
}

/// An audit epoch.
#[must_use]
pub fn audit_epoch(epoch: BarrierEpoch) -> Fact {
    Fact::Number(FactName::AuditEpoch, epoch.0.into())
}

/// The node that was acted on, or named.
#[must_use]
pub fn node(node: NodeId) -> Fact {
    Fact::Number(FactName::Node, node.value())
}

/// How many events of the same kind this one stands for.
#[must_use]
pub fn count(count: u64) -> Fact {
    Fact::Number(FactName::Count, count)
}

/// A Raft log index.
#[must_use]
pub fn log_index(index: LogIndex) -> Fact {
    Fact::Number(FactName::LogIndex, index.0)
}
