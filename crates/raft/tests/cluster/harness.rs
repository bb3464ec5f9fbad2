//! Nodes of a test cluster: started, stopped, wiped.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use parking_lot::Mutex;
use strongroom_base::{ClusterId, LogIndex, NodeId};
use strongroom_net::{
    AcceptorLimits, AcceptorStats, CertStore, DevelopmentCa, Incoming, Listener, Names, TlsPaths,
    Validity,
};
use strongroom_raft::{
    ApplyObserver, FatalReason, Member, NoEntryGuard, RaftConfig, RaftNode, RaftStatus,
};
use strongroom_state::{Applied, StateHash};
use strongroom_storage::{
    BeforeSync, DataDir, FatalHook, LogOptions, RaftLog, StateDb, StateOptions, StorageError,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::batch;

/// Nothing in these tests takes longer on a machine that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn id(node: u64) -> NodeId {
    NodeId::new(node).unwrap()
}

/// What an observer heard.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) applied: Mutex<Vec<LogIndex>>,
    pub(crate) installed: AtomicU64,
}

impl ApplyObserver for Heard {
    fn applied(&self, index: LogIndex, _applied: &Applied) {
        let mut applied = self.applied.lock();
        assert!(applied.last().is_none_or(|last| *last < index), "out of order: {index}");
        applied.push(index);
    }

    fn installed(&self) {
        self.installed.fetch_add(1, Ordering::SeqCst);
    }
}

/// A node that runs.
pub(crate) struct Running {
    pub(crate) raft: RaftNode,
    pub(crate) log: RaftLog,
    pub(crate) state: StateDb,
    pub(crate) heard: Arc<Heard>,
    server: JoinHandle<()>,
    stop: CancellationToken,
}

impl Running {
    pub(crate) fn hash(&self) -> StateHash {
        self.state.read(|state| strongroom_state::state_hash(state)).unwrap()
    }
}

/// A member of the cluster, running or not.
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) address: SocketAddr,
    pub(crate) directory: PathBuf,
    tls: TlsPaths,
    /// Changes with each wiped directory.
    entropy: u8,
    pub(crate) before_sync: Option<BeforeSync>,
    pub(crate) exit: Arc<Mutex<Option<FatalReason>>>,
    /// What the fatal hook was told; none may be left when the node is stopped
    /// or the test ends. See [`Cluster::failure`].
    failures: Arc<Mutex<Vec<StorageError>>>,
    pub(crate) running: Option<Running>,
}

impl Node {
    fn assert_nothing_failed(&self) {
        let failures = self.failures.lock();
        assert!(failures.is_empty(), "storage failed on node {}: {failures:?}", self.id);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.assert_nothing_failed();
        }
    }
}

pub(crate) struct Cluster {
    pub(crate) id: ClusterId,
    pub(crate) nodes: Vec<Node>,
    pub(crate) tweak: fn(&mut RaftConfig),
    sequence: AtomicU64,
    _directory: TempDir,
}

impl Cluster {
    /// Nodes 1 to `count`, started and not yet formed into a cluster.
    pub(crate) async fn start(count: u64) -> Self {
        Self::start_with(count, |_| ()).await
    }

