//! `Decrypt` and `DecryptBatch`.

use std::{collections::BTreeSet, sync::Arc};

use strongroom_audit::{FURTHER_KEYS_MAX, Operation};
use strongroom_base::{KeyId, limits};
use strongroom_crypto::{BlobHeader, Context, SecretBytes, decrypt_blob};

use super::{KeyUsed, blob_field, usable_for_blob};
use crate::{
    access::{Authenticated, authorise},
    decision::{Basis, Decided, Reading},
    errors::{Problem, Refusal},
    events::{EventDraft, ItemDraft},
    keys::KeyReference,
    read::ReadError,
};

/// Asks for decryption.
#[derive(Clone)]
pub struct DecryptRequest {
    blob: Vec<u8>,
    context: Arc<Context>,
    key: Option<KeyReference>,
}

impl DecryptRequest {
    /// Checks the blob's bounds: 1 to 6,144 bytes. Where `key` is given, the
    /// blob must be of that key.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidArgument`] naming field and bound.
    pub fn new(
        blob: Vec<u8>,
        context: Arc<Context>,
        key: Option<KeyReference>,
    ) -> Result<Self, Refusal> {
        Ok(Self { blob: blob_field("ciphertext_blob", blob)?, context, key })
    }

    fn header(&self) -> Option<BlobHeader> {
        BlobHeader::parse(&self.blob).ok()
    }

    pub(super) fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// The key that the record names: the blob's, where it says one.
    pub(super) fn key_id(&self) -> Option<KeyId> {
        self.header().map(|header| header.key.key_id)
    }
}

/// Asks for several decryptions.
#[derive(Clone)]
pub struct DecryptBatchRequest {
    items: Vec<DecryptRequest>,
}

impl DecryptBatchRequest {
    /// Checks the number of items, 1 to 256, and of distinct keys: as many as
    /// one leaf names.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidArgument`] naming field and bound.
    pub fn new(items: Vec<DecryptRequest>) -> Result<Self, Refusal> {
        let max = limits::BATCH_ITEMS_MAX;
        let problem = match items.len() {
            0 => Problem::Missing,
            len if len > max => Problem::TooLong { max, unit: "items" },
            _ if distinct_keys(&items) > FURTHER_KEYS_MAX => {
                Problem::TooLong { max: FURTHER_KEYS_MAX, unit: "distinct keys" }
            }
            _ => return Ok(Self { items }),
        };
        Err(Refusal::invalid("items", problem))
    }
}

fn distinct_keys(items: &[DecryptRequest]) -> usize {
    items.iter().filter_map(DecryptRequest::key_id).collect::<BTreeSet<_>>().len()
}

/// A plaintext.
pub struct Decrypted {
    /// The key.
    pub key: KeyUsed,
    /// The plaintext.
    pub plaintext: SecretBytes,
}

/// Results in the order of the items.
pub struct DecryptedBatch {
    /// As many as items were asked for.
    pub items: Vec<Result<Decrypted, Refusal>>,
}

/// Decrypts a blob. A failure is a decision too, and as well recorded.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn decrypt(
    basis: &Basis<'_>,
    caller: &Authenticated,
    request: &DecryptRequest,
) -> Result<Decided<Decrypted>, ReadError> {
    let event =
        EventDraft::by(caller, Operation::Decrypt).key(request.key_id()).context(&request.context);
    let mut reading = Reading::by(basis, caller);
    match open(&mut reading, caller, Operation::Decrypt, request)? {
        Ok(decrypted) => {
            let event = event.version(decrypted.key.version);
            Ok(reading.allow(event, decrypted))
        }
        Err(refusal) => Ok(reading.refuse(event, refusal)),
    }
}

/// Decrypts several blobs with one record that lists them. Refused as a whole
/// only where the caller may not decrypt at all.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn decrypt_batch(
    basis: &Basis<'_>,
    caller: &Authenticated,
    request: &DecryptBatchRequest,
) -> Result<Decided<DecryptedBatch>, ReadError> {
    const OPERATION: Operation = Operation::DecryptBatch;
    let count = u32::try_from(request.items.len()).expect("bounded by BATCH_ITEMS_MAX");
    let event = EventDraft::by(caller, OPERATION).count(count);
    let mut reading = Reading::by(basis, caller);
    if let Err(refusal) = authorise(caller, OPERATION) {
        return Ok(reading.refuse(event, refusal));
    }
    let mut items = Vec::with_capacity(request.items.len());
    let mut drafts = Vec::with_capacity(request.items.len());
    for item in &request.items {
        let result = open(&mut reading, caller, OPERATION, item)?;
        drafts.push(ItemDraft {
            key: item.key_id(),
            version: result.as_ref().ok().map(|decrypted| decrypted.key.version),
            reason: result.as_ref().err().map(Refusal::reason),
            context: Arc::clone(&item.context),
        });
        items.push(result);
    }
    let event = event.key(common_key(&drafts)).items(drafts);
    // All items refused: the record says so, while the caller gets each reason.
    let all_refused = items.iter().all(Result::is_err);
    let event = match items.first() {
        Some(Err(refusal)) if all_refused => event.refused(refusal),
        _ => event,
    };
    Ok(reading.allow(event, DecryptedBatch { items }))
}

/// The key of all items, where they have one in common.
fn common_key(items: &[ItemDraft]) -> Option<KeyId> {
    let first = items.first()?.key?;
    items.iter().all(|item| item.key == Some(first)).then_some(first)
}

/// Decrypts one blob.
pub(super) fn open(
    reading: &mut Reading<'_>,
    caller: &Authenticated,
    operation: Operation,
    request: &DecryptRequest,
) -> Result<Result<Decrypted, Refusal>, ReadError> {
    let header = request.header();
    let expected = request.key.as_ref();
    let usable = match usable_for_blob(reading, caller, operation, header.as_ref(), expected)? {
        Ok(usable) => usable,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let plaintext = decrypt_blob(usable.material.key(), &request.context, &request.blob);
    Ok(plaintext
        .map(|plaintext| Decrypted { key: usable.used(), plaintext })
        .map_err(|_| Refusal::InvalidCiphertext))
}
