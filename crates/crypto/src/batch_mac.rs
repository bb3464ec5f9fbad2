//! MAC of a ledger's batch: what lets an unsealed leader admit it.
//!
//! ```text
//! MAC = HMAC-SHA256(batch key, label BATCH ‖ 0x00 ‖ bytes of the batch)
//! ```
//!
//! The bytes name node, boot and sequence, so a MAC fits one batch of one boot.

use subtle::ConstantTimeEq;

use crate::{BatchKey, digest, labels};

/// Bytes of the MAC.
pub const BATCH_MAC_BYTES: usize = 32;

/// The MAC does not belong to the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the batch does not carry a MAC of an unsealed node of this cluster")]
pub struct ForgedBatch;

/// MAC of a batch's serialised bytes.
#[must_use]
pub fn batch_mac(key: &BatchKey, batch: &[u8]) -> [u8; BATCH_MAC_BYTES] {
    digest::hmac_sha256(key.expose(), labels::BATCH, &[batch])
}

/// Checks a MAC in constant time.
///
/// # Errors
///
/// [`ForgedBatch`] where it is not exactly [`batch_mac`] of the same bytes.
pub fn verify_batch_mac(key: &BatchKey, batch: &[u8], mac: &[u8]) -> Result<(), ForgedBatch> {
    // `ct_eq` of slices of different lengths is false at once; lengths are no
    // secret.
    if batch_mac(key, batch).ct_eq(mac).into() { Ok(()) } else { Err(ForgedBatch) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_of_other_bytes_other_key_or_other_length_is_refused() {
        let key = BatchKey::init_with(|key| key.fill(1));
        let other = BatchKey::init_with(|key| key.fill(2));
        let mac = batch_mac(&key, b"batch");
        assert_eq!(verify_batch_mac(&key, b"Batch", &mac), Err(ForgedBatch));
        assert_eq!(verify_batch_mac(&other, b"batch", &mac), Err(ForgedBatch));
        assert_eq!(verify_batch_mac(&key, b"batch", &mac[..31]), Err(ForgedBatch));
        assert_eq!(verify_batch_mac(&key, b"batch", &[]), Err(ForgedBatch));
        assert_eq!(verify_batch_mac(&key, b"batch", &mac), Ok(()));
    }
}
