use std::{fs, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinHandle,
};
use tokio_stream::StreamExt as _;
use tower::Service as _;

use super::*;
use crate::{
    AcceptorLimits, AcceptorStats, CertStore, Connector, Incoming, Listener, PeerStream, TlsPaths,
    clock::now,
    testing::{Client, LONG, Pki, bind, both_ends, cluster, ending_after, node, valid},
};

/// What has ended `stream`, which the other end leaves open. Waits for it.
async fn ended(stream: &mut (impl AsyncRead + Unpin)) -> Ended {
    let read = tokio::time::timeout(LONG, stream.read(&mut [0; 1])).await;
    let error = read.expect("the stream ends").expect_err("the other end sends nothing");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    *error.get_ref().unwrap().downcast_ref::<Ended>().unwrap()
}

/// Asserts that four bytes go through.
async fn assert_open(from: &mut (impl AsyncWrite + Unpin), to: &mut (impl AsyncRead + Unpin)) {
    from.write_all(b"ping").await.unwrap();
    from.flush().await.unwrap();
    let mut bytes = [0; 4];
    tokio::time::timeout(LONG, to.read_exact(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(&bytes, b"ping");
}

/// A listener of `store` that keeps what it accepts open, and a connection of
/// node 2, whose own credentials are `dialler`, to it.
async fn dialled(store: Arc<CertStore>, dialler: Arc<CertStore>) -> (PeerStream, JoinHandle<()>) {
    let (tcp, address) = bind().await;
    let (limits, stats) = (AcceptorLimits::of(Listener::Peer), Arc::new(AcceptorStats::default()));
    let mut incoming = Incoming::new(tcp, Listener::Peer, store, limits, stats);
    let server = tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Some(connection) = incoming.next().await {
            kept.push(connection);
        }
    });
    let uri = format!("http://{address}").parse().unwrap();
    let stream = Connector::new(dialler, node(1), LONG).call(uri).await.unwrap();
    (stream, server)
}

#[tokio::test]
async fn an_ended_stream_refuses_what_is_left_to_be_read_and_everything_else() {
    let token = CancellationToken::new();
    let (near, mut far) = tokio::io::duplex(64);
    let mut near = Ending::new(near, None, token.clone());
    assert_open(&mut near, &mut far).await;
    far.write_all(b"left").await.unwrap();
    token.cancel();
    assert_eq!(ended(&mut near).await, Ended::Cancelled);
    assert_eq!(ended(&mut near).await, Ended::Cancelled, "it stays ended");
    for refused in [
        near.write_all(b"more").await,
        near.flush().await,
        near.shutdown().await,
        near.write_vectored(&[IoSlice::new(b"more")]).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }
}

#[tokio::test]
async fn a_stream_that_nothing_comes_on_ends_when_its_moment_is_past() {
    let (near, mut far) = tokio::io::duplex(64);
    let soon = UnixMillis(now().0 + 50);
    let mut near = Ending::new(near, Some(soon), CancellationToken::new());
    assert_eq!(ended(&mut near).await, Ended::Certificate);
    assert!(now() > soon);
    drop(near);
    assert_eq!(far.read(&mut [0; 1]).await.unwrap(), 0, "and with it the other end's");
}

#[tokio::test]
async fn a_connection_ends_with_the_certificate_of_its_peer() {
    let pki = Pki::new(cluster(1));
    // Long enough for the handshakes on any machine.
    let short = || ending_after(Duration::from_secs(6));
    let app = pki.client_identity("app");
    let files = [
        (Listener::Peer, pki.issue(&pki.node_identity(2), short())),
        (Listener::Client, pki.issue(&app, short())),
    ];
    let server = CertStore::load(pki.paths(&pki.issue(&pki.node_identity(1), short()))).unwrap();
    let (dialled, task) = dialled(Arc::clone(&server), pki.store(2)).await;
    let mut ends = Vec::new();
    for (listener, files) in &files {
        let (client, accepted) = both_ends(&server, *listener, &Client::with(files)).await;
        ends.push((client.unwrap(), accepted.unwrap()));
    }
    let client = Client::with(&pki.issue(&app, valid()));
    let (lasting, accepted) = both_ends(&server, Listener::Client, &client).await;
    let (mut lasting, mut lasting_accepted) = (lasting.unwrap(), accepted.unwrap());

    assert_eq!(ended(&mut dialled.into_inner()).await, Ended::Certificate);
    for (_client, mut accepted) in ends {
        assert_eq!(ended(&mut accepted).await, Ended::Certificate);
    }
    assert_open(&mut lasting, &mut lasting_accepted).await;
    task.abort();
}

