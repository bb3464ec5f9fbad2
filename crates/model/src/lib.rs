//! What rows mean, and the decisions of each operation as pure functions.
//!
//! An operation is decided from rows of the applied state, read through
//! [`Rows`]; what comes out is a [`Decision`]: everything that was relied on,
//! everything that changes, and the audit event. Refusals are decisions too.
//! The node encodes it ([`encode_transaction`]), has a quorum commit it, and
//! releases the result only when the replicated state has admitted it.
//!
//! Does no I/O, reads no clock, draws no randomness: rows, time and entropy are
//! arguments. The crate knows nothing of the wire, of Raft, or of sealing.

mod access;
mod care;
mod ceremony;
mod cluster;
mod decision;
mod errors;
mod events;
pub mod facts;
mod fresh;
mod keys;
mod principals;
mod read;
mod role;
mod rows;
mod tables;
mod tokens;
mod transaction;
mod usage;
mod view;

pub use access::{Authenticated, Rejection, allowed_roles, authenticate, authorise, deny};
pub use care::{RotatedKeyring, drop_epoch, record_act, rewrite_rows, rotate_barrier};
pub use ceremony::{
    Formation, InitTokenDigest, Leftover, PlainRevisions, SealConfig, UnsealMark, admit_init,
    complete_unseal, form, record_step,
};
pub use cluster::{Cluster, Disagreement, RecordError, Region, RegionError};
pub use decision::{Basis, Decided, Decision, NameIndex, PlainChange, RowChange, Viewed};
pub use errors::{Class, LockOut, Problem, Refusal};
pub use events::{Circumstances, EventDraft, ItemDraft, leaf_digest};
pub use keys::{
    CreateKey, KeyReference, KeyView, create_key, describe_key, disable_key, enable_key,
};
pub use principals::{
    PrincipalName, PrincipalReference, attach_role, detach_role, resolve_principal,
};
pub use read::{Contradiction, Found, Opened, ReadError, ReadSet, Rows, Version};
pub use role::Role;
pub use rows::{
    Attachments, ClientToken, Key, KeySpec, KeyState, KeyUsage, Origin, Principal, PrincipalByName,
    RoleState, RoleTokens, Row, Token, TokenById, TypedRow,
};
pub use tables::{RowId, RowIdError, RowTable};
pub use tokens::{
    CreateToken, CreatedToken, RevokeToken, TokenView, create_token, revoke_token, role_field,
    view_token,
};
pub use transaction::{Encoded, Sealer, TooLarge, encode_leaf_only, encode_transaction};
pub use usage::{
    DataKeyPair, DataKeys, DataKeysRequest, DecryptBatchRequest, DecryptRequest, Decrypted,
    DecryptedBatch, EncryptRequest, Encrypted, KeyUsed, RandomRequest, ReEncryptRequest,
    ReEncrypted, context_field, decrypt, decrypt_batch, encrypt, generate_data_keys,
    generate_random, re_encrypt,
};
pub use view::{EventView, ItemView, PrivateView};
