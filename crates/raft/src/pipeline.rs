//! AppendEntries over one stream, several under way at a time.
//!
//! Answers come in the order of the requests. What is under way is bounded in
//! bytes, because the peer holds it in memory until its disk has it. The stream
//! ends with the first answer that is no full success, with the requests, or
//! with an error; the library then opens another.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use futures::{Stream, StreamExt as _, stream};
use openraft::{
    base::BoxStream,
    errors::{NetworkError, RPCError, Timeout},
};
use parking_lot::Mutex;
use strongroom_wire::peer::{RaftRequest, RaftResponse};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Streaming;

use crate::{
    codec,
    network::{CallError, Client, Remember, decode, refused},
    peers::CONNECT_TIMEOUT,
    types::{AppendRequest, AppendResult, TypeConfig},
};

/// Kibibytes of requests under way; a larger request goes alone.
const BUDGET_KIB: u32 = 8 * 1024;

/// Requests under way.
struct InFlight {
    sent: Mutex<VecDeque<Sent>>,
    /// Term of the leader that sends.
    term: AtomicU64,
    budget: Arc<Semaphore>,
}

struct Sent {
    at: Instant,
    /// Given back with the answer.
    _bytes: OwnedSemaphorePermit,
}

impl InFlight {
    fn new() -> Arc<Self> {
        let budget = Arc::new(Semaphore::new(BUDGET_KIB as usize));
        Arc::new(Self { sent: Mutex::default(), term: AtomicU64::new(0), budget })
    }

    /// Waits for room.
    async fn enter(&self, bytes: usize) {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(BUDGET_KIB).min(BUDGET_KIB);
        let permit = Arc::clone(&self.budget).acquire_many_owned(kib).await;
        let permit = permit.expect("the budget is never closed");
        self.sent.lock().push_back(Sent { at: Instant::now(), _bytes: permit });
    }

    fn leave(&self) {
        self.sent.lock().pop_front();
    }

    fn is_empty(&self) -> bool {
        self.sent.lock().is_empty()
    }

    fn oldest_waits(&self) -> Duration {
        self.sent.lock().front().map(|sent| sent.at.elapsed()).unwrap_or_default()
    }
}

/// Opens the stream. `patience` bounds how long a request may stay unanswered;
/// a stream with nothing under way may be silent for ever.
pub(crate) async fn open<'s, S>(
    mut client: Client,
    input: S,
    patience: Duration,
    timeout: Timeout<TypeConfig>,
    remember: Remember,
) -> Result<BoxStream<'s, Result<AppendResult, CallError>>, CallError>
where
    S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
{
    let in_flight = InFlight::new();
    let (input, lease) = Input::lend(input);
    let requests = requests(input, Arc::clone(&in_flight));
    let opened = tokio::time::timeout(CONNECT_TIMEOUT + patience, client.stream_append(requests));
    let answers = match opened.await {
        Ok(Ok(response)) => response.into_inner(),
        Ok(Err(status)) => return Err(refused(&status)),
        Err(_) => return Err(timeout.into()),
    };
    let answers =
        Answers { stream: answers, in_flight, patience, timeout, remember, _input: lease };
    Ok(Box::pin(stream::unfold(Some(answers), |answers| async {
        let mut answers = answers?;
        let answer = answers.next().await?;
        let goes_on = matches!(answer, Ok(Ok(_)));
        Some((answer, goes_on.then_some(answers)))
    })))
}

fn requests<S>(
    input: Input<S>,
    in_flight: Arc<InFlight>,
) -> impl Stream<Item = RaftRequest> + Send + 'static
where
    S: Stream<Item = AppendRequest> + Send + Unpin + 'static,
{
    input.then(move |request| {
        let in_flight = Arc::clone(&in_flight);
        async move {
            in_flight.term.store(request.vote.leader_id.term, Ordering::Relaxed);
            let request = codec::request(&request);
            in_flight.enter(request.payload.len()).await;
            request
        }
    })
}

/// The requests, lent to the connection.
///
/// The connection gives them up when it sees fit; but they hold a lock that the
/// library needs for its next stream. So they are taken back as soon as nobody
/// reads answers any more.
struct Input<S>(Arc<Mutex<Lent<S>>>);

