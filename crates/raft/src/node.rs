//! A node's part in Raft: the one type that the daemon sees.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use openraft::{
    ChangeMembers, Precondition, RaftLogReader as _, RaftMetrics,
    async_runtime::WatchReceiver as _, storage::RaftLogStorage as _,
};
use strongroom_base::{
    Incarnation, LogIndex, NodeId, Term,
    limits::{BATCH_BYTES_MAX, MEMBERS_MAX, PEER_MESSAGE_BYTES_MAX},
};
use strongroom_net::CertStore;
use strongroom_storage::{RaftLog, StateDb};
use strongroom_wire::peer::raft_server::RaftServer;
use tokio::sync::{mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::service::interceptor::InterceptedService;

use crate::{
    config::RaftConfig,
    entry_guard::EntryGuard,
    errors::{ProposeError, RaftError, ReadError, Stopped},
    gate::LogGate,
    identity::{KnownMembers, LocalIdentity, PeerGuard, PeerOrigin},
    log_store::LogStore,
    memory::{PeerMemory, Position},
    monitor::{Bounds, Monitor},
    network::Network,
    peers::PeerPool,
    reads::ReadRounds,
    retention::Transfers,
    service::{Heard, RaftService},
    snapshot_receive::Receiver,
    state_machine::StateMachine,
    state_thread::{ApplyObserver, ThreadEnd},
    status::{Member, RaftRole, RaftStatus, directory},
    types::{Command, PeerNode, Reply, TypeConfig},
    watchdog::{DiskHangs, Exit, ExitHook, Watchdog},
};

/// The library, with this product's types.
pub(crate) type Library = openraft::Raft<TypeConfig, StateMachine>;

/// Raft's own service, checked before it is reached.
pub type PeerService = InterceptedService<RaftServer<RaftService>, PeerGuard>;

/// Bytes of a command beside the batch within: format, stamp, lengths.
const COMMAND_EXTRA_BYTES: usize = 64;
/// Largest command.
const COMMAND_BYTES_MAX: usize = BATCH_BYTES_MAX + COMMAND_EXTRA_BYTES;
/// Stopping the library's tasks, and then the state thread, takes no longer.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// A snapshot asked for is taken within this time, or the caller is told.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(120);

/// A command that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Index of its entry.
    pub index: LogIndex,
    /// What became of it: an encoded `strongroom_state::Outcome`.
    pub outcome: Bytes,
    /// Time from the call until the entry was known here to be committed.
    pub commit: Duration,
}

/// This node's Raft. Clones share it.
#[derive(Clone)]
pub struct RaftNode(Arc<Inner>);

struct Inner {
    raft: Library,
    config: RaftConfig,
    pool: PeerPool,
    guard: PeerGuard,
    service: RaftService,
    memory: Arc<PeerMemory>,
    position_at_start: Position,
    heard: Heard,
    applied: watch::Receiver<LogIndex>,
    status: watch::Receiver<RaftStatus>,
    reads: Arc<ReadRounds>,
    stopping: AtomicBool,
    cancel: CancellationToken,
    tasks: TaskTracker,
    watchdog: Watchdog,
    state_thread: ThreadEnd,
}

