//! Certificate verifiers: the CA's signature, validity and purpose as WebPKI
//! has them, then our identity. Names of hosts are not looked at.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor,
    },
    crypto::{verify_tls12_signature, verify_tls13_signature},
    server::{
        ParsedCertificate, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use strongroom_base::{ClusterId, NodeId};

use crate::{
    acceptor::Listener,
    handshake::provider,
    identity::{IdentityError, PeerIdentity},
};

impl From<IdentityError> for Error {
    fn from(error: IdentityError) -> Self {
        Self::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
    }
}

/// Requires a chain from `leaf` to `roots`, valid `at` that time, for servers.
pub(crate) fn require_server(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &RootCertStore,
    at: UnixTime,
) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(leaf)?;
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, at, algorithms)
}

/// Requires a chain from `leaf` to `roots`, valid `at` that time, for clients.
pub(crate) fn require_client(
    leaf: &CertificateDer<'_>,
    intermediates: &[CertificateDer<'_>],
    roots: &Arc<RootCertStore>,
    at: UnixTime,
) -> Result<(), Error> {
    webpki_client(roots, Listener::Peer)?.verify_client_cert(leaf, intermediates, at).map(|_| ())
}

fn webpki_client(
    roots: &Arc<RootCertStore>,
    listener: Listener,
) -> Result<Arc<dyn ClientCertVerifier>, Error> {
    let builder =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider()));
    let builder = match listener {
        Listener::Peer => builder,
        Listener::Client => builder.allow_unauthenticated(),
    };
    builder.build().map_err(|error| Error::General(error.to_string()))
}

/// Lets in exactly one server, node `node` of `cluster`; or, where none is named,
/// any node of it.
#[derive(Debug)]
pub(crate) struct NodeVerifier {
    roots: Arc<RootCertStore>,
    cluster: ClusterId,
    node: Option<NodeId>,
}

impl NodeVerifier {
    pub(crate) fn new(
        roots: Arc<RootCertStore>,
        cluster: ClusterId,
        node: impl Into<Option<NodeId>>,
    ) -> Self {
        Self { roots, cluster, node: node.into() }
    }
}

impl ServerCertVerifier for NodeVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        require_server(end_entity, intermediates, &self.roots, now)?;
        let identity = PeerIdentity::from_certificate(end_entity)?;
        identity.require_cluster(self.cluster)?;
        match self.node {
            Some(node) => identity.require_node(node)?,
            None => drop(identity.require_any_node()?),
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Lets in what `listener` lets in, of `cluster` only.
#[derive(Debug)]
pub(crate) struct ClusterClientVerifier {
    webpki: Arc<dyn ClientCertVerifier>,
    cluster: ClusterId,
    listener: Listener,
}

impl ClusterClientVerifier {
    /// # Errors
    ///
    /// When `roots` is empty.
    pub(crate) fn new(
        roots: &Arc<RootCertStore>,
        cluster: ClusterId,
        listener: Listener,
    ) -> Result<Self, Error> {
        Ok(Self { webpki: webpki_client(roots, listener)?, cluster, listener })
    }
}

impl ClientCertVerifier for ClusterClientVerifier {
    fn offer_client_auth(&self) -> bool {
        self.webpki.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.webpki.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.webpki.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.webpki.verify_client_cert(end_entity, intermediates, now)?;
        let identity = PeerIdentity::from_certificate(end_entity)?;
        identity.require_cluster(self.cluster)?;
        if self.listener == Listener::Peer {
            identity.require_any_node()?;
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}
