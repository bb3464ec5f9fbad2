//! `ReEncrypt`: decrypts and encrypts again; the plaintext never leaves.

use std::sync::Arc;

use strongroom_audit::Operation;
use strongroom_crypto::{Context, Entropy};

use super::{DecryptRequest, KeyUsed, decrypt::open, usable};
use crate::{
    access::Authenticated,
    decision::{Basis, Decided, Reading},
    events::{EventDraft, ItemDraft},
    facts,
    keys::KeyReference,
    read::ReadError,
};

/// Asks for encryption under another key or context.
pub struct ReEncryptRequest {
    source: DecryptRequest,
    destination: KeyReference,
    context: Arc<Context>,
}

impl ReEncryptRequest {
    /// A checked source, and where it shall go.
    #[must_use]
    pub fn new(source: DecryptRequest, destination: KeyReference, context: Arc<Context>) -> Self {
        Self { source, destination, context }
    }
}

/// A new ciphertext.
#[derive(Debug)]
pub struct ReEncrypted {
    /// The key that it was encrypted under.
    pub source: KeyUsed,
    /// The key that it is encrypted under.
    pub destination: KeyUsed,
    /// The new blob.
    pub blob: Vec<u8>,
}

/// Decrypts with the source's key and encrypts under the destination's current
/// version. The record names the destination; its items are source and
/// destination, each with its context.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn re_encrypt(
    basis: &Basis<'_>,
    caller: &Authenticated,
    request: &ReEncryptRequest,
    entropy: &mut dyn Entropy,
) -> Result<Decided<ReEncrypted>, ReadError> {
    const OPERATION: Operation = Operation::ReEncrypt;
    let destination = request.destination.within(basis.cluster);
    let mut event =
        EventDraft::by(caller, OPERATION).key(destination).context(&request.context).count(2);
    if let Some(source) = request.source.key_id() {
        event = event.fact(facts::source_key(source));
    }
    let mut from = ItemDraft::of(request.source.key_id(), request.source.context());
    let mut to = ItemDraft::of(destination, &request.context);
    let mut reading = Reading::by(basis, caller);
    let opened = match open(&mut reading, caller, OPERATION, &request.source)? {
        Ok(opened) => opened,
        Err(refusal) => {
            from.reason = Some(refusal.reason());
            return Ok(reading.refuse(event.items(vec![from, to]), refusal));
        }
    };
    from.version = Some(opened.key.version);
    let usable = match usable(&mut reading, caller, OPERATION, &request.destination)? {
        Ok(usable) => usable,
        Err(refusal) => {
            to.reason = Some(refusal.reason());
            return Ok(reading.refuse(event.items(vec![from, to]), refusal));
        }
    };
    to.version = Some(usable.version);
    let blob = usable.encrypt(&request.context, opened.plaintext.expose(), entropy);
    let event = event.version(usable.version).items(vec![from, to]);
    let result = ReEncrypted { source: opened.key, destination: usable.used(), blob };
    Ok(reading.allow(event, result))
}
