//! The header of an envelope as bytes.
//!
//! Decides what is well formed; nothing of it is authentic before the commitment
//! was checked. Every bound is looked at before memory is taken.

use strongroom_base::limits::{
    BLOB_BYTES_MAX, CONTEXT_BYTES_MAX, ENVELOPE_CHUNK_BYTES_MAX, ENVELOPE_CHUNK_BYTES_MIN,
    ENVELOPE_HEADER_BYTES_MAX, ENVELOPE_KEYS_MAX, KEY_ID_CHARS_MAX,
};
use strongroom_crypto::{
    Context, ContextError, ENVELOPE_COMMITMENT_BYTES, EnvelopeSuite, MESSAGE_ID_BYTES,
};

const FORMAT: u8 = 0x81;
const MAGIC: [u8; 5] = *b"SRENV";

/// Bytes of what says how long the header is.
pub(super) const PREFIX_BYTES: usize = 16;
/// Header without context and keys.
const FIXED_BYTES: usize = PREFIX_BYTES + MESSAGE_ID_BYTES + 4 + 2 + ENVELOPE_COMMITMENT_BYTES;
const KEY_BYTES_MAX: usize = 2 + KEY_ID_CHARS_MAX + 2 + BLOB_BYTES_MAX;

const _: () = assert!(
    FIXED_BYTES + CONTEXT_BYTES_MAX + ENVELOPE_KEYS_MAX * KEY_BYTES_MAX
        <= ENVELOPE_HEADER_BYTES_MAX
);

/// Why bytes are not the header of an envelope, or can't be put into one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderError {
    /// It doesn't begin as an envelope does.
    #[error("this is no envelope of Strongroom")]
    NotEnvelope,
    /// An envelope of another format.
    #[error("an envelope of format {format:#04x}, which this version doesn't know")]
    UnsupportedFormat {
        /// Its first byte.
        format: u8,
    },
    /// Encrypted in a way that this version doesn't know.
    #[error("an envelope of suite {suite}, which this version doesn't know")]
    UnsupportedSuite {
        /// The suite's number.
        suite: u16,
    },
    /// The stream ends inside the header.
    #[error("the envelope ends inside its header")]
    Truncated,
    /// A header longer or shorter than any.
    #[error("an envelope's header can't have {bytes} bytes")]
    HeaderBytes {
        /// What it says of itself.
        bytes: u32,
    },
    /// Chunks longer or shorter than the bounds.
    #[error("a chunk can't have {bytes} bytes")]
    ChunkBytes {
        /// What was asked for, or what the header says.
        bytes: u32,
    },
    /// No wrapped data key, or more than [`ENVELOPE_KEYS_MAX`].
    #[error("an envelope has 1 to {ENVELOPE_KEYS_MAX} wrapped data keys, not {count}")]
    KeyCount {
        /// How many.
        count: usize,
    },
    /// A wrapped data key whose id or blob is empty, too long, or no text.
    #[error("a wrapped data key of the envelope is malformed")]
    WrappedKey,
    /// The encryption context is none.
    #[error("the envelope's encryption context is malformed")]
    Context(#[source] ContextError),
    /// The parts don't add up to the length.
    #[error("the envelope's header is malformed")]
    Malformed,
}

/// A data key, wrapped under a key of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey {
    /// Id or ARN of that key, as the cluster says it.
    pub key_id: String,
    /// The ciphertext blob.
    pub blob: Vec<u8>,
}

impl WrappedKey {
    fn is_well_formed(&self) -> bool {
        (1..=KEY_ID_CHARS_MAX).contains(&self.key_id.len())
            && (1..=BLOB_BYTES_MAX).contains(&self.blob.len())
    }
}

/// What a header says. Its parts are within their bounds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) suite: EnvelopeSuite,
    pub(super) chunk_bytes: usize,
    pub(super) message_id: [u8; MESSAGE_ID_BYTES],
    pub(super) context: Context,
    pub(super) keys: Vec<WrappedKey>,
}

