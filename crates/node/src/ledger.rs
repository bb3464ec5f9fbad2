//! The ledger: where attempts wait for their verdict.
//!
//! Each attempt brings a guarded transaction. One batch carries all that
//! arrived while the previous batch was in flight: a lone attempt pays one
//! commit, a flood shares it, and no timer is involved. A batch is sent again,
//! byte for byte, until its verdicts are known or nobody waits for them any
//! more; the replicated state counts it once.
//!
//! What a caller gets ([`Settled`]) tells apart what surely did not happen from
//! what may have.

mod batch;
mod queue;
mod run;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use strongroom_base::LogIndex;
use strongroom_format::store;
use strongroom_state::Verdict;
use tokio::sync::oneshot;

pub(crate) use batch::encode as encode_batch;
pub(crate) use run::{BatchAuthority, Proposals, Resolution, Sequences, run};

use queue::Queue;

/// A guarded transaction that waits for its verdict.
pub(crate) struct Attempt {
    /// The transaction; its `reads` index into `guards`.
    pub(crate) transaction: store::Transaction,
    /// Its own read set.
    pub(crate) guards: Vec<store::Guard>,
    /// The caller's deadline.
    pub(crate) deadline: Instant,
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Applied, with this verdict.
    Verdict {
        /// The verdict.
        verdict: Verdict,
        /// Log index at which it was reached.
        index: LogIndex,
    },
    /// Surely not proposed before the deadline: no quorum, or no leader.
    NotProposed,
    /// Proposed, and not known to be applied before the deadline.
    Unknown,
    /// The node was sealed; nothing was proposed.
    Sealed,
    /// The queue is full; nothing was proposed.
    Overloaded,
    /// The transaction alone is larger than a batch may be; nothing was proposed.
    TooLarge,
}

/// Figures of the ledger.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LedgerStats {
    /// Attempts that wait to be sent.
    pub(crate) queued: usize,
    /// Their bytes.
    pub(crate) queued_bytes: usize,
    /// Age of the oldest attempt without a verdict, waiting or under way.
    pub(crate) oldest: Duration,
    /// Attempts refused because too many waited.
    pub(crate) refused: u64,
}

/// Handle of a node's ledger.
#[derive(Clone)]
pub(crate) struct Ledger {
    queue: Arc<Queue>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { queue: Arc::new(Queue::default()) }
    }
}

impl Ledger {
    /// Commits an attempt: waits until a quorum has its records, or tells that
    /// it doesn't. Dropping the future before the attempt is sent takes it back.
    pub(crate) async fn commit(&self, attempt: Attempt) -> Settled {
        let deadline = attempt.deadline;
        let (waiter, verdict) = oneshot::channel();
        let sent = match self.queue.push(attempt, waiter) {
            Ok(sent) => sent,
            Err(refused) => return refused,
        };
        match tokio::time::timeout_at(deadline.into(), verdict).await {
            Ok(Ok(settled)) => settled,
            // The ledger's task ended: the node shuts down.
            Ok(Err(_)) | Err(_) => {
                if sent.load(std::sync::atomic::Ordering::Acquire) {
                    Settled::Unknown
                } else {
                    Settled::NotProposed
                }
            }
        }
    }

    /// Answers everything that waits, and what is under way ([`Settled::Unknown`]),
    /// at once, so that nothing it would release is kept any longer; refuses
    /// what comes until [`Ledger::open`].
    pub(crate) fn close(&self) {
        self.queue.close();
    }

    /// Takes attempts again.
    pub(crate) fn open(&self) {
        self.queue.open();
    }

    /// Figures.
    #[must_use]
    pub(crate) fn stats(&self) -> LedgerStats {
        self.queue.stats()
    }
}
