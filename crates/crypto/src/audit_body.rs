//! Sealed bodies of audit records: the private part, which may be pruned.
//!
//! Layout: see the table in module `sealed`; format `0x21`, the epoch is the
//! audit key's own.
//!
//! ```text
//! key = KBKDF(audit key, label AUDIT_BODY, N)
//! AAD = header(33) ‖ history id(16) ‖ SHA-256 of the leaf(32)
//! ```
//!
//! So a body belongs to one leaf of one history and can't be moved to another.

use strongroom_base::{BarrierEpoch, HistoryId};
use strongroom_secmem::SecretBytes;

use crate::{AuditKey, Nonces, OpenError, labels, sealed::Kind};

const BODY: Kind = Kind { format: 0x21, label: labels::AUDIT_BODY };

/// Seals the body that belongs to the leaf with digest `leaf_digest`.
#[must_use]
pub fn seal_body(
    key: &AuditKey,
    epoch: BarrierEpoch,
    nonces: Nonces,
    history: HistoryId,
    leaf_digest: &[u8; 32],
    plaintext: &[u8],
) -> Vec<u8> {
    BODY.seal(key.expose(), epoch, nonces, |aad| put_place(aad, history, leaf_digest), plaintext)
}

/// Opens the body of the leaf with digest `leaf_digest`, with the key of the
/// epoch that [`body_epoch`] says.
///
/// # Errors
///
/// [`OpenError`]: the bytes are no sealed body, or not this leaf's.
pub fn open_body(
    key: &AuditKey,
    history: HistoryId,
    leaf_digest: &[u8; 32],
    sealed: &[u8],
) -> Result<SecretBytes, OpenError> {
    BODY.open(key.expose(), |aad| put_place(aad, history, leaf_digest), sealed)
}

/// The audit epoch that a sealed body names; true only once the body has opened.
///
/// # Errors
///
/// [`OpenError::Malformed`] and [`OpenError::UnsupportedFormat`].
pub fn body_epoch(sealed: &[u8]) -> Result<BarrierEpoch, OpenError> {
    BODY.epoch(sealed)
}

fn put_place(aad: &mut Vec<u8>, history: HistoryId, leaf_digest: &[u8; 32]) {
    aad.extend_from_slice(history.as_bytes());
    aad.extend_from_slice(leaf_digest);
}
