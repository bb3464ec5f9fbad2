//! Who a server must be: a node of one cluster, or a front of it where that will
//! do, by certificate.
//!
//! The chain to the CA, validity and purpose are WebPKI's; then the certificate
//! must carry exactly one identity, `strongroom://cluster/<cluster>/node/<id>` or
//! `strongroom://cluster/<cluster>/front/<name>`.
//! The cluster is the one of our own certificate, else the one that the first
//! server proved.

use std::sync::{Arc, OnceLock};

use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use strongroom_base::{ClusterId, NodeId};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _};

/// What precedes the cluster id in every identity.
const PREFIX: &str = "strongroom://cluster/";

/// Why a genuine certificate is not that of a node of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotANode {
    /// No identity, several, or a malformed one.
    #[error("the server's certificate carries no identity of this product")]
    NoIdentity,
    /// A client's or an operator's.
    #[error("the server's certificate belongs to no node")]
    NotNode,
    /// A front's, where only a node will do.
    #[error("the server is a front, and this goes to nodes only: give a node's own address")]
    Front,
    /// A node of another cluster.
    #[error("the server belongs to cluster {got}, not to {expected}")]
    OtherCluster {
        /// The cluster that was meant.
        expected: ClusterId,
        /// The cluster in the certificate.
        got: ClusterId,
    },
}

impl From<NotANode> for Error {
    fn from(error: NotANode) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
    }
}

/// Lets in nodes and fronts of one cluster, or nodes only.
#[derive(Debug)]
pub(crate) struct ServerCheck {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
    cluster: Arc<OnceLock<ClusterId>>,
    fronts: bool,
}

impl ServerCheck {
    pub(crate) fn new(
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
        cluster: Option<ClusterId>,
    ) -> Self {
        let cluster = cluster.map_or_else(OnceLock::new, OnceLock::from);
        Self { roots: Arc::new(roots), provider, cluster: Arc::new(cluster), fronts: true }
    }

    /// The same check without fronts; what one finds out of the cluster holds for
    /// both.
    pub(crate) fn nodes_only(&self) -> Self {
        Self {
            roots: Arc::clone(&self.roots),
            provider: Arc::clone(&self.provider),
            cluster: Arc::clone(&self.cluster),
            fronts: false,
        }
    }

    pub(crate) fn provider(&self) -> &Arc<CryptoProvider> {
        &self.provider
    }
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let (roots, at) = (&self.roots, now);
        verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, at, algorithms)?;
        let identity = identity(end_entity).ok_or(NotANode::NoIdentity)?;
        let got = server_cluster(&identity, self.fronts)?;
        let expected = *self.cluster.get_or_init(|| got);
        if expected == got {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(NotANode::OtherCluster { expected, got }.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The cluster in our own certificate, whoever it names there.
pub(crate) fn identity_cluster(certificate: &CertificateDer<'_>) -> Option<ClusterId> {
    identity(certificate)?.strip_prefix(PREFIX)?.split('/').next()?.parse().ok()
}

/// The one URI of scheme `strongroom` in a certificate.
fn identity(certificate: &CertificateDer<'_>) -> Option<String> {
    let (rest, parsed) = X509Certificate::from_der(certificate).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let names = parsed.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) if uri.to_ascii_lowercase().starts_with("strongroom:") => Some(*uri),
        _ => None,
    });
    match (uris.next(), uris.next()) {
        (Some(uri), None) => Some(uri.to_owned()),
        _ => None,
    }
}

/// The cluster of the node that `uri` names, or of the front where `fronts` will
/// do.
fn server_cluster(uri: &str, fronts: bool) -> Result<ClusterId, NotANode> {
    let path = uri.strip_prefix(PREFIX).ok_or(NotANode::NoIdentity)?;
    let mut parts = path.split('/');
    let (Some(cluster), Some(kind), Some(name), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(NotANode::NoIdentity);
    };
    let cluster = cluster.parse().map_err(|_| NotANode::NoIdentity)?;
    match kind {
        "node" => {}
        "front" if fronts && !name.is_empty() => return Ok(cluster),
        "front" => return Err(NotANode::Front),
        _ => return Err(NotANode::NotNode),
    }
    name.parse::<NodeId>().map(|_| cluster).map_err(|_| NotANode::NoIdentity)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: &str = "5b0c1d9e-0a1b-4c2d-8e3f-405162738495";

    #[test]
    fn what_names_no_node_is_refused() {
        let refused = |uri: &str| server_cluster(uri, true).unwrap_err();
        assert_eq!(refused("https://example.com"), NotANode::NoIdentity);
        assert_eq!(refused("strongroom://cluster/x/node/1"), NotANode::NoIdentity);
        for tail in ["node", "node/0", "node/1/2", "node/"] {
            assert_eq!(refused(&format!("{PREFIX}{CLUSTER}/{tail}")), NotANode::NoIdentity);
        }
        assert_eq!(refused(&format!("{PREFIX}{CLUSTER}/operator/ann")), NotANode::NotNode);
        assert_eq!(refused(&format!("{PREFIX}{CLUSTER}/client/1")), NotANode::NotNode);
    }

    #[test]
    fn a_node_names_its_cluster() {
        for fronts in [true, false] {
            let cluster = server_cluster(&format!("{PREFIX}{CLUSTER}/node/3"), fronts);
            assert_eq!(cluster.map(|cluster| cluster.to_string()), Ok(CLUSTER.to_owned()));
        }
    }

    #[test]
    fn a_front_will_do_only_where_it_may() {
        let front = format!("{PREFIX}{CLUSTER}/front/edge");
        assert!(server_cluster(&front, true).is_ok());
        assert_eq!(server_cluster(&front, false), Err(NotANode::Front));
    }
}
