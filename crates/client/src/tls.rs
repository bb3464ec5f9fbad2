//! TLS connections to nodes.

use std::{error::Error as StdError, fmt, io, sync::Arc, time::Duration};

use http::Uri;
use hyper_util::{client::legacy::connect::HttpConnector, rt::TokioIo};
use rustls::{
    ClientConfig, RootCertStore,
    client::Resumption,
    crypto::CryptoProvider,
    version::{TLS12, TLS13},
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower::Service;

use crate::{
    config::{ClientIdentity, Config, ConfigError},
    error::chain,
};

mod verify;

use verify::{ServerCheck, identity_cluster};

/// HTTP/2 over TLS (RFC 9113, section 3.2).
const ALPN_HTTP2: &[u8] = b"h2";
/// Why there is no connection to a node; nothing was sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The name was not resolved, or nobody listens.
    #[error("can't reach {address}")]
    Dial {
        /// Where.
        address: String,
        /// What resolver or kernel said.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Resolving, connecting and the handshake together took too long.
    #[error("no connection to {address} within {timeout_ms} ms")]
    Timeout {
        /// Where.
        address: String,
        /// The time that they had.
        timeout_ms: u128,
    },
    /// Whoever answers there is no node of this cluster, or refuses our
    /// certificate, or speaks no TLS.
    #[error("no trusted connection to {address}")]
    Untrusted {
        /// Where.
        address: String,
        /// What the TLS library, or the check of the node's identity, found.
        source: io::Error,
    },
    /// HTTP/2 was not agreed on.
    #[error("{address} doesn't speak HTTP/2: is it the client port of a node?")]
    NoHttp2 {
        /// Where.
        address: String,
    },
}

impl ConnectError {
    pub(crate) fn chain(&self) -> String {
        chain(self)
    }
}

/// Dials nodes. Clones share the TLS configuration, and with it the cluster
/// that the first node proved to belong to.
#[derive(Clone)]
pub(crate) struct Connector {
    /// Lets in nodes and fronts.
    tls: Arc<ClientConfig>,
    /// Lets in nodes.
    nodes_only: Arc<ClientConfig>,
    tcp: HttpConnector,
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.enforce_http(false);
        // Several addresses of one name share the time.
        tcp.set_connect_timeout(Some(config.connect_timeout));
        let [tls, nodes_only] = client_configs(config)?.map(Arc::new);
        Ok(Self { tls, nodes_only, tcp, timeout: config.connect_timeout })
    }

    /// The same, for what no front may see: shares, and whatever acts on one node.
    pub(crate) fn nodes_only(self) -> Self {
        Self { tls: Arc::clone(&self.nodes_only), ..self }
    }

    pub(crate) async fn connect(
        mut self,
        uri: Uri,
    ) -> Result<TokioIo<TlsStream<TcpStream>>, ConnectError> {
        let address = uri.authority().map(ToString::to_string).unwrap_or_default();
        match tokio::time::timeout(self.timeout, self.dial(&uri, &address)).await {
            Ok(result) => result.map(TokioIo::new),
            Err(_) => Err(ConnectError::Timeout { address, timeout_ms: self.timeout.as_millis() }),
        }
    }

    async fn dial(&mut self, uri: &Uri, at: &str) -> Result<TlsStream<TcpStream>, ConnectError> {
        let dial = |source: Box<dyn StdError + Send + Sync>| ConnectError::Dial {
            address: at.to_owned(),
            source,
        };
        std::future::poll_fn(|cx| self.tcp.poll_ready(cx))
            .await
            .map_err(|error| dial(error.into()))?;
        let tcp = self.tcp.call(uri.clone()).await.map_err(|error| dial(error.into()))?;
        let tls = TlsConnector::from(Arc::clone(&self.tls))
            .connect(server_name(uri), tcp.into_inner())
            .await
            // What ends by itself says nothing of who is there.
            .map_err(|source| match source.kind() {
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                    ConnectError::Untrusted { address: at.to_owned(), source }
                }
                _ => dial(source.into()),
            })?;
        if tls.get_ref().1.alpn_protocol() != Some(ALPN_HTTP2) {
            return Err(ConnectError::NoHttp2 { address: at.to_owned() });
        }
        Ok(tls)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// What dialling nodes or fronts demands, and what dialling nodes does.
fn client_configs(config: &Config) -> Result<[ClientConfig; 2], ConfigError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let roots = roots(&config.ca_pem)?;
    let own = config.identity.as_ref().map(own_certificate).transpose()?;
    let cluster = own.as_ref().and_then(|(chain, _)| identity_cluster(chain.first()?));
    let check = ServerCheck::new(roots, provider, cluster);
    let nodes_only = client_config(Arc::new(check.nodes_only()), config)?;
    Ok([client_config(Arc::new(check), config)?, nodes_only])
}

fn client_config(check: Arc<ServerCheck>, config: &Config) -> Result<ClientConfig, ConfigError> {
    let own = config.identity.as_ref().map(own_certificate).transpose()?;
    let builder =
        builder(Arc::clone(check.provider()))?.dangerous().with_custom_certificate_verifier(check);
    let mut tls = match own {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| ConfigError::Identity(error.into()))?,
        None => builder.with_no_client_auth(),
    };
    tls.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    // Each connection proves the server's certificate again.
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

type ConfigBuilder = rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>;

fn builder(provider: Arc<CryptoProvider>) -> Result<ConfigBuilder, ConfigError> {
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13, &TLS12])
        .map_err(|error| ConfigError::Ca(error.into()))
}

fn roots(pem: &[u8]) -> Result<RootCertStore, ConfigError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| ConfigError::Ca(error.into()))?;
        roots.add(certificate).map_err(|error| ConfigError::Ca(error.into()))?;
    }
    if roots.is_empty() { Err(ConfigError::NoCa) } else { Ok(roots) }
}

type OwnCertificate = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn own_certificate(identity: &ClientIdentity) -> Result<OwnCertificate, ConfigError> {
    let chain = CertificateDer::pem_slice_iter(&identity.certificate_pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| ConfigError::Identity(error.into()))?;
    if chain.is_empty() {
        return Err(ConfigError::Identity("no certificate in PEM form".into()));
    }
    let key = PrivateKeyDer::from_pem_slice(&identity.key_pem)
        .map_err(|error| ConfigError::Identity(error.into()))?;
    Ok((chain, key))
}

/// What goes into the handshake's SNI, for proxies that look at it; it is not
/// verified. A host that is no name there is replaced.
fn server_name(uri: &Uri) -> ServerName<'static> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    ServerName::try_from(host.to_owned())
        .unwrap_or_else(|_| ServerName::try_from("strongroom.invalid").expect("a valid DNS name"))
}
