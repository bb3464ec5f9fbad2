//! The ledger's bounded queue.

use std::{
    collections::VecDeque,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prost::Message;
use strongroom_base::limits;
use tokio::sync::{Notify, oneshot, watch};

use super::{Attempt, LedgerStats, Settled};

/// An attempt with whoever waits for it.
pub(super) struct Waiting {
    pub(super) attempt: Attempt,
    /// When it was queued.
    since: Instant,
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
    /// When the oldest of what was taken, and has no verdict yet, was queued.
    under_way: Option<Instant>,
    /// Attempts that found the queue full.
    refused: u64,
}

/// Attempts in the order of their arrival.
pub(super) struct Queue {
    inner: Mutex<Inner>,
    /// Changed only under the lock of `inner`.
    open: watch::Sender<bool>,
    arrival: Notify,
}

impl Default for Queue {
    fn default() -> Self {
        Self { inner: Mutex::default(), open: watch::Sender::new(false), arrival: Notify::new() }
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
                inner.refused += 1;
                return Err(Settled::Overloaded);
            }
            inner.bytes += bytes;
            let (since, sent) = (Instant::now(), Arc::clone(&sent));
            inner.waiting.push_back(Waiting { attempt, since, bytes, waiter, sent });
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
        inner.under_way = taken.first().map(|oldest| oldest.since);
        taken
    }

    /// What was taken last has its verdicts, or none will come.
    pub(super) fn settled(&self) {
        self.inner.lock().under_way = None;
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
        let inner = self.inner.lock();
        let oldest = inner.under_way.or(inner.waiting.front().map(|waiting| waiting.since));
        LedgerStats {
            queued: inner.waiting.len(),
            queued_bytes: inner.bytes,
            oldest: oldest.map_or(Duration::ZERO, |since| since.elapsed()),
            refused: inner.refused,
        }
    }
}

/// Room for what a batch carries beside transactions and guards.
const BATCH_HEADER_BYTES: usize = 128;

#[cfg(test)]
mod tests {
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
        assert_eq!(queue.stats().refused, 1);
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

    #[test]
    fn the_oldest_attempt_ages_under_way_too_until_it_has_its_verdict() {
        let queue = Queue::default();
        queue.open();
        assert_eq!(queue.stats().oldest, Duration::ZERO);
        let (tx, _rx) = oneshot::channel();
        queue.push(attempt(later(), 10), tx).unwrap();
        let taken = queue.take(Instant::now());
        let since = taken[0].since;
        let (tx, _newer) = oneshot::channel();
        queue.push(attempt(later(), 10), tx).unwrap();
        let (begin, oldest) = (since.elapsed(), queue.stats().oldest);
        assert!(oldest >= begin && oldest <= since.elapsed());
        queue.settled();
        assert_eq!(queue.take(Instant::now()).len(), 1);
        queue.settled();
        assert_eq!(queue.stats().oldest, Duration::ZERO);
    }
}
