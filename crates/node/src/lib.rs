//! The daemon: a member of a Strongroom cluster.
//!
//! The pure crates decide; this one acts: it listens, reads clocks, draws
//! randomness, opens databases, proposes and releases.
//!
//! | part | does |
//! |---|---|
//! | `server` | start and end of a node, its listeners |
//! | `core` | what the parts of a node share |
//! | [`config`] | configuration: file, environment, flags |
//! | `lifecycle`, `unseal`, `init`, `form`, `ceremony` | sealed or not, and how that changes |
//! | `attempt`, `ledger`, `proposer`, `admission` | authorise at commit: from a call to its committed record |
//! | `rewrite` | rows come under the newest barrier epoch |
//! | `rows`, `observer`, `outcomes`, `hash_points` | what this node's own `apply` tells it |
//! | `verify` | whether this node's state is the cluster's |
//! | `recall` | whether this node's directory was put back to an older copy |
//! | `read_index`, `reports`, `clock`, `leadership`, `peers`, `peer_service` | the other members |
//! | `services`, `layers`, `caller`, `errors`, `denials` | the public interface |
//! | `monitor`, `metrics`, `samples`, `keys_by_state`, `status`, `disk`, `logging` | watching |
//! | `fatal` | the end of a process that must not go on |

#![allow(
    clippy::disallowed_methods,
    reason = "the daemon is where clocks are read and entropy is drawn"
)]

mod admission;
mod attempt;
mod caller;
mod ceremony;
mod clock;
pub mod config;
mod core;
mod denials;
mod disk;
mod entropy;
mod errors;
mod fatal;
mod form;
mod hash_points;
mod init;
mod keys_by_state;
mod layers;
mod leadership;
mod ledger;
mod lifecycle;
mod logging;
mod metrics;
mod monitor;
mod observer;
mod outcomes;
mod peer_service;
mod peers;
mod proposer;
mod read_index;
mod recall;
mod record;
mod reports;
mod rewrite;
mod rows;
mod samples;
mod server;
mod services;
mod status;
mod unseal;
mod verify;

pub use server::{check, run_blocking};
/// Certificates for trials and small set-ups.
pub use strongroom_net as tls;
/// For the binary: the global allocator that wipes what foreign code frees while
/// secrets pass through it, and what its `main` calls first.
pub use strongroom_secmem::{WipingAllocator, harden_process};

/// Version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
