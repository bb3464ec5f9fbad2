//! Salted commitments: what a permanent audit leaf shows of a private field.
//!
//! ```text
//! commitment = SHA-256(label COMMITMENT ‖ 0x00 ‖ salt(16) ‖ value)
//! ```
//!
//! The salt stands in the sealed body. Once the body is pruned, nobody can tell
//! which value was meant, not even by guessing; until then, whoever may read
//! the body can prove it.

use crate::{digest, labels};

/// Bytes of the salt of a record's commitments.
pub const SALT_BYTES: usize = 16;

/// Commits to `value` with a salt drawn for this record.
#[must_use]
pub fn commit(salt: &[u8; SALT_BYTES], value: &[u8]) -> [u8; 32] {
    digest::sha256(labels::COMMITMENT, &[salt, value])
}