impl RaftNode {
    /// Starts Raft on a log and the state built from it. A node without a
    /// membership waits to be formed into a cluster or added to one.
    ///
    /// `entries` judges what a leader sends; `exit` is called, once, when the
    /// process must end.
    ///
    /// # Errors
    ///
    /// [`RaftError::Config`], and [`RaftError::Storage`] where log and state
    /// can't be read or contradict each other.
    pub async fn start(
        config: RaftConfig,
        log: RaftLog,
        state: StateDb,
        store: Arc<CertStore>,
        observer: Arc<dyn ApplyObserver>,
        entries: Arc<dyn EntryGuard>,
        exit: ExitHook,
    ) -> Result<Self, RaftError> {
        config.validate()?;
        let library = config.library().validate().expect("stricter checks have passed");
        let local = LocalIdentity {
            cluster: config.cluster,
            node: config.node,
            incarnation: config.incarnation,
        };
        state.check_against(&log).map_err(|error| RaftError::Storage(Box::new(error)))?;
        let members = KnownMembers::default();
        let pool = PeerPool::new(local, store, config.addresses.clone(), members.clone());
        let machine = StateMachine::open(state.clone(), LogGate::new(log.clone()), observer)
            .map_err(|error| RaftError::Storage(Box::new(error)))?;
        let (applied, state_thread) = (machine.applied(), machine.thread_end());
        let patience = Duration::from_millis(config.election_max_ms) * 2;
        let node = config.node.value();
        let memory = Arc::new(PeerMemory::default());
        let transfers = Transfers::default();
        let network =
            Network::new(pool.clone(), Arc::clone(&memory), transfers.clone(), node, patience);
        let mut log_store = LogStore::new(log.clone(), state.clone());
        let unreadable = |error: std::io::Error| RaftError::Storage(Box::new(error));
        let vote = log_store.read_vote().await.map_err(unreadable)?;
        let last = log_store.get_log_state().await.map_err(unreadable)?.last_log_id;
        let position_at_start = Position {
            term: Term(vote.map_or(0, |vote| vote.leader_id.term)),
            last: last.map(|last| (Term(last.leader_id.term), LogIndex(last.index))),
        };
        let raft = Library::new(node, Arc::new(library), network, log_store, machine).await?;

        let membership =
            raft.with_raft_state(|state| state.membership_state.effective().clone()).await?;
        pool.learn(&directory(&membership));
        let heard = Heard::default();
        let receiver = Receiver::new(state);
        let service = RaftService::new(
            raft.clone(),
            receiver,
            entries,
            Arc::clone(&memory),
            Arc::clone(&heard),
            config.silent,
        );
        let initial = RaftStatus::of(&raft.metrics().borrow_watched(), None);
        let (publish, status) = watch::channel(initial);
        let exit = Arc::new(Exit::new(exit));
        let (hangs, found) = mpsc::channel(1);
        let lag_max = Duration::from_millis(config.flush_lag_max_ms);
        let watchdog = Watchdog::start(&raft, log.clone(), lag_max, hangs, Arc::clone(&exit))
            .map_err(|error| RaftError::Storage(Box::new(error)))?;
        let inner = Inner {
            guard: PeerGuard::new(local, members),
            raft,
            config,
            pool,
            service,
            memory,
            position_at_start,
            heard,
            applied,
            status,
            reads: Arc::default(),
            stopping: AtomicBool::new(false),
            cancel: CancellationToken::new(),
            tasks: TaskTracker::new(),
            watchdog,
            state_thread,
        };
        inner.spawn_tasks(publish, log, transfers, found, exit);
        Ok(Self(Arc::new(inner)))
    }

    /// Serves `strongroom.peer.v1.Raft`; for the peer listener.
    #[must_use]
    pub fn peer_service(&self) -> PeerService {
        let server = RaftServer::new(self.0.service.clone())
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
        InterceptedService::new(server, self.0.guard.clone().requiring_target())
    }

    /// Checks calls to the node's own services on the peer listener, and leaves
    /// a `PeerOrigin` among the extensions of each request.
    #[must_use]
    pub fn peer_guard(&self) -> PeerGuard {
        self.0.guard.clone()
    }

    /// Connections to the other members.
    #[must_use]
    pub fn peers(&self) -> PeerPool {
        self.0.pool.clone()
    }

    /// How far this node had come, by its own disk, when it was started.
    #[must_use]
    pub fn position_at_start(&self) -> Position {
        self.0.position_at_start
    }

    /// What this node remembers of a peer's data directory; none where it has not
    /// heard of it since it started itself.
    #[must_use]
    pub fn remembered(&self, origin: &PeerOrigin) -> Option<Position> {
        self.0.memory.of(origin.node, origin.incarnation)
    }

