//! The ledger's task: one batch after the other.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use bytes::Bytes;
use prometheus::Histogram;
use strongroom_base::{BootId, NodeId};
use strongroom_state::BatchOutcome;

use super::{Ledger, Settled, batch, queue::Waiting};

/// What proves that a batch comes from an unsealed member.
pub(crate) trait BatchAuthority: Send + Sync + 'static {
    /// The MAC over `batch` under the keyring's batch key; `None` while sealed.
    fn mac(&self, batch: &[u8]) -> Option<[u8; 32]>;
}

/// Numbers the batches of one boot, from 1.
#[derive(Debug, Default)]
pub(crate) struct Sequences(AtomicU64);

impl Sequences {
    /// The next number.
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What became of a batch.
#[derive(Debug)]
pub(crate) enum Resolution {
    /// Applied.
    Applied(BatchOutcome),
    /// Refused as a whole; nothing of it was or will be applied.
    Refused,
    /// Nobody waits for it any more, and it may have been proposed.
    Abandoned,
}

impl Resolution {
    /// A word for it, in metrics.
    #[must_use]
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Applied(_) => "applied",
            Self::Refused => "refused",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The way to the leader.
pub(crate) trait Proposals: Send + Sync + 'static {
    /// Proposes `batch` until its outcome is known, or `wanted` says that
    /// nobody waits for it any more. `doubt` is told whether the batch may be
    /// proposed by now.
    fn resolve(
        &self,
        sequence: u64,
        batch: Bytes,
        mac: [u8; 32],
        wanted: impl Fn() -> bool + Send + Sync,
        doubt: impl Fn(bool) + Send + Sync,
    ) -> impl Future<Output = Resolution> + Send;
}

/// Runs the ledger until the task is dropped. `sequences` is shared with
/// whatever else proposes batches of this boot; `batch_attempts` observes how
/// many attempts each batch carries.
pub(crate) async fn run(
    ledger: Ledger,
    node: NodeId,
    boot: BootId,
    sequences: Arc<Sequences>,
    authority: Arc<impl BatchAuthority>,
    proposals: Arc<impl Proposals>,
    batch_attempts: Histogram,
) {
    let queue = ledger.queue;
    let mut open = queue.watch();
    loop {
        queue.ready().await;
        let mut waiting = queue.take(Instant::now());
        if waiting.is_empty() {
            continue;
        }
        let sequence = sequences.next();
        let attempts = waiting.iter_mut().map(|waiting| &mut waiting.attempt);
        let bytes = Bytes::from(batch::encode(node, boot, sequence, attempts));
        let Some(mac) = authority.mac(&bytes) else {
            settle_all(waiting, Settled::Sealed);
            queue.settled();
            continue;
        };
        batch_attempts.observe(waiting.len() as f64);
        let wanted = || {
            let now = Instant::now();
            waiting.iter().any(|w| !w.waiter.is_closed() && w.attempt.deadline > now)
        };
        let doubt = |may_be_proposed: bool| {
            for waiting in &waiting {
                waiting.sent.store(may_be_proposed, Ordering::Release);
            }
        };
        let resolution = tokio::select! {
            resolution = proposals.resolve(sequence, bytes, mac, wanted, doubt) => resolution,
            _ = open.wait_for(|open| !open) => Resolution::Abandoned,
        };
        queue.settled();
        deliver(waiting, resolution);
    }
}

fn deliver(waiting: Vec<Waiting>, resolution: Resolution) {
    let outcome = match resolution {
        Resolution::Applied(outcome) => outcome,
        Resolution::Refused => return settle_all(waiting, Settled::NotProposed),
        Resolution::Abandoned => return settle_all(waiting, Settled::Unknown),
    };
    let index = outcome.log_index;
    let verdicts = outcome.verdicts.into_iter().map(Some).chain(std::iter::repeat(None));
    for (waiting, verdict) in waiting.into_iter().zip(verdicts) {
        // A batch's outcome has a verdict for each of its transactions; were
        // one missing, nothing could be said of it.
        let settled =
            verdict.map_or(Settled::Unknown, |verdict| Settled::Verdict { verdict, index });
        let _ = waiting.waiter.send(settled);
    }
}

fn settle_all(waiting: Vec<Waiting>, settled: Settled) {
    for waiting in waiting {
        let _ = waiting.waiter.send(settled);
    }
}
