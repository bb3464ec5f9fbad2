//! `Encrypt`.

use std::sync::Arc;

use strongroom_audit::Operation;
use strongroom_base::limits;
use strongroom_crypto::{Context, Entropy, SecretBytes};

use super::{KeyUsed, usable};
use crate::{
    access::Authenticated,
    decision::{Basis, Decided, Reading},
    errors::{Problem, Refusal},
    events::EventDraft,
    keys::KeyReference,
    read::ReadError,
};

/// Asks for encryption.
pub struct EncryptRequest {
    key: KeyReference,
    plaintext: SecretBytes,
    context: Arc<Context>,
}

impl EncryptRequest {
    /// Checks the plaintext: 1 to 4,096 bytes.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidArgument`] naming field and bound.
    pub fn new(
        key: KeyReference,
        plaintext: SecretBytes,
        context: Arc<Context>,
    ) -> Result<Self, Refusal> {
        let max = limits::PLAINTEXT_BYTES_MAX;
        let problem = match plaintext.len() {
            0 => Problem::Missing,
            len if len > max => Problem::TooLong { max, unit: "bytes" },
            _ => return Ok(Self { key, plaintext, context }),
        };
        Err(Refusal::invalid("plaintext", problem))
    }
}

/// A ciphertext.
#[derive(Debug)]
pub struct Encrypted {
    /// The key.
    pub key: KeyUsed,
    /// The blob.
    pub blob: Vec<u8>,
}

/// Encrypts under the key's current version.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn encrypt(
    basis: &Basis<'_>,
    caller: &Authenticated,
    request: &EncryptRequest,
    entropy: &mut dyn Entropy,
) -> Result<Decided<Encrypted>, ReadError> {
    let event = EventDraft::by(caller, Operation::Encrypt)
        .key(request.key.within(basis.cluster))
        .context(&request.context);
    let mut reading = Reading::by(basis, caller);
    match usable(&mut reading, caller, Operation::Encrypt, &request.key)? {
        Ok(usable) => {
            let blob = usable.encrypt(&request.context, request.plaintext.expose(), entropy);
            let event = event.version(usable.version);
            Ok(reading.allow(event, Encrypted { key: usable.used(), blob }))
        }
        Err(refusal) => Ok(reading.refuse(event, refusal)),
    }
}