    /// Ends the silence in which the node was started: it answers Raft's calls
    /// and may campaign.
    pub fn take_part(&self) {
        self.0.service.take_part();
        self.0.raft.runtime_config().elect(true);
    }

    /// Whether it does.
    #[must_use]
    pub fn takes_part(&self) -> bool {
        self.0.service.takes_part()
    }

    /// True where this node belongs to a formed cluster.
    #[must_use]
    pub fn is_initialised(&self) -> bool {
        self.status().initialised
    }

    /// Forms the cluster: makes `members` its voters. They must be fresh nodes
    /// and this one among them. May be done on several of them, and again, with
    /// the same members.
    ///
    /// # Errors
    ///
    /// [`RaftError::Members`], [`RaftError::Silent`] before
    /// [`RaftNode::take_part`], and [`RaftError::AlreadyFormed`] where this node
    /// belongs to a cluster with other members.
    pub async fn form(&self, members: Vec<Member>) -> Result<(), RaftError> {
        let peers = self.check_members(&members)?;
        if !self.takes_part() {
            // Forming votes at once.
            return Err(RaftError::Silent);
        }
        let present = |node: &Self| -> Vec<Member> {
            node.status().members.into_iter().map(|status| status.member).collect()
        };
        let Err(error) = self.0.raft.initialize(peers).await else { return Ok(()) };
        if let openraft::errors::RaftError::Fatal(fatal) = error {
            return Err(fatal.into());
        }
        let mut wanted = members;
        wanted.sort_by_key(|member| member.node);
        if present(self) == wanted { Ok(()) } else { Err(RaftError::AlreadyFormed) }
    }

    fn check_members(&self, members: &[Member]) -> Result<BTreeMap<u64, PeerNode>, RaftError> {
        let config = &self.0.config;
        let refuse = |cause| Err(RaftError::Members { cause });
        let peers: BTreeMap<_, _> =
            members.iter().map(|member| (member.node.value(), member.to_peer())).collect();
        if peers.len() != members.len() {
            return refuse("a node id stands there twice");
        }
        if members.len() > MEMBERS_MAX {
            return refuse("there are too many");
        }
        if members.iter().any(|member| member.address.is_empty()) {
            return refuse("one has no address");
        }
        match peers.get(&config.node.value()) {
            None => refuse("this node is not among them"),
            Some(peer) if peer.incarnation() != Some(config.incarnation) => {
                refuse("this node is among them with another data directory")
            }
            Some(_) => Ok(peers),
        }
    }

    /// Binds a member that was not there when the cluster was formed to the data
    /// directory that it has come with: from then on, and for ever, it takes part
    /// in Raft with that one only. Returns once the members have agreed.
    ///
    /// # Errors
    ///
    /// [`RaftError::NotBindable`] where the node is no member or is bound, and
    /// [`RaftError::NotLeader`] also where another change is under way.
    pub async fn bind(&self, node: NodeId, incarnation: Incarnation) -> Result<(), RaftError> {
        let membership = Arc::clone(&self.0.raft.metrics().borrow_watched().membership_config);
        let unbound = membership.nodes().find(|(id, _)| **id == node.value());
        let unbound = unbound.filter(|(_, peer)| peer.incarnation().is_none());
        let (id, peer) = unbound.ok_or(RaftError::NotBindable { node })?;
        let peer = PeerNode { incarnation: *incarnation.as_bytes(), ..peer.clone() };
        let nodes = ChangeMembers::SetNodes(BTreeMap::from([(*id, peer)]));
        let last_membership_log_id = *membership.log_id();
        let unchanged = [Precondition::LastMembershipLogId { last_membership_log_id }];
        let leader = self.status().leader;
        match self.0.raft.change_membership_if(nodes, true, unchanged).await {
            Ok(_) => Ok(()),
            Err(openraft::errors::RaftError::Fatal(fatal)) => Err(fatal.into()),
            Err(openraft::errors::RaftError::APIError(_)) => Err(RaftError::NotLeader { leader }),
        }
    }

