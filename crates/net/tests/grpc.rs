//! The whole way: tonic's server on [`Incoming`], tonic's client on [`Connector`].

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use strongroom_base::{ClusterId, NodeId};
use strongroom_net::{
    AcceptorLimits, AcceptorStats, CertStore, ConnectInfo, Connector, DevelopmentCa, Incoming,
    Listener, Names, PeerIdentity, TlsPaths, Validity,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::{
    Code, Request, Status,
    service::interceptor::InterceptedService,
    transport::{Endpoint, Error, Server},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

const LONG: Duration = Duration::from_secs(30);

fn node(id: u64) -> NodeId {
    NodeId::new(id).unwrap()
}

/// Node 1, which serves gRPC health to its peers and notes who calls.
struct Served {
    ca: DevelopmentCa,
    dir: TempDir,
    address: SocketAddr,
    stats: Arc<AcceptorStats>,
    seen: Arc<Mutex<Vec<ConnectInfo>>>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<Result<(), Error>>,
}

impl Served {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let validity = Validity::days(SystemTime::now(), Validity::CA_DAYS);
        let cluster = ClusterId::from_random([9; 16]);
        let ca = DevelopmentCa::create(dir.path(), cluster, validity).unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let stats = Arc::new(AcceptorStats::default());
        let limits = AcceptorLimits::of(Listener::Peer);
        let own = store(&ca, &dir, 1);
        let incoming = Incoming::new(tcp, Listener::Peer, own, limits, Arc::clone(&stats));

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
        Self { ca, dir, address, stats, seen, stop, server }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }
}

fn store(ca: &DevelopmentCa, dir: &TempDir, id: u64) -> Arc<CertStore> {
    let validity = Validity::days(SystemTime::now(), Validity::LEAF_DAYS);
    let files = ca.issue_node(dir.path(), node(id), &Names::default(), validity).unwrap();
    let paths = TlsPaths { cert: files.cert, key: files.key, ca: ca.cert_path().to_owned() };
    CertStore::load(paths).unwrap()
}

fn check() -> HealthCheckRequest {
    HealthCheckRequest { service: String::new() }
}

#[tokio::test]
async fn a_call_carries_its_callers_identity_and_shutdown_frees_the_port() {
    let served = Served::start().await;
    // Node 2 calls node 1; a dial of "node 3" at the same address is refused.
    let client = store(&served.ca, &served.dir, 2);
    let wrong = Connector::new(Arc::clone(&client), node(3), LONG);
    assert!(served.endpoint().connect_with_connector(wrong).await.is_err());
    let right = Connector::new(client, node(1), LONG);
    let channel = served.endpoint().connect_with_connector(right).await.unwrap();
    let mut health = HealthClient::new(channel);
    health.check(check()).await.unwrap();

    let identity = served.seen.lock().unwrap()[0].identity.clone();
    let expected = PeerIdentity::node(served.ca.cluster(), node(2));
    assert_eq!(identity.as_deref(), Some(&expected));
    assert_eq!(served.stats.counts().accepted, 1);

    served.stop.send(()).unwrap();
    tokio::time::timeout(LONG, served.server).await.unwrap().unwrap().unwrap();
    let status = health.check(check()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(served.stats.counts().open, 0);
    TcpListener::bind(served.address).await.unwrap();
}

#[tokio::test]
async fn a_connection_is_ended_by_the_server_and_the_channel_makes_another() {
    let served = Served::start().await;
    let connector = Connector::new(store(&served.ca, &served.dir, 2), node(1), LONG);
    let channel = served.endpoint().connect_with_connector(connector).await.unwrap();
    let mut health = HealthClient::new(channel);
    health.check(check()).await.unwrap();

    let connection = served.seen.lock().unwrap()[0].clone();
    connection.end();
    // A call that is sent before the client knows of it fails.
    let again = async { while health.check(check()).await.is_err() {} };
    tokio::time::timeout(LONG, again).await.unwrap();
    let counts = served.stats.counts();
    assert_eq!((counts.accepted, counts.open), (2, 1));
    served.server.abort();
}