impl Header {
    /// Bytes of the header without its commitment.
    ///
    /// # Errors
    ///
    /// [`HeaderError`] for a part beyond its bound.
    pub(super) fn encode(&self) -> Result<Vec<u8>, HeaderError> {
        let chunk_bytes = u32::try_from(self.chunk_bytes).unwrap_or(u32::MAX);
        check_chunk_bytes(chunk_bytes)?;
        check_key_count(self.keys.len())?;
        if !self.keys.iter().all(WrappedKey::is_well_formed) {
            return Err(HeaderError::WrappedKey);
        }
        let context = self.context.canonical_bytes();
        let keys = self.keys.iter().map(|key| 4 + key.key_id.len() + key.blob.len());
        let len = FIXED_BYTES + context.len() + keys.sum::<usize>();
        let mut bytes = Vec::with_capacity(len);
        bytes.push(FORMAT);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.suite.number().to_be_bytes());
        bytes.extend_from_slice(&length_u32(len));
        bytes.extend_from_slice(&chunk_bytes.to_be_bytes());
        bytes.extend_from_slice(&self.message_id);
        bytes.extend_from_slice(&length_u32(context.len()));
        bytes.extend_from_slice(&context);
        bytes.extend_from_slice(&length_u16(self.keys.len()));
        for key in &self.keys {
            for field in [key.key_id.as_bytes(), &key.blob] {
                bytes.extend_from_slice(&length_u16(field.len()));
                bytes.extend_from_slice(field);
            }
        }
        Ok(bytes)
    }

    /// Reads a header without its commitment: [`PREFIX_BYTES`] and what
    /// [`rest_bytes`] said is still to come, less the commitment.
    ///
    /// # Errors
    ///
    /// [`HeaderError`].
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, HeaderError> {
        let (prefix, rest) = bytes.split_first_chunk().ok_or(HeaderError::Truncated)?;
        let Prefix { suite, header_bytes, chunk_bytes } = Prefix::decode(prefix)?;
        if bytes.len() + ENVELOPE_COMMITMENT_BYTES != header_bytes {
            return Err(HeaderError::Malformed);
        }
        let mut rest = Fields(rest);
        let message_id = rest.array()?;
        let context_len = u32::from_be_bytes(rest.array()?) as usize;
        let context =
            Context::from_canonical(rest.bytes(context_len)?).map_err(HeaderError::Context)?;
        let count = usize::from(u16::from_be_bytes(rest.array()?));
        check_key_count(count)?;
        let mut keys = Vec::with_capacity(count);
        for _ in 0..count {
            keys.push(rest.wrapped_key()?);
        }
        if !rest.0.is_empty() {
            return Err(HeaderError::Malformed);
        }
        Ok(Self { suite, chunk_bytes, message_id, context, keys })
    }
}

/// Bytes of the header after its prefix, commitment included. `prefix` may be
/// shorter than [`PREFIX_BYTES`] where the stream is.
///
/// # Errors
///
/// [`HeaderError`].
pub(super) fn rest_bytes(prefix: &[u8]) -> Result<usize, HeaderError> {
    match prefix.try_into() {
        Ok(prefix) => Ok(Prefix::decode(prefix)?.header_bytes - PREFIX_BYTES),
        Err(_) if prefix.is_empty() => Err(HeaderError::NotEnvelope),
        Err(_) => {
            let begins = prefix.iter().zip([FORMAT].iter().chain(&MAGIC)).all(|(a, b)| a == b);
            Err(if begins { HeaderError::Truncated } else { HeaderError::NotEnvelope })
        }
    }
}

struct Prefix {
    suite: EnvelopeSuite,
    header_bytes: usize,
    chunk_bytes: usize,
}

impl Prefix {
    fn decode(bytes: &[u8; PREFIX_BYTES]) -> Result<Self, HeaderError> {
        let mut fields = Fields(bytes);
        let [format] = fields.array()?;
        if fields.array()? != MAGIC {
            return Err(HeaderError::NotEnvelope);
        }
        if format != FORMAT {
            return Err(HeaderError::UnsupportedFormat { format });
        }
        let suite = u16::from_be_bytes(fields.array()?);
        let suite =
            EnvelopeSuite::from_number(suite).ok_or(HeaderError::UnsupportedSuite { suite })?;
        let header_bytes = u32::from_be_bytes(fields.array()?);
        let chunk_bytes = u32::from_be_bytes(fields.array()?);
        check_chunk_bytes(chunk_bytes)?;
        if !(FIXED_BYTES..=ENVELOPE_HEADER_BYTES_MAX).contains(&(header_bytes as usize)) {
            return Err(HeaderError::HeaderBytes { bytes: header_bytes });
        }
        Ok(Self { suite, header_bytes: header_bytes as usize, chunk_bytes: chunk_bytes as usize })
    }
}

fn check_chunk_bytes(bytes: u32) -> Result<(), HeaderError> {
    let bounds = ENVELOPE_CHUNK_BYTES_MIN..=ENVELOPE_CHUNK_BYTES_MAX;
    if bounds.contains(&(bytes as usize)) { Ok(()) } else { Err(HeaderError::ChunkBytes { bytes }) }
}

fn check_key_count(count: usize) -> Result<(), HeaderError> {
    if (1..=ENVELOPE_KEYS_MAX).contains(&count) {
        Ok(())
    } else {
        Err(HeaderError::KeyCount { count })
    }
}

fn length_u32(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("bounded by ENVELOPE_HEADER_BYTES_MAX").to_be_bytes()
}

fn length_u16(len: usize) -> [u8; 2] {
    u16::try_from(len).expect("every part of a wrapped key is below 64 KiB").to_be_bytes()
}

/// What is still to be read.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, len: usize) -> Result<&'a [u8], HeaderError> {
        let (field, rest) = self.0.split_at_checked(len).ok_or(HeaderError::Malformed)?;
        self.0 = rest;
        Ok(field)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let (field, rest) = self.0.split_first_chunk().ok_or(HeaderError::Malformed)?;
        self.0 = rest;
        Ok(*field)
    }

    fn wrapped_key(&mut self) -> Result<WrappedKey, HeaderError> {
        let mut field = || {
            let len = u16::from_be_bytes(self.array()?);
            self.bytes(len.into())
        };
        let (key_id, blob) = (field()?, field()?);
        let key_id = str::from_utf8(key_id).map_err(|_| HeaderError::WrappedKey)?;
        let key = WrappedKey { key_id: key_id.to_owned(), blob: blob.to_vec() };
        if key.is_well_formed() { Ok(key) } else { Err(HeaderError::WrappedKey) }
    }
}

#[cfg(test)]
mod tests;
