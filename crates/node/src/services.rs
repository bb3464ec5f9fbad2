//! The public services: thin shells that turn a message into a request of
//! `strongroom-model`, have it decided and committed, and turn the result into
//! a message.

mod access;
mod audit;
mod cluster;
mod convert;
mod crypto;
mod keys;
mod seal;

pub(crate) use access::AccessService;
pub(crate) use audit::AuditService;
pub(crate) use cluster::ClusterService;
pub(crate) use crypto::CryptoService;
pub(crate) use keys::KeysService;
pub(crate) use seal::{SealService, seal_status};
