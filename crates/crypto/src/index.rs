//! Opaque row ids: what a disk sees instead of names and tokens.
//!
//! ```text
//! row id of a name  = HMAC-SHA256(index key, label INDEX_NAME ‖ 0x00 ‖ table(4) ‖ name)
//! row id of a token = HMAC-SHA256(index key, label INDEX_TOKEN ‖ 0x00 ‖ token(32))
//! ```
//!
//! The index key never rotates: ids must stay what they are.

use crate::{IndexKey, TokenSecret, digest, labels};

/// Bytes of a row id made here.
pub const ROW_ID_HASH_BYTES: usize = 32;

/// Row id of `name` in the table with number `table`. A name of several parts
/// is given as the caller's own unambiguous encoding of them.
#[must_use]
pub fn name_row_id(key: &IndexKey, table: u32, name: &[u8]) -> [u8; ROW_ID_HASH_BYTES] {
    digest::hmac_sha256(key.expose(), labels::INDEX_NAME, &[&table.to_be_bytes(), name])
}

/// Row id of a bearer token, which itself is stored nowhere.
#[must_use]
pub fn token_row_id(key: &IndexKey, token: &TokenSecret) -> [u8; ROW_ID_HASH_BYTES] {
    digest::hmac_sha256(key.expose(), labels::INDEX_TOKEN, &[token.expose()])
}
