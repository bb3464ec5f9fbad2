//! How many denials one principal may cause to be recorded.
//!
//! A denial is a committed record, so it costs a quorum what a use costs; a
//! caller without rights must not be able to spend that at will. Over its rate
//! a principal's calls are refused before policy and cryptography, and counted.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    time::Instant,
};

use parking_lot::Mutex;
use strongroom_base::{PrincipalId, limits};

struct Bucket {
    tokens: f64,
    filled: Instant,
}

/// Token buckets by principal, bounded in number.
#[derive(Default)]
pub(crate) struct DenialLimits {
    buckets: Mutex<HashMap<PrincipalId, Bucket>>,
}

impl DenialLimits {
    /// True while `principal` may still be denied at `now`: its call goes on.
    pub(crate) fn may_be_denied(&self, principal: PrincipalId, now: Instant) -> bool {
        let mut buckets = self.buckets.lock();
        buckets.get_mut(&principal).is_none_or(|bucket| {
            bucket.fill(now);
            bucket.tokens >= 1.0
        })
    }

    /// Counts a denial of `principal`.
    pub(crate) fn denied(&self, principal: PrincipalId, now: Instant) {
        let mut buckets = self.buckets.lock();
        if buckets.len() >= limits::DENIAL_PRINCIPALS_MAX && !buckets.contains_key(&principal) {
            // Whoever has been quiet long enough to be full again has no need
            // of a bucket.
            buckets.retain(|_, bucket| {
                bucket.fill(now);
                bucket.tokens < f64::from(limits::DENIALS_BURST)
            });
            if buckets.len() >= limits::DENIAL_PRINCIPALS_MAX {
                return;
            }
        }
        let bucket = buckets
            .entry(principal)
            .or_insert(Bucket { tokens: f64::from(limits::DENIALS_BURST), filled: now });
        bucket.fill(now);
        bucket.tokens = (bucket.tokens - 1.0).max(0.0);
    }
}

impl Bucket {
    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.tokens = (self.tokens + elapsed * f64::from(limits::DENIALS_PER_SECOND))
            .min(f64::from(limits::DENIALS_BURST));
        self.filled = now;
    }
}

/// A rate over all callers together: `rate` a second, bursts of as many.
pub(crate) struct RateLimit {
    bucket: Mutex<Bucket>,
    rate: u32,
}

impl RateLimit {
    /// `rate` a second.
    #[must_use]
    pub(crate) fn new(rate: u32, now: Instant) -> Self {
        Self { bucket: Mutex::new(Bucket { tokens: f64::from(rate), filled: now }), rate }
    }

    fn fill(&self, bucket: &mut Bucket, now: Instant) {
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = elapsed.mul_add(f64::from(self.rate), bucket.tokens).min(self.rate.into());
        bucket.filled = now;
    }

    /// Whether it is as if nothing had ever been taken.
    fn is_full(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock();
        self.fill(&mut bucket, now);
        bucket.tokens >= f64::from(self.rate)
    }

    /// Takes one; false where the rate is used up.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock();
        self.fill(&mut bucket, now);
        let left = bucket.tokens >= 1.0;
        if left {
            bucket.tokens -= 1.0;
        }
        left
    }
}

/// The rates of share entry: of the node, and of each peer.
pub(crate) struct ShareEntries {
    node: RateLimit,
    peers: Mutex<HashMap<IpAddr, RateLimit>>,
}

impl ShareEntries {
    /// Nothing entered yet.
    #[must_use]
    pub(crate) fn new(now: Instant) -> Self {
        let node = RateLimit::new(limits::SHARE_ENTRIES_PER_SECOND, now);
        Self { node, peers: Mutex::default() }
    }

    /// Takes one entry from `peer` (none: its address is not known); false where
    /// its rate, or that of the node, is used up. A peer over its own rate takes
    /// nothing from the node's.
    pub(crate) fn take(&self, peer: Option<IpAddr>, now: Instant) -> bool {
        peer.is_none_or(|peer| self.take_of(network(peer), now)) && self.node.take(now)
    }

    fn take_of(&self, peer: IpAddr, now: Instant) -> bool {
        let rate = limits::SHARE_ENTRIES_PER_PEER_PER_SECOND;
        let mut peers = self.peers.lock();
        if peers.len() >= limits::SHARE_PEERS_MAX && !peers.contains_key(&peer) {
            peers.retain(|_, of| !of.is_full(now));
            if peers.len() >= limits::SHARE_PEERS_MAX {
                return true;
            }
        }
        peers.entry(peer).or_insert_with(|| RateLimit::new(rate, now)).take(now)
    }
}

/// What one peer can be told from another by: an IPv4 address, or the network
/// of 64 bits in which whoever has an IPv6 address has all.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_principal_over_its_burst_waits_for_its_rate_and_others_do_not() {
        let limits = DenialLimits::default();
        let (loud, quiet) = (PrincipalId::from_bytes([1; 16]), PrincipalId::from_bytes([2; 16]));
        let start = Instant::now();
        let mut denials = 0;
        while limits.may_be_denied(loud, start) {
            limits.denied(loud, start);
            denials += 1;
        }
        assert_eq!(denials, limits::DENIALS_BURST);
        assert!(limits.may_be_denied(quiet, start));
        let later = start + Duration::from_secs(1);
        assert!(limits.may_be_denied(loud, later));
    }

    #[test]
    fn a_peer_over_its_rate_leaves_shares_of_others_be() {
        let start = Instant::now();
        let entries = ShareEntries::new(start);
        let loud: IpAddr = "192.0.2.1".parse().unwrap();
        let taken = (0..1000).filter(|_| entries.take(Some(loud), start)).count();
        assert_eq!(taken, limits::SHARE_ENTRIES_PER_PEER_PER_SECOND as usize);
        assert!(entries.take("192.0.2.2".parse().ok(), start));
        assert!(entries.take(Some(loud), start + Duration::from_secs(1)));
    }

    #[test]
    fn addresses_of_one_network_are_one_peer_and_the_node_has_a_rate_too() {
        let start = Instant::now();
        let entries = ShareEntries::new(start);
        let of_network = |host: u16| format!("2001:db8:1:1::{host:x}").parse().ok();
        let taken = (0..1000).filter(|host| entries.take(of_network(*host), start)).count();
        assert_eq!(taken, limits::SHARE_ENTRIES_PER_PEER_PER_SECOND as usize);
        let others = (0..1000).map(|network| format!("2001:db8:2:{network:x}::1").parse().ok());
        let taken = taken + others.filter(|peer| entries.take(*peer, start)).count();
        assert_eq!(taken, limits::SHARE_ENTRIES_PER_SECOND as usize);
    }

    #[test]
    fn peers_beyond_the_bound_are_not_remembered_and_quiet_ones_are_forgotten() {
        let start = Instant::now();
        let entries = ShareEntries::new(start);
        let peer = |number: u32| IpAddr::from(number.to_be_bytes());
        let most = u32::try_from(limits::SHARE_PEERS_MAX).unwrap();
        for number in 0..most + 10 {
            entries.take(Some(peer(number)), start);
        }
        assert_eq!(entries.peers.lock().len(), limits::SHARE_PEERS_MAX);
        entries.take(Some(peer(most + 20)), start + Duration::from_secs(2));
        assert_eq!(entries.peers.lock().len(), 1);
    }

    #[test]
    fn a_rate_is_used_up_and_comes_back() {
        let start = Instant::now();
        let rate = RateLimit::new(2, start);
        assert!(rate.take(start) && rate.take(start) && !rate.take(start));
        assert!(rate.take(start + Duration::from_millis(600)));
    }
}
