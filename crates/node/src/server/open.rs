//! Opening what a node stores, and putting its parts together.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use anyhow::{Context as _, ensure};
use strongroom_base::{NodeId, limits};
use strongroom_format::store::PlainName;
use strongroom_model::{Cluster, Region};
use strongroom_net::{CertStore, TlsPaths};
use strongroom_raft::{FatalReason, RaftConfig, RaftNode};
use strongroom_storage::{
    AfterSync, CeremonyBacklog, DataDir, LogOptions, RaftLog, StateDb, StateOptions, StorageError,
};
use tokio::sync::{Semaphore, watch};

use crate::{
    admission::{Admission, Entries},
    ceremony::Ceremony,
    config::Config,
    core::Core,
    denials::{DenialLimits, ShareEntries},
    disk::Disk,
    entropy::{random_id, random_u64},
    fatal::{self, Fatal},
    ledger::{BatchAuthority, Ledger, Sequences},
    lifecycle::Lifecycle,
    metrics::Metrics,
    observer::Observer,
    outcomes::Outcomes,
    proposer::{Confirmer, Proposer},
    read_index::ReadIndex,
    reports::Reports,
    samples::Samples,
};

/// A node's parts, put together.
pub(super) struct Parts {
    pub(super) core: Arc<Core>,
    pub(super) authority: Arc<KeyringAuthority>,
}

/// The keyring's batch key, while there is one.
pub(super) struct KeyringAuthority(Arc<Lifecycle>);

impl BatchAuthority for KeyringAuthority {
    fn mac(&self, batch: &[u8]) -> Option<[u8; 32]> {
        self.0.secrets().map(|secrets| secrets.keyring().batch_mac(batch))
    }
}

/// Loads the certificates, and checks that they are this node's.
pub(super) fn certificates(config: &Config) -> anyhow::Result<Arc<CertStore>> {
    let paths = TlsPaths {
        cert: config.tls.certificate.clone(),
        key: config.tls.key.clone(),
        ca: config.tls.ca.clone(),
    };
    let store = CertStore::load(paths).context("the certificates of [tls]")?;
    let identity = store.identity();
    identity.require_cluster(config.cluster.id).context("the certificate of [tls]")?;
    identity.require_node(config.node.id).context("the certificate of [tls]")?;
    Ok(store)
}

fn raft_config(config: &Config, data: &DataDir) -> RaftConfig {
    let mut raft = RaftConfig::new(config.cluster.id, config.node.id, data.incarnation());
    raft.addresses =
        config.cluster.members.iter().map(|member| (member.id, member.address.clone())).collect();
    raft.heartbeat_ms = config.raft.heartbeat_ms;
    raft.election_min_ms = config.raft.election_min_ms;
    raft.election_max_ms = config.raft.election_max_ms;
    raft.snapshot_every = config.raft.snapshot_every;
    raft.keep_after_snapshot = config.raft.keep_after_snapshot;
    raft.flush_lag_max_ms = config.raft.flush_lag_max_ms;
    // Until its peers have said what they remember of it (`recall`).
    raft.silent = true;
    raft
}

/// Opens log and state.
async fn databases(data: Arc<DataDir>, metrics: &Metrics) -> anyhow::Result<(RaftLog, StateDb)> {
    let synced = metrics.log_sync_seconds.clone();
    let after_sync: AfterSync = Arc::new(move |took| synced.observe(took.as_secs_f64()));
    let options = LogOptions { after_sync: Some(after_sync), ..LogOptions::default() };
    let open = move || {
        let log = RaftLog::open(&data, options, fatal::hook())?;
        let state = StateDb::open(&data, StateOptions::default(), fatal::hook())?;
        state.check_against(&log)?;
        Ok::<_, StorageError>((log, state))
    };
    Ok(tokio::task::spawn_blocking(open).await??)
}

/// A node whose configuration names another account or region than the cluster
/// was formed with does not start.
fn check_identity(config: &Config, state: &StateDb) -> anyhow::Result<bool> {
    let Some(record) = strongroom_state::plain(&state.latest(), PlainName::Cluster)? else {
        return Ok(false);
    };
    let cluster = Cluster::decode(&record.value).context("the cluster's record")?;
    let region = Region::new(config.cluster.region.clone()).context("cluster.region")?;
    cluster.agrees_with(config.cluster.id, &config.cluster.account, &region)?;
    ensure!(
        cluster.version <= Cluster::VERSION_KNOWN,
        "the cluster is at version {}, this program knows {} at most: use a newer program",
        cluster.version,
        Cluster::VERSION_KNOWN
    );
    Ok(true)
}

