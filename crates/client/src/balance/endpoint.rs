//! One node of a pool: its connections, its load, its health.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use super::{
    choice::Look,
    connection::Connection,
    health::{Condition, Health},
    load::Load,
    outcome::Outcome,
};
use crate::{address::Address, dialer::Connector};

/// Calls on one connection before the next one is opened: below that, one more
/// handshake costs more than it brings.
const CALLS_PER_CONNECTION: usize = 32;

/// A node as one client sees it.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Different for each endpoint that a pool ever had.
    pub(crate) id: u64,
    pub(crate) address: Address,
    lanes: Vec<Lane>,
    state: Mutex<State>,
    /// What the probes found, for those who wait for a change.
    health: watch::Sender<Health>,
    /// Asks for a probe at once.
    pub(crate) wake: Notify,
}

/// A connection and the calls that are under way on it.
#[derive(Debug)]
struct Lane {
    connection: Connection,
    calls: AtomicUsize,
}

#[derive(Clone, Copy, Debug)]
struct State {
    load: Load,
    condition: Condition,
    /// The pick of the pool at which it was picked last.
    picked: u64,
    /// When the node was last heard of, whatever it said.
    heard: Option<Instant>,
}

impl Endpoint {
    pub(crate) fn new(
        id: u64,
        address: Address,
        connections: usize,
        connector: &Connector,
        now: Instant,
    ) -> Self {
        let lane = || Lane {
            connection: Connection::new(address.clone(), connector.clone()),
            calls: AtomicUsize::new(0),
        };
        let lanes = (0..connections.max(1)).map(|_| lane()).collect();
        let state =
            State { load: Load::new(now), condition: Condition::default(), picked: 0, heard: None };
        let (health, _) = watch::channel(Health::default());
        Self { id, address, lanes, state: Mutex::new(state), health, wake: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn look(&self, tried: bool) -> Look {
        let state = self.lock();
        Look { load: state.load, condition: state.condition, picked: state.picked, tried }
    }

    pub(crate) fn is_healthy(&self, now: Instant) -> bool {
        self.lock().condition.is_healthy(now)
    }

    pub(crate) fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// The connection that probes use.
    pub(crate) fn first_connection(&self) -> &Connection {
        &self.lanes[0].connection
    }

    /// A probe that was sent at `sent` ended. Silence counts only where nothing
    /// else was heard meanwhile.
    pub(crate) fn probed_as(&self, found: Health, sent: Instant, now: Instant) {
        let health = {
            let mut state = self.lock();
            let heard = state.heard.is_some_and(|heard| heard >= sent);
            match found {
                Health::Silent if heard => return,
                Health::Serving | Health::NotServing => state.heard = Some(now),
                _ => {}
            }
            state.condition.probed_as(found);
            state.condition.probed()
        };
        self.tell(health);
    }

    fn tell(&self, health: Health) {
        self.health.send_if_modified(|told| std::mem::replace(told, health) != health);
    }

    /// A call begins; gives the index of its connection.
    pub(crate) fn begin(&self, pick: u64, now: Instant) -> usize {
        {
            let mut state = self.lock();
            state.load.begin(now);
            state.picked = pick;
        }
        let calls = |lane: &Lane| lane.calls.load(Ordering::Relaxed);
        let index = self
            .lanes
            .iter()
            .position(|lane| calls(lane) < CALLS_PER_CONNECTION)
            .or_else(|| (0..self.lanes.len()).min_by_key(|&index| calls(&self.lanes[index])))
            .unwrap_or_default();
        self.lanes[index].calls.fetch_add(1, Ordering::Relaxed);
        index
    }

    pub(crate) fn connection(&self, index: usize) -> Connection {
        self.lanes[index].connection.clone()
    }

    /// A call on connection `index`, that began at `begun`, ended.
    pub(crate) fn end(&self, index: usize, outcome: Outcome, begun: Instant, now: Instant) {
        self.lanes[index].calls.fetch_sub(1, Ordering::Relaxed);
        let took = now.saturating_duration_since(begun);
        let health = {
            let mut state = self.lock();
            match outcome {
                Outcome::Answered => {
                    state.load.answered(now, took);
                    state.condition.served();
                }
                Outcome::Late { .. } | Outcome::GivenUp | Outcome::Dropped => {
                    state.load.gave_up(now, took);
                }
                Outcome::Refused { .. } | Outcome::Unsent { .. } => state.load.ended(),
                Outcome::Broken { .. } => state.load.gave_up(now, Duration::ZERO),
            }
            if outcome.was_heard() {
                state.heard = Some(now);
            }
            if let Some(leave) = outcome.leave() {
                state.condition.leave(now, leave);
            }
            state.condition.probed()
        };
        self.tell(health);
        if outcome.asks_for_probe() {
            self.wake.notify_one();
        }
    }
}

/// Waits until the node can't be called any more.
///
/// Resolves when probes found it unreachable or silent; not for a node that
/// answers, whatever it says.
#[derive(Clone, Debug)]
pub struct Presence(pub(crate) watch::Receiver<Health>);

impl Presence {
    /// What the probes found last.
    #[must_use]
    pub fn health(&self) -> Health {
        *self.0.borrow()
    }

    /// Waits until the node is lost. Never resolves for a node that left the
    /// pool, whose connections end by themselves.
    pub async fn lost(&mut self) {
        if self.0.wait_for(|health| health.is_lost()).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// One attempt at one node: counts as under way until it is told how it ended.
///
/// Dropped without a word, it ends as [`Outcome::Dropped`]: the node's latency is
/// at least the time that it had.
#[derive(Debug)]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    lane: usize,
    begun: Instant,
    ended: bool,
}

impl Lease {
    pub(crate) fn new(endpoint: Arc<Endpoint>, pick: u64, now: Instant) -> Self {
        let lane = endpoint.begin(pick, now);
        Self { endpoint, lane, begun: now, ended: false }
    }

    pub(crate) fn id(&self) -> u64 {
        self.endpoint.id
    }

    /// The node.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.endpoint.address
    }

    /// The connection to send on.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.endpoint.connection(self.lane)
    }

    /// Tells when the node is lost.
    #[must_use]
    pub fn presence(&self) -> Presence {
        Presence(self.endpoint.health())
    }

    /// The attempt ended.
    pub fn end(mut self, outcome: Outcome) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: Outcome) {
        if !std::mem::replace(&mut self.ended, true) {
            self.endpoint.end(self.lane, outcome, self.begun, Instant::now());
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.finish(Outcome::Dropped);
    }
}
