//! Secret types, AEAD, key derivation, byte layouts of ciphertext, shares.
//!
//! Everything here is a pure function of its arguments: nonces and other
//! randomness come in through [`Nonces`] and [`Entropy`]. (The named exception
//! is [`split_root`]: the sharing library draws its own.)
//!
//! # Constructions
//!
//! Every ciphertext uses a key of its own (envelopes of the client: see `envelope`):
//!
//! ```text
//! K' = KBKDF-CTR-HMAC-SHA256(K, label, context ‖ N)    SP 800-108r1, section 4.1
//! C  = AES-256-GCM(K', IV, plaintext, AAD)             SP 800-38D
//! ```
//!
//! Nonce rule: `N` (128 bits) and `IV` (96 bits) are drawn at random for every
//! encryption and used once; [`Nonces`] is no `Clone`, and encrypting consumes
//! it. Limit: two ciphertexts of one key share `K'` only when `N` repeats: after
//! 2^48 encryptions with a probability of about 2^-33, and even then `IV` would
//! have to repeat too. So keys don't wear out by use.
//!
//! # Formats
//!
//! | first byte | what | module |
//! |---|---|---|
//! | `0x11` | sealed row | `sealed_row` |
//! | `0x21` | sealed body of an audit record | `audit_body` |
//! | `0x31` | wrapped keyring | `keyring_record` |
//! | `0x41` | key material, plaintext of its row | `material` |
//! | `0x51` | keyring, plaintext of its record | crate `barrier` |
//! | `0x61` | share | `share` |
//! | `0x71` | ciphertext blob | `blob` |
//! | `0x81` | envelope of a stream | crate `client`, `envelope`; its keys: `envelope` |
//!
//! The low half is the version. Integers are big endian. Labels of derivations
//! are in [`labels`].

mod aead;
mod audit_body;
mod batch_mac;
mod blob;
mod commitment;
mod context;
mod digest;
mod entropy;
mod envelope;
mod index;
mod kbkdf;
mod keyring_record;
mod keys;
pub mod labels;
mod material;
mod sealed;
mod sealed_row;
mod share;
mod token;

pub use strongroom_secmem::{Secret, SecretBytes, SecretText};

pub use aead::{IV_BYTES, N_BYTES, Nonces, TAG_BYTES};
pub use audit_body::{body_epoch, open_body, seal_body};
pub use batch_mac::{BATCH_MAC_BYTES, ForgedBatch, batch_mac, verify_batch_mac};
pub use blob::{
    BLOB_OVERHEAD_BYTES, BlobHeader, BlobKey, InvalidCiphertext, PlaintextTooLong, Suite,
    decrypt_blob, encrypt_blob,
};
pub use commitment::{SALT_BYTES, commit};
pub use context::{Context, ContextError};
pub use entropy::Entropy;
pub use envelope::{
    ChunkKey, ChunkPlace, ENVELOPE_COMMITMENT_BYTES, EnvelopeKeys, EnvelopeSuite, MESSAGE_ID_BYTES,
    NotAuthenticChunk, NotCommitted,
};
pub use index::{ROW_ID_HASH_BYTES, name_row_id, token_row_id};
pub use keyring_record::{KeyringAddress, KeyringError, unwrap_keyring, wrap_keyring};
pub use keys::{
    AuditKey, BarrierKey, BatchKey, DataKey, EnvelopeDataKey, IndexKey, MaterialKey, RootKey,
};
pub use material::{KeyMaterial, MaterialError};
pub use sealed::{OpenError, SEALED_OVERHEAD_BYTES};
pub use sealed_row::{RowAddress, open_row, row_epoch, row_tag, seal_row};
pub use share::{
    CombineError, SchemeError, Share, ShareScheme, ShareTextError, combine, split_root,
};
pub use token::{NotAToken, TokenSecret};
