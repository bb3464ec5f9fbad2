//! The front: balances each request over the nodes of a cluster that serve.
//!
//! Holds no state and no key. Knows no message: a request is bytes under a path of
//! a fixed list. What the caller proves travels with it, its bearer token as it
//! came, the identity in its client certificate as the front's word, which a node
//! takes from a front's certificate only. An operator's calls, and whatever acts on
//! one node, don't go through a front.
//!
//! | part | does |
//! |---|---|
//! | [`config`] | configuration: file, environment, flags |
//! | `server` | start and end of a front |
//! | `listener`, `connection` | connections of callers, each with its bounds |
//! | `sources`, `admission`, `budget` | what is taken at a time, and from whom |
//! | `service`, `routes`, `metadata`, `message` | a request on its way in |
//! | `unary`, `stream`, `node_request`, `answer` | to a node, and back |
//! | `nodes`, `upstream` | the nodes: pools of connections, and why one doesn't serve |
//! | `own` | health and reflection |
//! | `errors` | what the front itself tells a caller |
//! | `record`, `metrics`, `monitor`, `logging` | watching |
//!
//! What may be sent to another node, and which node, is decided by the client
//! library (`strongroom_client::balance`), so that a caller behind a front gets
//! what one without a front would.

#![allow(
    clippy::disallowed_methods,
    reason = "deadlines and rates are measured here, and request ids drawn"
)]

mod admission;
mod answer;
mod budget;
pub mod config;
mod connection;
mod errors;
mod listener;
mod logging;
mod message;
mod metadata;
mod metrics;
mod monitor;
mod node_request;
mod nodes;
mod own;
mod record;
mod routes;
mod server;
mod service;
mod sources;
mod stream;
mod unary;
mod upstream;

pub use server::{Front, check, run_blocking};

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
