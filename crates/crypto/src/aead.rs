//! AES-256-GCM (NIST SP 800-38D) between ordinary and secret memory.
//!
//! Plaintexts are read from and written to where they belong, so that no copy
//! passes through an ordinary buffer.
//!
//! Nonce rule and limit: see the crate's documentation. Every key given here is
//! derived for one message.

use aes_gcm::{
    Aes256Gcm, Tag,
    aead::{AeadInOut, KeyInit, inout::InOutBuf},
};
use strongroom_secmem::SecretBytes;

use crate::Entropy;

/// Bytes of the nonce `N` that a message's key is derived with.
pub const N_BYTES: usize = 16;
/// Bytes of the initialisation vector of AES-GCM.
pub const IV_BYTES: usize = 12;
/// Bytes of the authentication tag of AES-GCM.
pub const TAG_BYTES: usize = 16;

/// What must never be used twice: drawn for one encryption, consumed by it.
pub struct Nonces {
    /// Goes into the derivation of the message's key.
    pub n: [u8; N_BYTES],
    /// Initialisation vector of AES-GCM.
    pub iv: [u8; IV_BYTES],
}

impl Nonces {
    /// Draws both.
    pub fn draw(entropy: &mut impl Entropy) -> Self {
        let bytes: [u8; N_BYTES + IV_BYTES] = entropy.draw();
        let (n, iv) = bytes.split_first_chunk().expect("28 bytes begin with 16");
        Self { n: *n, iv: iv.try_into().expect("28 - 16 bytes are 12") }
    }
}

/// The bytes did not come from an encryption under this key, IV and AAD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

/// Appends ciphertext and tag of `plaintext` to `out`.
pub(crate) fn encrypt(
    key: &[u8; 32],
    iv: &[u8; IV_BYTES],
    aad: &[u8],
    plaintext: &[u8],
    out: &mut Vec<u8>,
) {
    let start = out.len();
    out.reserve_exact(plaintext.len() + TAG_BYTES);
    out.resize(start + plaintext.len(), 0);
    let buffer = InOutBuf::new(plaintext, &mut out[start..]).expect("both have the same length");
    let tag = Aes256Gcm::new(key.into())
        .encrypt_inout_detached(iv.into(), aad, buffer)
        .expect("AES-GCM refuses only messages beyond 2^36 bytes");
    out.extend_from_slice(&tag);
}

/// Checks the tag, then decrypts into secret memory; nothing is decrypted where
/// the tag is wrong.
///
/// # Errors
///
/// [`NotAuthentic`], for whatever reason.
pub(crate) fn decrypt(
    key: &[u8; 32],
    iv: &[u8; IV_BYTES],
    aad: &[u8],
    ciphertext_and_tag: &[u8],
) -> Result<SecretBytes, NotAuthentic> {
    let (ciphertext, tag) =
        ciphertext_and_tag.split_last_chunk::<TAG_BYTES>().ok_or(NotAuthentic)?;
    let tag: &Tag = tag.into();
    SecretBytes::try_init_with(ciphertext.len(), |plaintext| {
        let buffer = InOutBuf::new(ciphertext, plaintext).expect("both have the same length");
        Aes256Gcm::new(key.into())
            .decrypt_inout_detached(iv.into(), aad, buffer, tag)
            .map_err(|_| NotAuthentic)
    })
}

#[cfg(test)]
mod tests;
