//! Names of the protocol's enums, as AWS KMS and the documents write them.

use strongroom_client::proto::{EpochKind, KeySpec, KeyState, KeyUsage, NodeState, Role};

use crate::output::Tone;

/// What a newer server says and this program doesn't know.
const UNKNOWN: &str = "UNKNOWN";

pub(crate) fn key_state(value: i32) -> &'static str {
    match KeyState::try_from(value) {
        Ok(KeyState::Enabled) => "Enabled",
        Ok(KeyState::Disabled) => "Disabled",
        Ok(KeyState::PendingDeletion) => "PendingDeletion",
        Ok(KeyState::PendingImport) => "PendingImport",
        Ok(KeyState::Unavailable) => "Unavailable",
        Ok(KeyState::Unspecified) | Err(_) => UNKNOWN,
    }
}

pub(crate) fn key_state_tone(value: i32) -> Tone {
    match KeyState::try_from(value) {
        Ok(KeyState::Enabled) => Tone::Good,
        Ok(KeyState::Disabled) => Tone::Warning,
        _ => Tone::Bad,
    }
}

pub(crate) fn key_spec(value: i32) -> &'static str {
    match KeySpec::try_from(value) {
        Ok(KeySpec::SymmetricDefault) => "SYMMETRIC_DEFAULT",
        Ok(KeySpec::Unspecified) | Err(_) => UNKNOWN,
    }
}

pub(crate) fn key_usage(value: i32) -> &'static str {
    match KeyUsage::try_from(value) {
        Ok(KeyUsage::EncryptDecrypt) => "ENCRYPT_DECRYPT",
        Ok(KeyUsage::Unspecified) | Err(_) => UNKNOWN,
    }
}

pub(crate) fn role(value: i32) -> &'static str {
    match Role::try_from(value) {
        Ok(Role::Administrator) => "administrator",
        Ok(Role::User) => "user",
        Ok(Role::Auditor) => "auditor",
        Ok(Role::Unspecified) | Err(_) => UNKNOWN,
    }
}

pub(crate) fn node_state(value: i32) -> &'static str {
    match NodeState::try_from(value) {
        Ok(NodeState::Uninitialised) => "uninitialised",
        Ok(NodeState::Sealed) => "sealed",
        Ok(NodeState::Verifying) => "verifying",
        Ok(NodeState::Unsealed) => "unsealed",
        Ok(NodeState::Unspecified) | Err(_) => UNKNOWN,
    }
}

pub(crate) fn node_state_tone(value: i32) -> Tone {
    match NodeState::try_from(value) {
        Ok(NodeState::Unsealed) => Tone::Good,
        Ok(NodeState::Verifying) => Tone::Warning,
        _ => Tone::Bad,
    }
}

pub(crate) fn epoch_kind(value: i32) -> &'static str {
    match EpochKind::try_from(value) {
        Ok(EpochKind::Barrier) => "barrier",
        Ok(EpochKind::Audit) => "audit",
        Ok(EpochKind::Unspecified) | Err(_) => UNKNOWN,
    }
}

/// A role, as an argument.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum RoleArg {
    /// Keys, tokens, roles, barrier, cluster; reads the audit log; uses no key
    Administrator,
    /// Uses keys
    User,
    /// Reads the audit log, key metadata and the state of the cluster
    Auditor,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Administrator => Self::Administrator,
            RoleArg::User => Self::User,
            RoleArg::Auditor => Self::Auditor,
        }
    }
}
