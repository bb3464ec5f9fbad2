//! Frozen vectors: envelopes as they must be read, written and refused for ever.
//!
//! Each file under `testdata/envelope/` names its kind; a file of an unknown kind
//! fails, and so does a kind without a file.

use std::{collections::BTreeSet, fs, path::Path, sync::Mutex};

use data_encoding::HEXLOWER;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use strongroom_crypto::EnvelopeSuite;

use super::{
    Context, Decryption, EnvelopeDataKey, EnvelopeError, GeneratedKey, KeyError, KeySource,
    UnwrapError, UnwrappedKey, WrappedKey, encryption::committed, header::Header, pipeline,
};

#[derive(Deserialize)]
struct File {
    kind: String,
    cases: Vec<Value>,
}

#[derive(Deserialize)]
struct Written {
    data_key: String,
    message_id: String,
    chunk_bytes: usize,
    context: Vec<(String, String)>,
    /// Id and blob of each.
    keys: Vec<(String, String)>,
    plaintext: String,
    envelope: String,
}

#[derive(Deserialize)]
struct Refused {
    about: String,
    data_key: String,
    envelope: String,
    /// As `Debug` shows it.
    error: String,
    /// Bytes that are released before.
    released: usize,
}

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().unwrap()
}

fn cases<T: DeserializeOwned>(cases: Vec<Value>) -> Vec<T> {
    cases.into_iter().map(|case| serde_json::from_value(case).unwrap()).collect()
}

/// Unwraps every blob to one data key; notes which it was given.
struct OneKey {
    data_key: [u8; 32],
    blobs: Mutex<Vec<Vec<u8>>>,
}

impl OneKey {
    fn new(data_key: &str) -> Self {
        Self { data_key: array(data_key), blobs: Mutex::default() }
    }

    fn data_key(&self) -> EnvelopeDataKey {
        EnvelopeDataKey::init_with(|key| *key = self.data_key)
    }
}

impl KeySource for OneKey {
    async fn new_data_key(&self, _: &str, _: &Context) -> Result<GeneratedKey, KeyError> {
        unreachable!("vectors bring their data keys")
    }

    async fn wrap_data_key(
        &self,
        _: &str,
        _: &Context,
        _: &EnvelopeDataKey,
    ) -> Result<WrappedKey, KeyError> {
        unreachable!("vectors bring their blobs")
    }

    async fn unwrap_data_key(
        &self,
        blob: &[u8],
        _: &Context,
        _: Option<&str>,
    ) -> Result<UnwrappedKey, UnwrapError> {
        self.blobs.lock().unwrap().push(blob.to_vec());
        Ok(UnwrappedKey { data_key: self.data_key(), key_id: String::new() })
    }
}

#[tokio::test]
async fn envelopes_are_read_written_and_refused_as_they_were() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/envelope");
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let file: File = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert!(!file.cases.is_empty(), "{} has no case", path.display());
        match &*file.kind {
            "envelope" => {
                for case in cases(file.cases) {
                    envelope(case).await;
                }
            }
            "refused" => {
                for case in cases(file.cases) {
                    refused(case).await;
                }
            }
            kind => panic!("{} is of no kind: {kind}", path.display()),
        }
        seen.insert(file.kind);
    }
    assert_eq!(seen.len(), 2, "a kind has no vectors: {seen:?}");
}

async fn envelope(case: Written) {
    let source = OneKey::new(&case.data_key);
    let keys =
        case.keys.iter().map(|(id, blob)| WrappedKey { key_id: id.clone(), blob: bytes(blob) });
    let header = Header {
        suite: EnvelopeSuite::Aes256GcmKbkdfSha256,
        chunk_bytes: case.chunk_bytes,
        message_id: array(&case.message_id),
        context: Context::new(case.context).unwrap(),
        keys: keys.collect(),
    };
    let (plaintext, envelope) = (bytes(&case.plaintext), bytes(&case.envelope));
    let (mut made, key) = committed(&source.data_key(), &header).unwrap();
    pipeline::encrypt(key, case.chunk_bytes, &mut &plaintext[..], &mut made).await.unwrap();
    assert_eq!(HEXLOWER.encode(&made), case.envelope);

    let mut released = Vec::new();
    let done = Decryption::new().run(&source, &mut &envelope[..], &mut released).await.unwrap();
    assert_eq!(released, plaintext);
    assert_eq!(done.context, header.context);
    assert_eq!(*source.blobs.lock().unwrap(), [bytes(&case.keys[0].1)]);
}

async fn refused(case: Refused) {
    let (source, envelope) = (OneKey::new(&case.data_key), bytes(&case.envelope));
    let mut released = Vec::new();
    let outcome = Decryption::new().run(&source, &mut &envelope[..], &mut released).await;
    let error = match outcome.unwrap_err() {
        EnvelopeError::Header(error) => format!("{error:?}"),
        EnvelopeError::Chunk(error) => format!("{error:?}"),
        error => format!("{error:?}"),
    };
    assert_eq!((error, released.len()), (case.error, case.released), "{}", case.about);
}
