//! How many denials one principal may cause to be recorded.
//!
//! A denial is a committed record, so it costs a quorum what a use costs; a
//! caller without rights must not be able to spend that at will. Over its rate
//! a principal's calls are refused before policy and cryptography, and counted.

use std::{collections::HashMap, time::Instant};

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

    /// Takes one; false where the rate is used up.
    pub(crate) fn take(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock();
        let elapsed = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = elapsed.mul_add(f64::from(self.rate), bucket.tokens).min(self.rate.into());
        bucket.filled = now;
        let left = bucket.tokens >= 1.0;
        if left {
            bucket.tokens -= 1.0;
        }
        left
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
    fn a_rate_is_used_up_and_comes_back() {
        let start = Instant::now();
        let rate = RateLimit::new(2, start);
        assert!(rate.take(start) && rate.take(start) && !rate.take(start));
        assert!(rate.take(start + Duration::from_millis(600)));
    }
}
