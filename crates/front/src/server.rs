//! A front from start to end: certificates and listeners, requests, and a drain.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use strongroom_base::limits::{HANDSHAKE_TIMEOUT_MS, HANDSHAKES_MAX};
use strongroom_net::{
    AcceptorLimits, AcceptorStats, CertStore, Incoming, Listener as Kind, Role, TlsPaths,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    admission::Admission,
    config::Config,
    connection::Unread,
    listener::Listener,
    metrics::Metrics,
    monitor,
    nodes::Nodes,
    own::{self, Own},
    service::Service,
    sources::{SourceLimits, Sources},
};

/// Ended as it was told to.
const EXIT_CLEAN: i32 = 0;
/// Could not start.
const EXIT_START: i32 = 1;

/// What the parts of a front share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    /// Its name, as in its certificate.
    pub(crate) name: String,
    pub(crate) certificates: Arc<CertStore>,
    pub(crate) service: Arc<Service>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) stats: Arc<AcceptorStats>,
    /// True once it was told to end.
    pub(crate) draining: watch::Sender<bool>,
    pub(crate) started: Instant,
}

/// A running front.
///
/// Dropped without [`Front::drain`], it goes on until its runtime ends.
pub struct Front {
    shared: Arc<Shared>,
    client: SocketAddr,
    monitor: SocketAddr,
    ready: watch::Receiver<bool>,
    /// No new connections, no new requests.
    closing: CancellationToken,
    /// Nothing any more.
    over: CancellationToken,
    connections: TaskTracker,
}