    /// Proposes a command; returns once it is applied here. Waits as long as it
    /// takes: the caller sets the deadline, and dropping the future takes
    /// nothing back.
    ///
    /// # Errors
    ///
    /// [`ProposeError`] says of each whether the command may be in the log.
    pub async fn propose(&self, command: Bytes) -> Result<Proposed, ProposeError> {
        if command.len() > COMMAND_BYTES_MAX {
            let bytes = command.len();
            return Err(ProposeError::TooLarge { bytes, bytes_max: COMMAND_BYTES_MAX });
        }
        if self.0.stopping.load(Ordering::Acquire) {
            return Err(ProposeError::Stopped);
        }
        let begin = Instant::now();
        let written = self.0.raft.client_write(Command(command)).await?;
        let Reply { outcome, committed } = written.data;
        let commit = committed.unwrap_or_else(Instant::now).saturating_duration_since(begin);
        Ok(Proposed { index: LogIndex(written.log_id.index), outcome: outcome.0, commit })
    }

    /// A log index such that state at or after it reflects every change that
    /// was acknowledged before this call (Raft dissertation, section 6.4).
    /// Shared by concurrent callers.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; [`ReadError::NoQuorum`] after `election_max_ms` at most.
    pub async fn read_index(&self) -> Result<LogIndex, ReadError> {
        if self.0.stopping.load(Ordering::Acquire) {
            return Err(ReadError::Stopped);
        }
        self.0.reads.read_index(&self.0.raft).await
    }

    /// Newest index whose effects can be read here, and which the observer has
    /// heard of.
    #[must_use]
    pub fn applied(&self) -> LogIndex {
        *self.0.applied.borrow()
    }

    /// Waits until `index` is applied here.
    ///
    /// # Errors
    ///
    /// [`Stopped`] once it never will be.
    pub async fn wait_applied(&self, index: LogIndex) -> Result<(), Stopped> {
        let mut applied = self.0.applied.clone();
        match applied.wait_for(|applied| *applied >= index).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Stopped),
        }
    }

    /// Everything that is known at this moment.
    #[must_use]
    pub fn status(&self) -> RaftStatus {
        let heard = self.0.heard.lock().map(|at| at.elapsed());
        RaftStatus::of(&self.0.raft.metrics().borrow_watched(), heard)
    }

    /// Changes of role, term, leader and membership. The rest of each value is
    /// as of that change; ask [`RaftNode::status`] for the present.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<RaftStatus> {
        self.0.status.clone()
    }

    /// The other voter that is fittest to lead; none where none was heard of
    /// lately. On a leader only.
    #[must_use]
    pub fn best_successor(&self) -> Option<NodeId> {
        self.status().best_successor(self.0.heard_within())
    }

    /// Hands leadership to another voter and waits until it, or yet another,
    /// leads. Proposals are refused meanwhile.
    ///
    /// # Errors
    ///
    /// [`RaftError::NotLeader`], [`RaftError::NotVoter`], and
    /// [`RaftError::NotTransferred`] after twice `election_max_ms`; the cluster
    /// then elects a leader by itself.
    pub async fn transfer_leader(&self, to: NodeId) -> Result<(), RaftError> {
        let status = self.status();
        if status.role != RaftRole::Leader {
            return Err(RaftError::NotLeader { leader: status.leader });
        }
        let is_voter = |m: &crate::status::MemberStatus| m.voter && m.member.node == to;
        if to == self.0.config.node || !status.members.iter().any(is_voter) {
            return Err(RaftError::NotVoter { node: to });
        }
        self.0.raft.trigger().transfer_leader(to.value()).await?;
        let own = self.0.config.node;
        let timeout_ms = self.0.config.election_max_ms.saturating_mul(2);
        let mut watch = self.watch();
        let moved = watch.wait_for(|status| status.leader.is_some_and(|leader| leader != own));
        match tokio::time::timeout(Duration::from_millis(timeout_ms), moved).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) => Err(RaftError::Stopped),
            Err(_) => Err(RaftError::NotTransferred { node: to, timeout_ms }),
        }
    }

    /// Takes a snapshot of what is applied and purges the log behind it as
    /// configured. Returns the index that it covers.
    ///
    /// # Errors
    ///
    /// [`RaftError::Stopped`], also where it took too long.
    pub async fn snapshot_now(&self) -> Result<LogIndex, RaftError> {
        let wanted = self.applied();
        self.0.raft.trigger().snapshot().await?;
        let wait = self.0.raft.wait(Some(SNAPSHOT_TIMEOUT));
        let taken = |metrics: &RaftMetrics<TypeConfig>| {
            metrics.snapshot.is_some_and(|covered| covered.index >= wanted.0)
        };
        let metrics = wait.metrics(taken, "snapshot_now").await.map_err(|_| RaftError::Stopped)?;
        Ok(metrics.snapshot.map_or(wanted, |covered| LogIndex(covered.index)))
    }

    /// Purges everything that the newest snapshot covers, more than is
    /// configured. Returns once it is gone.
    ///
    /// # Errors
    ///
    /// [`RaftError::Stopped`].
    pub async fn purge_now(&self) -> Result<(), RaftError> {
        let Some(LogIndex(covered)) = self.status().snapshot else { return Ok(()) };
        self.0.raft.trigger().purge_log(covered).await?;
        let wait = self.0.raft.wait(Some(SNAPSHOT_TIMEOUT));
        let gone = |metrics: &RaftMetrics<TypeConfig>| {
            metrics.purged.is_some_and(|purged| purged.index >= covered)
        };
        wait.metrics(gone, "purge_now").await.map(drop).map_err(|_| RaftError::Stopped)
    }

    /// Stops Raft on this node, in bounded time. Leadership is not handed over:
    /// do that before. The log is the caller's to close.
    pub async fn shutdown(&self) {
        self.0.stopping.store(true, Ordering::Release);
        self.0.cancel.cancel();
        self.0.tasks.close();
        let stop = async {
            // Connections that peers hold open keep nothing of it.
            self.0.service.stop();
            self.0.watchdog.stop().await;
            // The only error is that of a core that panicked: stopped, too.
            drop(self.0.raft.shutdown().await);
            self.0.tasks.wait().await;
        };
        if tokio::time::timeout(STOP_TIMEOUT, stop).await.is_err() {
            tracing::warn!("raft did not stop in time");
        }
        self.0.state_thread.wait(STOP_TIMEOUT).await;
    }
}

