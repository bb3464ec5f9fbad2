//! What the tests of this crate share: certificates and both ends of a handshake.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rcgen::ExtendedKeyUsagePurpose;
use rustls::{
    ClientConfig, SupportedProtocolVersion,
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _};
use strongroom_base::{ClusterId, NodeId};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    CertStore, DevelopmentCa, HandshakeError, IssuedFiles, Listener, Names, PeerIdentity, Role,
    TlsConn, TlsPaths, Validity,
    acceptor::shake_hands,
    handshake::{ALPN_HTTP2, provider},
    stats::{AcceptorStats, OpenGuard},
    verify::NodeVerifier,
};

pub(crate) const DAY: Duration = Duration::from_secs(86_400);
/// Longer than anything here takes; a test that gets here has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

pub(crate) fn cluster(byte: u8) -> ClusterId {
    ClusterId::from_random([byte; 16])
}

pub(crate) fn valid() -> Validity {
    Validity::days(SystemTime::now(), Validity::LEAF_DAYS)
}

pub(crate) fn expired() -> Validity {
    let now = SystemTime::now();
    Validity { not_before: now - DAY * 10, not_after: now - DAY }
}

pub(crate) fn not_yet_valid() -> Validity {
    let now = SystemTime::now();
    Validity { not_before: now + DAY, not_after: now + DAY * 10 }
}

/// A CA in a directory of its own.
pub(crate) struct Pki {
    pub(crate) ca: DevelopmentCa,
    pub(crate) dir: TempDir,
}

impl Pki {
    pub(crate) fn new(cluster: ClusterId) -> Self {
        Self::lasting(cluster, Validity::days(SystemTime::now(), Validity::CA_DAYS))
    }

    pub(crate) fn lasting(cluster: ClusterId, validity: Validity) -> Self {
        let dir = TempDir::new().unwrap();
        let ca = DevelopmentCa::create(dir.path(), cluster, validity).unwrap();
        Self { ca, dir }
    }

    pub(crate) fn paths(&self, files: &IssuedFiles) -> TlsPaths {
        TlsPaths {
            cert: files.cert.clone(),
            key: files.key.clone(),
            ca: self.ca.cert_path().to_owned(),
        }
    }

    /// A place for files that no other call gives.
    pub(crate) fn files(&self) -> IssuedFiles {
        let dir = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        IssuedFiles { cert: dir.join("cert.pem"), key: dir.join("key.pem") }
    }

    pub(crate) fn issue(&self, identity: &PeerIdentity, validity: Validity) -> IssuedFiles {
        let files = self.files();
        self.ca.issue_to(&files, identity, &Names::default(), validity).unwrap();
        files
    }

    /// Certificates that the public interface doesn't issue.
    pub(crate) fn issue_odd(
        &self,
        uris: &[String],
        purposes: &[ExtendedKeyUsagePurpose],
    ) -> IssuedFiles {
        let files = self.files();
        let names = Names::default();
        self.ca
            .issue_with(&files, "odd", uris.to_vec(), purposes.to_vec(), &names, valid())
            .unwrap();
        files
    }

    pub(crate) fn node_files(&self, id: u64) -> IssuedFiles {
        self.issue(&self.node_identity(id), valid())
    }

    pub(crate) fn node_identity(&self, id: u64) -> PeerIdentity {
        PeerIdentity::node(self.ca.cluster(), node(id))
    }

    pub(crate) fn client_identity(&self, name: &str) -> PeerIdentity {
        PeerIdentity { cluster: self.ca.cluster(), role: Role::Client(name.to_owned()) }
    }

    pub(crate) fn store(&self, id: u64) -> Arc<CertStore> {
        CertStore::load(self.paths(&self.node_files(id))).unwrap()
    }

    /// A CA file with the certificates of this CA and `other`.
    pub(crate) fn ca_beside(&self, other: &Self) -> Vec<u8> {
        [self, other].map(|pki| fs::read(pki.ca.cert_path()).unwrap()).concat()
    }
}

/// Valid, and for `time` at most from now on.
pub(crate) fn ending_after(time: Duration) -> Validity {
    let now = SystemTime::now();
    Validity { not_before: now - DAY, not_after: now + time }
}

/// Reads a pair without the checks of [`crate::Credentials`].
pub(crate) fn certified_key(files: &IssuedFiles) -> Arc<CertifiedKey> {
    let chain = CertificateDer::pem_file_iter(&files.cert).unwrap().map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(&files.key).unwrap();
    Arc::new(CertifiedKey::from_der(chain, key, provider()).unwrap())
}

/// A client that trusts `server`'s CA and node, made to misbehave at will.
pub(crate) struct Client {
    pub(crate) key: Option<Arc<CertifiedKey>>,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    pub(crate) alpn: Vec<Vec<u8>>,
}

impl Client {
    pub(crate) fn with(files: &IssuedFiles) -> Self {
        Self { key: Some(certified_key(files)), ..Self::anonymous() }
    }

    pub(crate) fn anonymous() -> Self {
        Self { key: None, versions: vec![&TLS13], alpn: vec![ALPN_HTTP2.to_vec()] }
    }

    pub(crate) fn config(&self, server: &CertStore) -> ClientConfig {
        let credentials = server.current();
        let identity = credentials.identity();
        let verifier = NodeVerifier::new(
            Arc::clone(credentials.roots()),
            identity.cluster,
            identity.require_any_node().unwrap(),
        );
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match &self.key {
            Some(key) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(key))))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        config
    }
}

pub(crate) async fn dial(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    let name = ServerName::try_from("any.invalid").unwrap();
    TlsConnector::from(config).connect(name, tcp).await
}

/// One handshake over loopback; what became of it at the server.
pub(crate) async fn handshake_at_server(
    server: &CertStore,
    listener: Listener,
    client: &Client,
) -> Result<TlsConn, HandshakeError> {
    both_ends(server, listener, client).await.1
}

/// One handshake over loopback; what became of it at the client and the server.
///
/// The client goes on reading until the server is done: in TLS 1.3 it learns of
/// a refusal of its certificate only then.
pub(crate) async fn both_ends(
    server: &CertStore,
    listener: Listener,
    client: &Client,
) -> (std::io::Result<TlsStream<TcpStream>>, Result<TlsConn, HandshakeError>) {
    let (tcp, address) = bind().await;
    let config = Arc::new(client.config(server));
    let dialled = tokio::spawn(async move { dial(address, config).await });
    let (tcp, remote) = tcp.accept().await.unwrap();
    let open = OpenGuard::open(&Arc::new(AcceptorStats::default()), 1).unwrap();
    let credentials = server.current();
    let work = shake_hands(&credentials, listener, tcp, remote, open);
    let result = tokio::time::timeout(LONG, work).await.expect("a handshake over loopback ends");
    (dialled.await.unwrap(), result)
}

pub(crate) async fn bind() -> (TcpListener, SocketAddr) {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    (tcp, address)
}

/// Waits until `state` holds.
pub(crate) async fn until(what: &str, mut state: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(LONG, async {
        while !state() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("never came true: {what}"));
}

/// Replaces files by rename, as renewal tools do.
pub(crate) fn replace(from: &Path, to: &Path) {
    let beside = to.with_extension("new");
    fs::copy(from, &beside).unwrap();
    fs::rename(beside, to).unwrap();
}
