//! Shared ReadIndex (Raft dissertation, section 6.4).
//!
//! One confirmation is in flight at a time; all that asked while the previous
//! one was under way share the next. So a flood of reads costs one round trip
//! to a quorum, and none is answered from a state older than its question.

use std::{future::Future, sync::Arc, time::Instant};

use strongroom_base::{LogIndex, UnixMillis};
use tokio::sync::{mpsc, oneshot};

/// A confirmed point in the Raft log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ReadPoint {
    /// State at or after this index reflects all that was acknowledged before
    /// the question.
    pub(crate) index: LogIndex,
    /// Cluster time at that point.
    pub(crate) stamp: UnixMillis,
}

/// Why no index was confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no leader confirmed a quorum in time")]
pub(crate) struct NotConfirmed;

/// Confirms an index and waits until this node has applied it.
pub(crate) trait Confirm: Send + Sync + 'static {
    /// One confirmation, bounded in time by the implementation.
    fn confirm(&self) -> impl Future<Output = Option<ReadPoint>> + Send;
}

/// Reads that share one confirmation at most.
const READS_PER_CONFIRMATION: usize = 65_536;

type Waiter = oneshot::Sender<Option<ReadPoint>>;

/// Handle of the shared reads.
#[derive(Clone)]
pub(crate) struct ReadIndex {
    waiters: mpsc::UnboundedSender<Waiter>,
}

impl ReadIndex {
    /// Starts the task that confirms. It ends when the last handle is gone.
    pub(crate) fn start(confirm: Arc<impl Confirm>) -> Self {
        let (waiters, mut arrivals) = mpsc::unbounded_channel::<Waiter>();
        tokio::spawn(async move {
            let mut batch = Vec::new();
            while arrivals.recv_many(&mut batch, READS_PER_CONFIRMATION).await > 0 {
                batch.retain(|waiter| !waiter.is_closed());
                if batch.is_empty() {
                    continue;
                }
                let point = confirm.confirm().await;
                for waiter in batch.drain(..) {
                    let _ = waiter.send(point);
                }
            }
        });
        Self { waiters }
    }

    /// Waits until this node's state reflects all that was acknowledged before
    /// the call. The queue needs no bound of its own: a waiter is a request,
    /// and those are bounded.
    ///
    /// # Errors
    ///
    /// [`NotConfirmed`] where that was not so before `deadline`.
    pub(crate) async fn wait(&self, deadline: Instant) -> Result<ReadPoint, NotConfirmed> {
        loop {
            let (waiter, answer) = oneshot::channel();
            self.waiters.send(waiter).map_err(|_| NotConfirmed)?;
            match tokio::time::timeout_at(deadline.into(), answer).await {
                Ok(Ok(Some(point))) => return Ok(point),
                // Not confirmed this time; the confirmation itself took its
                // time, so asking again is no busy loop.
                Ok(Ok(None)) => {}
                Ok(Err(_)) | Err(_) => return Err(NotConfirmed),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU64, Ordering},
        time::Duration,
    };

    use tokio::sync::Semaphore;

    use super::*;

    struct Gated {
        gate: Semaphore,
        calls: AtomicU64,
    }

    impl Confirm for Gated {
        async fn confirm(&self) -> Option<ReadPoint> {
            self.gate.acquire().await.ok()?.forget();
            let index = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
            Some(ReadPoint { index: LogIndex(index), stamp: UnixMillis(0) })
        }
    }

    #[tokio::test]
    async fn reads_that_came_during_a_confirmation_share_the_next_one() {
        let gated = Arc::new(Gated { gate: Semaphore::new(0), calls: AtomicU64::new(0) });
        let reads = ReadIndex::start(Arc::clone(&gated));
        let deadline = Instant::now() + Duration::from_secs(30);
        let first = tokio::spawn({
            let reads = reads.clone();
            async move { reads.wait(deadline).await }
        });
        tokio::task::yield_now().await;
        let later: Vec<_> = (0..10)
            .map(|_| {
                let reads = reads.clone();
                tokio::spawn(async move { reads.wait(deadline).await })
            })
            .collect();
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        gated.gate.add_permits(2);
        assert_eq!(first.await.unwrap().unwrap().index, LogIndex(1));
        for read in later {
            assert_eq!(read.await.unwrap().unwrap().index, LogIndex(2));
        }
    }

    #[tokio::test]
    async fn a_read_ends_at_its_deadline() {
        let gated = Arc::new(Gated { gate: Semaphore::new(0), calls: AtomicU64::new(0) });
        let reads = ReadIndex::start(gated);
        let deadline = Instant::now() + Duration::from_millis(20);
        assert_eq!(reads.wait(deadline).await, Err(NotConfirmed));
    }
}