impl Inner {
    fn heard_within(&self) -> Duration {
        Duration::from_millis(self.config.election_min_ms)
    }

    fn spawn_tasks(
        &self,
        publish: watch::Sender<RaftStatus>,
        log: RaftLog,
        transfers: Transfers,
        hangs: mpsc::Receiver<DiskHangs>,
        exit: Arc<Exit>,
    ) {
        let config = &self.config;
        let monitor = Monitor {
            raft: self.raft.clone(),
            log,
            bounds: Bounds {
                heard_within: self.heard_within(),
                log_bytes: config.snapshot_log_bytes,
                keep_after_snapshot: config.keep_after_snapshot,
            },
            transfers,
            hangs,
            exit,
        };
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            cancel.run_until_cancelled(monitor.run()).await;
        });
        let follow = follow(self.raft.clone(), self.pool.clone(), Arc::clone(&self.heard), publish);
        let cancel = self.cancel.clone();
        self.tasks.spawn(async move {
            cancel.run_until_cancelled(follow).await;
        });
    }
}

/// Takes over each change of membership and leadership, until the core stops.
async fn follow(raft: Library, pool: PeerPool, heard: Heard, publish: watch::Sender<RaftStatus>) {
    let mut server = raft.server_metrics();
    let metrics = raft.metrics();
    while server.changed().await.is_ok() {
        let server = server.borrow_and_update().clone();
        pool.learn(&directory(&server.membership_config));
        let heard = heard.lock().map(|at| at.elapsed());
        publish.send_replace(RaftStatus::changed(&metrics.borrow_watched(), &server, heard));
    }
}
