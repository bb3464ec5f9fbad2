//! `GenerateDataKey`, its form without plaintext, and its batch form.

use std::sync::Arc;

use strongroom_audit::Operation;
use strongroom_base::limits;
use strongroom_crypto::{Context, DataKey, Entropy};

use super::{KeyUsed, usable};
use crate::{
    access::Authenticated,
    decision::{Basis, Decided, Reading},
    errors::{Problem, Refusal},
    events::EventDraft,
    keys::KeyReference,
    read::ReadError,
};

/// Which of the three operations.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    One,
    Wrapped,
    Many(u32),
}

/// Asks for data keys.
#[derive(Clone)]
pub struct DataKeysRequest {
    key: KeyReference,
    context: Arc<Context>,
    bytes: usize,
    form: Form,
}

impl DataKeysRequest {
    /// `GenerateDataKey`. `spec` is a number of `strongroom.v1.DataKeySpec`;
    /// exactly one of it and `number_of_bytes` is not 0.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidArgument`] naming field and bound.
    pub fn one(
        key: KeyReference,
        context: Arc<Context>,
        spec: u32,
        number_of_bytes: u32,
    ) -> Result<Self, Refusal> {
        Ok(Self { key, context, bytes: size(spec, number_of_bytes)?, form: Form::One })
    }

    /// `GenerateDataKeyWithoutPlaintext`.
    ///
    /// # Errors
    ///
    /// As [`DataKeysRequest::one`].
    pub fn without_plaintext(
        key: KeyReference,
        context: Arc<Context>,
        spec: u32,
        number_of_bytes: u32,
    ) -> Result<Self, Refusal> {
        Ok(Self { form: Form::Wrapped, ..Self::one(key, context, spec, number_of_bytes)? })
    }

    /// `GenerateDataKeys`: `count` of them, 1 to 256.
    ///
    /// # Errors
    ///
    /// As [`DataKeysRequest::one`].
    pub fn many(
        key: KeyReference,
        context: Arc<Context>,
        spec: u32,
        number_of_bytes: u32,
        count: u32,
    ) -> Result<Self, Refusal> {
        let max = limits::BATCH_ITEMS_MAX as u64;
        if !(1..=max).contains(&u64::from(count)) {
            return Err(Refusal::invalid("count", Problem::OutOfRange { min: 1, max }));
        }
        Ok(Self { form: Form::Many(count), ..Self::one(key, context, spec, number_of_bytes)? })
    }

    fn operation(&self) -> Operation {
        match self.form {
            Form::One => Operation::GenerateDataKey,
            Form::Wrapped => Operation::GenerateDataKeyWithoutPlaintext,
            Form::Many(_) => Operation::GenerateDataKeys,
        }
    }
}

/// Bytes of a data key (AWS KMS: `KeySpec` or `NumberOfBytes`, not both).
fn size(spec: u32, number_of_bytes: u32) -> Result<usize, Refusal> {
    let max = limits::RANDOM_BYTES_MAX;
    match (spec, usize::try_from(number_of_bytes).unwrap_or(usize::MAX)) {
        (1, 0) => Ok(32),
        (2, 0) => Ok(16),
        (0, 0) => Err(Refusal::invalid("number_of_bytes", Problem::Missing)),
        (0, bytes) if bytes <= max => Ok(bytes),
        (0, _) => {
            let problem = Problem::OutOfRange { min: 1, max: max as u64 };
            Err(Refusal::invalid("number_of_bytes", problem))
        }
        (1 | 2, _) => Err(Refusal::invalid("number_of_bytes", Problem::Conflict("key_spec"))),
        _ => Err(Refusal::invalid("key_spec", Problem::UnknownValue)),
    }
}

/// A data key in the forms asked for.
pub struct DataKeyPair {
    /// Wrapped under the key.
    pub blob: Vec<u8>,
    /// In the clear; `None` for the form without plaintext.
    pub plaintext: Option<DataKey>,
}

/// Data keys and the key that wraps them.
pub struct DataKeys {
    /// The key.
    pub key: KeyUsed,
    /// As many as asked for.
    pub data_keys: Vec<DataKeyPair>,
}

/// Makes data keys, with one record however many.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn generate_data_keys(
    basis: &Basis<'_>,
    caller: &Authenticated,
    request: &DataKeysRequest,
    mut entropy: &mut dyn Entropy,
) -> Result<Decided<DataKeys>, ReadError> {
    let operation = request.operation();
    let event = EventDraft::by(caller, operation)
        .key(request.key.within(basis.cluster))
        .context(&request.context);
    let event = match request.form {
        Form::Many(count) => event.count(count),
        Form::One | Form::Wrapped => event,
    };
    let mut reading = Reading::by(basis, caller);
    let usable = match usable(&mut reading, caller, operation, &request.key)? {
        Ok(usable) => usable,
        Err(refusal) => return Ok(reading.refuse(event, refusal)),
    };
    let count = if let Form::Many(count) = request.form { count } else { 1 };
    let data_keys = (0..count)
        .map(|_| {
            let plaintext = DataKey::generate(request.bytes, &mut entropy);
            let blob = usable.encrypt(&request.context, plaintext.expose(), entropy);
            let plaintext = (request.form != Form::Wrapped).then_some(plaintext);
            DataKeyPair { blob, plaintext }
        })
        .collect();
    let event = event.version(usable.version);
    Ok(reading.allow(event, DataKeys { key: usable.used(), data_keys }))
}
