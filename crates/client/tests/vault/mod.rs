//! A source of data keys without a cluster.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, Ordering},
};

use strongroom_client::envelope::{
    Context, Decrypted, Decryption, Encryption, EnvelopeDataKey, EnvelopeError, GeneratedKey,
    KeyError, KeySource, UnwrapError, UnwrappedKey, WrappedKey,
};

/// Bytes of a full chunk in these tests: the least.
pub(crate) const CHUNK: usize = 1024;

/// "Wraps" by writing data key and context behind the key's id, and gives each
/// message the same data key: what follows from that must be refused all the same.
pub(crate) struct Vault {
    pub(crate) data_key: [u8; 32],
    /// Keys that it refuses.
    pub(crate) disabled: Vec<&'static str>,
    pub(crate) unreachable: AtomicBool,
    /// Keys that it was asked to unwrap with, by the blob.
    pub(crate) asked: Mutex<Vec<String>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the vault refuses")]
pub(crate) struct Refused;

impl Vault {
    pub(crate) fn new() -> Self {
        Self {
            data_key: [7; 32],
            disabled: Vec::new(),
            unreachable: AtomicBool::new(false),
            asked: Mutex::new(Vec::new()),
        }
    }

    fn wrap(key_id: &str, context: &Context, data_key: &[u8; 32]) -> WrappedKey {
        let id = key_id.as_bytes();
        let length = [u8::try_from(id.len()).unwrap()];
        let blob = [&length[..], id, data_key, &context.canonical_bytes()].concat();
        WrappedKey { key_id: format!("arn:strongroom:key/{key_id}"), blob }
    }

    fn unwrap(
        &self,
        blob: &[u8],
        context: &Context,
        expected: Option<&str>,
    ) -> Option<UnwrappedKey> {
        let (&length, rest) = blob.split_first()?;
        let (id, rest) = rest.split_at_checked(length.into())?;
        let (data_key, bound_to) = rest.split_first_chunk()?;
        let id = str::from_utf8(id).ok()?;
        self.asked.lock().unwrap().push(id.to_owned());
        let refused = self.disabled.contains(&id)
            || expected.is_some_and(|expected| expected != id)
            || bound_to != context.canonical_bytes();
        let key = EnvelopeDataKey::init_with(|key| *key = *data_key);
        (!refused).then(|| UnwrappedKey { data_key: key, key_id: id.to_owned() })
    }
}

impl KeySource for Vault {
    async fn new_data_key(
        &self,
        key_id: &str,
        context: &Context,
    ) -> Result<GeneratedKey, KeyError> {
        Ok(GeneratedKey {
            data_key: EnvelopeDataKey::init_with(|key| *key = self.data_key),
            wrapped: Self::wrap(key_id, context, &self.data_key),
        })
    }

    async fn wrap_data_key(
        &self,
        key_id: &str,
        context: &Context,
        data_key: &EnvelopeDataKey,
    ) -> Result<WrappedKey, KeyError> {
        Ok(Self::wrap(key_id, context, data_key.expose()))
    }

    async fn unwrap_data_key(
        &self,
        blob: &[u8],
        context: &Context,
        key_id: Option<&str>,
    ) -> Result<UnwrappedKey, UnwrapError> {
        let unwrapped = self.unwrap(blob, context, key_id);
        if self.unreachable.load(Ordering::Relaxed) {
            return Err(UnwrapError::Failed(Refused.into()));
        }
        unwrapped.ok_or_else(|| UnwrapError::Refused(Refused.into()))
    }
}

pub(crate) fn context(pairs: &[(&str, &str)]) -> Context {
    let owned = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Context::new(owned).unwrap()
}

/// Bytes of which no two chunks are alike.
pub(crate) fn plaintext(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8 ^ (at / CHUNK) as u8).collect()
}

/// Under two keys, in short chunks, with a context.
pub(crate) fn encryption() -> Encryption {
    Encryption::new("one")
        .with_key_id("two")
        .with_context(context(&[("tenant", "42"), ("table", "orders")]))
        .with_chunk_bytes(CHUNK)
}

pub(crate) async fn encrypt(vault: &Vault, encryption: &Encryption, text: &[u8]) -> Vec<u8> {
    let mut envelope = Vec::new();
    let done = encryption.run(vault, &mut &*text, &mut envelope).await.unwrap();
    assert_eq!(done.plaintext_bytes, text.len() as u64);
    assert_eq!(done.envelope_bytes, envelope.len() as u64);
    envelope
}

/// What was released, and the outcome.
pub(crate) async fn decrypt(
    vault: &Vault,
    decryption: &Decryption,
    envelope: &[u8],
) -> (Vec<u8>, Result<Decrypted, EnvelopeError>) {
    let mut released = Vec::new();
    let outcome = decryption.run(vault, &mut &*envelope, &mut released).await;
    (released, outcome)
}