    pub(crate) async fn start_with(count: u64, tweak: fn(&mut RaftConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let id = ClusterId::from_bytes([5; 16]);
        let validity = Validity::days(SystemTime::now(), 1);
        let ca = DevelopmentCa::create(&directory.path().join("ca"), id, validity).unwrap();
        let mut cluster = Self {
            id,
            nodes: Vec::new(),
            tweak,
            sequence: AtomicU64::new(0),
            _directory: directory,
        };
        for node in 1..=count {
            cluster.add(&ca, node).await;
        }
        for node in 1..=count {
            cluster.run(node).await;
        }
        cluster
    }

    async fn add(&mut self, ca: &DevelopmentCa, node: u64) {
        let root = self._directory.path().join(format!("node-{node}"));
        let validity = Validity::days(SystemTime::now(), 1);
        let files = ca.issue_node(&root.join("tls"), id(node), &Names::default(), validity);
        let files = files.unwrap();
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
        self.nodes.push(Node {
            id: id(node),
            address: free.local_addr().unwrap(),
            directory: root.join("data"),
            tls: TlsPaths { cert: files.cert, key: files.key, ca: ca.cert_path().to_owned() },
            entropy: u8::try_from(node).unwrap(),
            before_sync: None,
            exit: Arc::default(),
            failures: Arc::default(),
            running: None,
        });
    }

    /// A cluster of `count` nodes that has a leader.
    pub(crate) async fn formed(count: u64) -> Self {
        Self::formed_with(count, |_| ()).await
    }

    pub(crate) async fn formed_with(count: u64, tweak: fn(&mut RaftConfig)) -> Self {
        let cluster = Self::start_with(count, tweak).await;
        cluster.raft(1).form(cluster.members()).await.unwrap();
        cluster.leader().await;
        cluster
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        let member = |node: &Node| Member {
            node: node.id,
            address: node.address.to_string(),
            incarnation: Some(strongroom_base::Incarnation::from_random([node.entropy; 16])),
            name: format!("node-{}", node.id),
        };
        self.nodes.iter().map(member).collect()
    }

    pub(crate) fn node(&mut self, node: u64) -> &mut Node {
        &mut self.nodes[usize::try_from(node).unwrap() - 1]
    }

    pub(crate) fn running(&self, node: u64) -> &Running {
        self.nodes[usize::try_from(node).unwrap() - 1].running.as_ref().unwrap()
    }

    pub(crate) fn raft(&self, node: u64) -> &RaftNode {
        &self.running(node).raft
    }

    fn all_running(&self) -> impl Iterator<Item = (u64, &Running)> {
        self.nodes.iter().filter_map(|node| Some((node.id.value(), node.running.as_ref()?)))
    }

    pub(crate) async fn run(&mut self, node: u64) {
        self.try_run(node).await.unwrap();
    }

    /// Starts a node, or says why it doesn't start.
    pub(crate) async fn try_run(&mut self, node: u64) -> Result<(), String> {
        let (cluster, tweak) = (self.id, self.tweak);
        let node = self.node(node);
        let directory =
            DataDir::open(&node.directory, cluster, node.id, [node.entropy; 16]).unwrap();
        let failures = Arc::clone(&node.failures);
        let fatal: FatalHook =
            Arc::new(move |error: &StorageError| failures.lock().push(error.clone()));
        let options = LogOptions { before_sync: node.before_sync.clone(), ..LogOptions::default() };
        let log = RaftLog::open(&directory, options, Arc::clone(&fatal)).unwrap();
        let state = StateDb::open(&directory, StateOptions::default(), fatal).unwrap();
        let mut config = RaftConfig::new(cluster, node.id, directory.incarnation());
        tweak(&mut config);
        let store = CertStore::load(node.tls.clone()).unwrap();
        let heard = Arc::new(Heard::default());
        let exit = Arc::clone(&node.exit);
        let raft = RaftNode::start(
            config,
            log.clone(),
            state.clone(),
            Arc::clone(&store),
            Arc::clone(&heard) as Arc<dyn ApplyObserver>,
            Arc::new(NoEntryGuard),
            Arc::new(move |reason| *exit.lock() = Some(reason.clone())),
        )
        .await
        .map_err(|error| format!("{error}: {:?}", std::error::Error::source(&error)))?;
        let stop = CancellationToken::new();
        let listener = TcpListener::bind(node.address).await.unwrap();
        let server = tokio::spawn(serve(raft.clone(), listener, store, stop.clone()));
        node.running = Some(Running { raft, log, state, heard, server, stop });
        Ok(())
    }

    /// Stops a node's server and Raft, and waits until its files are closed.
    pub(crate) async fn stop(&mut self, node: u64) {
        let Some(Running { raft, log, state, server, stop, .. }) = self.node(node).running.take()
        else {
            return;
        };
        stop.cancel();
        raft.shutdown().await;
        server.abort();
        drop(server.await);
        drop((raft, state));
        let closed = tokio::task::spawn_blocking(move || log.close_within(PATIENCE)).await;
        assert!(closed.unwrap(), "the log did not close");
        let (cluster, node) = (self.id, self.node(node));
        node.assert_nothing_failed();
        eventually("the directory to be free", || {
            DataDir::open(&node.directory, cluster, node.id, [node.entropy; 16]).ok()
        })
        .await;
    }

    /// Waits until storage fails on a node, as the test has planned it.
    pub(crate) async fn failure(&self, node: u64) -> StorageError {
        let failures = &self.nodes[usize::try_from(node).unwrap() - 1].failures;
        eventually("a failure of storage", || failures.lock().pop()).await
    }

    /// Stops a node and removes its data directory; its next start makes
    /// another one.
    pub(crate) async fn wipe(&mut self, node: u64) {
        self.stop(node).await;
        let node = self.node(node);
        std::fs::remove_dir_all(&node.directory).unwrap();
        node.entropy += 100;
    }

    /// Who leads with a quorum behind it, once there is someone.
    pub(crate) async fn leader(&self) -> u64 {
        eventually("a leader", || {
            let leads = |status: &RaftStatus| status.leads_within(Duration::from_millis(500));
            self.all_running().find(|(_, node)| leads(&node.raft.status())).map(|(id, _)| id)
        })
        .await
    }

    /// A node that runs and does not lead.
    pub(crate) async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        self.all_running().map(|(id, _)| id).find(|id| *id != leader).unwrap()
    }

