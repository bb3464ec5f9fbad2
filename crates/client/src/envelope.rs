//! Envelopes: streams of any size, encrypted under a data key of the cluster.
//!
//! [`Encryption`] and [`Decryption`] read one stream and write another, in memory
//! of a few chunks. The cluster is asked once for each key, never for the data;
//! whom to ask is a [`KeySource`], as [`Client`](crate::Client) is.
//!
//! # What is refused
//!
//! | done to an envelope | refused as |
//! |---|---|
//! | header changed | [`EnvelopeError::NotCommitted`], or by the cluster |
//! | header of another message, even under the same data key | [`ChunkError::NotAuthentic`] |
//! | chunk changed, swapped, repeated or left out | [`ChunkError::NotAuthentic`] |
//! | chunk of another message | [`ChunkError::NotAuthentic`] |
//! | end cut off, inside a chunk or between two | [`ChunkError::Truncated`] |
//! | bytes after the last chunk | [`ChunkError::TrailingBytes`] |
//! | chunk that is not the last, and short | [`ChunkError::ShortChunk`] |
//!
//! No byte of a chunk is written before the chunk and all before it are
//! authentic. But a stream is released as it goes: only when
//! [`Decryption::run`] returns `Ok` was it whole, and whoever must not act on a
//! part of it keeps what was written apart until then.
//!
//! An envelope doesn't say who made it: everyone who may use one of its keys can
//! make one. [`Decryption::with_key_id`] and [`Decryption::with_context`] say what
//! is expected of it.
//!
//! # Layout
//!
//! Integers are big endian. The header:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | format, `0x81` |
//! | 1 | 5 | `SRENV` |
//! | 6 | 2 | suite, 1 |
//! | 8 | 4 | bytes of the whole header |
//! | 12 | 4 | bytes of a full chunk, L |
//! | 16 | 32 | message id, random |
//! | 48 | 4 | bytes of the context, c |
//! | 52 | c | encryption context, canonical (crate `crypto`, `context`) |
//! | 52 + c | 2 | number of wrapped data keys |
//! | | | then for each: |
//! | | 2 | bytes of the key's id |
//! | | * | id of the key, UTF-8: says which key to ask for, proves nothing |
//! | | 2 | bytes of the blob |
//! | | * | ciphertext blob of the data key, under the same context |
//! | | | at the end: |
//! | | 32 | commitment |
//!
//! Then chunks, each:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | highest bit: 1 for the last chunk; the others: n |
//! | 4 | n | ciphertext |
//! | 4 + n | 16 | tag |
//!
//! n is L in every chunk but the last. The last has 1 to L bytes, and 0 only where
//! it is the first: the empty stream. After it the stream ends.
//!
//! ```text
//! commitment = HMAC over all of the header before it, under a key of the message
//! chunk      = AES-256-GCM under another key of the message; number and end in the nonce
//! ```
//!
//! Both keys are derived from the data key and the message id (crate `crypto`,
//! `envelope`). The head of a chunk is authentic with it: its first bit is in the
//! nonce, and the tag covers the length. All keys of the list wrap the same data
//! key. The content key doesn't depend on the list, so a list can be replaced
//! without encrypting again, by whoever has the data key. ADR 0010 has the reasons.

mod chunk;
mod decryption;
mod encryption;
mod error;
mod header;
mod keys;
mod pipeline;
#[cfg(test)]
mod vectors;

pub use strongroom_crypto::{Context, ContextError, EnvelopeDataKey};

pub use chunk::ChunkError;
pub use decryption::{Decrypted, Decryption};
pub use encryption::{Encrypted, Encryption};
pub use error::EnvelopeError;
pub use header::{HeaderError, WrappedKey};
pub use keys::{GeneratedKey, KeyError, KeySource, UnwrapError, UnwrappedKey};
