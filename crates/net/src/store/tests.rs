use std::{os::unix::fs::symlink, time::SystemTime};

use rcgen::ExtendedKeyUsagePurpose;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_stream::StreamExt as _;
use tower::Service as _;

use super::*;
use crate::{
    AcceptorLimits, AcceptorStats, Connector, Ending, IdentityError, Incoming, IssuedFiles,
    Listener, Validity,
    testing::{LONG, Pki, bind, cluster, ending_after, expired, node, replace, until, valid},
};

/// A store of node 1, its files, and a second certificate for the same node.
struct Renewal {
    pki: Pki,
    store: Arc<CertStore>,
    files: IssuedFiles,
    next: IssuedFiles,
}

impl Renewal {
    fn new() -> Self {
        let pki = Pki::new(cluster(1));
        let files = pki.node_files(1);
        let later = Validity::days(SystemTime::now(), Validity::LEAF_DAYS + 1);
        let next = pki.issue(&pki.node_identity(1), later);
        let store = CertStore::load(pki.paths(&files)).unwrap();
        Self { pki, store, files, next }
    }

    /// Puts `files` in place of the store's, refuses or takes them.
    fn reload(&self, files: &IssuedFiles) -> Result<(), LoadError> {
        replace(&files.cert, &self.files.cert);
        replace(&files.key, &self.files.key);
        self.store.reload()
    }

    /// Asserts that `files` are refused and the first certificate stays.
    fn refused(&self, files: &IssuedFiles) -> LoadError {
        let before = self.store.current();
        let counts = self.store.counts();
        let error = self.reload(files).unwrap_err();
        assert!(Arc::ptr_eq(&before, &self.store.current()));
        assert_eq!(self.store.counts().failed, counts.failed + 1);
        assert_eq!(self.store.counts().reloaded, counts.reloaded);
        error
    }
}

#[test]
fn a_half_replaced_pair_is_refused_and_the_whole_one_taken() {
    let renewal = Renewal::new();
    let first = renewal.store.not_after();
    replace(&renewal.next.cert, &renewal.files.cert);
    let error = renewal.store.reload().unwrap_err();
    assert!(matches!(error, LoadError::KeyMismatch { .. }), "{error:?}");
    assert_eq!(renewal.store.not_after(), first);
    replace(&renewal.next.key, &renewal.files.key);
    renewal.store.reload().unwrap();
    assert!(renewal.store.not_after() > first);
    let counts = renewal.store.counts();
    assert_eq!((counts.reloaded, counts.failed), (1, 1));
}

#[test]
fn files_cut_short_at_any_place_are_refused() {
    let renewal = Renewal::new();
    for path in [&renewal.files.cert, &renewal.files.key] {
        let whole = fs::read(path).unwrap();
        let marker = b"-----END";
        let end = whole.windows(marker.len()).position(|part| part == marker).unwrap();
        for length in (0..=end).step_by(7) {
            fs::write(path, &whole[..length]).unwrap();
            let error = renewal.store.reload().unwrap_err();
            assert_eq!(error.path(), Some(path.as_path()), "{error:?}");
        }
        fs::write(path, &whole).unwrap();
        renewal.store.reload().unwrap();
    }
}

#[test]
fn a_certificate_of_somebody_else_is_refused() {
    let renewal = Renewal::new();
    let error = renewal.refused(&renewal.pki.node_files(2));
    assert!(matches!(error, LoadError::IdentityChanged { .. }), "{error:?}");
    let stranger = PeerIdentity::node(cluster(2), node(1));
    let error = renewal.refused(&renewal.pki.issue(&stranger, valid()));
    assert!(matches!(error, LoadError::IdentityChanged { .. }), "{error:?}");
    let error = renewal.refused(&Pki::new(cluster(1)).node_files(1));
    assert!(matches!(error, LoadError::NotFromCa { .. }), "{error:?}");
    let error = renewal.refused(&renewal.pki.issue_odd(&[], &[]));
    let none = matches!(error, LoadError::Identity { source: IdentityError::Missing, .. });
    assert!(none, "{error:?}");
}

