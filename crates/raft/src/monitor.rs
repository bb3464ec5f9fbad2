//! Watches what the library doesn't: a log that grows, a core that stopped; has
//! the log purged; and hands leadership over where the watchdog finds that the own
//! disk hangs.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use openraft::async_runtime::WatchReceiver as _;
use strongroom_storage::RaftLog;
use tokio::sync::mpsc;

use crate::{
    errors::FatalReason,
    node::Library,
    retention::{Retention, Transfers},
    status::RaftStatus,
    watchdog::{DiskHangs, Exit, millis},
};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Shortest time between two snapshots taken because of the log's size.
const SNAPSHOT_PAUSE: Duration = Duration::from_secs(30);

/// Bounds that are watched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// A follower that was heard of within this time may take over.
    pub(crate) heard_within: Duration,
    pub(crate) log_bytes: u64,
    pub(crate) keep_after_snapshot: u64,
}

/// How many times `log_bytes` the log may grow to while members catch up.
const HOLD_LOG_TIMES: u64 = 2;

pub(crate) struct Monitor {
    pub(crate) raft: Library,
    pub(crate) log: RaftLog,
    pub(crate) bounds: Bounds,
    pub(crate) transfers: Transfers,
    /// What the watchdog finds.
    pub(crate) hangs: mpsc::Receiver<DiskHangs>,
    pub(crate) exit: Arc<Exit>,
}

impl Monitor {
    /// Watches until the core has stopped: a reason to end the process.
    pub(crate) async fn run(mut self) {
        let mut snapshot_at: Option<Instant> = None;
        loop {
            let hangs = tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => None,
                Some(hangs) = self.hangs.recv() => Some(hangs),
            };
            let status = self.status();
            if let Some(reason) = self.stopped() {
                return self.exit.call(&reason);
            }
            if let Some(DiskHangs { lag }) = hangs {
                // First of all: what follows may wait for the disk.
                self.hand_over(&status, lag).await;
                continue;
            }
            let stats = self.log.stats();
            self.purge(&status, stats.table_bytes).await;
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

    /// Purges what nobody needs any more.
    async fn purge(&self, status: &RaftStatus, log_bytes: u64) {
        let retention = Retention {
            keep: self.bounds.keep_after_snapshot,
            hold: log_bytes <= self.bounds.log_bytes.saturating_mul(HOLD_LOG_TIMES),
        };
        if let Some(to) = retention.purge_to(status, &self.transfers.covered()) {
            // An error means that the core has stopped: the next look tells.
            drop(self.raft.trigger().purge_log(to.0).await);
        }
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
