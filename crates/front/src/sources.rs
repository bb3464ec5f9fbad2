//! Where callers come from: how many connections and requests each address holds,
//! and how fast it asks.
//!
//! An IPv6 address counts as its /64 network, which is what one host is given.
//! Behind a balancer that hides addresses all callers are one source: then the
//! bounds are to be raised (`docs/front.md`).

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
    time::Instant,
};

use parking_lot::Mutex;
use strongroom_base::limits::{
    FRONT_PROBES_PER_SOURCE, FRONT_SOURCES_KEPT, FRONT_STREAMS_PER_SOURCE,
};

use crate::budget::{Budget, Share};

/// A full bucket holds what comes in this many seconds.
const BURST_SECONDS: f64 = 2.0;

/// Bounds of one address; 0: none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SourceLimits {
    /// Connections at a time.
    pub(crate) connections: usize,
    /// Requests under way at a time.
    pub(crate) requests: usize,
    /// Requests a second.
    pub(crate) rate: u32,
}

/// All addresses that are known.
///
/// Invariant: an address with a connection is there; of the others no more than
/// [`FRONT_SOURCES_KEPT`].
pub(crate) struct Sources {
    limits: SourceLimits,
    known: Mutex<HashMap<IpAddr, Arc<Source>>>,
}

/// One address.
#[derive(Debug)]
pub(crate) struct Source {
    connections: Arc<Budget>,
    /// Requests under way, streams among them.
    pub(crate) requests: Arc<Budget>,
    /// Streams open.
    pub(crate) streams: Arc<Budget>,
    /// Probes under way.
    pub(crate) probes: Arc<Budget>,
    bucket: Mutex<Bucket>,
}

/// A connection, counted until dropped.
#[derive(Debug)]
pub(crate) struct Connected {
    _source: Arc<Source>,
    _one: Share,
}

/// Requests that may come at once; filled with time.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
    /// A second; 0: no bound.
    rate: f64,
}

impl Bucket {
    fn new(rate: u32, now: Instant) -> Self {
        let rate = f64::from(rate);
        Self { tokens: rate * BURST_SECONDS, filled: now, rate }
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + passed * self.rate).min(self.rate * BURST_SECONDS);
        self.filled = now.max(self.filled);
    }

    fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let fits = self.rate == 0.0 || self.tokens >= 1.0;
        if fits {
            self.tokens -= 1.0;
        }
        fits
    }

    /// True where forgetting it changes nothing.
    fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.rate * BURST_SECONDS
    }
}

impl Source {
    fn new(limits: SourceLimits, now: Instant) -> Self {
        let bound = |bound| Budget::new(if bound == 0 { usize::MAX } else { bound });
        Self {
            connections: bound(limits.connections),
            requests: bound(limits.requests),
            streams: bound(limits.requests.min(FRONT_STREAMS_PER_SOURCE)),
            probes: bound(limits.requests.min(FRONT_PROBES_PER_SOURCE)),
            bucket: Mutex::new(Bucket::new(limits.rate, now)),
        }
    }

    /// Whether one more request may come at this moment.
    #[must_use]
    pub(crate) fn may_ask(&self, now: Instant) -> bool {
        self.bucket.lock().take(now)
    }
}

impl Sources {
    pub(crate) fn new(limits: SourceLimits) -> Self {
        Self { limits, known: Mutex::default() }
    }

    /// Takes a connection from `address`; `None` over its bound.
    pub(crate) fn connect(&self, address: IpAddr, now: Instant) -> Option<Connected> {
        let source = self.of(address, now);
        let one = source.connections.take(1)?;
        Some(Connected { _source: source, _one: one })
    }

    /// What is known of `address`. The same for all its connections, as long as one
    /// is open.
    pub(crate) fn of(&self, address: IpAddr, now: Instant) -> Arc<Source> {
        let network = network(address);
        let mut known = self.known.lock();
        if let Some(source) = known.get(&network) {
            return Arc::clone(source);
        }
        // Whoever is connected holds the source, too.
        let idle = |source: &Arc<Source>| Arc::strong_count(source) == 1;
        if known.len() >= FRONT_SOURCES_KEPT {
            known.retain(|_, source| !idle(source) || !source.bucket.lock().is_full(now));
            forget_quietest(&mut known, idle);
        }
        let source = Arc::new(Source::new(self.limits, now));
        known.insert(network, Arc::clone(&source));
        source
    }

    /// Addresses that are known.
    pub(crate) fn count(&self) -> usize {
        self.known.lock().len()
    }
}

/// Forgets an eighth of the idle ones where there are too many, so that not every
/// new address pays for a look at all.
fn forget_quietest(known: &mut HashMap<IpAddr, Arc<Source>>, idle: impl Fn(&Arc<Source>) -> bool) {
    let filled = |source: &Arc<Source>| source.bucket.lock().filled;
    let mut idle: Vec<(Instant, IpAddr)> = known
        .iter()
        .filter(|(_, source)| idle(source))
        .map(|(address, source)| (filled(source), *address))
        .collect();
    if idle.len() < FRONT_SOURCES_KEPT {
        return;
    }
    let (forgotten, _, _) = idle.select_nth_unstable(FRONT_SOURCES_KEPT / 8);
    for (_, address) in forgotten {
        known.remove(address);
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMITS: SourceLimits = SourceLimits { connections: 2, requests: 3, rate: 10 };

    fn address(last: u32) -> IpAddr {
        IpAddr::from(std::net::Ipv4Addr::from(0x0a00_0000 + last))
    }

    #[test]
    fn an_address_over_its_bound_is_refused_and_another_one_is_not() {
        let (sources, now) = (Sources::new(LIMITS), Instant::now());
        let held = [0, 1].map(|_| sources.connect(address(1), now).unwrap());
        assert!(sources.connect(address(1), now).is_none());
        assert!(sources.connect(address(2), now).is_some());
        drop(held);
        assert!(sources.connect(address(1), now).is_some());
    }

    #[test]
    fn hosts_of_one_ipv6_network_are_one_source() {
        let of = |text: &str| network(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }

    #[test]
    fn a_rate_allows_a_burst_and_then_what_time_brings() {
        let now = Instant::now();
        let source = Source::new(LIMITS, now);
        let taken = (0..100).filter(|_| source.may_ask(now)).count();
        assert_eq!(taken, 20);
        let later = now + Duration::from_millis(500);
        assert_eq!((0..100).filter(|_| source.may_ask(later)).count(), 5);
        let unbounded = Source::new(SourceLimits { rate: 0, ..LIMITS }, now);
        assert!((0..1000).all(|_| unbounded.may_ask(now)));
    }

    #[test]
    fn an_address_that_hangs_up_does_not_get_a_new_burst() {
        let (sources, now) = (Sources::new(LIMITS), Instant::now());
        let ask = || {
            let _connected = sources.connect(address(1), now).unwrap();
            let source = sources.of(address(1), now);
            (0..100).filter(|_| source.may_ask(now)).count()
        };
        assert_eq!((ask(), ask()), (20, 0));
    }

    #[test]
    fn addresses_are_bounded_and_those_with_a_connection_stay() {
        let (sources, now) = (Sources::new(LIMITS), Instant::now());
        let _held = sources.connect(address(0), now).unwrap();
        let first = sources.of(address(0), now);
        for last in 1..FRONT_SOURCES_KEPT as u32 * 2 {
            assert!(sources.of(address(last), now).may_ask(now));
        }
        assert!(sources.count() <= FRONT_SOURCES_KEPT + 1);
        assert!(Arc::ptr_eq(&first, &sources.of(address(0), now)));
    }
}
