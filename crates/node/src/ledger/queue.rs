//! The ledger's bounded queue.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;
use prost::Message;
use strongroom_base::limits;
use tokio::sync::{Notify, oneshot, watch};

use super::{Attempt, LedgerStats, Settled};

/// An attempt with whoever waits for it.
pub(super) struct Waiting {
    pub(super) attempt: Attempt,
    /// Encoded size of transaction and guards, an upper bound of what it adds.
    pub(super) bytes: usize,
    pub(super) waiter: oneshot::Sender<Settled>,
    /// Whether the attempt may be proposed.
    pub(super) sent: Arc<AtomicBool>,
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<Waiting>,
    bytes: usize,
}

/// Attempts in the order of their arrival.
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// Changed only under the lock of `inner`.
    open: watch::Sender<bool>,
    arrival: Notify,
    pub(super) batches: AtomicU64,
    pub(super) attempts: AtomicU64,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            open: watch::Sender::new(false),
            arrival: Notify::new(),
            batches: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
        }
    }
}

impl Queue {
    /// Takes an attempt; gives the flag that says whether it was sent.
    pub(super) fn push(
        &self,
        attempt: Attempt,
        waiter: oneshot::Sender<Settled>,
    ) -> Result<Arc<AtomicBool>, Settled> {
        let bytes = attempt.transaction.encoded_len()
            + attempt.guards.iter().map(|guard| guard.encoded_len() + 8).sum::<usize>()
            + 16;
        if bytes > limits::TRANSACTION_BYTES_MAX || attempt.guards.len() > limits::BATCH_GUARDS_MAX
        {
            return Err(Settled::TooLarge);
        }
        let sent = Arc::new(AtomicBool::new(false));
        {
            let mut inner = self.inner.lock();
            if !*self.open.borrow() {
                return Err(Settled::Sealed);
            }
            if inner.waiting.len() >= limits::LEDGER_QUEUE_MAX
                || inner.bytes + bytes > limits::LEDGER_QUEUE_BYTES_MAX
            {
                return Err(Settled::Overloaded);
            }
            inner.bytes += bytes;
            inner.waiting.push_back(Waiting { attempt, bytes, waiter, sent: Arc::clone(&sent) });
        }
        self.arrival.notify_one();
        Ok(sent)
    }

    /// Waits until something is queued.
    pub(super) async fn ready(&self) {
        loop {
            let arrival = self.arrival.notified();
            if !self.inner.lock().waiting.is_empty() {
                return;
            }
            arrival.await;
        }
    }

    /// Takes what fits into one batch. Whoever went away is forgotten, whoever
    /// is past the deadline is told that nothing was proposed.
    pub(super) fn take(&self, now: Instant) -> Vec<Waiting> {
        let mut taken = Vec::new();
        let (mut bytes, mut guards) = (0, 0);
        let mut inner = self.inner.lock();
        while let Some(front) = inner.waiting.front() {
            let fits = taken.len() < limits::BATCH_TRANSACTIONS_MAX
                && bytes + front.bytes <= limits::BATCH_BYTES_MAX - BATCH_HEADER_BYTES
                && guards + front.attempt.guards.len() <= limits::BATCH_GUARDS_MAX;
            if !fits && !taken.is_empty() {
                break;
            }
            let waiting = inner.waiting.pop_front().expect("just looked at");
            inner.bytes -= waiting.bytes;
            if waiting.waiter.is_closed() {
                continue;
            }
            if waiting.attempt.deadline <= now {
                // Whoever waits may just have gone; then nobody needs telling.
                let _ = waiting.waiter.send(Settled::NotProposed);
                continue;
            }
            bytes += waiting.bytes;
            guards += waiting.attempt.guards.len();
            taken.push(waiting);
        }
        taken
    }

    pub(super) fn close(&self) {
        let dropped = {
            let mut inner = self.inner.lock();
            self.open.send_replace(false);
            inner.bytes = 0;
            std::mem::take(&mut inner.waiting)
        };
        for waiting in dropped {
            let _ = waiting.waiter.send(Settled::Sealed);
        }
    }

    pub(super) fn open(&self) {
        let _inner = self.inner.lock();
        self.open.send_replace(true);
    }

    /// Tells when the queue is closed.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.open.subscribe()
    }

    pub(super) fn stats(&self) -> LedgerStats {
        let (queued, queued_bytes) = {
            let inner = self.inner.lock();
            (inner.waiting.len(), inner.bytes)
        };
        LedgerStats {
            queued,
            queued_bytes,
            batches: self.batches.load(Ordering::Relaxed),
            attempts: self.attempts.load(Ordering::Relaxed),
        }
    }
}

/// Room for what a batch carries beside transactions and guards.
const BATCH_HEADER_BYTES: usize = 128;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use strongroom_format::store;

    use super::*;

    fn attempt(deadline: Instant, bytes: usize) -> Attempt {
        let record = store::AuditRecord { leaf: vec![0; bytes], body: Vec::new() };
        Attempt {
            transaction: store::Transaction { records: vec![record], ..Default::default() },
            guards: Vec::new(),
            deadline,
        }
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn a_closed_queue_takes_nothing_and_answers_what_it_held() {
        let queue = Queue::default();
        queue.open();
        let (tx, mut rx) = oneshot::channel();
        queue.push(attempt(later(), 10), tx).unwrap();
        queue.close();
        assert_eq!(rx.try_recv().unwrap(), Settled::Sealed);
        let (tx, _rx) = oneshot::channel();
        assert_eq!(queue.push(attempt(later(), 10), tx).err(), Some(Settled::Sealed));
        assert_eq!(queue.stats().queued_bytes, 0);
    }

    #[test]
    fn an_attempt_that_fits_no_batch_is_refused_at_once() {
        let queue = Queue::default();
        queue.open();
        let (tx, _rx) = oneshot::channel();
        let large = attempt(later(), limits::TRANSACTION_BYTES_MAX);
        assert_eq!(queue.push(large, tx).err(), Some(Settled::TooLarge));
    }

    #[test]
    fn the_queue_is_bounded_in_bytes() {
        let queue = Queue::default();
        queue.open();
        let mut waiters = Vec::new();
        let refused = loop {
            let (tx, rx) = oneshot::channel();
            match queue.push(attempt(later(), 400 * 1024), tx) {
                Ok(_) => waiters.push(rx),
                Err(refused) => break refused,
            }
        };
        assert_eq!(refused, Settled::Overloaded);
        assert_eq!(waiters.len(), limits::LEDGER_QUEUE_BYTES_MAX / (400 * 1024 + 24));
    }

    #[test]
    fn whoever_went_away_or_is_late_is_not_sent() {
        let queue = Queue::default();
        queue.open();
        let (gone, _) = oneshot::channel();
        queue.push(attempt(later(), 10), gone).unwrap();
        let (late, mut late_rx) = oneshot::channel();
        queue.push(attempt(Instant::now(), 10), late).unwrap();
        let (good, _good_rx) = oneshot::channel();
        queue.push(attempt(later(), 10), good).unwrap();
        assert_eq!(queue.take(Instant::now()).len(), 1);
        assert_eq!(late_rx.try_recv().unwrap(), Settled::NotProposed);
    }
}
