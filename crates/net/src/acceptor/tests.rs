use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize, atomic::Ordering},
    time::Duration,
};

use rcgen::ExtendedKeyUsagePurpose;
use rustls::{
    HandshakeKind,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};
use tokio_stream::StreamExt as _;

use super::*;
use crate::{
    AcceptorCounts, IdentityError, Role,
    testing::{
        Client, LONG, Pki, bind, cluster, dial, expired, handshake_at_server, node, not_yet_valid,
        until,
    },
};

/// What the peer listener says of a client.
async fn refusal(pki: &Pki, client: &Client) -> HandshakeError {
    handshake_at_server(&pki.store(1), Listener::Peer, client).await.unwrap_err()
}

#[tokio::test]
async fn no_certificate_is_refused_on_the_peer_listener() {
    let pki = Pki::new(cluster(1));
    let error = refusal(&pki, &Client::anonymous()).await;
    assert!(matches!(error, HandshakeError::NoCertificate), "{error:?}");
}

#[tokio::test]
async fn a_foreign_ca_is_refused_even_under_the_same_name() {
    let pki = Pki::new(cluster(1));
    for foreign in [Pki::new(cluster(1)), Pki::new(cluster(2))] {
        for listener in [Listener::Peer, Listener::Client] {
            let client = Client::with(&foreign.node_files(2));
            let error = handshake_at_server(&pki.store(1), listener, &client).await.unwrap_err();
            assert!(matches!(error, HandshakeError::UntrustedIssuer), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_refused_on_the_peer_listener() {
    let pki = Pki::new(cluster(1));
    let operator = PeerIdentity { cluster: cluster(1), role: Role::Operator("alice".to_owned()) };
    for identity in [pki.client_identity("app"), operator] {
        let client = Client::with(&pki.issue(&identity, crate::testing::valid()));
        let error = refusal(&pki, &client).await;
        assert!(matches!(error, HandshakeError::Identity(IdentityError::NotNode)), "{error:?}");
    }
}

#[tokio::test]
async fn another_cluster_is_refused_on_both_listeners() {
    let pki = Pki::new(cluster(1));
    let stranger = PeerIdentity::node(cluster(2), node(2));
    let client = Client::with(&pki.issue(&stranger, crate::testing::valid()));
    for listener in [Listener::Peer, Listener::Client] {
        let error = handshake_at_server(&pki.store(1), listener, &client).await.unwrap_err();
        let HandshakeError::Identity(IdentityError::OtherCluster { expected, got }) = error else {
            panic!("{error:?}");
        };
        assert_eq!((expected, got), (cluster(1), cluster(2)));
    }
}

#[tokio::test]
async fn a_certificate_outside_its_validity_is_refused_on_both_listeners() {
    let pki = Pki::new(cluster(1));
    for listener in [Listener::Peer, Listener::Client] {
        let client = Client::with(&pki.issue(&pki.node_identity(2), expired()));
        let error = handshake_at_server(&pki.store(1), listener, &client).await.unwrap_err();
        assert!(matches!(error, HandshakeError::Expired), "{error:?}");
        let client = Client::with(&pki.issue(&pki.node_identity(2), not_yet_valid()));
        let error = handshake_at_server(&pki.store(1), listener, &client).await.unwrap_err();
        assert!(matches!(error, HandshakeError::NotYetValid), "{error:?}");
    }
}

#[tokio::test]
async fn any_number_of_identities_but_one_is_refused_on_both_listeners() {
    let pki = Pki::new(cluster(1));
    let one = pki.node_identity(2).to_string();
    let other = pki.node_identity(3).to_string();
    let client_auth = [ExtendedKeyUsagePurpose::ClientAuth];
    for (uris, expected) in [
        (vec![], IdentityError::Missing),
        (vec!["https://example.org/node/2".to_owned()], IdentityError::Missing),
        (vec![one.clone(), other], IdentityError::Several),
        (vec![one.clone(), one.clone()], IdentityError::Several),
        (vec![one.clone(), "strongroom://cluster/".to_owned()], IdentityError::Malformed),
        (vec![one.replace("strongroom:", "Strongroom:")], IdentityError::Malformed),
    ] {
        let files = pki.issue_odd(&uris, &client_auth);
        for listener in [Listener::Peer, Listener::Client] {
            let client = Client::with(&files);
            let error = handshake_at_server(&pki.store(1), listener, &client).await.unwrap_err();
            let HandshakeError::Identity(got) = error else { panic!("{error:?}") };
            assert_eq!(got, expected);
        }
    }
}

#[tokio::test]
async fn a_certificate_for_servers_only_is_no_client() {
    let pki = Pki::new(cluster(1));
    let uri = pki.node_identity(2).to_string();
    let files = pki.issue_odd(&[uri], &[ExtendedKeyUsagePurpose::ServerAuth]);
    let error = refusal(&pki, &Client::with(&files)).await;
    assert!(matches!(error, HandshakeError::WrongPurpose), "{error:?}");
}

#[tokio::test]
async fn tls_1_2_is_for_the_client_listener_only() {
    let pki = Pki::new(cluster(1));
    let client = Client { versions: vec![&TLS12], ..Client::with(&pki.node_files(2)) };
    let error = refusal(&pki, &client).await;
    assert!(matches!(error, HandshakeError::Tls(_)), "{error:?}");
    assert!(handshake_at_server(&pki.store(1), Listener::Client, &client).await.is_ok());
}

#[tokio::test]
async fn whoever_does_not_agree_on_http2_is_refused() {
    let pki = Pki::new(cluster(1));
    for alpn in [vec![], vec![b"http/1.1".to_vec()]] {
        let client = Client { alpn, ..Client::with(&pki.node_files(2)) };
        for listener in [Listener::Peer, Listener::Client] {
            let error = handshake_at_server(&pki.store(1), listener, &client).await.unwrap_err();
            assert!(matches!(error, HandshakeError::NoHttp2), "{error:?}");
        }
    }
}

#[tokio::test]
async fn a_node_is_known_by_its_certificate() {
    let pki = Pki::new(cluster(1));
    let client = Client::with(&pki.node_files(7));
    let connection = handshake_at_server(&pki.store(1), Listener::Peer, &client).await.unwrap();
    assert_eq!(connection.info().identity.as_deref(), Some(&pki.node_identity(7)));
    assert!(connection.info().remote.ip().is_loopback());
}

#[tokio::test]
async fn a_certificate_is_optional_on_the_client_listener_and_verified_if_there() {
    let pki = Pki::new(cluster(1));
    let store = pki.store(1);
    let client = Client { versions: vec![&TLS13, &TLS12], ..Client::anonymous() };
    let connection = handshake_at_server(&store, Listener::Client, &client).await.unwrap();
    assert_eq!(connection.info().identity, None);

    let app = pki.client_identity("app");
    let client = Client::with(&pki.issue(&app, crate::testing::valid()));
    let connection = handshake_at_server(&store, Listener::Client, &client).await.unwrap();
    assert_eq!(connection.info().identity.as_deref(), Some(&app));
}

/// A listener that is polled by a task and gives its connections to the test.
struct Server {
    address: SocketAddr,
    stats: Arc<AcceptorStats>,
    connections: mpsc::UnboundedReceiver<TlsConn>,
    task: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(store: Arc<CertStore>, listener: Listener, limits: AcceptorLimits) -> Self {
        let (tcp, address) = bind().await;
        let stats = Arc::new(AcceptorStats::default());
        let mut incoming = Incoming::new(tcp, listener, store, limits, Arc::clone(&stats));
        assert_eq!(incoming.local_addr().unwrap(), address);
        let (tx, connections) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            while let Some(connection) = incoming.next().await {
                if tx.send(connection.expect("the stream yields no error")).is_err() {
                    return;
                }
            }
        });
        Self { address, stats, connections, task }
    }

    fn counts(&self) -> AcceptorCounts {
        self.stats.counts()
    }

    async fn accepted(&mut self) -> TlsConn {
        tokio::time::timeout(LONG, self.connections.recv()).await.unwrap().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn limits() -> AcceptorLimits {
    AcceptorLimits { connections_max: 64, handshakes_max: 8, handshake_timeout: LONG }
}

#[tokio::test]
async fn a_refused_handshake_is_counted_and_the_next_one_is_served() {
    let pki = Pki::new(cluster(1));
    let store = pki.store(1);
    let mut server = Server::start(Arc::clone(&store), Listener::Peer, limits()).await;
    let anonymous = Arc::new(Client::anonymous().config(&store));
    drop(dial(server.address, anonymous).await);
    let mut garbage = TcpStream::connect(server.address).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    until("two handshakes failed", || server.counts().handshake_failed == 2).await;

    let config = Arc::new(Client::with(&pki.node_files(2)).config(&store));
    let mut client = dial(server.address, config).await.unwrap();
    let mut accepted = server.accepted().await;
    client.write_all(b"ping").await.unwrap();
    let mut bytes = [0; 4];
    accepted.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"ping");
    assert_eq!((server.counts().accepted, server.counts().open), (1, 1));
    drop(accepted);
    assert_eq!(server.counts().open, 0);
}

#[tokio::test]
async fn a_silent_handshake_holds_nobody_up() {
    let pki = Pki::new(cluster(1));
    let store = pki.store(1);
    let mut server = Server::start(Arc::clone(&store), Listener::Client, limits()).await;
    let silent = TcpStream::connect(server.address).await.unwrap();
    until("the silent connection is open", || server.counts().open == 1).await;
    let config = Arc::new(Client::anonymous().config(&store));
    let client = dial(server.address, config).await.unwrap();
    let accepted = server.accepted().await;
    assert_eq!(server.counts().open, 2);
    drop((silent, client, accepted));
}

#[tokio::test]
async fn a_silent_handshake_is_dropped() {
    let pki = Pki::new(cluster(1));
    let limits = AcceptorLimits { handshake_timeout: Duration::from_millis(200), ..limits() };
    let server = Server::start(pki.store(1), Listener::Client, limits).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let ended = tokio::time::timeout(LONG, silent.read(&mut [0; 16])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)), "the connection is closed: {ended:?}");
    until("it is counted", || server.counts().handshake_timeout == 1).await;
    assert_eq!(server.counts().open, 0);
}

#[tokio::test]
async fn handshakes_that_drip_bytes_are_dropped_at_the_same_time() {
    let pki = Pki::new(cluster(1));
    let limits = AcceptorLimits { handshake_timeout: Duration::from_millis(300), ..limits() };
    let server = Server::start(pki.store(1), Listener::Client, limits).await;
    let mut drip = TcpStream::connect(server.address).await.unwrap();
    // The head of a TLS record of 16,384 bytes, then one byte after another.
    drip.write_all(&[0x16, 0x03, 0x01, 0x40, 0x00]).await.unwrap();
    let dripping = tokio::spawn(async move {
        while drip.write_all(&[1]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    until("the dripping one is dropped", || server.counts().handshake_timeout == 1).await;
    assert_eq!(server.counts().open, 0);
    tokio::time::timeout(LONG, dripping).await.unwrap().unwrap();
}

#[tokio::test]
async fn silent_handshakes_on_every_place_hold_others_for_a_tenth_of_the_time() {
    let pki = Pki::new(cluster(1));
    let store = pki.store(1);
    let handshake_timeout = Duration::from_secs(20);
    let limits = AcceptorLimits { handshakes_max: 4, handshake_timeout, ..limits() };
    let mut server = Server::start(Arc::clone(&store), Listener::Client, limits).await;
    let mut silent = Vec::new();
    for _ in 0..limits.handshakes_max {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    until("every place is taken", || server.counts().open == 4).await;
    let config = Arc::new(Client::anonymous().config(&store));
    let begun = Instant::now();
    let client = dial(server.address, config).await.unwrap();
    let accepted = server.accepted().await;
    assert!(begun.elapsed() < handshake_timeout, "{:?}", begun.elapsed());
    assert!(server.counts().handshake_timeout > 0);
    drop((client, accepted));
}

#[tokio::test]
async fn a_connection_over_the_limit_is_closed_and_counted_until_one_ends() {
    let pki = Pki::new(cluster(1));
    let store = pki.store(1);
    let limits = AcceptorLimits { connections_max: 1, ..limits() };
    let mut server = Server::start(Arc::clone(&store), Listener::Client, limits).await;
    let config = Arc::new(Client::anonymous().config(&store));
    let first = dial(server.address, Arc::clone(&config)).await.unwrap();
    let accepted = server.accepted().await;

    let refused = tokio::time::timeout(LONG, dial(server.address, Arc::clone(&config))).await;
    assert!(refused.unwrap().is_err());
    assert_eq!(server.counts().refused_over_limit, 1);

    drop((first, accepted));
    assert_eq!(server.counts().open, 0);
    let _client = dial(server.address, config).await.unwrap();
    let _accepted = server.accepted().await;
    assert_eq!(server.counts().accepted, 2);
}

#[tokio::test]
async fn no_session_is_resumed() {
    let pki = Pki::new(cluster(1));
    let store = pki.store(1);
    let mut server = Server::start(Arc::clone(&store), Listener::Client, limits()).await;
    for versions in [vec![&TLS13], vec![&TLS12]] {
        // One configuration, and so one memory of sessions, for all three.
        let client = Client { versions, ..Client::anonymous() };
        let config = Arc::new(client.config(&store));
        for _ in 0..3 {
            let mut client = dial(server.address, Arc::clone(&config)).await.unwrap();
            let mut accepted = server.accepted().await;
            // A ticket, if there were one, comes before the first bytes.
            accepted.write_all(b"x").await.unwrap();
            accepted.flush().await.unwrap();
            client.read_exact(&mut [0]).await.unwrap();
            assert_eq!(client.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        }
    }
}

#[tokio::test]
async fn accepting_goes_on_after_the_system_ran_out_of_descriptors() {
    let pki = Pki::new(cluster(1));
    let store = pki.store(1);
    let (tcp, address) = bind().await;
    let stats = Arc::new(AcceptorStats::default());
    let mut incoming =
        Incoming::new(tcp, Listener::Client, Arc::clone(&store), limits(), Arc::clone(&stats));
    const EMFILE: i32 = 24;
    incoming.note_accept_error(&io::Error::from_raw_os_error(EMFILE));
    assert!(incoming.pause.is_some());
    assert_eq!(stats.counts().accept_failed, 1);
    let config = Arc::new(Client::anonymous().config(&store));
    let client = tokio::spawn(dial(address, config));
    let accepted = tokio::time::timeout(LONG, incoming.next()).await.unwrap();
    assert!(accepted.unwrap().is_ok());
    client.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_connection_that_broke_before_it_was_accepted_causes_no_pause() {
    let pki = Pki::new(cluster(1));
    let (tcp, _) = bind().await;
    let stats = Arc::new(AcceptorStats::default());
    let mut incoming = Incoming::new(tcp, Listener::Client, pki.store(1), limits(), stats);
    incoming.note_accept_error(&io::ErrorKind::ConnectionAborted.into());
    assert!(incoming.pause.is_none());
}

#[tokio::test]
async fn many_connections_at_once_are_all_served() {
    let pki = Pki::new(cluster(1));
    let store = pki.store(1);
    // More than may shake hands at a time: the others wait, none is refused.
    let limits = AcceptorLimits { connections_max: 1000, ..limits() };
    let mut server = Server::start(Arc::clone(&store), Listener::Client, limits).await;
    let config = Arc::new(Client::anonymous().config(&store));
    let served = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let (config, served, address) =
                (Arc::clone(&config), Arc::clone(&served), server.address);
            tokio::spawn(async move {
                let client = dial(address, config).await.unwrap();
                served.fetch_add(1, Ordering::Relaxed);
                client
            })
        })
        .collect();
    let mut accepted = Vec::new();
    while accepted.len() < clients.len() {
        accepted.push(server.accepted().await);
    }
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(served.load(Ordering::Relaxed), 100);
    assert_eq!(server.counts().refused_over_limit + server.counts().handshake_failed, 0);
}

#[test]
fn refusals_are_logged_once_a_second_and_the_rest_counted() {
    let mut log = LogLimit::default();
    assert_eq!(log.pass(), Some(0));
    assert_eq!(log.pass(), None);
    assert_eq!(log.pass(), None);
    log.last = Instant::now().checked_sub(LOG_EVERY);
    assert_eq!(log.pass(), Some(2));
}
