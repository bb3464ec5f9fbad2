//! The set of nodes, and the pick among them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rand::random;
use strongroom_base::limits::CLIENT_NODES_MAX;
use tokio::{
    sync::{Notify, watch},
    task::{AbortHandle, JoinSet},
};
use tracing::debug;

use super::{
    budget::RetryBudget,
    choice::{Look, eligible, first_is_better, two_of},
    endpoint::{Endpoint, Lease},
    health::Health,
    probe::{self, Pace},
    resolve::{Names, Resolver},
};
use crate::{
    address::Address,
    config::{Config, ConfigError},
    dialer::Connector,
};

/// A client that made no call for this long is idle.
const IDLE_AFTER: Duration = Duration::from_secs(10);
/// Names are resolved at most this often, however many attempts fail.
const RESOLVE_LEAST: Duration = Duration::from_secs(1);
/// Time that one name has to be resolved.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// The nodes of a cluster, or its fronts, as one client sees them. Cheap to
/// clone; clones share everything.
///
/// Nothing is dialled or probed before the first [`Pool::pick`]; tasks end when
/// the last clone is dropped.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    endpoints: RwLock<Arc<[Arc<Endpoint>]>>,
    names: Vec<Address>,
    connector: Connector,
    connections: usize,
    pace: Pace,
    resolver: Resolver,
    resolve_interval: Duration,
    /// False until the names were looked up once.
    resolved: watch::Sender<bool>,
    /// Asks for names to be resolved again.
    doubt: Arc<Notify>,
    budget: RetryBudget,
    activity: Arc<Activity>,
    picks: AtomicU64,
    endpoints_made: AtomicU64,
    keeper: OnceLock<AbortHandle>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(keeper) = self.keeper.get() {
            keeper.abort();
        }
    }
}

/// When the last call was made.
#[derive(Debug)]
pub(crate) struct Activity {
    begun: Instant,
    last_ms: AtomicU64,
}

impl Activity {
    fn new(now: Instant) -> Self {
        Self { begun: now, last_ms: AtomicU64::new(0) }
    }

    fn ms(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begun).as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        let idle = self.ms(now).saturating_sub(self.last_ms.load(Ordering::Relaxed));
        u128::from(idle) > IDLE_AFTER.as_millis()
    }

    /// A call is made; true where there was none for long.
    fn touch(&self, now: Instant) -> bool {
        let idle = self.is_idle(now);
        self.last_ms.store(self.ms(now), Ordering::Relaxed);
        idle
    }
}

/// Nodes that were tried in one round of a call.
#[derive(Clone, Debug, Default)]
pub struct Tried(Vec<u64>);

impl Tried {
    /// A new round begins.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    fn holds(&self, endpoint: &Endpoint) -> bool {
        self.0.contains(&endpoint.id)
    }
}

/// What a pool knows of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeView {
    /// Where it is.
    pub address: Address,
    /// What probes found last.
    pub health: Health,
    /// True where calls are sent first.
    pub is_healthy: bool,
    /// Attempts under way.
    pub pending: u32,
    /// Peak-EWMA of the latency; `None` before the first answer.
    pub latency: Option<Duration>,
}

impl Pool {
    /// Checks the configuration; dials nothing yet.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        if config.timeout.is_zero() || config.probe_timeout.is_zero() {
            return Err(ConfigError::Timeout);
        }
        if config.addresses.is_empty() {
            return Err(ConfigError::NoAddress);
        }
        let named = config.addresses.iter().any(|address| !address.is_ip());
        let pool = Self(Arc::new(Inner {
            endpoints: RwLock::new(Arc::new([])),
            names: config.addresses.clone(),
            connector: Connector::new(config)?,
            connections: config.connections.get(),
            pace: Pace {
                interval: config.probe_interval,
                timeout: config.probe_timeout,
                idle: config.probe_idle_interval,
            },
            resolver: config.resolver.clone(),
            resolve_interval: config.resolve_interval,
            resolved: watch::Sender::new(!named),
            doubt: Arc::new(Notify::new()),
            budget: RetryBudget::default(),
            activity: Arc::new(Activity::new(Instant::now())),
            picks: AtomicU64::new(0),
            endpoints_made: AtomicU64::new(0),
            keeper: OnceLock::new(),
        }));
        if !named {
            pool.0.replace(&Names::new(config.addresses.clone()).nodes(CLIENT_NODES_MAX));
        }
        Ok(pool)
    }

    /// The budget that all calls of this pool share.
    #[must_use]
    pub fn budget(&self) -> &RetryBudget {
        &self.0.budget
    }

    pub(crate) fn connector(&self) -> &Connector {
        &self.0.connector
    }

    /// What is known of each node.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeView> {
        let now = Instant::now();
        let view = |endpoint: &Arc<Endpoint>| {
            let look = endpoint.look(false);
            NodeView {
                address: endpoint.address.clone(),
                health: look.condition.probed(),
                is_healthy: look.condition.is_healthy(now),
                pending: look.load.pending(),
                latency: look.load.latency(now),
            }
        };
        self.0.endpoints().iter().map(view).collect()
    }

    /// Waits until configured names were looked up once; at once where there
    /// are none. Must be called within a Tokio runtime.
    pub async fn resolved(&self) {
        self.start();
        let mut resolved = self.0.resolved.subscribe();
        // The sender lives as long as this pool.
        let _ = resolved.wait_for(|resolved| *resolved).await;
    }

    /// Picks a node for an attempt and marks it as tried: of two healthy nodes
    /// that were not tried, drawn at random, the one with the lower load.
    ///
    /// Where no node is healthy, the least bad of those that were not tried.
    /// `None` when the round is over: every node was tried, or every one that
    /// is worth the time. Must be called within a Tokio runtime, and picks
    /// nothing before [`Pool::resolved`].
    pub fn pick(&self, tried: &mut Tried) -> Option<Lease> {
        self.pick_at(tried, Instant::now(), false)
    }

    /// As [`Pool::pick`], and only of healthy nodes: for hedges.
    pub fn pick_healthy(&self, tried: &mut Tried) -> Option<Lease> {
        self.pick_at(tried, Instant::now(), true)
    }

    fn pick_at(&self, tried: &mut Tried, now: Instant, healthy_only: bool) -> Option<Lease> {
        self.start();
        let endpoints = self.0.endpoints();
        if self.0.activity.touch(now) {
            endpoints.iter().for_each(|endpoint| endpoint.wake.notify_one());
        }
        let looks: Vec<Look> =
            endpoints.iter().map(|endpoint| endpoint.look(tried.holds(endpoint))).collect();
        let eligible = eligible(&looks, healthy_only, now);
        if eligible.is_empty() {
            return None;
        }
        let (a, b) = two_of(eligible.len(), random());
        let (a, b) = (eligible[a], eligible[b]);
        let picked = &endpoints[if first_is_better(&looks[a], &looks[b], now) { a } else { b }];
        tried.0.push(picked.id);
        let pick = self.0.picks.fetch_add(1, Ordering::Relaxed) + 1;
        Some(Lease::new(Arc::clone(picked), pick, now))
    }

    /// Nodes that were not tried in this round.
    #[must_use]
    pub fn untried(&self, tried: &Tried) -> usize {
        self.0.endpoints().iter().filter(|endpoint| !tried.holds(endpoint)).count()
    }

    /// True where a node other than `id` is healthy.
    pub(crate) fn another_is_healthy(&self, id: u64) -> bool {
        let now = Instant::now();
        let other = |endpoint: &Arc<Endpoint>| endpoint.id != id && endpoint.is_healthy(now);
        self.0.endpoints().iter().any(other)
    }

    /// Has names resolved again, soon: an attempt failed.
    pub fn doubt(&self) {
        self.0.doubt.notify_one();
    }

    fn start(&self) {
        self.0.keeper.get_or_init(|| {
            let keep = keep(Arc::downgrade(&self.0), Names::new(self.0.names.clone()));
            tokio::spawn(keep).abort_handle()
        });
    }
}

