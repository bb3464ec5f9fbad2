//! Refusals: why an operation was decided against.
//!
//! A refusal is an ordinary outcome, the same on every node that decides on
//! the same rows. Its text says nothing that the caller isn't entitled to, and
//! no value that the caller sent.

use strongroom_audit::{Operation, Reason};
use strongroom_base::KeyId;

use crate::{
    role::Role,
    rows::{KeyState, KeyUsage},
};

/// Class of a refusal; the edge maps it to a gRPC status code of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request itself is wrong, whatever the state.
    InvalidArgument,
    /// No credentials that are known and valid.
    Unauthenticated,
    /// Known, and not allowed.
    PermissionDenied,
    /// What the request names does not exist.
    NotFound,
    /// What the request wants to make exists.
    AlreadyExists,
    /// The state forbids it until something else changes.
    FailedPrecondition,
}

/// What is wrong with a field of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Required and not given.
    #[error("is required")]
    Missing,
    /// Longer than allowed.
    #[error("must be at most {max} {unit} long")]
    TooLong {
        /// The bound.
        max: usize,
        /// What is counted.
        unit: &'static str,
    },
    /// Outside its range.
    #[error("must be from {min} to {max}")]
    OutOfRange {
        /// Least value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// Not of the wanted form.
    #[error("must be {0}")]
    Malformed(&'static str),
    /// A value of an enumeration that means nothing.
    #[error("has a value that is not known")]
    UnknownValue,
    /// Given together with what excludes it.
    #[error("excludes {0}: give exactly one of them")]
    Conflict(&'static str),
}

/// Why an operation was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A field of the request is wrong.
    #[error("{field} {problem}")]
    InvalidArgument {
        /// The field, as in the API.
        field: &'static str,
        /// What is wrong.
        problem: Problem,
    },
    /// No token, an unknown one, or one that allows nothing any more. One
    /// answer for all causes ([`crate::Rejection`] tells them apart inside).
    #[error("the bearer token is not valid")]
    Unauthenticated,
    /// The role does not allow the operation.
    #[error("the role {role} does not allow {}", .operation.name())]
    AccessDenied {
        /// Role of the caller's token.
        role: Role,
        /// What the caller asked for.
        operation: Operation,
    },
    /// No such key in this account and region.
    #[error("the key does not exist")]
    KeyNotFound,
    /// The key is disabled.
    #[error("the key {key} is disabled")]
    KeyDisabled {
        /// The key.
        key: KeyId,
    },
    /// The key's state forbids the operation.
    #[error("the key {key} is in state {}", .state.name())]
    KeyStateInvalid {
        /// The key.
        key: KeyId,
        /// Its state.
        state: KeyState,
    },
    /// The key is for something else.
    #[error("the key {key} is for {}", .usage.name())]
    KeyUsageInvalid {
        /// The key.
        key: KeyId,
        /// What it is for.
        usage: KeyUsage,
    },
    /// The blob does not decrypt under the key and context given: constant,
    /// without detail.
    #[error("the ciphertext is not valid for this key and encryption context")]
    InvalidCiphertext,
    /// The client token was used for another request.
    #[error("the client token was used for another request")]
    IdempotencyMismatch,
    /// No such principal.
    #[error("the principal does not exist")]
    PrincipalNotFound,
    /// No such token.
    #[error("the token does not exist")]
    TokenNotFound,
    /// The principal exists and does not have the role.
    #[error("the principal does not have the role {role}: attach it first")]
    RoleNotAttached {
        /// The role.
        role: Role,
    },
    /// The cluster would be left without a lasting way to administer it.
    #[error("would leave nobody to administer the cluster: {}", .0.advice())]
    LastAdministrator(LockOut),
    /// The cluster was unsealed once; it can't be initialised again.
    #[error("the cluster is initialised and was unsealed")]
    AlreadyInitialised,
    /// Initialised, never unsealed, and under another init token.
    #[error("the cluster was initialised under another init token")]
    InitTokenMismatch,
    /// Something is left under the epoch, or it is the newest.
    #[error("the epoch {epoch} is in use")]
    EpochInUse {
        /// The epoch.
        epoch: u32,
    },
    /// The keyring has no such epoch.
    #[error("the epoch {epoch} does not exist")]
    EpochNotFound {
        /// The epoch.
        epoch: u32,
    },
    /// The keyring holds as many barrier epochs as it may.
    #[error("the keyring is full: drop a barrier epoch that is not in use first")]
    KeyringFull,
}

/// How a change would lock everybody out of administration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockOut {
    /// It takes away what the call itself rests on.
    OwnRights,
    /// The call's own token expires, and the change may take away the last
    /// that does not.
    ExpiringCaller,
}

impl LockOut {
    /// What to do instead.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::OwnRights => "let another administrator do it",
            Self::ExpiringCaller => "do it with an administrator's token that never expires",
        }
    }
}

impl Refusal {
    /// A wrong field.
    pub(crate) const fn invalid(field: &'static str, problem: Problem) -> Self {
        Self::InvalidArgument { field, problem }
    }

