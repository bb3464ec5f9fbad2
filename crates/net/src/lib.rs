//! TLS between the members of a cluster and from its clients.
//!
//! Decides who is at the other end of a connection, from the certificate and
//! nothing else: a node proves (cluster, node id), a client may prove a name
//! ([`PeerIdentity`]). What an identity may do is decided elsewhere.
//!
//! | part | does |
//! |---|---|
//! | [`CertStore`] | holds certificate, key and CA of this node; reloads them when the files change |
//! | [`Incoming`] | accepts connections, bounds them and their handshakes, hands them to tonic |
//! | [`Connector`] | dials a node and accepts only the one that was meant, or any of the cluster |
//! | [`DevelopmentCa`] | issues certificates for trials, tests and small set-ups |
//!
//! Host names and addresses are never what is trusted, neither by nodes nor by
//! the client: the identity is the URI in the certificate. TLS sessions are never
//! resumed: each connection proves its certificate again. An open connection ends
//! with its peer's certificate, and when a CA is taken out.

#![allow(
    clippy::disallowed_methods,
    reason = "certificates are compared with the clock of this machine"
)]

mod acceptor;
mod clock;
mod connection;
mod connector;
mod credentials;
mod ending;
mod handshake;
mod identity;
mod issue;
mod stats;
mod store;
#[cfg(test)]
mod testing;
mod verify;

pub use acceptor::{AcceptorLimits, Incoming, Listener};
pub use connection::{Admitted, ConnectInfo, Gate, TlsConn};
pub use connector::{ConnectError, Connector, PeerStream};
pub use credentials::{Credentials, LoadError, TlsPaths};
pub use ending::Ending;
pub use handshake::HandshakeError;
pub use identity::{IdentityError, PeerIdentity, Role};
pub use issue::{DevelopmentCa, IssueError, IssuedFiles, Names, Validity};
pub use stats::{AcceptorCounts, AcceptorStats};
pub use store::{CertStore, ReloadCounts};