#[tokio::test]
async fn connections_end_when_a_ca_is_taken_out_but_not_those_that_proved_nothing() {
    let (pki, other) = (Pki::new(cluster(1)), Pki::new(cluster(1)));
    let own = fs::read(pki.ca.cert_path()).unwrap();
    let store = pki.store(1);
    let connect = async |listener, client: Client| {
        let (near, accepted) = both_ends(&store, listener, &client).await;
        (near.unwrap(), accepted.unwrap())
    };
    let mut anonymous = connect(Listener::Client, Client::anonymous()).await;
    let mut early = connect(Listener::Peer, Client::with(&pki.node_files(2))).await;
    fs::write(pki.ca.cert_path(), pki.ca_beside(&other)).unwrap();
    store.reload().unwrap();
    let mut late = connect(Listener::Peer, Client::with(&other.node_files(3))).await;
    for (near, accepted) in [&mut anonymous, &mut early, &mut late] {
        assert_open(near, accepted).await;
    }

    fs::write(pki.ca.cert_path(), own).unwrap();
    store.reload().unwrap();
    assert_eq!(ended(&mut late.1).await, Ended::Cancelled);
    assert_eq!(
        ended(&mut early.1).await,
        Ended::Cancelled,
        "made before, under a set that is gone"
    );
    assert_open(&mut anonymous.0, &mut anonymous.1).await;
    let (mut near, mut accepted) = connect(Listener::Peer, Client::with(&pki.node_files(2))).await;
    store.reload().unwrap();
    assert_open(&mut near, &mut accepted).await;
}

#[test]
fn a_handshake_under_a_ca_that_is_taken_out_meanwhile_makes_no_connection_that_lasts() {
    let (pki, other) = (Pki::new(cluster(1)), Pki::new(cluster(1)));
    let own = fs::read(pki.ca.cert_path()).unwrap();
    fs::write(pki.ca.cert_path(), pki.ca_beside(&other)).unwrap();
    let store = pki.store(1);
    let before = store.current();
    fs::write(pki.ca.cert_path(), own).unwrap();
    store.reload().unwrap();
    assert!(before.trust().is_cancelled());
    assert!(before.trust().child_token().is_cancelled(), "what is made under it is over at once");
    assert!(!store.current().trust().is_cancelled());
}

#[tokio::test]
async fn a_dialled_connection_ends_when_a_ca_is_taken_out() {
    let (pki, other) = (Pki::new(cluster(1)), Pki::new(cluster(1)));
    let own = fs::read(pki.ca.cert_path()).unwrap();
    let ca = pki.dir.path().join("dialler-ca.pem");
    fs::write(&ca, pki.ca_beside(&other)).unwrap();
    let dialler =
        CertStore::load(TlsPaths { ca: ca.clone(), ..pki.paths(&pki.node_files(2)) }).unwrap();
    let (stream, task) = dialled(pki.store(1), Arc::clone(&dialler)).await;
    fs::write(&ca, own).unwrap();
    dialler.reload().unwrap();
    assert_eq!(ended(&mut stream.into_inner()).await, Ended::Cancelled);
    task.abort();
}

#[tokio::test]
async fn one_connection_is_ended_by_what_its_requests_carry() {
    let pki = Pki::new(cluster(1));
    let store = pki.store(1);
    let files = pki.node_files(2);
    let identity = pki.node_identity(2);
    for client in [Client::with(&files), Client::anonymous()] {
        let listener = if client.key.is_some() { Listener::Peer } else { Listener::Client };
        let (_near, accepted) = both_ends(&store, listener, &client).await;
        let (mut other, other_accepted) = both_ends(&store, listener, &client).await;
        let (mut accepted, mut other_accepted) = (accepted.unwrap(), other_accepted.unwrap());
        let info = accepted.info().clone();
        assert_eq!(info.identity.is_some(), client.key.is_some());
        assert!(info.identity.as_deref().is_none_or(|proven| *proven == identity));
        info.end();
        info.end();
        assert_eq!(ended(&mut accepted).await, Ended::Cancelled);
        assert_open(other.as_mut().unwrap(), &mut other_accepted).await;
    }
}
