use rcgen::ExtendedKeyUsagePurpose;
use rustls::{ServerConfig, server::WebPkiClientVerifier, sign::SingleCertAndKey};
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::{
    IdentityError, IssuedFiles, PeerIdentity,
    handshake::provider,
    testing::{LONG, Pki, bind, certified_key, cluster, expired, node, not_yet_valid, valid},
};

/// A server of another make: presents `files`, asks for any certificate of
/// `trusts`, agrees on `alpn`; echoes four bytes of one connection.
async fn serve(
    files: &IssuedFiles,
    trusts: &Pki,
    alpn: Option<&[u8]>,
) -> (SocketAddr, JoinHandle<()>) {
    let roots = Arc::clone(trusts.store(99).current().roots());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider())).build().unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified_key(files))));
    config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
    let (tcp, address) = bind().await;
    let task = tokio::spawn(async move {
        let (tcp, _) = tcp.accept().await.unwrap();
        let Ok(mut tls) = TlsAcceptor::from(Arc::new(config)).accept(tcp).await else { return };
        let mut bytes = [0; 4];
        if tls.read_exact(&mut bytes).await.is_ok() {
            tls.write_all(&bytes).await.unwrap();
            tls.flush().await.unwrap();
        }
    });
    (address, task)
}

fn uri(address: SocketAddr) -> Uri {
    format!("http://{address}").parse().unwrap()
}

async fn dial(pki: &Pki, to: u64, address: SocketAddr) -> Result<PeerStream, ConnectError> {
    Connector::new(pki.store(1), node(to), LONG).call(uri(address)).await
}

/// Why node 1 does not take the server that presents `files` for node 2.
async fn refusal(pki: &Pki, files: &IssuedFiles) -> HandshakeError {
    let (address, server) = serve(files, pki, Some(ALPN_HTTP2)).await;
    let error = dial(pki, 2, address).await.expect_err("the server is not taken");
    server.await.unwrap();
    let ConnectError::Handshake { node: dialled, source, .. } = error else { panic!("{error:?}") };
    assert_eq!(dialled, node(2));
    source
}

#[tokio::test]
async fn another_node_of_the_cluster_is_refused() {
    let pki = Pki::new(cluster(1));
    let error = refusal(&pki, &pki.node_files(3)).await;
    let HandshakeError::Identity(IdentityError::OtherNode { expected, got }) = error else {
        panic!("{error:?}");
    };
    assert_eq!((expected, got), (node(2), node(3)));
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused() {
    let pki = Pki::new(cluster(1));
    let stranger = PeerIdentity::node(cluster(2), node(2));
    let error = refusal(&pki, &pki.issue(&stranger, valid())).await;
    assert!(
        matches!(error, HandshakeError::Identity(IdentityError::OtherCluster { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_foreign_ca_is_refused_even_under_the_same_name() {
    let pki = Pki::new(cluster(1));
    for foreign in [Pki::new(cluster(1)), Pki::new(cluster(2))] {
        let error = refusal(&pki, &foreign.node_files(2)).await;
        assert!(matches!(error, HandshakeError::UntrustedIssuer), "{error:?}");
    }
}

#[tokio::test]
async fn a_certificate_outside_its_validity_is_refused() {
    let pki = Pki::new(cluster(1));
    let error = refusal(&pki, &pki.issue(&pki.node_identity(2), expired())).await;
    assert!(matches!(error, HandshakeError::Expired), "{error:?}");
    let error = refusal(&pki, &pki.issue(&pki.node_identity(2), not_yet_valid())).await;
    assert!(matches!(error, HandshakeError::NotYetValid), "{error:?}");
}

#[tokio::test]
async fn a_client_certificate_makes_no_server() {
    let pki = Pki::new(cluster(1));
    let error = refusal(&pki, &pki.issue(&pki.client_identity("app"), valid())).await;
    assert!(matches!(error, HandshakeError::WrongPurpose), "{error:?}");
    // Not even with the purpose: it is no node.
    let both = [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let files = pki.issue_odd(&[pki.client_identity("app").to_string()], &both);
    let error = refusal(&pki, &files).await;
    assert!(matches!(error, HandshakeError::Identity(IdentityError::NotNode)), "{error:?}");
}

#[tokio::test]
async fn any_number_of_identities_but_one_is_refused() {
    let pki = Pki::new(cluster(1));
    let right = pki.node_identity(2).to_string();
    let wrong = pki.node_identity(3).to_string();
    let server_auth = [ExtendedKeyUsagePurpose::ServerAuth];
    let error = refusal(&pki, &pki.issue_odd(&[right, wrong], &server_auth)).await;
    assert!(matches!(error, HandshakeError::Identity(IdentityError::Several)), "{error:?}");
    let error = refusal(&pki, &pki.issue_odd(&[], &server_auth)).await;
    assert!(matches!(error, HandshakeError::Identity(IdentityError::Missing)), "{error:?}");
}

#[tokio::test]
async fn a_server_without_http2_is_refused() {
    let pki = Pki::new(cluster(1));
    for alpn in [None, Some(&b"http/1.1"[..])] {
        let (address, server) = serve(&pki.node_files(2), &pki, alpn).await;
        let error = dial(&pki, 2, address).await.err().unwrap();
        let ConnectError::Handshake { source, .. } = &error else { panic!("{error:?}") };
        let refused = match source {
            HandshakeError::NoHttp2 => alpn.is_none(),
            // The server noticed first and told us.
            HandshakeError::RefusedByPeer(alert) => {
                alpn.is_some() && *alert == rustls::AlertDescription::NoApplicationProtocol
            }
            _ => false,
        };
        assert!(refused, "{error:?}");
        server.await.unwrap();
    }
}

#[tokio::test]
async fn nobody_listening_and_nobody_answering_are_told_apart() {
    let pki = Pki::new(cluster(1));
    let (tcp, address) = bind().await;
    let impatient = Connector::new(pki.store(1), node(2), Duration::from_millis(100));
    let error = impatient.clone().call(uri(address)).await.err().unwrap();
    assert!(
        matches!(&error, ConnectError::Timeout { timeout_ms: 100, address: at }
            if *at == address.to_string()),
        "{error:?}"
    );
    drop(tcp);
    let error = dial(&pki, 2, address).await.err().unwrap();
    assert!(matches!(error, ConnectError::Dial { .. }), "{error:?}");
}

#[tokio::test]
async fn the_right_node_is_taken_whatever_its_address_is_called() {
    let pki = Pki::new(cluster(1));
    // Its certificate carries no DNS name and no address at all.
    let (address, server) = serve(&pki.node_files(2), &pki, Some(ALPN_HTTP2)).await;
    let connector = Connector::new(pki.store(1), node(2), LONG);
    let uri = format!("http://localhost:{}", address.port()).parse().unwrap();
    let mut stream = connector.clone().call(uri).await.unwrap().into_inner();
    stream.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
    server.await.unwrap();
}

#[test]
fn any_host_gives_a_server_name() {
    for host in ["localhost", "127.0.0.1", "[::1]", "node_1.example", "-"] {
        let uri: Uri = format!("http://{host}:1").parse().unwrap();
        let name = server_name(&uri);
        assert_eq!(matches!(name, ServerName::IpAddress(_)), host.contains(['[', '2']), "{host}");
    }
}
