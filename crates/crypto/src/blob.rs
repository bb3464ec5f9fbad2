//! Ciphertext blobs: what `Encrypt` and `GenerateDataKey` hand out and callers
//! keep.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | format, `0x71` |
//! | 1 | 1 | suite |
//! | 2 | 16 | key id |
//! | 18 | 4 | key version |
//! | 22 | 16 | N |
//! | 38 | 12 | IV |
//! | 50 | * | ciphertext |
//! | * | 16 | tag |
//!
//! ```text
//! key = KBKDF(key material, label BLOB, key id ‖ key version ‖ N)
//! AAD = header: the first 50 bytes ‖ canonical encryption context
//! ```
//!
//! Whatever is wrong with a blob, the answer is [`InvalidCiphertext`] and no
//! more: anything finer would be an oracle.

use strongroom_base::{
    KeyId, KeyVersion,
    limits::{BLOB_BYTES_MAX, PLAINTEXT_BYTES_MAX},
};
use strongroom_secmem::SecretBytes;

use crate::{Context, IV_BYTES, MaterialKey, N_BYTES, Nonces, TAG_BYTES, aead, kbkdf, labels};

const FORMAT: u8 = 0x71;
const HEADER_BYTES: usize = 1 + 1 + 16 + 4 + N_BYTES + IV_BYTES;

/// Bytes that encryption adds to a plaintext.
pub const BLOB_OVERHEAD_BYTES: usize = HEADER_BYTES + TAG_BYTES;

const _: () = assert!(PLAINTEXT_BYTES_MAX + BLOB_OVERHEAD_BYTES <= BLOB_BYTES_MAX);

/// Not a blob that this key material and context made; no further detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid ciphertext")]
pub struct InvalidCiphertext;

/// A plaintext beyond [`PLAINTEXT_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a plaintext has at most {PLAINTEXT_BYTES_MAX} bytes")]
pub struct PlaintextTooLong;

/// How a blob is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Suite {
    /// AES-256-GCM under a key derived with KBKDF-CTR-HMAC-SHA256.
    Aes256GcmKbkdfSha256 = 1,
}

/// The key version that a blob is encrypted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobKey {
    /// The key.
    pub key_id: KeyId,
    /// The version of its material.
    pub version: KeyVersion,
}

/// What a blob says of itself; true only once the blob has been decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobHeader {
    /// How it is encrypted.
    pub suite: Suite,
    /// What it is encrypted under.
    pub key: BlobKey,
    /// Nonce of the message key's derivation.
    pub n: [u8; N_BYTES],
    /// Initialisation vector of AES-GCM.
    pub iv: [u8; IV_BYTES],
}

impl BlobHeader {
    /// Reads the header of a blob, so that the caller knows which key to fetch.
    ///
    /// # Errors
    ///
    /// [`InvalidCiphertext`]: too short, too long, another format or suite.
    pub fn parse(blob: &[u8]) -> Result<Self, InvalidCiphertext> {
        if !(BLOB_OVERHEAD_BYTES..=BLOB_BYTES_MAX).contains(&blob.len()) {
            return Err(InvalidCiphertext);
        }
        let (&[format, suite], rest) = blob.split_first_chunk().ok_or(InvalidCiphertext)?;
        if format != FORMAT || suite != Suite::Aes256GcmKbkdfSha256 as u8 {
            return Err(InvalidCiphertext);
        }
        let (&key_id, rest) = rest.split_first_chunk().ok_or(InvalidCiphertext)?;
        let (&version, rest) = rest.split_first_chunk().ok_or(InvalidCiphertext)?;
        let (&n, rest) = rest.split_first_chunk().ok_or(InvalidCiphertext)?;
        let &iv = rest.first_chunk().ok_or(InvalidCiphertext)?;
        let version = KeyVersion(u32::from_be_bytes(version));
        let key = BlobKey { key_id: KeyId::from_bytes(key_id), version };
        Ok(Self { suite: Suite::Aes256GcmKbkdfSha256, key, n, iv })
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[FORMAT, self.suite as u8]);
        out.extend_from_slice(self.key.key_id.as_bytes());
        out.extend_from_slice(&self.key.version.0.to_be_bytes());
        out.extend_from_slice(&self.n);
        out.extend_from_slice(&self.iv);
    }

    fn associated(header: &[u8], context: &Context) -> Vec<u8> {
        let mut aad = Vec::with_capacity(HEADER_BYTES + context.canonical_len());
        aad.extend_from_slice(header);
        context.put_canonical(&mut aad);
        aad
    }

    fn message_key(&self, material: &MaterialKey) -> strongroom_secmem::Secret<32> {
        let version = self.key.version.0.to_be_bytes();
        let context: [&[u8]; 3] = [self.key.key_id.as_bytes(), &version, &self.n];
        kbkdf::derive(material.expose(), labels::BLOB, &context)
    }
}

/// Encrypts `plaintext` under one key version, bound to `context`.
///
/// # Errors
///
/// [`PlaintextTooLong`] beyond [`PLAINTEXT_BYTES_MAX`].
pub fn encrypt_blob(
    material: &MaterialKey,
    key: BlobKey,
    nonces: Nonces,
    context: &Context,
    plaintext: &[u8],
) -> Result<Vec<u8>, PlaintextTooLong> {
    if plaintext.len() > PLAINTEXT_BYTES_MAX {
        return Err(PlaintextTooLong);
    }
    let Nonces { n, iv } = nonces;
    let header = BlobHeader { suite: Suite::Aes256GcmKbkdfSha256, key, n, iv };
    let mut blob = Vec::with_capacity(BLOB_OVERHEAD_BYTES + plaintext.len());
    header.put(&mut blob);
    let aad = BlobHeader::associated(&blob, context);
    aead::encrypt(header.message_key(material).expose(), &iv, &aad, plaintext, &mut blob);
    Ok(blob)
}

/// Decrypts a blob with the material that its header names.
///
/// # Errors
///
/// [`InvalidCiphertext`], whatever the reason: damaged or forged blob, other
/// context, other key material.
pub fn decrypt_blob(
    material: &MaterialKey,
    context: &Context,
    blob: &[u8],
) -> Result<SecretBytes, InvalidCiphertext> {
    let header = BlobHeader::parse(blob)?;
    let (head, rest) = blob.split_at(HEADER_BYTES);
    let aad = BlobHeader::associated(head, context);
    aead::decrypt(header.message_key(material).expose(), &header.iv, &aad, rest)
        .map_err(|_| InvalidCiphertext)
}