/// Where the node stands by its own state: sealed, if its cluster is formed.
fn lifecycle(config: &Config, state: &StateDb) -> anyhow::Result<Arc<Lifecycle>> {
    let lifecycle = Lifecycle::default();
    if check_identity(config, state)? {
        lifecycle.formed();
    }
    Ok(Arc::new(lifecycle))
}

/// Starts the shared reads.
fn shared_reads(node: NodeId, raft: &RaftNode, admission: &Arc<Admission>) -> ReadIndex {
    let admission = Arc::clone(admission);
    ReadIndex::start(Arc::new(Confirmer::new(node, raft.clone(), raft.peers(), admission)))
}

/// Opens everything and starts Raft.
pub(super) async fn core(config: Config, certificates: Arc<CertStore>) -> anyhow::Result<Parts> {
    let data = DataDir::open(&config.data_dir, config.cluster.id, config.node.id, random_id())
        .with_context(|| format!("the data directory {}", config.data_dir.display()))?;
    let data = Arc::new(data);
    let boot = data.next_boot(random_u64())?;
    let disk = Arc::new(Disk::new(&config.data_dir, config.limits.disk_reserve_bytes)?);
    let backlog = CeremonyBacklog::open(&data)?;
    let metrics = Arc::new(Metrics::new(crate::VERSION));
    let (log, state) = databases(Arc::clone(&data), &metrics).await?;

    let lifecycle = lifecycle(&config, &state)?;
    let audit_size = watch::Sender::new(strongroom_state::audit_size(&state.latest())?);
    let outcomes = Arc::new(Outcomes::new(config.node.id, boot));
    let observer = Arc::new(Observer {
        data: Arc::clone(&data),
        state: state.clone(),
        lifecycle: Arc::clone(&lifecycle),
        rows: Arc::default(),
        keys_by_state: Arc::default(),
        outcomes: Arc::clone(&outcomes),
        hash_points: Arc::default(),
        verification: Arc::default(),
        audit_size: audit_size.clone(),
        metrics: Arc::clone(&metrics),
    });
    let (rows, keys_by_state, hash_points, verification) = (
        Arc::clone(&observer.rows),
        Arc::clone(&observer.keys_by_state),
        Arc::clone(&observer.hash_points),
        Arc::clone(&observer.verification),
    );
    let raft = RaftNode::start(
        raft_config(&config, &data),
        log.clone(),
        state.clone(),
        Arc::clone(&certificates),
        observer,
        Arc::new(Entries::new(Arc::clone(&lifecycle), state.clone())),
        Arc::new(|reason: &FatalReason| Fatal.hung_disk(&reason.to_string())),
    )
    .await
    .context("raft")?;
    if raft.is_initialised() {
        // A member of a cluster is sealed from its first moment, also while its
        // state is still being rebuilt from its log.
        lifecycle.formed();
    }

    let peers = raft.peers();
    let reports = Arc::new(Reports::default());
    let admission = Arc::new(Admission::new(
        raft.clone(),
        state.clone(),
        Arc::clone(&lifecycle),
        Arc::clone(&verification),
        Arc::clone(&reports),
        Arc::clone(&metrics),
    ));
    let proposer = Arc::new(Proposer::new(
        config.node.id,
        raft.clone(),
        peers.clone(),
        Arc::clone(&admission),
        outcomes,
        Arc::clone(&metrics),
    ));
    let reads = shared_reads(config.node.id, &raft, &admission);
    let authority = Arc::new(KeyringAuthority(Arc::clone(&lifecycle)));
    let core = Arc::new(Core {
        node: config.node.id,
        boot,
        started: Instant::now(),
        data,
        log,
        state,
        raft,
        peers,
        certificates,
        lifecycle,
        rows,
        ledger: Ledger::default(),
        sequences: Arc::new(Sequences::default()),
        proposer,
        admission,
        reads,
        reports,
        ceremony: Arc::new(Ceremony::new(backlog)),
        hash_points,
        verification,
        metrics,
        samples: Samples::default(),
        keys_by_state,
        disk,
        denials: DenialLimits::default(),
        unseal_recorded: AtomicU64::new(0),
        share_entries: ShareEntries::new(Instant::now()),
        audit_size,
        searches: Semaphore::new(limits::SEARCHES_MAX),
        draining: watch::Sender::new(false),
        fatal: Fatal,
        config,
    });
    Ok(Parts { core, authority })
}
