//! From an envelope to its stream.

use strongroom_crypto::{ChunkKey, Context, ENVELOPE_COMMITMENT_BYTES, EnvelopeKeys};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    error::EnvelopeError,
    header::{self, Header, HeaderError, PREFIX_BYTES, WrappedKey},
    keys::{KeyError, KeySource, UnwrapError, UnwrappedKey},
    pipeline::{self, fill},
};

/// How envelopes are decrypted: what is expected of them.
///
/// Without expectations every envelope is taken that the caller may open, whoever
/// made it.
#[derive(Clone, Debug, Default)]
pub struct Decryption {
    key_ids: Vec<String>,
    context: Context,
}

/// What was decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decrypted {
    /// The key that opened it, as the cluster says it.
    pub key_id: String,
    /// All of its encryption context.
    pub context: Context,
    /// Bytes that were written.
    pub plaintext_bytes: u64,
}

impl Decryption {
    /// Expects nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Only with this key (id or ARN), or another that is given so. The cluster
    /// sees to it.
    #[must_use]
    pub fn with_key_id(mut self, key_id: impl Into<String>) -> Self {
        self.key_ids.push(key_id.into());
        self
    }

    /// Only where the encryption context has all of these pairs; it may have more.
    #[must_use]
    pub fn with_context(mut self, context: Context) -> Self {
        self.context = context;
        self
    }

    /// Decrypts the envelope that `reader` gives up to its end. Flushes `writer`,
    /// and does not close it.
    ///
    /// Must be called within a Tokio runtime. Only `Ok` says that the stream was
    /// whole: what was written before an error is authentic, and may be a part.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`]; before the first chunk nothing is written.
    pub async fn run<R, W>(
        &self,
        keys: &impl KeySource,
        reader: &mut R,
        writer: &mut W,
    ) -> Result<Decrypted, EnvelopeError>
    where
        R: AsyncRead + Unpin + ?Sized,
        W: AsyncWrite + Unpin + ?Sized,
    {
        let (mut reader, mut writer) = (reader, writer);
        let (header_bytes, commitment) = read_header(&mut reader).await?;
        let header = Header::decode(&header_bytes)?;
        let UnwrappedKey { data_key, key_id } = self.unwrap(keys, &header).await?;
        let derived = EnvelopeKeys::derive(&data_key, header.suite, &header.message_id);
        drop(data_key);
        let key: ChunkKey =
            derived.check(&header_bytes, &commitment).map_err(|_| EnvelopeError::NotCommitted)?;
        let plaintext_bytes =
            pipeline::decrypt(key, header.chunk_bytes, &mut reader, &mut writer).await?;
        Ok(Decrypted { key_id, context: header.context, plaintext_bytes })
    }

    /// Unwraps the data key with the first key of the list that does it.
    async fn unwrap(
        &self,
        keys: &impl KeySource,
        header: &Header,
    ) -> Result<UnwrappedKey, EnvelopeError> {
        if !header.context.contains(&self.context) {
            return Err(EnvelopeError::UnexpectedContext);
        }
        let mut refusal: Option<KeyError> = None;
        for wrapped in &header.keys {
            let Some(key_id) = self.expected(wrapped) else { continue };
            match keys.unwrap_data_key(&wrapped.blob, &header.context, key_id).await {
                Ok(unwrapped) => return Ok(unwrapped),
                Err(UnwrapError::Failed(error)) => return Err(EnvelopeError::NotUnwrapped(error)),
                Err(UnwrapError::Refused(error)) => {
                    refusal.get_or_insert(error);
                }
            }
        }
        Err(refusal.map_or(EnvelopeError::UnexpectedKey, EnvelopeError::NotUnwrapped))
    }

    /// Whether to try a wrapped key, and which key to insist on. The id in the
    /// header only says which to try: the cluster compares.
    fn expected(&self, wrapped: &WrappedKey) -> Option<Option<&str>> {
        if self.key_ids.is_empty() {
            return Some(None);
        }
        let mut expected = self.key_ids.iter();
        expected.find(|expected| is_same_key(expected, &wrapped.key_id)).map(|id| Some(&**id))
    }
}

/// Whether two names, each an id or an ARN that ends with one, may be one key's.
fn is_same_key(one: &str, other: &str) -> bool {
    let id = |name: &str| name.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    id(one) == id(other)
}

/// The header, and apart from it the commitment.
async fn read_header(
    reader: &mut (impl AsyncRead + Unpin),
) -> Result<(Vec<u8>, [u8; ENVELOPE_COMMITMENT_BYTES]), EnvelopeError> {
    let mut prefix = [0; PREFIX_BYTES];
    let read = fill(reader, &mut prefix).await?;
    let rest = header::rest_bytes(&prefix[..read])?;
    let mut bytes = prefix.to_vec();
    bytes.resize(PREFIX_BYTES + rest, 0);
    if fill(reader, &mut bytes[PREFIX_BYTES..]).await? < rest {
        return Err(HeaderError::Truncated.into());
    }
    let commitment = *bytes.last_chunk().expect("a header is longer than its commitment");
    bytes.truncate(bytes.len() - ENVELOPE_COMMITMENT_BYTES);
    Ok((bytes, commitment))
}
