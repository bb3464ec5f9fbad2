//! Client of a Strongroom cluster over gRPC and TLS.
//!
//! | part | does |
//! |---|---|
//! | [`Config`] | addresses, CA, certificate, token, timeout |
//! | [`Client`] | every operation of `strongroom.v1`, at whichever node answers |
//! | [`Node`] | operations on one node: seal, shares, status |
//! | [`envelope`] | streams of any size, encrypted under a data key |
//! | [`EventTail`] | the audit log as it grows, across broken connections |
//! | [`DataKeyCache`] | data keys that are used more than once, for callers that want that |
//! | [`Error`] | kind, code, reason, metadata, retry delay, what became of the call |
//! | [`balance`] | nodes, health, load, repeats and their budget, for whoever forwards calls |
//!
//! A server is trusted when its certificate chains to the configured CA and
//! names a node or a front of the cluster; what acts on one node, shares above
//! all, goes to nodes only. Host names are not looked at, so that nodes may
//! be reached under any address. Calls are spread over the nodes that serve, each
//! attempt by itself. A call that surely did nothing is tried at another node;
//! one whose outcome is unknown is repeated only where a repeat does no harm,
//! always under the same request id, and never past its deadline.
//!
//! Tokens and private keys are wiped when dropped. What the gRPC library copies
//! on the way (headers, message buffers) is out of this crate's reach.

#![allow(clippy::disallowed_methods, reason = "deadlines are measured and request ids drawn here")]

mod address;
mod attempt;
pub mod balance;
mod cache;
mod client;
mod config;
mod dialer;
pub mod envelope;
mod error;
mod node;
mod retry;
mod tail;
mod tls;
mod token;

pub use address::{Address, AddressError};
pub use cache::{CacheLimitError, CacheLimits, DataKey, DataKeyCache};
pub use client::Client;
pub use config::{ClientIdentity, Config, ConfigError};
pub use dialer::{Dialer, Windows};
pub use error::{Error, ErrorKind, FailedAddress, reason};
pub use node::Node;
/// Vocabulary and bounds that callers share with the service.
pub use strongroom_base::{ClusterId, NodeId, RequestId, limits};
/// Messages and enums of `strongroom.v1`, as its `.proto` files describe them.
pub use strongroom_wire::v1 as proto;
pub use tail::EventTail;
pub use tls::ConnectError;
pub use token::{Token, TokenError};
pub use tonic::Code;
