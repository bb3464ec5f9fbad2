//! The whole way: tonic's server on [`Incoming`], tonic's client on [`Connector`].

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use strongroom_base::{ClusterId, NodeId};
use strongroom_net::{
    AcceptorLimits, AcceptorStats, CertStore, ConnectInfo, Connector, DevelopmentCa, Incoming,
    Listener, Names, PeerIdentity, TlsPaths, Validity,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot};
use tonic::{
    Code, Request, Status,
    service::interceptor::InterceptedService,
    transport::{Endpoint, Server},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const LONG: Duration = Duration::from_secs(30);

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

fn store(ca: &DevelopmentCa, dir: &TempDir, id: u64) -> Arc<CertStore> {
    let validity = Validity::days(SystemTime::now(), Validity::LEAF_DAYS);
    let files = ca.issue_node(dir.path(), node(id), &Names::default(), validity).unwrap();
    let paths = TlsPaths { cert: files.cert, key: files.key, ca: ca.cert_path().to_owned() };
    CertStore::load(paths).unwrap()
}

#[tokio::test]
async fn a_call_carries_its_callers_identity_and_shutdown_frees_the_port() {
    let dir = TempDir::new().unwrap();
    let cluster = ClusterId::from_random([9; 16]);
    let validity = Validity::days(SystemTime::now(), Validity::CA_DAYS);
    let ca = DevelopmentCa::create(dir.path(), cluster, validity).unwrap();

    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let stats = Arc::new(AcceptorStats::default());
    let limits = AcceptorLimits::of(Listener::Peer);
    let incoming =
        Incoming::new(tcp, Listener::Peer, store(&ca, &dir, 1), limits, Arc::clone(&stats));

    let seen: Arc<Mutex<Vec<ConnectInfo>>> = Arc::default();
    let noted = Arc::clone(&seen);
    let note = move |request: Request<()>| {
        let info = request.extensions().get::<ConnectInfo>().cloned();
        let info = info.ok_or_else(|| Status::internal("no connection information"))?;
        noted.lock().unwrap().push(info);
        Ok(request)
    };
    let (_, health) = tonic_health::server::health_reporter();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(
        Server::builder()
            .add_service(InterceptedService::new(health, note))
            .serve_with_incoming_shutdown(incoming, async { drop(stopped.await) }),
    );

    // Node 2 calls node 1; a dial of "node 3" at the same address is refused.
    let client = store(&ca, &dir, 2);
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let wrong = Connector::new(Arc::clone(&client), node(3), LONG);
    assert!(endpoint.connect_with_connector(wrong).await.is_err());
    let right = Connector::new(client, node(1), LONG);
    let channel = endpoint.connect_with_connector(right.clone()).await.unwrap();
    let mut health = HealthClient::new(channel.clone());
    let request = HealthCheckRequest { service: String::new() };
    health.check(request.clone()).await.unwrap();

    let identity = seen.lock().unwrap()[0].identity.clone();
    assert_eq!(identity.as_deref(), Some(&PeerIdentity::node(cluster, node(2))));
    assert_eq!(stats.counts().accepted, 1);

    stop.send(()).unwrap();
    tokio::time::timeout(LONG, server).await.unwrap().unwrap().unwrap();
    let status = health.check(request).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(stats.counts().open, 0);
    TcpListener::bind(address).await.unwrap();
}
