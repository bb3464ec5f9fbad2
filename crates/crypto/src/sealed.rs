//! What sealed rows and sealed audit bodies have in common.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | format |
//! | 1 | 4 | epoch of the key |
//! | 5 | 16 | N |
//! | 21 | 12 | IV |
//! | 33 | * | ciphertext |
//! | * | 16 | tag |
//!
//! The first 33 bytes are the header. The state, which opens nothing, counts
//! rows and bodies by the epoch at offset 1.

use strongroom_base::BarrierEpoch;
use strongroom_secmem::SecretBytes;

use crate::{IV_BYTES, N_BYTES, Nonces, TAG_BYTES, aead, kbkdf, labels::Label};

pub(crate) const HEADER_BYTES: usize = 1 + 4 + N_BYTES + IV_BYTES;

/// Bytes that sealing adds to a plaintext.
pub const SEALED_OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

/// Why sealed bytes don't open. No variant tells anything of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Shorter than any sealed bytes.
    #[error("sealed bytes are cut short")]
    Malformed,
    /// A format that this program does not know: another kind of bytes, or a
    /// newer program wrote them.
    #[error("sealed bytes have the unknown format {format:#04x}")]
    UnsupportedFormat {
        /// The first byte.
        format: u8,
    },
    /// Not what was sealed under this key at this address: forged, damaged,
    /// moved from elsewhere, or of another revision.
    #[error("sealed bytes are not authentic")]
    NotAuthentic,
}

/// A kind of sealed bytes.
pub(crate) struct Kind {
    pub(crate) format: u8,
    pub(crate) label: Label,
}

impl Kind {
    /// Seals `plaintext`. `place` appends to the header what else is
    /// authenticated.
    pub(crate) fn seal(
        &self,
        key: &[u8; 32],
        epoch: BarrierEpoch,
        nonces: Nonces,
        place: impl FnOnce(&mut Vec<u8>),
        plaintext: &[u8],
    ) -> Vec<u8> {
        let mut sealed = Vec::with_capacity(SEALED_OVERHEAD_BYTES + plaintext.len());
        sealed.push(self.format);
        sealed.extend_from_slice(&epoch.0.to_be_bytes());
        sealed.extend_from_slice(&nonces.n);
        sealed.extend_from_slice(&nonces.iv);
        let aad = associated(&sealed, place);
        let message_key = kbkdf::derive(key, self.label, &[&nonces.n]);
        aead::encrypt(message_key.expose(), &nonces.iv, &aad, plaintext, &mut sealed);
        sealed
    }

    /// Opens what [`Kind::seal`] gave for the same key and place.
    pub(crate) fn open(
        &self,
        key: &[u8; 32],
        place: impl FnOnce(&mut Vec<u8>),
        sealed: &[u8],
    ) -> Result<SecretBytes, OpenError> {
        self.epoch(sealed)?;
        let (header, rest) = sealed.split_at(HEADER_BYTES);
        let n = &header[5..5 + N_BYTES];
        let iv = header[5 + N_BYTES..].try_into().expect("the header ends with the IV");
        let aad = associated(header, place);
        let message_key = kbkdf::derive(key, self.label, &[n]);
        aead::decrypt(message_key.expose(), iv, &aad, rest).map_err(|_| OpenError::NotAuthentic)
    }

    /// The epoch that the header names. Not authenticated by this.
    pub(crate) fn epoch(&self, sealed: &[u8]) -> Result<BarrierEpoch, OpenError> {
        match sealed.first() {
            Some(&format) if format != self.format => Err(OpenError::UnsupportedFormat { format }),
            Some(_) if sealed.len() >= SEALED_OVERHEAD_BYTES => {
                let epoch = sealed[1..5].try_into().expect("four bytes");
                Ok(BarrierEpoch(u32::from_be_bytes(epoch)))
            }
            _ => Err(OpenError::Malformed),
        }
    }
}

/// Associated data: the header, then what `place` appends.
fn associated(header: &[u8], place: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    // The largest place is that of a row with the longest row id: 96 bytes.
    let mut aad = Vec::with_capacity(HEADER_BYTES + 96);
    aad.extend_from_slice(header);
    place(&mut aad);
    aad
}

/// Appends the length of `bytes` (u32) and `bytes`.
pub(crate) fn put_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u32::try_from(bytes.len()).expect("no field of ours reaches 4 GiB");
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(bytes);
}
