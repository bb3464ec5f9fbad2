//! How loaded one node is, as one client sees it: peak-EWMA.
//!
//! The cost of a node is its latency times the calls under way there, plus one.
//! Latency is an exponentially weighted moving average that a slower answer
//! lifts at once and that time lets fall, so that a node that was slow is tried
//! again. A node that has calls under way and answers none is at least as slow
//! as its silence is long.
//!
//! Reads no clock: the caller says what time it is.

use std::time::{Duration, Instant};

/// An estimate weighs 1/e of what it did after this long. Short, so that one
/// hiccup doesn't keep callers away for long.
const DECAY: Duration = Duration::from_secs(1);
/// Latencies below this are alike.
const LATENCY_LEAST: Duration = Duration::from_micros(200);
/// A wait in vain that is longer than this says that a node is slow.
const TELLING: Duration = Duration::from_millis(100);

/// Latency and calls under way of one node.
///
/// Invariant: `pending` is the number of [`Load::begin`] without an end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Seconds, as of `updated`; `None` before the first answer.
    estimate: Option<f64>,
    updated: Instant,
    pending: u32,
    /// The newest answer, or when the first of the calls under way began.
    progress: Instant,
}

impl Load {
    pub(crate) fn new(now: Instant) -> Self {
        Self { estimate: None, updated: now, pending: 0, progress: now }
    }

    /// Calls under way.
    pub(crate) fn pending(&self) -> u32 {
        self.pending
    }

    /// A call goes out.
    pub(crate) fn begin(&mut self, now: Instant) {
        if self.pending == 0 {
            self.progress = now;
        }
        self.pending += 1;
    }

    /// A call was answered after `took`.
    pub(crate) fn answered(&mut self, now: Instant, took: Duration) {
        self.pending = self.pending.saturating_sub(1);
        self.progress = now;
        let took = took.as_secs_f64();
        let estimate = match self.estimate {
            Some(estimate) => {
                let weight = self.weight(now);
                if took > estimate * weight {
                    took
                } else {
                    estimate * weight + took * (1.0 - weight)
                }
            }
            None => took,
        };
        self.estimate = Some(estimate);
        self.updated = now;
    }

    /// A call ended by itself, and says nothing of how long calls take: it was
    /// refused at once, or never sent.
    pub(crate) fn ended(&mut self) {
        self.pending = self.pending.saturating_sub(1);
    }

    /// A call was given up after `waited`: it would have taken longer.
    pub(crate) fn gave_up(&mut self, now: Instant, waited: Duration) {
        self.pending = self.pending.saturating_sub(1);
        let slow = match self.estimate {
            Some(estimate) => waited.as_secs_f64() > estimate * self.weight(now),
            // A short wait says nothing of a node that is not known.
            None => waited > TELLING,
        };
        if slow {
            self.estimate = Some(waited.as_secs_f64());
            self.updated = now;
        }
    }

    /// Latency as of `now`; `None` when nothing is known.
    pub(crate) fn latency(&self, now: Instant) -> Option<Duration> {
        self.seconds(now).map(Duration::from_secs_f64)
    }

    fn seconds(&self, now: Instant) -> Option<f64> {
        let known = self.estimate.map(|estimate| estimate * self.weight(now));
        let silent =
            (self.pending > 0).then(|| now.saturating_duration_since(self.progress).as_secs_f64());
        match (known, silent) {
            (Some(known), Some(silent)) => Some(known.max(silent)),
            (known, _) => known,
        }
    }

    fn weight(&self, now: Instant) -> f64 {
        let age = now.saturating_duration_since(self.updated);
        (-age.as_secs_f64() / DECAY.as_secs_f64()).exp()
    }

    /// Costs of two nodes, to be compared with one another only: a node of which
    /// nothing is known is taken to be as fast as the other.
    pub(crate) fn costs(a: &Self, b: &Self, now: Instant) -> (f64, f64) {
        let (of_a, of_b) = (a.seconds(now), b.seconds(now));
        let least = LATENCY_LEAST.as_secs_f64();
        let cost = |own: Option<f64>, other: Option<f64>, pending: u32| {
            own.or(other).unwrap_or(least).max(least) * (f64::from(pending) + 1.0)
        };
        (cost(of_a, of_b, a.pending), cost(of_b, of_a, b.pending))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a moment to count from")]

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn answered(load: &mut Load, at: Instant, took: Duration) {
        load.begin(at);
        load.answered(at + took, took);
    }

    #[test]
    fn a_slower_answer_counts_at_once_and_a_faster_one_by_and_by() {
        let now = Instant::now();
        let mut load = Load::new(now);
        answered(&mut load, now, 2 * MS);
        answered(&mut load, now, 80 * MS);
        assert_eq!(load.latency(now + 80 * MS), Some(80 * MS));
        answered(&mut load, now + 80 * MS, 2 * MS);
        let after = load.latency(now + 82 * MS).unwrap();
        assert!(after > 70 * MS && after < 80 * MS, "{after:?}");
    }

    #[test]
    fn what_a_node_did_long_ago_is_forgotten() {
        let now = Instant::now();
        let mut load = Load::new(now);
        answered(&mut load, now, 500 * MS);
        assert!(load.latency(now + 20 * DECAY).unwrap() < MS);
    }

    #[test]
    fn a_node_that_answers_nothing_costs_more_the_longer_it_is_silent() {
        let now = Instant::now();
        let (mut silent, mut busy) = (Load::new(now), Load::new(now));
        for load in [&mut silent, &mut busy] {
            answered(load, now, 2 * MS);
            load.begin(now + 2 * MS);
        }
        busy.answered(now + 4 * MS, 2 * MS);
        busy.begin(now + 302 * MS);
        let (of_silent, of_busy) = Load::costs(&silent, &busy, now + 303 * MS);
        assert!(of_silent > 50.0 * of_busy, "{of_silent} {of_busy}");
    }

    #[test]
    fn calls_under_way_multiply_the_cost_and_an_unknown_node_is_as_fast_as_the_other() {
        let now = Instant::now();
        let (mut known, mut fresh) = (Load::new(now), Load::new(now));
        answered(&mut known, now, 10 * MS);
        let at = now + 10 * MS;
        let (of_known, of_fresh) = Load::costs(&known, &fresh, at);
        assert!((of_known - of_fresh).abs() < 1e-9);
        fresh.begin(at);
        let (of_known, of_fresh) = Load::costs(&known, &fresh, at);
        assert!((of_fresh / of_known - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_call_that_was_given_up_makes_a_node_slow_and_one_that_was_refused_does_not_make_it_fast() {
        let now = Instant::now();
        let mut load = Load::new(now);
        answered(&mut load, now, 10 * MS);
        load.begin(now);
        load.ended();
        assert_eq!(load.latency(now + 10 * MS), Some(10 * MS));
        load.begin(now);
        load.gave_up(now + 900 * MS, 900 * MS);
        assert_eq!(load.latency(now + 900 * MS), Some(900 * MS));
        assert_eq!(load.pending(), 0);
    }
}
