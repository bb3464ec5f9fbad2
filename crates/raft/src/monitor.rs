//! Watches what the library doesn't: a disk that hangs, a log that grows, a
//! core that stopped.
//!
//! A leader commits with its followers' disks alone, so a leader whose own disk
//! hangs would lead on, with everything unsynced in memory and nothing applied.
//! It hands over; if its disk still hangs after that, its process ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openraft::async_runtime::WatchReceiver as _;
use strongroom_storage::RaftLog;

use crate::{
    errors::FatalReason,
    node::Library,
    status::{RaftRole, RaftStatus},
};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Shortest time between two snapshots taken because of the log's size.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(30);

/// Called once with the reason for which the process must end; it need not
/// return.
pub type ExitHook = Arc<dyn Fn(&FatalReason) + Send + Sync>;

/// Bounds that are watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) flush_lag_max: Duration,
    /// A follower that was heard of within this time may take over.
    pub(crate) heard_within: Duration,
    pub(crate) log_bytes: u64,
    pub(crate) keep_after_snapshot: u64,
}

/// What to do about the own disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DiskStep {
    Nothing,
    HandOver,
    Exit,
}

/// Decides about a disk from the age of its oldest unfinished write.
#[derive(Debug, Default)]
struct DiskWatch {
    /// This node led when its disk began to hang.
    handing_over: bool,
}

impl DiskWatch {
    fn look(&mut self, leads: bool, lag: Duration, lag_max: Duration) -> DiskStep {
        if lag <= lag_max {
            self.handing_over = false;
            DiskStep::Nothing
        } else if self.handing_over && lag > lag_max * 2 {
            DiskStep::Exit
        } else if leads && !self.handing_over {
            self.handing_over = true;
            DiskStep::HandOver
        } else {
            DiskStep::Nothing
        }
    }
}

pub(crate) struct Monitor {
    pub(crate) raft: Library,
    pub(crate) log: RaftLog,
    pub(crate) bounds: Bounds,
    pub(crate) exit: ExitHook,
}

impl Monitor {
    /// Watches until there is a reason to end the process.
    pub(crate) async fn run(self) {
        let mut disk = DiskWatch::default();
        let mut snapshot_at: Option<Instant> = None;
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            let status = self.status();
            if let Some(reason) = self.stopped() {
                return (self.exit)(&reason);
            }
            let stats = self.log.stats();
            let lag = stats.oldest_unsynced_age;
            let leads = status.role == RaftRole::Leader;
            match disk.look(leads, lag, self.bounds.flush_lag_max) {
                DiskStep::Nothing => {}
                DiskStep::HandOver => self.hand_over(&status, lag).await,
                DiskStep::Exit => return (self.exit)(&self.hung(lag)),
            }
            let due = snapshot_at.is_none_or(|at| at.elapsed() >= SNAPSHOT_PAUSE);
            if due && stats.table_bytes > self.bounds.log_bytes && self.snapshot_helps(&status) {
                snapshot_at = Some(Instant::now());
                tracing::info!(
                    log_bytes = stats.table_bytes,
                    "the raft log is large: taking a snapshot"
                );
                // An error means that the core has stopped: the next look tells.
                drop(self.raft.trigger().snapshot().await);
            }
        }
    }

    fn status(&self) -> RaftStatus {
        RaftStatus::of(&self.raft.metrics().borrow_watched(), None)
    }

    fn stopped(&self) -> Option<FatalReason> {
        let metrics = self.raft.metrics();
        let state = metrics.borrow_watched().running_state.clone();
        state.err().map(|fatal| FatalReason::Stopped { cause: fatal.to_string() })
    }

    fn hung(&self, lag: Duration) -> FatalReason {
        FatalReason::FlushLag { lag_ms: millis(lag), lag_max_ms: millis(self.bounds.flush_lag_max) }
    }

    async fn hand_over(&self, status: &RaftStatus, lag: Duration) {
        let to = status.best_successor(self.bounds.heard_within);
        tracing::error!(
            lag_ms = millis(lag),
            to = to.map(strongroom_base::NodeId::value),
            "the disk under the raft log hangs: handing leadership over"
        );
        if let Some(to) = to {
            // An error means that the core has stopped: the next look tells.
            drop(self.raft.trigger().transfer_leader(to.value()).await);
        }
    }

    /// Whether there is something in the log that a snapshot would let go.
    fn snapshot_helps(&self, status: &RaftStatus) -> bool {
        let covered = status.snapshot.map_or(0, |index| index.0);
        let applied = status.applied.map_or(0, |index| index.0);
        applied > covered.saturating_add(self.bounds.keep_after_snapshot)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(3);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_leader_with_a_hung_disk_hands_over_once_then_exits() {
        let mut disk = DiskWatch::default();
        assert_eq!(disk.look(true, seconds(3), MAX), DiskStep::Nothing);
        assert_eq!(disk.look(true, seconds(4), MAX), DiskStep::HandOver);
        assert_eq!(disk.look(false, seconds(5), MAX), DiskStep::Nothing);
        assert_eq!(disk.look(false, seconds(7), MAX), DiskStep::Exit);
    }

    #[test]
    fn a_disk_that_recovers_is_forgiven() {
        let mut disk = DiskWatch::default();
        assert_eq!(disk.look(true, seconds(4), MAX), DiskStep::HandOver);
        assert_eq!(disk.look(false, seconds(0), MAX), DiskStep::Nothing);
        assert_eq!(disk.look(false, seconds(9), MAX), DiskStep::Nothing);
        assert_eq!(disk.look(true, seconds(9), MAX), DiskStep::HandOver);
    }

    #[test]
    fn a_follower_with_a_hung_disk_holds_nobody_up_and_stays() {
        let mut disk = DiskWatch::default();
        assert_eq!(disk.look(false, seconds(60), MAX), DiskStep::Nothing);
    }
}