#[test]
fn an_expired_certificate_does_not_replace_a_valid_one_but_is_taken_at_start() {
    let renewal = Renewal::new();
    let old = renewal.pki.issue(&renewal.pki.node_identity(1), expired());
    let error = renewal.refused(&old);
    assert!(matches!(error, LoadError::NotValidNow { .. }), "{error:?}");
    let store = CertStore::load(renewal.pki.paths(&old)).unwrap();
    assert!(!store.current().is_valid_at(now()));
}

#[test]
fn a_certificate_without_a_nodes_purposes_is_refused_at_home() {
    let pki = Pki::new(cluster(1));
    let uri = pki.node_identity(1).to_string();
    for purpose in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth] {
        let files = pki.issue_odd(std::slice::from_ref(&uri), &[purpose]);
        let error = CertStore::load(pki.paths(&files)).err().unwrap();
        assert!(matches!(error, LoadError::NotFromCa { .. }), "{error:?}");
    }
}

#[test]
fn files_that_are_missing_empty_or_huge_are_named() {
    let pki = Pki::new(cluster(1));
    let files = pki.node_files(1);
    let paths = pki.paths(&files);
    let load = |paths: &TlsPaths| CertStore::load(paths.clone()).err().unwrap();

    let absent = pki.dir.path().join("absent.pem");
    let error = load(&TlsPaths { ca: absent.clone(), ..paths.clone() });
    assert!(matches!(&error, LoadError::Read { path, .. } if *path == absent), "{error:?}");

    let empty = pki.dir.path().join("empty.pem");
    fs::write(&empty, "").unwrap();
    let error = load(&TlsPaths { cert: empty.clone(), ..paths.clone() });
    assert!(matches!(&error, LoadError::NoCertificate { .. }), "{error:?}");
    let error = load(&TlsPaths { key: empty, ..paths.clone() });
    assert!(matches!(&error, LoadError::NoKey { .. }), "{error:?}");
    let error = load(&TlsPaths { key: files.cert.clone(), ..paths.clone() });
    assert!(matches!(&error, LoadError::NoKey { .. }), "{error:?}");

    let huge = pki.dir.path().join("huge.pem");
    fs::write(&huge, vec![b'\n'; 1024 * 1024 + 1]).unwrap();
    let error = load(&TlsPaths { ca: huge, ..paths });
    assert!(matches!(&error, LoadError::TooLarge { .. }), "{error:?}");
}

#[test]
fn looking_reads_only_what_changed_and_tries_again_what_was_refused() {
    let renewal = Renewal::new();
    renewal.store.reload_if_changed();
    assert_eq!(renewal.store.counts(), ReloadCounts::default());
    replace(&renewal.next.cert, &renewal.files.cert);
    renewal.store.reload_if_changed();
    renewal.store.reload_if_changed();
    assert_eq!(renewal.store.counts().failed, 2);
    replace(&renewal.next.key, &renewal.files.key);
    renewal.store.reload_if_changed();
    renewal.store.reload_if_changed();
    assert_eq!(renewal.store.counts().reloaded, 1);
}

#[tokio::test]
async fn the_watch_finds_a_directory_swapped_by_symbolic_link() {
    let renewal = Renewal::new();
    let dir = renewal.pki.dir.path();
    let directory_of = |files: &IssuedFiles| files.cert.parent().unwrap().to_owned();
    let current = dir.join("current");
    symlink(directory_of(&renewal.files), &current).unwrap();
    let paths = renewal
        .pki
        .paths(&IssuedFiles { cert: current.join("cert.pem"), key: current.join("key.pem") });
    let store = CertStore::load(paths).unwrap();
    let before = store.not_after();
    let watch = tokio::spawn(Arc::clone(&store).watch_every(Duration::from_millis(10)));

    let beside = dir.join("beside");
    symlink(directory_of(&renewal.next), &beside).unwrap();
    fs::rename(&beside, &current).unwrap();
    until("the new certificate is in use", || store.not_after() > before).await;
    assert_eq!(store.counts().failed, 0);
    watch.abort();
}

