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
    last: Mutex<Option<(UnixMillis, Instant)>>,
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
        let (running, gap) = match *last {
            Some((stamp, at)) if stamp >= applied => {
                let elapsed = now.saturating_duration_since(at);
                let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
                (stamp.plus_ms(ms), elapsed >= GAP)
            }
            // Another leader stamped since: this node's clock says nothing
            // about the time between.
            _ => (applied, true),
        };
        let stamp = match median {
            Some(median) if gap && median > running => median,
            _ => running,
        };
        *last = Some((stamp, now));
        stamp
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

    #[test]
    fn a_minority_of_clocks_has_no_median() {
        assert_eq!(median_clock(UnixMillis(10), &mut [0], 3), None);
        assert_eq!(median_clock(UnixMillis(10), &mut [0, 500_000, 1], 3), Some(UnixMillis(11)));
        assert_eq!(median_clock(UnixMillis(10), &mut [0, 500_000], 3), Some(UnixMillis(10)));
    }
}