/// Runs a front until it is told to stop. Gives the exit code.
#[must_use]
pub fn run_blocking(config: Config) -> i32 {
    crate::logging::install(&config.log);
    let threads = match config.limits.worker_threads {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        threads => threads,
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!("the runtime can't be started: {error}");
            return EXIT_START;
        }
    };
    let code = runtime.block_on(async {
        match Front::start(config).await {
            Ok(front) => {
                wait_for_signal(&front).await;
                front.drain().await;
                EXIT_CLEAN
            }
            Err(error) => {
                tracing::error!("the front can't start: {error:#}");
                EXIT_START
            }
        }
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

/// Checks a configuration, already loaded, as far as that is possible without
/// starting: the certificates can be read and are a front's of the cluster.
///
/// # Errors
///
/// What would keep the front from starting.
pub fn check(config: &Config) -> anyhow::Result<()> {
    certificates(config).map(drop)
}

/// Loads the certificates, and checks that they are a front's; gives its name.
fn certificates(config: &Config) -> anyhow::Result<(Arc<CertStore>, String)> {
    let paths = TlsPaths {
        cert: config.tls.certificate.clone(),
        key: config.tls.key.clone(),
        ca: config.tls.ca.clone(),
    };
    let store = CertStore::load(paths).context("the certificates of [tls]")?;
    let identity = store.identity();
    identity.require_cluster(config.cluster.id).context("the certificate of [tls]")?;
    let Role::Front(name) = &identity.role else {
        bail!(
            "the certificate of [tls] is {identity}, and a front's is needed: `strongroom tls front`"
        )
    };
    let name = name.clone();
    Ok((store, name))
}

async fn bind(name: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("can't listen on {address} (listen.{name})"))
}

impl Front {
    /// Starts a front. Needs no node to be there.
    ///
    /// # Errors
    ///
    /// Why it can't: configuration, certificates, addresses.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let (certificates, name) = certificates(&config)?;
        let (client, monitor) = (
            bind("client", config.listen.client).await?,
            bind("monitor", config.listen.monitor).await?,
        );
        let (client_at, monitor_at) = (client.local_addr()?, monitor.local_addr()?);
        let (own, reporter) = Own::new().await;
        let nodes = Arc::new(Nodes::new(&config, Arc::clone(&certificates))?);
        let service = Arc::new(Service {
            admission: Admission::new(&config.limits),
            nodes: Arc::clone(&nodes),
            unread: Unread::new(Duration::from_millis(config.limits.stall_ms)),
            metrics: Arc::new(Metrics::new(crate::VERSION)),
            own,
            access_log: config.log.access,
            ending: CancellationToken::new(),
        });
        let shared = Arc::new(Shared {
            name,
            service,
            sources: Arc::new(Sources::new(SourceLimits {
                connections: config.limits.connections_per_source,
                requests: config.limits.requests_per_source,
                rate: config.limits.rate_per_source,
            })),
            stats: Arc::default(),
            draining: watch::Sender::new(false),
            started: Instant::now(),
            certificates,
            config,
        });
        let (ready, told) = watch::channel(false);
        let front = Self {
            shared,
            client: client_at,
            monitor: monitor_at,
            ready: told,
            closing: CancellationToken::new(),
            over: CancellationToken::new(),
            connections: TaskTracker::new(),
        };
        front.spawn(own::tell(nodes, front.shared.draining.subscribe(), ready, reporter));
        front.serve(client, monitor);
        tracing::info!(
            client = %client_at,
            monitor = %monitor_at,
            name = front.shared.name,
            cluster = %front.shared.config.cluster.id,
            version = crate::VERSION,
            "listening"
        );
        Ok(front)
    }

    fn serve(&self, client: TcpListener, monitor: TcpListener) {
        let shared = &self.shared;
        self.spawn(Arc::clone(&shared.certificates).watch());
        self.spawn(Arc::clone(&shared.service.nodes).watch());
        self.spawn(Arc::clone(&shared.service.unread).watch());
        let limits = AcceptorLimits {
            connections_max: shared.config.limits.connections,
            handshakes_max: HANDSHAKES_MAX,
            handshake_timeout: Duration::from_millis(HANDSHAKE_TIMEOUT_MS),
        };
        let (certificates, stats) = (Arc::clone(&shared.certificates), Arc::clone(&shared.stats));
        let incoming = Incoming::new(client, Kind::Client, certificates, limits, stats)
            .with_gate(Listener::gate(Arc::clone(&shared.sources)));
        let listener = Arc::new(Listener {
            service: Arc::clone(&shared.service),
            sources: Arc::clone(&shared.sources),
            streams: shared.config.limits.streams_per_connection,
            idle: Duration::from_millis(shared.config.limits.idle_ms),
            closing: self.closing.clone(),
            tasks: self.connections.clone(),
        });
        self.spawn(listener.run(incoming));
        let router = monitor::router(Arc::clone(shared));
        let over = self.over.clone();
        tokio::spawn(async move {
            let server =
                axum::serve(monitor, router).with_graceful_shutdown(over.cancelled_owned());
            if let Err(error) = server.await {
                tracing::error!(%error, "the monitor listener failed");
            }
        });
    }

    /// Runs a task until the front is over.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let over = self.over.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = task => {}
                () = over.cancelled() => {}
            }
        });
    }

    /// Where callers are served.
    #[must_use]
    pub fn client_address(&self) -> SocketAddr {
        self.client
    }

    /// Where metrics and health are.
    #[must_use]
    pub fn monitor_address(&self) -> SocketAddr {
        self.monitor
    }

    /// Waits until a node serves, as health tells it.
    pub async fn ready(&self) {
        let mut ready = self.ready.clone();
        // The sender lives as long as the front is not over.
        let _ = ready.wait_for(|ready| *ready).await;
    }

    /// Ends the front: says that it is not ready and serves on for
    /// `drain.lead_ms`; then takes no new connection, tells those that are open to
    /// go, ends streams, and waits for requests under way, for `drain.patience_ms`
    /// at most.
    pub async fn drain(self) {
        let drain = &self.shared.config.drain;
        tracing::info!(lead_ms = drain.lead_ms, "draining: not ready, and serving on");
        self.shared.draining.send_replace(true);
        tokio::time::sleep(drain.lead()).await;
        self.closing.cancel();
        self.shared.service.ending.cancel();
        self.connections.close();
        let drained = tokio::time::timeout(drain.patience(), self.connections.wait()).await;
        self.over.cancel();
        tracing::info!(clean = drained.is_ok(), "ended");
    }
}

/// Waits for SIGTERM or SIGINT; SIGHUP reloads the certificates.
async fn wait_for_signal(front: &Front) {
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        tracing::error!("signals can't be received: this front ends");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => match front.shared.certificates.reload() {
                Ok(()) => tracing::info!("certificates reloaded"),
                Err(error) => tracing::error!(%error, "the certificates in use stay"),
            },
        }
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("second signal: ending at once");
        std::process::exit(EXIT_CLEAN);
    });
}
