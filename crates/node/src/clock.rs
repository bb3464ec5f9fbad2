//! Cluster time: how a leader stamps entries.
//!
//! Cluster time is the largest stamp so far. A leader raises it no faster than
//! its own monotonic clock runs; after a gap (it was idle, an election, an
//! outage) it may catch up to the median of the members' wall clocks. So one
//! wild clock moves cluster time by nothing, and a majority of wild clocks is
//! the least that can.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use strongroom_base::UnixMillis;

/// A gap between stamps after which a leader may catch up to the median.
const GAP: Duration = Duration::from_secs(2);

/// The node's wall clock. Data only: no decision rests on it alone.
#[must_use]
pub(crate) fn wall_now() -> UnixMillis {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)).min(UnixMillis::MAX)
}

/// Gives stamps to entries that this node proposes as leader.
#[derive(Debug, Default)]
pub(crate) struct StampClock {
    last: Mutex<Option<Last>>,
}

/// The newest stamp.
#[derive(Clone, Copy, Debug)]
struct Last {
    stamp: UnixMillis,
    /// The moment that the stamp stands for: what of a millisecond was left over
    /// when it was given counts for the next one.
    at: Instant,
    /// There was a gap, and no median to catch up to since.
    owed: bool,
}

impl StampClock {
    /// The stamp of an entry proposed at `now`, where cluster time is
    /// `applied` and the median of the members' wall clocks is `median`
    /// (`None`: too few members were heard of lately).
    pub(crate) fn stamp(
        &self,
        now: Instant,
        applied: UnixMillis,
        median: Option<UnixMillis>,
    ) -> UnixMillis {
        let mut last = self.last.lock();
        let next = next(*last, now, applied, median);
        *last = Some(next);
        next.stamp
    }

    /// What [`StampClock::stamp`] would give; gives no stamp.
    pub(crate) fn peek(
        &self,
        now: Instant,
        applied: UnixMillis,
        median: Option<UnixMillis>,
    ) -> UnixMillis {
        next(*self.last.lock(), now, applied, median).stamp
    }
}

fn next(last: Option<Last>, now: Instant, applied: UnixMillis, median: Option<UnixMillis>) -> Last {
    let (running, at, gap) = match last {
        Some(Last { stamp, at, owed }) if stamp >= applied => {
            let elapsed = now.saturating_duration_since(at);
            let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
            let at = at.checked_add(Duration::from_millis(ms)).unwrap_or(now);
            (stamp.plus_ms(ms), at, owed || elapsed >= GAP)
        }
        // Another leader stamped since: this node's clock says nothing about
        // the time between.
        _ => (applied, now, true),
    };
    match median {
        Some(median) if gap && median > running => Last { stamp: median, at: now, owed: false },
        _ => Last { stamp: running, at, owed: gap && median.is_none() },
    }
}

/// The median of wall clocks, where `offsets_ms` are those of the members heard
/// of lately, this node's own zero included, and `members` is how many there
/// are. `None` where fewer than a majority were heard of.
#[must_use]
pub(crate) fn median_clock(
    wall: UnixMillis,
    offsets_ms: &mut [i64],
    members: usize,
) -> Option<UnixMillis> {
    if offsets_ms.is_empty() || offsets_ms.len() * 2 <= members {
        return None;
    }
    offsets_ms.sort_unstable();
    // The lower median: of two clocks that disagree, the earlier is believed.
    let offset = offsets_ms[(offsets_ms.len() - 1) / 2];
    Some(UnixMillis(wall.0.saturating_add_signed(offset)).min(UnixMillis::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wild_median_moves_nothing_between_stamps() {
        let clock = StampClock::default();
        let start = Instant::now();
        let first = clock.stamp(start, UnixMillis(0), Some(UnixMillis(1000)));
        assert_eq!(first, UnixMillis(1000));
        let later = start + Duration::from_millis(5);
        let second = clock.stamp(later, first, Some(UnixMillis(9_000_000)));
        assert_eq!(second, UnixMillis(1005));
    }

    #[test]
    fn after_a_gap_the_median_is_caught_up_with_and_never_gone_back_to() {
        let clock = StampClock::default();
        let start = Instant::now();
        clock.stamp(start, UnixMillis(5000), Some(UnixMillis(4000)));
        let later = start + GAP;
        assert_eq!(clock.stamp(later, UnixMillis(5000), Some(UnixMillis(9000))), UnixMillis(9000));
        let other_leader = UnixMillis(20_000);
        assert_eq!(clock.stamp(later, other_leader, None), other_leader);
    }

    /// A busy leader stamps several times a millisecond.
    #[test]
    fn stamps_in_quick_succession_keep_up_with_the_monotonic_clock() {
        let clock = StampClock::default();
        let start = Instant::now();
        let mut stamp = clock.stamp(start, UnixMillis(0), Some(UnixMillis(1000)));
        for step in 1..=10_000_u32 {
            let now = start + Duration::from_micros(300) * step;
            let next = clock.stamp(now, stamp, Some(UnixMillis(0)));
            assert!(next >= stamp);
            stamp = next;
        }
        assert_eq!(stamp, UnixMillis(1000 + 3000));
    }

    #[test]
    fn what_a_gap_owes_is_caught_up_once_there_is_a_median() {
        let clock = StampClock::default();
        let start = Instant::now();
        assert_eq!(clock.stamp(start, UnixMillis(5000), None), UnixMillis(5000));
        let soon = start + Duration::from_millis(10);
        assert_eq!(clock.peek(soon, UnixMillis(5000), Some(UnixMillis(9000))), UnixMillis(9000));
        assert_eq!(clock.stamp(soon, UnixMillis(5000), Some(UnixMillis(9000))), UnixMillis(9000));
        let wild = Some(UnixMillis(90_000));
        assert_eq!(clock.stamp(soon, UnixMillis(9000), wild), UnixMillis(9000));
    }

    #[test]
    fn a_look_moves_no_stamp() {
        let clock = StampClock::default();
        let start = Instant::now();
        clock.stamp(start, UnixMillis(0), Some(UnixMillis(1000)));
        let later = start + GAP;
        assert_eq!(clock.peek(later, UnixMillis(1000), Some(UnixMillis(7000))), UnixMillis(7000));
        assert_eq!(clock.stamp(later, UnixMillis(1000), None), UnixMillis(3000));
    }

    #[test]
    fn a_minority_of_clocks_has_no_median() {
        assert_eq!(median_clock(UnixMillis(10), &mut [0], 3), None);
        assert_eq!(median_clock(UnixMillis(10), &mut [0, 500_000, 1], 3), Some(UnixMillis(11)));
        assert_eq!(median_clock(UnixMillis(10), &mut [0, 500_000], 3), Some(UnixMillis(10)));
    }
}
