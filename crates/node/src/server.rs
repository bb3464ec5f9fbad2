//! A node from start to end: opens what it stores, starts Raft, serves, drains.

mod open;
mod serve;
mod shutdown;

use std::sync::Arc;

use anyhow::Context as _;
use strongroom_net::AcceptorStats;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    ceremony,
    config::Config,
    core::Core,
    fatal::{EXIT_CLEAN, EXIT_START},
    form, keys_by_state,
    layers::CallLayer,
    leadership, ledger, metrics, recall, rewrite, samples, unseal, verify,
};

/// A running node.
pub(crate) struct Running {
    /// What its parts share.
    pub(crate) core: Arc<Core>,
    /// Bounds on its calls.
    pub(crate) calls: CallLayer,
    /// Connections of the client listener.
    pub(crate) client_stats: Arc<AcceptorStats>,
    /// Connections of the peer listener.
    pub(crate) peer_stats: Arc<AcceptorStats>,
    tasks: TaskTracker,
    serving: CancellationToken,
    peers_serving: CancellationToken,
}

/// Runs a node until it is told to stop. Gives the exit code.
#[must_use]
pub fn run_blocking(config: Config) -> i32 {
    crate::logging::install(&config.log);
    let hardening = strongroom_secmem::harden_process();
    for (measure, errno) in hardening.refusals() {
        tracing::warn!(%errno, "the system refuses {measure}; see docs/operations.md and deploy/strongroom.service");
    }
    let runtime = match runtime(&config) {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("the runtime can't be started: {error}");
            return EXIT_START;
        }
    };
    let code = runtime.block_on(async {
        match start(config).await {
            Ok(node) => {
                shutdown::wait_for_signal(&node).await;
                shutdown::run(node).await;
                EXIT_CLEAN
            }
            Err(error) => {
                tracing::error!("the node can't start: {error:#}");
                EXIT_START
            }
        }
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code
}

/// Checks a configuration, already loaded, as far as that is possible without
/// starting: the certificates can be read and are this node's.
///
/// # Errors
///
/// What would keep the node from starting.
pub fn check(config: &Config) -> anyhow::Result<()> {
    open::certificates(config).map(drop)
}

fn runtime(config: &Config) -> std::io::Result<tokio::runtime::Runtime> {
    let threads = match config.limits.worker_threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    };
    tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
}

/// Starts a node.
///
/// # Errors
///
/// Why it can't: configuration, certificates, data directory, addresses.
pub(crate) async fn start(config: Config) -> anyhow::Result<Arc<Running>> {
    let certificates = open::certificates(&config)?;
    let listeners = serve::bind(&config).await?;
    let parts = open::core(config, Arc::clone(&certificates)).await?;
    let core = parts.core;
    let calls = CallLayer::new(Arc::clone(&core.metrics));
    let endpoints = listeners.endpoints().context("the addresses of the listeners")?;
    let node = Arc::new(Running {
        core: Arc::clone(&core),
        calls,
        client_stats: Arc::default(),
        peer_stats: Arc::default(),
        tasks: TaskTracker::new(),
        serving: CancellationToken::new(),
        peers_serving: CancellationToken::new(),
    });
    background(&node, certificates);
    node.spawn(ledger::run(
        core.ledger.clone(),
        core.node,
        core.boot,
        Arc::clone(&core.sequences),
        parts.authority,
        Arc::clone(&core.proposer),
        core.metrics.batch_attempts.clone(),
    ));
    serve::serve(&node, listeners);
    endpoints.write(&core.config.data_dir).context("endpoints.json")?;
    tracing::info!(
        client = %endpoints.client,
        peer = %endpoints.peer,
        monitor = %endpoints.monitor,
        node = %core.node,
        cluster = %core.config.cluster.id,
        state = core.lifecycle.phase().name(),
        version = crate::VERSION,
        "listening"
    );
    Ok(node)
}

impl Running {
    /// Runs a task until the node ends.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let ended = self.peers_serving.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = ended.cancelled() => {}
            }
        });
    }
}

/// Starts what goes on beside the calls.
fn background(node: &Arc<Running>, certificates: Arc<strongroom_net::CertStore>) {
    let core = &node.core;
    node.spawn(certificates.watch());
    node.spawn(recall::run(Arc::clone(core)));
    node.spawn(ceremony::run(Arc::clone(core)));
    node.spawn(ceremony::count_refusals(Arc::clone(core)));
    node.spawn(leadership::watch(Arc::clone(core)));
    node.spawn(form::bind_absent(Arc::clone(core)));
    node.spawn(unseal::watch(Arc::clone(core)));
    node.spawn(rewrite::run(Arc::clone(core)));
    node.spawn(verify::scrub(Arc::clone(core)));
    node.spawn(samples::watch(Arc::clone(core)));
    node.spawn(keys_by_state::run(Arc::clone(core)));
    node.spawn(metrics::watch_elections(Arc::clone(core)));
    let disk = Arc::clone(&core.disk);
    node.spawn(async move { disk.watch().await });
    for member in core.config.cluster.members.iter().filter(|member| member.id != core.node) {
        let (core, peer) = (Arc::clone(core), member.id);
        node.spawn(async move { core.reports.watch(&core.peers, peer).await });
    }
    let core = Arc::clone(core);
    node.spawn(async move {
        // Whoever seals a node, a keyring that it can't open among them, what
        // waits in its ledger goes with the secrets.
        let mut phases = core.lifecycle.watch();
        while phases.changed().await.is_ok() {
            if !phases.borrow_and_update().has_secrets() {
                core.ledger.close();
                core.rows.clear();
            }
        }
    });
}
