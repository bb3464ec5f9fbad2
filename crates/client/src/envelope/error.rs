//! What a failed encryption or decryption of an envelope says.

use std::io;

use super::{chunk::ChunkError, header::HeaderError, keys::KeyError};

/// Why a stream was not encrypted or decrypted.
///
/// What was written until then is a beginning of an envelope, or of the plaintext:
/// authentic, and not the whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The header is none, or one can't be made of what was asked for.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// A chunk is not what belongs there.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The header was changed, or put in front of another's wrapped keys.
    #[error("the envelope's header was changed: it doesn't belong to its data key")]
    NotCommitted,
    /// The encryption context lacks a pair that was expected.
    #[error("the envelope's encryption context lacks what is expected of it")]
    UnexpectedContext,
    /// No wrapped data key is of a key that was expected.
    #[error("the envelope was not made for any of the expected keys")]
    UnexpectedKey,
    /// A data key could not be made or wrapped.
    #[error("can't get a data key")]
    NoDataKey(#[source] KeyError),
    /// No wrapped data key could be unwrapped; the source tells of the first that
    /// was refused, or of the one that failed.
    #[error("can't unwrap the envelope's data key")]
    NotUnwrapped(#[source] KeyError),
    /// The operating system gives no random bytes.
    #[error("the system gives no random bytes")]
    Entropy(#[source] getrandom::Error),
    /// The stream to encrypt or decrypt could not be read.
    #[error("can't read the stream")]
    Read(#[source] io::Error),
    /// The result could not be written.
    #[error("can't write the stream")]
    Write(#[source] io::Error),
}