struct Lent<S> {
    stream: Option<S>,
    /// Whoever waits for the next request.
    waiting: Option<Waker>,
}

/// Takes the requests back when dropped.
struct Lease(Box<dyn Fn() + Send + Sync>);

impl<S: Send + 'static> Input<S> {
    fn lend(stream: S) -> (Self, Lease) {
        let lent = Arc::new(Mutex::new(Lent { stream: Some(stream), waiting: None }));
        let back = Arc::clone(&lent);
        let take_back = move || {
            let Lent { stream, waiting } = &mut *back.lock();
            let (stream, waiting) = (stream.take(), waiting.take());
            drop(stream);
            if let Some(waker) = waiting {
                waker.wake();
            }
        };
        (Self(lent), Lease(Box::new(take_back)))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        (self.0)();
    }
}

impl<S: Stream + Unpin> Stream for Input<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let mut lent = self.0.lock();
        let Some(stream) = &mut lent.stream else { return Poll::Ready(None) };
        let next = stream.poll_next_unpin(cx);
        if next.is_pending() {
            lent.waiting = Some(cx.waker().clone());
        }
        next
    }
}

struct Answers {
    stream: Streaming<RaftResponse>,
    in_flight: Arc<InFlight>,
    patience: Duration,
    timeout: Timeout<TypeConfig>,
    remember: Remember,
    _input: Lease,
}

impl Answers {
    /// The next answer; none once all requests are sent and answered.
    async fn next(&mut self) -> Option<Result<AppendResult, CallError>> {
        loop {
            match tokio::time::timeout(self.patience, self.stream.message()).await {
                Ok(Ok(Some(response))) => {
                    self.in_flight.leave();
                    let answer: Result<AppendResult, CallError> = decode(&response);
                    if let Ok(Ok(last)) = &answer {
                        let term = self.in_flight.term.load(Ordering::Relaxed);
                        self.remember.acknowledged(term, *last);
                    }
                    return Some(answer);
                }
                Ok(Ok(None)) if self.in_flight.is_empty() => return None,
                Ok(Ok(None)) => {
                    let error = NetworkError::from_string("the peer ended the stream early");
                    return Some(Err(RPCError::Network(error)));
                }
                Ok(Err(status)) => return Some(Err(refused(&status))),
                Err(_) if self.in_flight.oldest_waits() >= self.patience => {
                    return Some(Err(self.timeout.clone().into()));
                }
                // Nothing under way, or not for long: silence is right.
                Err(_) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_is_under_way_is_bounded_in_bytes_and_room_comes_back_with_answers() {
        let in_flight = InFlight::new();
        let half = BUDGET_KIB as usize * 1024 / 2;
        in_flight.enter(half).await;
        in_flight.enter(half - 2048).await;
        assert!(in_flight.enter(4096).now_or_never().is_none());
        in_flight.leave();
        in_flight.enter(4096).now_or_never().unwrap();
        in_flight.leave();
        in_flight.leave();
        assert!(in_flight.is_empty());
        // Larger than the whole budget: alone.
        in_flight.enter(usize::MAX).now_or_never().unwrap();
        assert!(in_flight.enter(1).now_or_never().is_none());
    }

    #[tokio::test]
    async fn only_the_oldest_unanswered_request_counts_as_waiting() {
        let in_flight = InFlight::new();
        assert_eq!(in_flight.oldest_waits(), Duration::ZERO);
        in_flight.enter(1).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        in_flight.enter(1).await;
        assert!(in_flight.oldest_waits() >= Duration::from_millis(20));
        in_flight.leave();
        assert!(in_flight.oldest_waits() < Duration::from_millis(20));
    }

    #[tokio::test]
    async fn requests_are_taken_back_when_nobody_reads_answers() {
        struct Held(Arc<()>);
        let held = Arc::new(());
        let guard = Held(Arc::clone(&held));
        let pending = stream::pending::<u8>().map(move |item| (item, &guard.0).0);
        let (mut input, lease) = Input::lend(Box::pin(pending));
        let waiting = tokio::spawn(async move { input.next().await });
        tokio::task::yield_now().await;
        assert_eq!(Arc::strong_count(&held), 2);
        drop(lease);
        assert_eq!(Arc::strong_count(&held), 1);
        assert_eq!(waiting.await.unwrap(), None);
    }
}
