//! TLS configurations, and names for what goes wrong in a handshake.

use std::{
    error::Error as StdError,
    io,
    sync::{Arc, LazyLock},
};

use rustls::{
    AlertDescription, CertificateError, ClientConfig, RootCertStore, ServerConfig,
    client::Resumption,
    crypto::CryptoProvider,
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};
use strongroom_base::{ClusterId, NodeId};

use crate::{
    acceptor::Listener,
    credentials::Credentials,
    identity::IdentityError,
    verify::{ClusterClientVerifier, NodeVerifier},
};

/// HTTP/2 over TLS (RFC 9113, section 3.2); all that these listeners speak.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";

/// Why a handshake did not end in a connection.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// It took too long.
    #[error("the handshake took longer than {timeout_ms} ms")]
    Timeout {
        /// The time that it had.
        timeout_ms: u64,
    },
    /// No certificate, where one is required.
    #[error("no certificate was presented")]
    NoCertificate,
    /// The certificate doesn't chain to the CA of the cluster.
    #[error("the certificate was not issued by the CA of this cluster")]
    UntrustedIssuer,
    /// Past its end.
    #[error("the certificate has expired")]
    Expired,
    /// Before its begin: one of the two clocks is off.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// A client's certificate at a server, or the reverse.
    #[error("the certificate was issued for another purpose")]
    WrongPurpose,
    /// The certificate is genuine and names the wrong one.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The other end doesn't speak HTTP/2.
    #[error("HTTP/2 was not agreed on (ALPN)")]
    NoHttp2,
    /// The other end ended the handshake; its log has the reason.
    #[error("refused by the other end: {0:?}")]
    RefusedByPeer(AlertDescription),
    /// Anything else that TLS forbids.
    #[error("the handshake broke the TLS protocol")]
    Tls(#[source] rustls::Error),
    /// The connection broke.
    #[error("the connection broke during the handshake")]
    Io(#[source] io::Error),
}

impl From<rustls::Error> for HandshakeError {
    fn from(error: rustls::Error) -> Self {
        use rustls::Error;
        match error {
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::NoApplicationProtocol => Self::NoHttp2,
            Error::AlertReceived(alert) => Self::RefusedByPeer(alert),
            Error::InvalidCertificate(reason) => match reason {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    Self::UntrustedIssuer
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::Expired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid
                }
                CertificateError::InvalidPurpose
                | CertificateError::InvalidPurposeContext { .. } => Self::WrongPurpose,
                CertificateError::Other(ref other) => {
                    match other.0.downcast_ref::<IdentityError>() {
                        Some(identity) => Self::Identity(identity.clone()),
                        None => Self::Tls(Error::InvalidCertificate(reason)),
                    }
                }
                reason => Self::Tls(Error::InvalidCertificate(reason)),
            },
            error => Self::Tls(error),
        }
    }
}

impl From<io::Error> for HandshakeError {
    /// Finds the TLS error that tokio-rustls wraps into an I/O error.
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => tls.clone().into(),
            None => Self::Io(error),
        }
    }
}

/// An error and what caused it, for one line of a log.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// The cryptography of all TLS here: aws-lc-rs, named at each use so that no
/// process-wide default decides.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    &PROVIDER
}

/// What a listener of a node in `cluster` demands.
///
/// Peers speak TLS 1.3 only; clients may speak TLS 1.2, whose suites in
/// this provider are all ECDHE with AEAD.
pub(crate) fn server_config(
    listener: Listener,
    key: &Arc<CertifiedKey>,
    roots: &Arc<RootCertStore>,
    cluster: ClusterId,
) -> Result<ServerConfig, rustls::Error> {
    let versions: &[_] = match listener {
        Listener::Peer => &[&TLS13],
        Listener::Client => &[&TLS13, &TLS12],
    };
    let verifier = ClusterClientVerifier::new(roots, cluster, listener)?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key))));
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    // A resumed session skips the verifier: an expired certificate, or one of
    // a CA that was taken out, would live on in a ticket.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// What dialling node `node` of our cluster demands, or any node where none is
/// named.
pub(crate) fn client_config(
    own: &Credentials,
    node: Option<NodeId>,
) -> Result<ClientConfig, rustls::Error> {
    let verifier = NodeVerifier::new(Arc::clone(own.roots()), own.identity().cluster, node);
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(own.key()))));
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}
