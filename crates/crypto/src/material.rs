//! Key material of one key version, and the plaintext of its row.
//!
//! Layout of the plaintext, 65 bytes:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | format, `0x41`: spec `SYMMETRIC_DEFAULT` |
//! | 1 | 32 | material id |
//! | 33 | 32 | key |
//!
//! ```text
//! material id = KBKDF(key, label MATERIAL_ID, empty context)
//! ```
//!
//! The id is derived from the key, so that the same material has the same id
//! wherever it is imported, and a row whose halves don't belong together is
//! found when it is read. It reveals nothing of the key (the derivation is a
//! one-way PRF) but its equality with another.

use strongroom_base::MaterialId;
use strongroom_secmem::SecretBytes;

use crate::{Entropy, MaterialKey, kbkdf, labels};

const FORMAT: u8 = 0x41;
const ENCODED_BYTES: usize = 1 + 32 + MaterialKey::LEN;

/// Why a row's plaintext is no key material.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MaterialError {
    /// Not the right length.
    #[error("key material has the wrong length")]
    Malformed,
    /// A format that this program does not know.
    #[error("key material has the unknown format {format:#04x}")]
    UnsupportedFormat {
        /// The first byte.
        format: u8,
    },
    /// The material id is not that of the key.
    #[error("key material and its id do not belong together")]
    WrongId,
}

/// Material of one key version of spec `SYMMETRIC_DEFAULT`.
pub struct KeyMaterial {
    id: MaterialId,
    key: MaterialKey,
}

impl KeyMaterial {
    /// Draws new material.
    pub fn generate(entropy: &mut impl Entropy) -> Self {
        Self::from_key(MaterialKey::generate(entropy))
    }

    /// Takes a key, and derives the id.
    #[must_use]
    pub fn from_key(key: MaterialKey) -> Self {
        let mut id = [0; 32];
        kbkdf::derive_into(key.expose(), labels::MATERIAL_ID, &[], &mut id);
        Self { id: MaterialId(id), key }
    }

    /// Public identity of the material (AWS KMS, `KeyMaterialId`).
    #[must_use]
    pub fn id(&self) -> MaterialId {
        self.id
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &MaterialKey {
        &self.key
    }

    /// Plaintext of the row.
    #[must_use]
    pub fn encode(&self) -> SecretBytes {
        SecretBytes::init_with(ENCODED_BYTES, |bytes| {
            bytes[0] = FORMAT;
            bytes[1..33].copy_from_slice(&self.id.0);
            bytes[33..].copy_from_slice(self.key.expose());
        })
    }

    /// Reads the plaintext of a row.
    ///
    /// # Errors
    ///
    /// [`MaterialError`].
    pub fn decode(plaintext: &[u8]) -> Result<Self, MaterialError> {
        let (&format, rest) = plaintext.split_first().ok_or(MaterialError::Malformed)?;
        if format != FORMAT {
            return Err(MaterialError::UnsupportedFormat { format });
        }
        let (id, key) = rest.split_first_chunk::<32>().ok_or(MaterialError::Malformed)?;
        let key: &[u8; MaterialKey::LEN] = key.try_into().map_err(|_| MaterialError::Malformed)?;
        let material = Self::from_key(MaterialKey::init_with(|place| place.copy_from_slice(key)));
        if material.id.0 == *id { Ok(material) } else { Err(MaterialError::WrongId) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn material(byte: u8) -> KeyMaterial {
        KeyMaterial::from_key(MaterialKey::init_with(|key| key.fill(byte)))
    }

    fn refusal(plaintext: &[u8]) -> Option<MaterialError> {
        KeyMaterial::decode(plaintext).err()
    }

    #[test]
    fn damaged_plaintexts_are_refused_by_name() {
        let encoded = material(1).encode();
        let bytes = encoded.expose();
        assert_eq!(refusal(&[]), Some(MaterialError::Malformed));
        assert_eq!(refusal(&bytes[..64]), Some(MaterialError::Malformed));
        assert_eq!(refusal(&[bytes, &[0]].concat()), Some(MaterialError::Malformed));
        let mut other = bytes.to_vec();
        other[0] = 0x42;
        assert_eq!(refusal(&other), Some(MaterialError::UnsupportedFormat { format: 0x42 }));
        for at in [1, 32, 33, 64] {
            let mut other = bytes.to_vec();
            other[at] ^= 1;
            assert_eq!(refusal(&other), Some(MaterialError::WrongId), "byte {at}");
        }
    }

    #[test]
    fn material_survives_its_encoding_and_ids_tell_keys_apart() {
        let decoded = KeyMaterial::decode(material(1).encode().expose()).ok().unwrap();
        assert_eq!(decoded.key().expose(), &[1; 32]);
        assert_eq!(decoded.id(), material(1).id());
        assert_ne!(decoded.id(), material(2).id());
        assert_ne!(decoded.id().0, [1; 32]);
    }
}
