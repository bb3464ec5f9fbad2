//! Whether a node is worth a call: what probes found, and what its own answers
//! said since. Decides only.

use std::time::{Duration, Instant};

/// What the probes of a node found.
///
/// In the order in which nodes are tried where none is known to serve.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Health {
    /// It answers, and says that it serves.
    Serving,
    /// Not probed yet: taken to serve.
    #[default]
    Unknown,
    /// It answers, and says that it doesn't serve: sealed, verifying, ending.
    NotServing,
    /// No connection can be made.
    Unreachable,
    /// It takes connections and answers nothing: stopped, hung, cut off.
    Silent,
}

impl Health {
    /// True where a call there would wait in vain.
    #[must_use]
    pub fn is_lost(self) -> bool {
        matches!(self, Self::Unreachable | Self::Silent)
    }

    fn may_serve(self) -> bool {
        matches!(self, Self::Serving | Self::Unknown)
    }
}

/// For how long a node is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leave {
    /// This long at most.
    pub(crate) time: Duration,
    /// Or until a probe finds that it serves: what ended was a connection, not
    /// the service.
    pub(crate) until_probe: bool,
}

/// Health of one node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Condition {
    probed: Health,
    left: Option<(Instant, Leave)>,
}

impl Condition {
    /// What probes found last.
    pub(crate) fn probed(&self) -> Health {
        self.probed
    }

    /// A probe ended.
    pub(crate) fn probed_as(&mut self, health: Health) {
        self.probed = health;
        if health == Health::Serving && self.left.is_some_and(|(_, leave)| leave.until_probe) {
            self.left = None;
        }
    }

    /// An attempt failed in a way that speaks against the node. The longer of
    /// two reasons holds.
    pub(crate) fn leave(&mut self, now: Instant, leave: Leave) {
        let until = |(at, leave): (Instant, Leave)| at + leave.time;
        if self.left.is_none_or(|left| until(left) < now + leave.time) {
            self.left = Some((now, leave));
        }
    }

    /// A call was answered as it should be.
    pub(crate) fn served(&mut self) {
        if self.probed.is_lost() {
            self.probed = Health::Unknown;
        }
        if self.left.is_some_and(|(_, leave)| leave.until_probe) {
            self.left = None;
        }
    }

    /// True where calls are sent first.
    pub(crate) fn is_healthy(&self, now: Instant) -> bool {
        self.probed.may_serve() && !self.is_left(now)
    }

    /// In which order to try nodes where none is healthy; the least first.
    pub(crate) fn rank(&self, now: Instant) -> (Health, bool) {
        (self.probed, self.is_left(now))
    }

    fn is_left(&self, now: Instant) -> bool {
        self.left.is_some_and(|(at, leave)| now < at + leave.time)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a moment to count from")]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_node_that_is_known_not_to_serve_is_not_healthy() {
        let now = Instant::now();
        for (health, healthy) in [
            (Health::Unknown, true),
            (Health::Serving, true),
            (Health::NotServing, false),
            (Health::Unreachable, false),
            (Health::Silent, false),
        ] {
            let mut condition = Condition::default();
            condition.probed_as(health);
            assert_eq!(condition.is_healthy(now), healthy, "{health:?}");
        }
    }

    #[test]
    fn a_probe_brings_a_broken_connection_back_but_not_a_node_that_refuses() {
        let now = Instant::now();
        for (until_probe, healthy) in [(true, true), (false, false)] {
            let mut condition = Condition::default();
            condition.leave(now, Leave { time: SECOND, until_probe });
            assert!(!condition.is_healthy(now));
            condition.probed_as(Health::Serving);
            assert_eq!(condition.is_healthy(now), healthy);
            assert!(condition.is_healthy(now + SECOND));
        }
    }

    #[test]
    fn a_shorter_reason_does_not_end_a_longer_one() {
        let now = Instant::now();
        let mut condition = Condition::default();
        condition.leave(now, Leave { time: 2 * SECOND, until_probe: false });
        condition.leave(now, Leave { time: SECOND, until_probe: true });
        condition.probed_as(Health::Serving);
        assert!(!condition.is_healthy(now + SECOND));
    }

    #[test]
    fn a_silent_node_is_the_last_to_be_tried() {
        let now = Instant::now();
        let rank = |health| {
            let mut condition = Condition::default();
            condition.probed_as(health);
            condition.rank(now)
        };
        assert!(rank(Health::NotServing) < rank(Health::Unreachable));
        assert!(rank(Health::Unreachable) < rank(Health::Silent));
    }
}
