//! Bodies of requests and answers, counted while they are held.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use strongroom_base::limits;
use strongroom_net::ConnectInfo;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::Status;

use super::bounds::{Budget, Share};

/// A large answer is handed to its connection in parts of this size, so that
/// what the caller doesn't read stays here, where it is counted.
const PART_BYTES: usize = 16 * 1024;

/// A request body whose bytes count against a budget until it is dropped.
pub(super) struct RequestBody {
    inner: tonic::body::Body,
    held: Share,
    bytes_max: usize,
}

impl RequestBody {
    /// Counts `inner` against `budget`; refuses more than `bytes_max` of it.
    pub(super) fn new(inner: tonic::body::Body, budget: &Arc<Budget>, bytes_max: usize) -> Self {
        Self { inner, held: budget.nothing(), bytes_max }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            // The decoder collects a message in a buffer that grows by doubling:
            // a byte that is held costs up to two.
            let bytes = data.remaining() * 2;
            let fits = self.held.amount() + bytes <= self.bytes_max;
            if !fits {
                self.held.refuse();
            }
            if !fits || !self.held.grow(bytes) {
                return Poll::Ready(Some(Err(crate::errors::overloaded("request bytes"))));
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body: what was read of it already, then the rest.
pub(super) struct AnswerBody {
    first: VecDeque<Result<Frame<Bytes>, Status>>,
    inner: tonic::body::Body,
    _kept: Kept,
}

/// What is given back when an answer was read, or its call ended.
#[derive(Default)]
struct Kept {
    /// Bytes of a large answer.
    _bytes: Option<Share>,
    /// The stream that the body is of.
    _stream: Option<Share>,
    /// Ends the wait of [`close_if_stalled`].
    _unread: Option<DropGuard>,
}

/// Why an answer can't be given.
pub(super) struct AnswersHeld;

impl AnswerBody {
    /// The body of a stream, which counts as one.
    pub(super) fn stream(inner: tonic::body::Body, stream: Share) -> Self {
        let kept = Kept { _stream: Some(stream), ..Kept::default() };
        Self { first: VecDeque::new(), inner, _kept: kept }
    }

    /// The body of one answer. A large one counts against `budget`, and has the
    /// connection closed where it isn't read.
    ///
    /// # Errors
    ///
    /// [`AnswersHeld`] where the budget is used up.
    pub(super) async fn unary(
        mut inner: tonic::body::Body,
        budget: &Arc<Budget>,
        connection: Option<ConnectInfo>,
    ) -> Result<Self, AnswersHeld> {
        // The whole message is one frame; it is made when it is asked for.
        let polled = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut inner).poll_frame(cx)));
        let frame = match polled.await {
            Poll::Ready(Some(Ok(frame))) => frame,
            Poll::Ready(Some(Err(status))) => {
                return Ok(Self::plain(VecDeque::from([Err(status)]), inner));
            }
            Poll::Ready(None) | Poll::Pending => return Ok(Self::plain(VecDeque::new(), inner)),
        };
        let bytes = frame.data_ref().map_or(0, Bytes::len);
        if bytes <= limits::SMALL_ANSWER_BYTES_MAX {
            return Ok(Self::plain(VecDeque::from([Ok(frame)]), inner));
        }
        let Some(held) = budget.take(bytes) else { return Err(AnswersHeld) };
        let mut data = frame.into_data().unwrap_or_default();
        let mut first = VecDeque::with_capacity(bytes / PART_BYTES + 1);
        while !data.is_empty() {
            first.push_back(Ok(Frame::data(data.split_to(data.len().min(PART_BYTES)))));
        }
        let unread = connection.map(close_if_stalled);
        let kept = Kept { _bytes: Some(held), _unread: unread, ..Kept::default() };
        Ok(Self { first, inner, _kept: kept })
    }

    fn plain(first: VecDeque<Result<Frame<Bytes>, Status>>, inner: tonic::body::Body) -> Self {
        Self { first, inner, _kept: Kept::default() }
    }
}

/// Closes `connection` unless the guard is dropped in time. The transport asks
/// for no more of a body while its reader has no room: nothing else ends it.
fn close_if_stalled(connection: ConnectInfo) -> DropGuard {
    let read = CancellationToken::new();
    let guard = read.clone().drop_guard();
    tokio::spawn(async move {
        let patience = Duration::from_millis(limits::ANSWER_STALL_MS);
        if tokio::time::timeout(patience, read.cancelled()).await.is_err() {
            tracing::info!(remote = %connection.remote, "an answer is not read: connection closed");
            connection.end();
        }
    });
    guard
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Some(frame) = self.first.pop_front() {
            return Poll::Ready(Some(frame));
        }
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.first.is_empty() { self.inner.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Full};

    use super::*;
    use crate::layers::bounds::{CallBounds, Class};

    fn body(bytes: usize) -> tonic::body::Body {
        tonic::body::Body::new(Full::new(Bytes::from(vec![7; bytes])))
    }

    #[tokio::test]
    async fn a_large_answer_counts_until_it_is_read_and_comes_whole() {
        let bounds = CallBounds::default();
        let budget = bounds.answer_bytes();
        let all = limits::ANSWER_BYTES_IN_FLIGHT_MAX;
        let large = 100_000;
        let answer = AnswerBody::unary(body(large), budget, None).await.ok().unwrap();
        assert!(budget.take(all).is_none());
        assert!(AnswerBody::unary(body(all), budget, None).await.is_err(), "over the budget");
        let mut answer = Box::pin(answer);
        let mut read = 0;
        while let Some(frame) = answer.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= PART_BYTES);
            read += data.len();
        }
        assert_eq!(read, large);
        drop(answer);
        assert!(budget.take(all).is_some());
    }

    #[tokio::test]
    async fn small_and_empty_answers_are_not_counted() {
        let bounds = CallBounds::default();
        let _all = bounds.answer_bytes().take(limits::ANSWER_BYTES_IN_FLIGHT_MAX).unwrap();
        for bytes in [0, 1, limits::SMALL_ANSWER_BYTES_MAX] {
            let answer = AnswerBody::unary(body(bytes), bounds.answer_bytes(), None).await;
            let read = answer.ok().unwrap().collect().await.unwrap().to_bytes();
            assert_eq!(read.len(), bytes);
        }
    }

    #[tokio::test]
    async fn a_request_is_refused_beyond_its_own_bound_and_beyond_the_budget() {
        let bounds = CallBounds::default();
        let budget = bounds.request_bytes(Class::Reserved);
        let request = RequestBody::new(body(1001), budget, 2000);
        assert!(request.collect().await.is_err());
        let request = RequestBody::new(body(1000), budget, 2000);
        assert_eq!(request.collect().await.unwrap().to_bytes().len(), 1000);
        let _all = budget.take(limits::RESERVED_BYTES_MAX).unwrap();
        let request = RequestBody::new(body(1), budget, 2000);
        assert!(request.collect().await.is_err());
    }
}
