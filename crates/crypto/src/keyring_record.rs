//! The wrapped keyring: the one record that the root key opens.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | format, `0x31` |
//! | 1 | 16 | cluster id |
//! | 17 | 8 | seal epoch |
//! | 25 | 8 | keyring revision |
//! | 33 | 16 | N |
//! | 49 | 12 | IV |
//! | 61 | * | ciphertext |
//! | * | 16 | tag |
//!
//! ```text
//! key = KBKDF(root key, label KEYRING, cluster id ‖ seal epoch ‖ keyring revision ‖ N)
//! AAD = the header: the first 61 bytes
//! ```

use strongroom_base::{ClusterId, Revision, SealEpoch};
use strongroom_secmem::SecretBytes;

use crate::{IV_BYTES, N_BYTES, Nonces, RootKey, TAG_BYTES, aead, kbkdf, labels};

const FORMAT: u8 = 0x31;
const ADDRESS_BYTES: usize = 16 + 8 + 8;
const HEADER_BYTES: usize = 1 + ADDRESS_BYTES + N_BYTES + IV_BYTES;

/// Which keyring a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyringAddress {
    /// Its cluster.
    pub cluster: ClusterId,
    /// The root key that wraps it.
    pub seal_epoch: SealEpoch,
    /// Revision of the plain record that carries it.
    pub revision: Revision,
}

/// Why a wrapped keyring was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// Shorter than any wrapped keyring.
    #[error("the wrapped keyring is cut short")]
    Malformed,
    /// A format that this program does not know.
    #[error("the wrapped keyring has the unknown format {format:#04x}")]
    UnsupportedFormat {
        /// The first byte.
        format: u8,
    },
    /// Of another cluster.
    #[error("the wrapped keyring belongs to cluster {0}")]
    ForeignCluster(ClusterId),
    /// Wrapped under another root key.
    #[error("the wrapped keyring belongs to seal epoch {0}")]
    OtherSealEpoch(SealEpoch),
    /// Another revision than the record that carries it: put back or moved.
    #[error("the wrapped keyring is of revision {0}")]
    OtherRevision(Revision),
    /// Forged, damaged, or wrapped under another root key.
    #[error("the wrapped keyring is not authentic under this root key")]
    NotAuthentic,
    /// Opened, but holds no keyring that this program can read.
    #[error("the wrapped keyring opened to something that is no keyring")]
    NotAKeyring,
}

/// Wraps a keyring's plaintext under the root key.
#[must_use]
pub fn wrap_keyring(
    root: &RootKey,
    address: &KeyringAddress,
    nonces: Nonces,
    plaintext: &[u8],
) -> Vec<u8> {
    let mut record = Vec::with_capacity(HEADER_BYTES + plaintext.len() + TAG_BYTES);
    record.push(FORMAT);
    record.extend_from_slice(&address.bytes());
    record.extend_from_slice(&nonces.n);
    record.extend_from_slice(&nonces.iv);
    let header: [u8; HEADER_BYTES] = record[..].try_into().expect("just filled");
    let key = kbkdf::derive(root.expose(), labels::KEYRING, &[&address.bytes(), &nonces.n]);
    aead::encrypt(key.expose(), &nonces.iv, &header, plaintext, &mut record);
    record
}

/// Unwraps the plaintext of exactly the keyring that `expected` names.
///
/// # Errors
///
/// [`KeyringError`], but for `NotAKeyring`, which is for the reader of the
/// plaintext.
pub fn unwrap_keyring(
    root: &RootKey,
    expected: &KeyringAddress,
    record: &[u8],
) -> Result<SecretBytes, KeyringError> {
    let (header, rest) = split(record)?;
    let found = KeyringAddress::read(header);
    if found.cluster != expected.cluster {
        return Err(KeyringError::ForeignCluster(found.cluster));
    }
    if found.seal_epoch != expected.seal_epoch {
        return Err(KeyringError::OtherSealEpoch(found.seal_epoch));
    }
    if found.revision != expected.revision {
        return Err(KeyringError::OtherRevision(found.revision));
    }
    let n = &header[1 + ADDRESS_BYTES..][..N_BYTES];
    let iv = header.last_chunk::<IV_BYTES>().expect("the header ends with the IV");
    let key = kbkdf::derive(root.expose(), labels::KEYRING, &[&expected.bytes(), n]);
    aead::decrypt(key.expose(), iv, header, rest).map_err(|_| KeyringError::NotAuthentic)
}

fn split(record: &[u8]) -> Result<(&[u8; HEADER_BYTES], &[u8]), KeyringError> {
    match record.first() {
        Some(&FORMAT) => {
            let halves = record.split_first_chunk::<HEADER_BYTES>();
            halves.filter(|(_, rest)| rest.len() >= TAG_BYTES).ok_or(KeyringError::Malformed)
        }
        Some(&format) => Err(KeyringError::UnsupportedFormat { format }),
        None => Err(KeyringError::Malformed),
    }
}

impl KeyringAddress {
    fn bytes(&self) -> [u8; ADDRESS_BYTES] {
        let mut bytes = [0; ADDRESS_BYTES];
        bytes[..16].copy_from_slice(self.cluster.as_bytes());
        bytes[16..24].copy_from_slice(&self.seal_epoch.0.to_be_bytes());
        bytes[24..].copy_from_slice(&self.revision.0.to_be_bytes());
        bytes
    }

    fn read(header: &[u8; HEADER_BYTES]) -> Self {
        let number = |at: usize| {
            u64::from_be_bytes(header[at..at + 8].try_into().expect("eight bytes of the header"))
        };
        Self {
            cluster: ClusterId::from_bytes(header[1..17].try_into().expect("sixteen bytes")),
            seal_epoch: SealEpoch(number(17)),
            revision: Revision(number(25)),
        }
    }
}
