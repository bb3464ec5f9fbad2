//! What the tests of this crate share: a cluster's certificates, nodes that do as
//! they are told, a front, and callers that speak bytes.

#![allow(
    dead_code,
    unused_imports,
    clippy::disallowed_methods,
    reason = "each test uses its part; tests wait and measure"
)]

mod caller;
mod node;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub(crate) use caller::Caller;
pub(crate) use caller::{framed, tls};
pub(crate) use node::{Does, Node, Seen, Then};
use strongroom_base::{ClusterId, NodeId};
use strongroom_front::{
    Front,
    config::{
        ClusterConfig, Config, DrainConfig, LimitsConfig, ListenConfig, LogConfig, TlsConfig,
    },
};
use strongroom_net::{CertStore, DevelopmentCa, IssuedFiles, Names, TlsPaths, Validity};
use tempfile::TempDir;

/// Longer than anything here takes; a test that gets here has failed.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The CA of one cluster.
pub(crate) struct Pki {
    ca: DevelopmentCa,
    dir: TempDir,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let cluster = ClusterId::from_random([7; 16]);
        let validity = Validity::days(SystemTime::now(), Validity::CA_DAYS);
        Self { ca: DevelopmentCa::create(dir.path(), cluster, validity).unwrap(), dir }
    }

    pub(crate) fn cluster(&self) -> ClusterId {
        self.ca.cluster()
    }

    pub(crate) fn ca_path(&self) -> PathBuf {
        self.ca.cert_path().to_owned()
    }

    fn valid() -> Validity {
        Validity::days(SystemTime::now(), Validity::LEAF_DAYS)
    }

    fn names() -> Names {
        Names { dns: vec!["localhost".to_owned()], ips: vec![[127, 0, 0, 1].into()] }
    }

    pub(crate) fn node_store(&self, id: u64) -> Arc<CertStore> {
        let id = NodeId::new(id).unwrap();
        let files = self.ca.issue_node(self.dir.path(), id, &Self::names(), Self::valid()).unwrap();
        CertStore::load(self.paths(&files)).unwrap()
    }

    pub(crate) fn front(&self) -> IssuedFiles {
        self.ca.issue_front(self.dir.path(), "edge", &Self::names(), Self::valid()).unwrap()
    }

    pub(crate) fn client(&self, name: &str) -> IssuedFiles {
        self.ca.issue_client(self.dir.path(), name, Self::valid()).unwrap()
    }

    pub(crate) fn operator(&self, name: &str) -> IssuedFiles {
        self.ca.issue_operator(self.dir.path(), name, Self::valid()).unwrap()
    }

    fn paths(&self, files: &IssuedFiles) -> TlsPaths {
        TlsPaths { cert: files.cert.clone(), key: files.key.clone(), ca: self.ca_path() }
    }
}

/// A front before `nodes`, with bounds as they are by default but for what `change`
/// does to them.
pub(crate) async fn front(
    pki: &Pki,
    nodes: Vec<String>,
    change: impl FnOnce(&mut Config),
) -> Front {
    let files = pki.front();
    let mut config = Config {
        nodes,
        cluster: ClusterConfig { id: pki.cluster() },
        listen: ListenConfig {
            client: ([127, 0, 0, 1], 0).into(),
            monitor: ([127, 0, 0, 1], 0).into(),
        },
        tls: TlsConfig { certificate: files.cert, key: files.key, ca: pki.ca_path() },
        limits: LimitsConfig::default(),
        drain: DrainConfig { lead_ms: 0, patience_ms: 20_000 },
        log: LogConfig::default(),
    };
    change(&mut config);
    Front::start(config).await.unwrap()
}

/// `count` nodes, a front that found that they serve, and a caller of it.
pub(crate) async fn cluster(count: u64) -> (Pki, Vec<Node>, Front, Caller) {
    let pki = Pki::new();
    let mut nodes = Vec::new();
    for id in 1..=count {
        nodes.push(Node::start(&pki, id).await);
    }
    let front = front(&pki, addresses(&nodes), |_| {}).await;
    front.ready().await;
    let caller = Caller::connect(&pki, &front, None).await;
    (pki, nodes, front, caller)
}

pub(crate) fn addresses(nodes: &[Node]) -> Vec<String> {
    nodes.iter().map(Node::address).collect()
}

/// Waits until `holds`.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(LONG, wait).await.is_ok(), "in vain: {what}");
}

/// What the monitor of `front` answers at `path`: status and body.
pub(crate) async fn monitor(front: &Front, path: &str) -> (u16, String) {
    monitor_at(front.monitor_address(), path).await
}

/// As [`monitor`], by address.
pub(crate) async fn monitor_at(address: SocketAddr, path: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: front\r\nconnection: close\r\n\r\n");
    tcp.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    tcp.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}
