//! Counts of a listener, kept in atomics for metrics to read.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counts of one listener; shared with whoever exports them.
#[derive(Debug, Default)]
pub struct AcceptorStats {
    pub(crate) accepted: AtomicU64,
    pub(crate) refused_over_limit: AtomicU64,
    pub(crate) handshake_failed: AtomicU64,
    pub(crate) handshake_timeout: AtomicU64,
    pub(crate) accept_failed: AtomicU64,
    open: AtomicU64,
}

/// [`AcceptorStats`] at one moment. All but `open` only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AcceptorCounts {
    /// Connections handed on after a handshake that succeeded.
    pub accepted: u64,
    /// Connections closed at once, because too many were open.
    pub refused_over_limit: u64,
    /// Handshakes that failed: certificate, protocol, or a broken connection.
    pub handshake_failed: u64,
    /// Handshakes that took too long.
    pub handshake_timeout: u64,
    /// Times that accepting itself failed (no file descriptor left, say).
    pub accept_failed: u64,
    /// Connections open at this moment, those in their handshake included.
    pub open: u64,
}

impl AcceptorStats {
    /// The counts. They are read one by one and need not agree to the unit.
    #[must_use]
    pub fn counts(&self) -> AcceptorCounts {
        AcceptorCounts {
            accepted: self.accepted.load(Relaxed),
            refused_over_limit: self.refused_over_limit.load(Relaxed),
            handshake_failed: self.handshake_failed.load(Relaxed),
            handshake_timeout: self.handshake_timeout.load(Relaxed),
            accept_failed: self.accept_failed.load(Relaxed),
            open: self.open.load(Relaxed),
        }
    }

    pub(crate) fn add(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }
}

/// Counts a connection as open until dropped.
#[derive(Debug)]
pub(crate) struct OpenGuard(Arc<AcceptorStats>);

impl OpenGuard {
    /// Counts one more, unless `connections_max` are open already.
    pub(crate) fn open(stats: &Arc<AcceptorStats>, connections_max: usize) -> Option<Self> {
        let max = u64::try_from(connections_max).unwrap_or(u64::MAX);
        stats
            .open
            .fetch_update(Relaxed, Relaxed, |open| (open < max).then_some(open + 1))
            .ok()
            .map(|_| Self(Arc::clone(stats)))
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_over_the_limit_is_not_opened_until_another_closes() {
        let stats = Arc::new(AcceptorStats::default());
        let first = OpenGuard::open(&stats, 1).unwrap();
        assert!(OpenGuard::open(&stats, 1).is_none());
        assert_eq!(stats.counts().open, 1);
        drop(first);
        assert_eq!(stats.counts().open, 0);
        assert!(OpenGuard::open(&stats, 1).is_some());
    }
}