#[tokio::test]
async fn new_connections_use_the_new_certificate_while_old_ones_go_on() {
    let renewal = Renewal::new();
    let (tcp, address) = bind().await;
    let stats = Arc::new(AcceptorStats::default());
    let limits = AcceptorLimits::of(Listener::Peer);
    let mut incoming =
        Incoming::new(tcp, Listener::Peer, Arc::clone(&renewal.store), limits, stats);
    let server = tokio::spawn(async move {
        let mut echoes = Vec::new();
        while let Some(Ok(mut connection)) = incoming.next().await {
            echoes.push(tokio::spawn(async move {
                let mut bytes = [0; 4];
                while connection.read_exact(&mut bytes).await.is_ok() {
                    connection.write_all(&bytes).await.unwrap();
                    connection.flush().await.unwrap();
                }
            }));
        }
    });
    let uri: http::Uri = format!("http://{address}").parse().unwrap();
    let mut connector = Connector::new(renewal.pki.store(2), node(1), LONG);
    let mut old = connector.call(uri.clone()).await.unwrap().into_inner();
    renewal.reload(&renewal.next).unwrap();
    let mut new = connector.call(uri).await.unwrap().into_inner();

    let certificate = |stream: &Ending<tokio_rustls::client::TlsStream<_>>| {
        stream.get_ref().get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    assert_ne!(certificate(&old), certificate(&new));
    assert_eq!(certificate(&new), renewal.store.current().key().cert[0]);
    for stream in [&mut old, &mut new] {
        stream.write_all(b"ping").await.unwrap();
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes).await.unwrap();
        assert_eq!(&bytes, b"ping");
    }
    server.abort();
}

#[tokio::test]
async fn a_ca_that_is_taken_out_is_trusted_no_longer() {
    let renewal = Renewal::new();
    let other = Pki::new(cluster(1));
    let ca = renewal.pki.ca.cert_path();
    let own = fs::read(ca).unwrap();
    let both = renewal.pki.ca_beside(&other);
    let client = crate::testing::Client::with(&other.node_files(2));
    let attempt = || crate::testing::handshake_at_server(&renewal.store, Listener::Peer, &client);

    assert!(attempt().await.is_err());
    fs::write(ca, both).unwrap();
    renewal.store.reload().unwrap();
    assert!(attempt().await.is_ok());
    fs::write(ca, own).unwrap();
    renewal.store.reload().unwrap();
    assert!(attempt().await.is_err());
}

#[tokio::test]
async fn a_ca_that_ends_is_trusted_no_longer_from_the_next_look_on() {
    let renewal = Renewal::new();
    // Long enough for what comes before the wait on any machine.
    let other = Pki::lasting(cluster(1), ending_after(Duration::from_secs(5)));
    let client = crate::testing::Client::with(&other.node_files(2));
    let attempt = || crate::testing::handshake_at_server(&renewal.store, Listener::Peer, &client);
    fs::write(renewal.pki.ca.cert_path(), renewal.pki.ca_beside(&other)).unwrap();
    renewal.store.reload_if_changed();
    assert!(attempt().await.is_ok());
    let trust = renewal.store.current().trust().clone();

    until("the look finds that the CA has ended", || {
        renewal.store.reload_if_changed();
        renewal.store.counts().reloaded == 2
    })
    .await;
    assert_eq!(renewal.store.current().cas_ended(), 1);
    assert!(trust.is_cancelled(), "connections made before are ended");
    assert!(attempt().await.is_err());
    renewal.store.reload_if_changed();
    assert_eq!(renewal.store.counts().reloaded, 2, "what has ended is read once");
}

#[test]
fn a_key_file_that_others_may_open_is_found() {
    let renewal = Renewal::new();
    let key = &renewal.files.key;
    assert_eq!(mode_open_to_others(key), None);
    for mode in [0o640, 0o604, 0o601] {
        fs::set_permissions(key, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(mode_open_to_others(key), Some(mode));
    }
}

#[test]
fn nothing_of_a_key_is_shown() {
    let renewal = Renewal::new();
    let shown = format!("{:?}", renewal.store.current());
    assert!(!shown.contains("key"), "{shown}");
}