    /// The reason in `ErrorInfo` and in the audit log.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::InvalidArgument { .. } => Reason::InvalidArgument,
            Self::Unauthenticated => Reason::Unauthenticated,
            Self::AccessDenied { .. } => Reason::AccessDenied,
            Self::KeyNotFound => Reason::KeyNotFound,
            Self::KeyDisabled { .. } => Reason::KeyDisabled,
            Self::KeyStateInvalid { .. } => Reason::KeyStateInvalid,
            Self::KeyUsageInvalid { .. } => Reason::InvalidKeyUsage,
            Self::InvalidCiphertext => Reason::InvalidCiphertext,
            Self::IdempotencyMismatch => Reason::IdempotencyMismatch,
            Self::PrincipalNotFound => Reason::PrincipalNotFound,
            Self::TokenNotFound => Reason::TokenNotFound,
            Self::RoleNotAttached { .. } => Reason::RoleNotAttached,
            Self::LastAdministrator(_) => Reason::LastAdministrator,
            Self::AlreadyInitialised => Reason::AlreadyInitialised,
            Self::InitTokenMismatch => Reason::InitTokenMismatch,
            Self::EpochInUse { .. } => Reason::EpochInUse,
            Self::EpochNotFound { .. } => Reason::EpochNotFound,
            Self::KeyringFull => Reason::LimitExceeded,
        }
    }

    /// The class.
    #[must_use]
    pub const fn class(&self) -> Class {
        match self {
            Self::InvalidArgument { .. } | Self::InvalidCiphertext => Class::InvalidArgument,
            Self::Unauthenticated => Class::Unauthenticated,
            Self::AccessDenied { .. } => Class::PermissionDenied,
            Self::KeyNotFound
            | Self::PrincipalNotFound
            | Self::TokenNotFound
            | Self::EpochNotFound { .. } => Class::NotFound,
            Self::AlreadyInitialised | Self::InitTokenMismatch | Self::IdempotencyMismatch => {
                Class::AlreadyExists
            }
            Self::KeyDisabled { .. }
            | Self::KeyStateInvalid { .. }
            | Self::KeyUsageInvalid { .. }
            | Self::RoleNotAttached { .. }
            | Self::LastAdministrator(_)
            | Self::EpochInUse { .. }
            | Self::KeyringFull => Class::FailedPrecondition,
        }
    }

    /// Metadata of `ErrorInfo`: lower-case keys, public values.
    #[must_use]
    pub fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::InvalidArgument { field, .. } => vec![("field", (*field).to_owned())],
            Self::AccessDenied { role, operation } => {
                vec![("role", role.name().to_owned()), ("operation", operation.name().to_owned())]
            }
            Self::KeyDisabled { key } => vec![("key_id", key.to_string())],
            Self::KeyStateInvalid { key, state } => {
                vec![("key_id", key.to_string()), ("key_state", state.name().to_owned())]
            }
            Self::KeyUsageInvalid { key, usage } => {
                vec![("key_id", key.to_string()), ("key_usage", usage.name().to_owned())]
            }
            Self::RoleNotAttached { role } => vec![("role", role.name().to_owned())],
            Self::EpochInUse { epoch } | Self::EpochNotFound { epoch } => {
                vec![("epoch", epoch.to_string())]
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Refusal> {
        let key = KeyId::from_bytes([1; 16]);
        let problem = Problem::OutOfRange { min: 1, max: 2 };
        vec![
            Refusal::InvalidArgument { field: "count", problem },
            Refusal::Unauthenticated,
            Refusal::AccessDenied { role: Role::User, operation: Operation::CreateKey },
            Refusal::KeyNotFound,
            Refusal::KeyDisabled { key },
            Refusal::KeyStateInvalid { key, state: KeyState::PendingDeletion },
            Refusal::KeyUsageInvalid { key, usage: KeyUsage::SignVerify },
            Refusal::InvalidCiphertext,
            Refusal::IdempotencyMismatch,
            Refusal::PrincipalNotFound,
            Refusal::TokenNotFound,
            Refusal::RoleNotAttached { role: Role::User },
            Refusal::LastAdministrator(LockOut::OwnRights),
            Refusal::AlreadyInitialised,
            Refusal::InitTokenMismatch,
            Refusal::EpochInUse { epoch: 1 },
            Refusal::EpochNotFound { epoch: 1 },
            Refusal::KeyringFull,
        ]
    }

    #[test]
    fn each_refusal_has_a_reason_of_its_own() {
        let mut reasons: Vec<_> = all().iter().map(Refusal::reason).collect();
        reasons.sort_unstable();
        reasons.dedup();
        assert_eq!(reasons.len(), all().len());
    }

    #[test]
    fn an_invalid_ciphertext_is_told_without_detail() {
        assert!(Refusal::InvalidCiphertext.metadata().is_empty());
        assert_eq!(Refusal::InvalidCiphertext.class(), Class::InvalidArgument);
    }

    #[test]
    fn messages_are_one_line_that_ends_without_a_stop() {
        for refusal in all() {
            let text = refusal.to_string();
            assert!(!text.is_empty() && !text.contains('\n') && !text.ends_with('.'), "{text}");
        }
        assert_eq!(all()[0].to_string(), "count must be from 1 to 2");
        let denied = "the role user does not allow CreateKey";
        assert_eq!(all()[2].to_string(), denied);
    }
}
