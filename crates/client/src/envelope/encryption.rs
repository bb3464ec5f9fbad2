//! From a stream to an envelope.

use strongroom_base::limits::{ENVELOPE_CHUNK_BYTES_DEFAULT, ENVELOPE_KEYS_MAX};
use strongroom_crypto::{ChunkKey, Context, EnvelopeDataKey, EnvelopeKeys, EnvelopeSuite};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::{
    error::EnvelopeError,
    header::{Header, HeaderError},
    keys::{GeneratedKey, KeySource},
    pipeline,
};

/// How streams are encrypted.
#[derive(Clone, Debug)]
pub struct Encryption {
    key_ids: Vec<String>,
    context: Context,
    chunk_bytes: usize,
}

/// What was encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Encrypted {
    /// The keys that open it, as the cluster says them.
    pub key_ids: Vec<String>,
    /// Bytes that were read.
    pub plaintext_bytes: u64,
    /// Bytes that were written.
    pub envelope_bytes: u64,
}

impl Encryption {
    /// Under this key (id or ARN), without an encryption context.
    #[must_use]
    pub fn new(key_id: impl Into<String>) -> Self {
        Self {
            key_ids: vec![key_id.into()],
            context: Context::default(),
            chunk_bytes: ENVELOPE_CHUNK_BYTES_DEFAULT,
        }
    }

    /// Under this key too: each opens the envelope alone. At most
    /// [`ENVELOPE_KEYS_MAX`] in all.
    #[must_use]
    pub fn with_key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_ids.push(key_id.into());
        self
    }

    /// Bound to this encryption context, which stands in the envelope for
    /// everybody to read, and in the audit log.
    #[must_use]
    pub fn with_context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// In chunks of this length. It bounds what whoever decrypts holds in memory
    /// and waits for before the first byte comes out.
    #[must_use]
    pub fn with_chunk_bytes(mut self, chunk_bytes: usize) -> Self {
        self.chunk_bytes = chunk_bytes;
        self
    }

    /// Encrypts all that `reader` gives, under a data key of its own. Flushes
    /// `writer`, and does not close it.
    ///
    /// Must be called within a Tokio runtime. Dropping the future stops the work;
    /// what was written is then no whole envelope.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`]: refused by the cluster, or a stream that can't be read
    /// or written.
    pub async fn run<R, W>(
        &self,
        keys: &impl KeySource,
        reader: &mut R,
        writer: &mut W,
    ) -> Result<Encrypted, EnvelopeError>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        let (data_key, header) = self.header(keys).await?;
        let (header_bytes, key) = committed(&data_key, &header)?;
        drop(data_key);
        writer.write_all(&header_bytes).await.map_err(EnvelopeError::Write)?;
        let (mut reader, mut writer) = (reader, writer);
        let done = pipeline::encrypt(key, self.chunk_bytes, &mut reader, &mut writer).await?;
        Ok(Encrypted {
            key_ids: header.keys.into_iter().map(|key| key.key_id).collect(),
            plaintext_bytes: done.text_bytes,
            envelope_bytes: header_bytes.len() as u64 + done.chunks_bytes,
        })
    }

    /// A new data key, wrapped under all keys.
    async fn header(
        &self,
        keys: &impl KeySource,
    ) -> Result<(EnvelopeDataKey, Header), EnvelopeError> {
        let count = self.key_ids.len();
        if count > ENVELOPE_KEYS_MAX {
            return Err(HeaderError::KeyCount { count }.into());
        }
        let (first, others) = self.key_ids.split_first().expect("made with one");
        let mut message_id = [0; _];
        getrandom::fill(&mut message_id).map_err(EnvelopeError::Entropy)?;
        let GeneratedKey { data_key, wrapped } =
            keys.new_data_key(first, &self.context).await.map_err(EnvelopeError::NoDataKey)?;
        let mut list = vec![wrapped];
        for key_id in others {
            let wrapped = keys.wrap_data_key(key_id, &self.context, &data_key).await;
            list.push(wrapped.map_err(EnvelopeError::NoDataKey)?);
        }
        let header = Header {
            suite: EnvelopeSuite::Aes256GcmKbkdfSha256,
            chunk_bytes: self.chunk_bytes,
            message_id,
            context: self.context.clone(),
            keys: list,
        };
        Ok((data_key, header))
    }
}

/// Bytes of the header with its commitment, and the key of the chunks.
///
/// # Errors
///
/// [`HeaderError`] for a part beyond its bound.
pub(super) fn committed(
    data_key: &EnvelopeDataKey,
    header: &Header,
) -> Result<(Vec<u8>, ChunkKey), HeaderError> {
    let mut bytes = header.encode()?;
    let keys = EnvelopeKeys::derive(data_key, header.suite, &header.message_id);
    let (commitment, key) = keys.commit(&bytes);
    bytes.extend_from_slice(&commitment);
    Ok((bytes, key))
}
