//! Uses of keys: data keys, encrypt, decrypt, random.
//!
//! Whole operations as pure functions: the cryptography is done here, with the
//! caller's entropy, while deciding; what comes out waits in secret memory
//! until the decision is admitted. Checks in AWS KMS's order: the key exists,
//! the caller may, the key is for this, the key's state allows it.

mod data_key;
mod decrypt;
mod encrypt;
mod random;
mod re_encrypt;

use std::sync::Arc;

use strongroom_audit::Operation;
use strongroom_base::{KeyId, KeyVersion, MaterialId, limits};
use strongroom_crypto::{
    BlobHeader, BlobKey, Context, ContextError, Entropy, KeyMaterial, Nonces, encrypt_blob,
};

pub use data_key::{DataKeyPair, DataKeys, DataKeysRequest, generate_data_keys};
pub use decrypt::{
    DecryptBatchRequest, DecryptRequest, Decrypted, DecryptedBatch, decrypt, decrypt_batch,
};
pub use encrypt::{EncryptRequest, Encrypted, encrypt};
pub use random::{RandomRequest, generate_random};
pub use re_encrypt::{ReEncryptRequest, ReEncrypted, re_encrypt};

use crate::{
    access::{Authenticated, authorise},
    decision::Reading,
    errors::{Problem, Refusal},
    keys::KeyReference,
    read::{Found, ReadError},
    rows::{Key, KeyState, KeyUsage},
    tables::RowId,
};

/// The key that a use used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyUsed {
    /// UUID.
    pub id: KeyId,
    /// ARN.
    pub arn: String,
    /// Version of its material.
    pub version: KeyVersion,
    /// Identity of that material.
    pub material: MaterialId,
}

/// An encryption context out of a request's `field`.
///
/// # Errors
///
/// [`Refusal::InvalidArgument`] naming field and bound.
pub fn context_field(
    field: &'static str,
    pairs: impl IntoIterator<Item = (String, String)>,
) -> Result<Arc<Context>, Refusal> {
    Context::new(pairs).map(Arc::new).map_err(|error| {
        let problem = match error {
            ContextError::TooManyPairs => {
                Problem::TooLong { max: limits::CONTEXT_PAIRS_MAX, unit: "pairs" }
            }
            ContextError::TooLong => {
                Problem::TooLong { max: limits::CONTEXT_BYTES_MAX, unit: "bytes" }
            }
            _ => Problem::Malformed("pairs with distinct keys"),
        };
        Refusal::invalid(field, problem)
    })
}

/// A ciphertext blob out of a request's `field`.
fn blob_field(field: &'static str, blob: Vec<u8>) -> Result<Vec<u8>, Refusal> {
    let max = limits::BLOB_BYTES_MAX;
    match blob.len() {
        0 => Err(Refusal::invalid(field, Problem::Missing)),
        len if len > max => Err(Refusal::invalid(field, Problem::TooLong { max, unit: "bytes" })),
        _ => Ok(blob),
    }
}

/// A key that may be used, with the material of one version.
struct Usable {
    key: Found<Key>,
    version: KeyVersion,
    material: Found<KeyMaterial>,
    arn: String,
}

impl Usable {
    fn used(&self) -> KeyUsed {
        KeyUsed {
            id: self.key.id,
            arn: self.arn.clone(),
            version: self.version,
            material: self.material.id(),
        }
    }

    /// Encrypts at most 4,096 bytes under this version, bound to `context`.
    fn encrypt(
        &self,
        context: &Context,
        plaintext: &[u8],
        mut entropy: &mut dyn Entropy,
    ) -> Vec<u8> {
        let key = BlobKey { key_id: self.key.id, version: self.version };
        let nonces = Nonces::draw(&mut entropy);
        encrypt_blob(self.material.key(), key, nonces, context, plaintext)
            .expect("requests bound their plaintexts by what a blob holds")
    }
}

/// The key that a request names, for encryption under its current version.
fn usable(
    reading: &mut Reading<'_>,
    caller: &Authenticated,
    operation: Operation,
    reference: &KeyReference,
) -> Result<Result<Usable, Refusal>, ReadError> {
    let Some(id) = reference.within(reading.basis.cluster) else {
        return Ok(Err(Refusal::KeyNotFound));
    };
    let Some(key) = reading.find::<Key>(RowId::key(id))? else {
        return Ok(Err(Refusal::KeyNotFound));
    };
    if let Err(refusal) = authorise(caller, operation).and_then(|()| may_encrypt_decrypt(&key)) {
        return Ok(Err(refusal));
    }
    let version = key.current_version;
    let material = reading.must_find::<KeyMaterial>(RowId::material(id, version))?;
    let arn = reading.basis.cluster.arn(id);
    Ok(Ok(Usable { key, version, material, arn }))
}

/// The key that a blob names, for decryption.
///
/// A blob that is no blob, of an unknown key or version, or of another key
/// than `expected`, is answered like one whose tag is wrong.
fn usable_for_blob(
    reading: &mut Reading<'_>,
    caller: &Authenticated,
    operation: Operation,
    header: Option<&BlobHeader>,
    expected: Option<&KeyReference>,
) -> Result<Result<Usable, Refusal>, ReadError> {
    let Some(BlobKey { key_id, version }) = header.map(|header| header.key) else {
        return Ok(Err(authorise(caller, operation).err().unwrap_or(Refusal::InvalidCiphertext)));
    };
    let key = reading.find::<Key>(RowId::key(key_id))?;
    if let Err(refusal) = authorise(caller, operation) {
        return Ok(Err(refusal));
    }
    let cluster = reading.basis.cluster;
    let other = expected.is_some_and(|expected| expected.within(cluster) != Some(key_id));
    let Some(key) = key.filter(|_| !other) else {
        return Ok(Err(Refusal::InvalidCiphertext));
    };
    if let Err(refusal) = may_encrypt_decrypt(&key) {
        return Ok(Err(refusal));
    }
    let Some(material) = reading.find::<KeyMaterial>(RowId::material(key_id, version))? else {
        return Ok(Err(Refusal::InvalidCiphertext));
    };
    let arn = cluster.arn(key_id);
    Ok(Ok(Usable { key, version, material, arn }))
}

/// Usage first, then state (AWS KMS's order).
fn may_encrypt_decrypt(key: &Key) -> Result<(), Refusal> {
    if key.usage != KeyUsage::EncryptDecrypt {
        return Err(Refusal::KeyUsageInvalid { key: key.id, usage: key.usage });
    }
    match key.state {
        KeyState::Enabled => Ok(()),
        KeyState::Disabled => Err(Refusal::KeyDisabled { key: key.id }),
        state => Err(Refusal::KeyStateInvalid { key: key.id, state }),
    }
}
