//! The words that workloads and checkers share: operations, fields, reasons.
//!
//! A field stands in the value, a map; where the answer lacks it, in the
//! question's. `:node` (a number), `:request` (the request id) and `:credential`
//! (a token's name, never the token) stand beside the value, as `:error` does: a
//! reason of `docs/errors.md`.
//!
//! | operation | asked | answered |
//! |---|---|---|
//! | `create-key` | `:token` | `:key` |
//! | `enable-key`, `disable-key` | `:key` | |
//! | `describe-key` | `:key` | `:state`: `:enabled`, `:disabled` |
//! | `encrypt`, `generate-data-key` | `:key` | `:blob`, `:digest` |
//! | `decrypt` | `:key`, `:blob`; `:sweep` where a sweep asks | `:digest` |
//! | `revoke-token` | `:credential`, in the value | |
//! | `list-keys` | | `:keys`: ids |
//! | `read-audit` | | `:size`, `:root`; `:events` of `:sequence`, `:request`, `:outcome`, `:leaf` |
//! | `audit-root` | | `:size`, `:root`, as `/status` tells them |
//! | `rotate-barrier` | | `:epoch` |
//! | `seal-node`, `reset-unseal` | | |
//! | `submit-share` | `:share` (its index), `:kind`: `:right` or another word | `:state`, `:progress` |
//! | `seal-status` | | `:state`, `:progress` |
//! | `state-hash` | | `:index`, `:hash` |
//!
//! A blob is named by anything that is its own, such as a digest: histories hold no
//! plaintext, token or share.
//!
//! **Outcome.** A call is `fail` only where the product says that nothing happened
//! and no record of success can come of it. Whatever may be recorded or may have
//! taken effect is `info`: [`is_unknown`].
//!
//! | note of | name | value |
//! |---|---|---|
//! | `cluster` | `started` | `:node`; after the old process is gone, before the new one is started |
//! | `monitor` | `node` | `:node`, `:role`, `:term`, `:state` of the seal, or `:down` |
//! | `nemesis` | the kind of fault | as [`schedule`](crate::schedule) says |

use crate::{
    history::{History, Operation},
    value::Value,
    verdict::Malformed,
};

/// Operations that use key material.
pub const USES: [&str; 3] = ["encrypt", "generate-data-key", "decrypt"];
/// Operations that hand out a blob.
pub const MAKES: [&str; 2] = ["encrypt", "generate-data-key"];
/// Operations that a sealed node answers: the seal, and what it tells its peers
/// and the monitoring network.
pub const OF_A_SEALED_NODE: [&str; 6] =
    ["seal-node", "reset-unseal", "submit-share", "seal-status", "state-hash", "audit-root"];
/// Reads: they leave no record unless they are denied.
pub const READS: [&str; 6] =
    ["describe-key", "list-keys", "read-audit", "audit-root", "seal-status", "state-hash"];

/// Reasons that mean a loss when they are given for what was made before.
pub const LOSSES: [&str; 3] = ["INVALID_CIPHERTEXT", "KEY_NOT_FOUND", "INTERNAL"];
/// Reasons after which a call may have happened, or be recorded.
pub const UNKNOWN: [&str; 5] =
    ["OUTCOME_UNKNOWN", "NO_QUORUM", "DEADLINE_EXCEEDED", "SEALED", "NO_ANSWER"];
/// Reasons by which a node says that it can't serve now.
pub const UNAVAILABLE: [&str; 5] =
    ["OUTCOME_UNKNOWN", "NO_QUORUM", "DEADLINE_EXCEEDED", "NO_ANSWER", "NOT_SENT"];

/// Whether a call that got this reason is to be recorded as `info`.
#[must_use]
pub fn is_unknown(reason: &str) -> bool {
    UNKNOWN.contains(&reason)
}

/// A field that must be a text.
///
/// # Errors
///
/// When it is none.
pub fn text<'h>(operation: &Operation<'h>, field: &'static str) -> Result<&'h str, Malformed> {
    operation.field(field).and_then(Value::name).ok_or_else(|| malformed(operation, field))
}

/// A field that must be a number, not below zero.
///
/// # Errors
///
/// When it is none.
pub fn number(operation: &Operation<'_>, field: &'static str) -> Result<u64, Malformed> {
    operation.field(field).and_then(Value::unsigned).ok_or_else(|| malformed(operation, field))
}

/// The node that was called.
///
/// # Errors
///
/// When the operation names none.
pub fn node(operation: &Operation<'_>) -> Result<u64, Malformed> {
    operation.node().ok_or_else(|| malformed(operation, "node"))
}

/// A fault of the harness: the operation lacks a field.
#[must_use]
pub fn malformed(operation: &Operation<'_>, field: &'static str) -> Malformed {
    Malformed { index: operation.index(), f: operation.f().to_owned(), field }
}

/// Operations with this name.
pub fn named<'h>(history: &'h History, f: &'h str) -> impl Iterator<Item = Operation<'h>> + Clone {
    history.operations().filter(move |operation| operation.f() == f)
}
