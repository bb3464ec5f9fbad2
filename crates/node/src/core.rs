//! What the parts of a running node share.
//!
//! [`Core`] holds one handle to each part and decides nothing itself. It is put
//! together once, in `server/open.rs`, and lives as long as the process.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use strongroom_base::{BootId, NodeId, UnixMillis};
use strongroom_net::CertStore;
use strongroom_raft::{PeerPool, RaftNode};
use strongroom_storage::{DataDir, RaftLog, StateDb};
use tokio::sync::{Semaphore, watch};

use crate::{
    admission::Admission,
    ceremony::Ceremony,
    config::Config,
    denials::{DenialLimits, ShareEntries},
    disk::Disk,
    fatal::Fatal,
    hash_points::HashPoints,
    keys_by_state::KeysByState,
    ledger::{Ledger, Sequences},
    lifecycle::Lifecycle,
    metrics::Metrics,
    proposer::Proposer,
    read_index::ReadIndex,
    reports::Reports,
    rows::RowCache,
    samples::Samples,
    verify::Verification,
};

/// A node's parts.
pub(crate) struct Core {
    /// This node.
    pub(crate) node: NodeId,
    /// This run of the process; part of the name of each batch.
    pub(crate) boot: BootId,
    /// When this run began, by the monotonic clock.
    pub(crate) started: Instant,
    /// The configuration that the node was started with.
    pub(crate) config: Config,

    /// The data directory, locked for this process.
    pub(crate) data: Arc<DataDir>,
    /// The Raft log.
    pub(crate) log: RaftLog,
    /// The replicated state.
    pub(crate) state: StateDb,
    /// Free space of the data directory's file system.
    pub(crate) disk: Arc<Disk>,

    /// Consensus.
    pub(crate) raft: RaftNode,
    /// Connections to the other members.
    pub(crate) peers: PeerPool,
    /// This node's certificates, reloaded when their files change.
    pub(crate) certificates: Arc<CertStore>,
    /// What the other members said of themselves last.
    pub(crate) reports: Arc<Reports>,
    /// Reads of the applied state that are linearizable.
    pub(crate) reads: ReadIndex,

    /// Sealed or not, and the secrets of an unsealed node.
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// Steps of the ceremony that wait to be recorded.
    pub(crate) ceremony: Arc<Ceremony>,
    /// The generation of secrets whose unsealing is recorded; 0 for none.
    pub(crate) unseal_recorded: AtomicU64,
    /// Bound on the shares that are entered.
    pub(crate) share_entries: ShareEntries,
    /// Whether this node's state is the cluster's.
    pub(crate) verification: Arc<Verification>,
    /// State hashes at the last hash points.
    pub(crate) hash_points: Arc<HashPoints>,

    /// Opened rows, bounded.
    pub(crate) rows: Arc<RowCache>,
    /// Attempts that wait for their commit.
    pub(crate) ledger: Ledger,
    /// Numbers of this boot's batches.
    pub(crate) sequences: Arc<Sequences>,
    /// The way of a batch to whoever leads.
    pub(crate) proposer: Arc<Proposer>,
    /// What this node lets into the Raft log while it leads.
    pub(crate) admission: Arc<Admission>,
    /// Bound on denials by principal.
    pub(crate) denials: DenialLimits,

    /// What happened, and what is so, for whoever watches.
    pub(crate) metrics: Arc<Metrics>,
    /// What is looked at now and then, for metrics.
    pub(crate) samples: Samples,
    /// Keys by state, for metrics.
    pub(crate) keys_by_state: Arc<KeysByState>,
    /// Records in the audit log, as applied here.
    pub(crate) audit_size: watch::Sender<u64>,
    /// Searches of the audit log at a time.
    pub(crate) searches: Semaphore,
    /// Whether this node is shutting down.
    pub(crate) draining: watch::Sender<bool>,
    /// The end of a process that must not go on.
    pub(crate) fatal: Fatal,
}

impl Core {
    /// Whether this node is shutting down: it takes no new call.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// Cluster time as applied here; the epoch where it can't be read. Ends are
    /// guarded at commit too, so nothing lives longer by that.
    #[must_use]
    pub(crate) fn cluster_time(&self) -> UnixMillis {
        strongroom_state::cluster_time(&self.state.latest()).unwrap_or_default()
    }
}