impl Inner {
    fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        Arc::clone(&self.endpoints.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// These are the nodes; what is known of those that stay is kept.
    fn replace(&self, nodes: &[Address]) {
        let old = self.endpoints();
        let endpoint = |address: &Address| {
            if let Some(known) = old.iter().find(|endpoint| endpoint.address == *address) {
                return Arc::clone(known);
            }
            let id = self.endpoints_made.fetch_add(1, Ordering::Relaxed);
            let (address, now) = (address.clone(), Instant::now());
            Arc::new(Endpoint::new(id, address, self.connections, &self.connector, now))
        };
        let new = nodes.iter().map(endpoint).collect();
        *self.endpoints.write().unwrap_or_else(PoisonError::into_inner) = new;
    }

    /// Looks all names up, at the same time.
    async fn look_up(&self, names: &mut Names) {
        let lookups = names.to_resolve().into_iter().map(|name| async move {
            let lookup = tokio::time::timeout(RESOLVE_TIMEOUT, self.resolver.lookup(&name));
            match lookup.await {
                Ok(Ok(answer)) => Some((name, answer)),
                Ok(Err(error)) => {
                    debug!(%name, %error, "a name was not resolved");
                    None
                }
                Err(_) => {
                    debug!(%name, "a name was not resolved in time");
                    None
                }
            }
        });
        for (name, answer) in futures::future::join_all(lookups).await.into_iter().flatten() {
            names.resolved(&name, answer);
        }
    }
}

/// Keeps the set of nodes true and each of them probed, for as long as the pool
/// lives.
async fn keep(pool: Weak<Inner>, mut names: Names) {
    let mut probers = JoinSet::new();
    let mut probed: BTreeMap<u64, AbortHandle> = BTreeMap::new();
    let named = !names.to_resolve().is_empty();
    loop {
        let Some(inner) = pool.upgrade() else { return };
        if named {
            inner.look_up(&mut names).await;
            inner.replace(&names.nodes(CLIENT_NODES_MAX));
            inner.resolved.send_replace(true);
        }
        let endpoints = inner.endpoints();
        let there: BTreeSet<u64> = endpoints.iter().map(|endpoint| endpoint.id).collect();
        probed.retain(|id, prober| {
            let stays = there.contains(id);
            if !stays {
                prober.abort();
            }
            stays
        });
        for endpoint in endpoints.iter() {
            probed.entry(endpoint.id).or_insert_with(|| {
                let activity = Arc::clone(&inner.activity);
                probers.spawn(probe::run(Arc::clone(endpoint), inner.pace, activity))
            });
        }
        if !named {
            drop((inner, endpoints));
            while probers.join_next().await.is_some() {}
            return;
        }
        let (doubt, interval) = (Arc::clone(&inner.doubt), inner.resolve_interval);
        // While it waits, it holds no clone of the pool: the pool would never end.
        drop((inner, endpoints));
        tokio::time::sleep(RESOLVE_LEAST).await;
        let rest = interval.saturating_sub(RESOLVE_LEAST);
        // Elapsed or doubted: the same follows.
        let _ = tokio::time::timeout(rest, doubt.notified()).await;
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("nodes", &self.nodes()).finish()
    }
}