    /// Creates a row through whoever leads; tries again where the cluster is
    /// between leaders. Returns the index.
    pub(crate) async fn create(&self, bytes: usize) -> LogIndex {
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst) + 1;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leader = self.raft(self.leader().await).clone();
            let command = batch::create_row(77, sequence, leader.applied().0, bytes);
            match tokio::time::timeout(Duration::from_secs(5), leader.propose(command)).await {
                Ok(Ok(proposed)) => {
                    assert!(batch::is_admitted(&proposed.outcome), "row {sequence}");
                    return proposed.index;
                }
                other => assert!(Instant::now() < deadline, "row {sequence}: {other:?}"),
            }
        }
    }

    pub(crate) async fn create_many(&self, count: usize) -> LogIndex {
        let mut index = LogIndex(0);
        for _ in 0..count {
            index = self.create(64).await;
        }
        index
    }

    /// Waits until each running node has applied `index`; then their states,
    /// which nobody changes meanwhile, are equal.
    pub(crate) async fn agree_at(&self, index: LogIndex) -> StateHash {
        for (_, node) in self.all_running() {
            tokio::time::timeout(PATIENCE, node.raft.wait_applied(index)).await.unwrap().unwrap();
        }
        let mut hashes = self.all_running().map(|(_, node)| node.hash());
        let first = hashes.next().unwrap();
        assert!(hashes.all(|hash| hash == first), "states differ at {index}");
        first
    }

    /// Rows that a node's state holds.
    pub(crate) fn rows(&self, node: u64) -> usize {
        let state = &self.running(node).state;
        let rows = state.read(|state| strongroom_state::rows_page(state, 1, None, 1_000_000));
        rows.unwrap().len()
    }
}

async fn serve(
    raft: RaftNode,
    listener: TcpListener,
    store: Arc<CertStore>,
    stop: CancellationToken,
) {
    let limits = AcceptorLimits::of(Listener::Peer);
    let stats = Arc::new(AcceptorStats::default());
    let incoming = Incoming::new(listener, Listener::Peer, store, limits, stats);
    let server = tonic::transport::Server::builder().add_service(raft.peer_service());
    let serve = server.serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    tokio::select! {
        served = serve => served.unwrap(),
        // Streams of peers would hold a graceful end up.
        () = stop.cancelled() => {}
    }
}

/// Asks until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
