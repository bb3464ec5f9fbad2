//! Real clusters of real processes, and the faults that tests put them through.
//!
//! | part | does |
//! |---|---|
//! | [`Cluster`] | starts `strongroom server` processes with TLS, own directories and ports by the system |
//! | [`Node`] | one of them: start, kill, pause, unseal, look at, call |
//! | [`Proxy`] | a TCP link between two members that can be cut and stalled |
//! | [`Caller`] | calls one node as an application, administrator or operator would |
//! | [`load`] | many callers at once, and what became of each call |
//! | [`Disk`] | the state on the disk of a node that is down |
//! | [`faults`] | torn and flipped bytes, full and hung disks |
//! | [`hostile`] | sends what no client library would |
//! | [`scan`] | looks for secrets in files of every kind |
//!
//! Nothing here sleeps and hopes: whatever takes time is waited for as a state,
//! with a limit ([`wait`]). Every process dies with its [`Cluster`]; logs and
//! data stay behind unless [`Cluster::finish`] said that all was well.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait with the clock of this machine and draw randomness from it"
)]

mod binary;
mod caller;
mod cluster;
mod disk;
mod endpoints;
pub mod evidence;
pub mod faults;
mod front;
pub mod hostile;
pub mod load;
mod monitor;
mod node;
mod peer;
mod pki;
mod process;
mod proxy;
pub mod rounds;
pub mod scan;
pub mod wait;

pub use binary::server_binary;
pub use caller::{Caller, Explain, Failure, StatusExt, request_with_id};
pub use cluster::{Builder, Ceremony, Cluster, Tenant, turn};
pub use disk::Disk;
pub use front::Front;
pub use monitor::{Metrics, RaftView, SealView, Status};
pub use node::Node;
pub use peer::PeerCaller;
pub use pki::{Pki, Who};
pub use proxy::{Link, Proxy};
