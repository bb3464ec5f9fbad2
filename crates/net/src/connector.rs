//! Dialling a node: mutual TLS with exactly the one that is meant, or, for a
//! front, with any node of the cluster.

use std::{
    error::Error as StdError,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls_pki_types::ServerName;
use strongroom_base::NodeId;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

use crate::{
    credentials::validity,
    ending::Ending,
    handshake::{self, ALPN_HTTP2, HandshakeError},
    store::CertStore,
};

/// A connection to a peer, as hyper uses it.
///
/// Ends by itself when the peer's certificate has ended, and when a CA is taken
/// out of the set under which the peer was verified.
pub type PeerStream = TokioIo<Ending<TlsStream<TcpStream>>>;

/// Idle time after which the kernel asks whether the peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// Why a peer was not reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name was not resolved, or nobody listens.
    #[error("can't reach {address}")]
    Dial {
        /// Host and port.
        address: String,
        /// What resolver or kernel said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Resolving, connecting and the handshake together took too long.
    #[error("no connection to {address} within {timeout_ms} ms")]
    Timeout {
        /// Host and port.
        address: String,
        /// The time that they had.
        timeout_ms: u64,
    },
    /// The handshake failed: the one at that address is not the one meant, say.
    #[error("no trusted connection to node {node} at {address}")]
    Handshake {
        /// The node that was meant.
        node: NodeId,
        /// Host and port.
        address: String,
        /// What is wrong.
        source: HandshakeError,
    },
    /// The handshake failed where any node was meant: who is there is none.
    #[error("no trusted connection to a node at {address}")]
    AnyNode {
        /// Host and port.
        address: String,
        /// What is wrong.
        source: HandshakeError,
    },
}

/// Dials nodes, for `tonic::transport::Endpoint::connect_with_connector`.
///
/// The endpoint's URI is `http://host:port`: TLS is done here, so tonic must not
/// do it too. The host is where to dial and no more: whoever answers is let in
/// by the identity in its certificate. Each call presents the certificate that
/// the store holds at that moment.
#[derive(Clone)]
pub struct Connector {
    store: Arc<CertStore>,
    /// Who is meant; `None`: any node of the cluster.
    node: Option<NodeId>,
    timeout: Duration,
    tcp: HttpConnector,
}

impl Connector {
    /// Dials `node` of this node's cluster; resolving, connecting and the
    /// handshake have `timeout` together.
    #[must_use]
    pub fn new(store: Arc<CertStore>, node: NodeId, timeout: Duration) -> Self {
        Self::dialling(store, Some(node), timeout)
    }

    /// Dials whichever node of this process's cluster is at the address: for a
    /// front, which is told addresses and no ids.
    #[must_use]
    pub fn to_any_node(store: Arc<CertStore>, timeout: Duration) -> Self {
        Self::dialling(store, None, timeout)
    }

    fn dialling(store: Arc<CertStore>, node: Option<NodeId>, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(KEEPALIVE));
        // Several addresses of one name share the time.
        tcp.set_connect_timeout(Some(timeout));
        Self { store, node, timeout, tcp }
    }

    async fn connect(mut self, uri: Uri) -> Result<PeerStream, ConnectError> {
        let address = uri.authority().map(ToString::to_string).unwrap_or_default();
        match tokio::time::timeout(self.timeout, self.dial(&uri, &address)).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout {
                address,
                timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    async fn dial(&mut self, uri: &Uri, address: &str) -> Result<PeerStream, ConnectError> {
        let dial = |source: Box<dyn StdError + Send + Sync>| ConnectError::Dial {
            address: address.to_owned(),
            source,
        };
        std::future::poll_fn(|cx| self.tcp.poll_ready(cx))
            .await
            .map_err(|error| dial(error.into()))?;
        let tcp = self.tcp.call(uri.clone()).await.map_err(|error| dial(error.into()))?;
        self.handshake(tcp.into_inner(), uri).await.map(TokioIo::new).map_err(|source| {
            let address = address.to_owned();
            match self.node {
                Some(node) => ConnectError::Handshake { node, address, source },
                None => ConnectError::AnyNode { address, source },
            }
        })
    }

    async fn handshake(
        &self,
        tcp: TcpStream,
        uri: &Uri,
    ) -> Result<Ending<TlsStream<TcpStream>>, HandshakeError> {
        let credentials = self.store.current();
        let config = handshake::client_config(&credentials, self.node)?;
        let tls = TlsConnector::from(Arc::new(config)).connect(server_name(uri), tcp).await?;
        let session = tls.get_ref().1;
        if session.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err(HandshakeError::NoHttp2);
        }
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let (_, not_after) = validity(certificate.ok_or(HandshakeError::NoCertificate)?)?;
        Ok(Ending::new(tls, Some(not_after), credentials.trust().child_token()))
    }
}

/// What goes into the handshake's SNI, for proxies that look at it; it is not
/// verified. A host that is no name there is replaced.
fn server_name(uri: &Uri) -> ServerName<'static> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::try_from("strongroom.invalid").expect("a valid DNS name"))
}

impl Service<Uri> for Connector {
    type Response = PeerStream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<PeerStream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

#[cfg(test)]
mod tests;
