//! Bodies of answers on their way to callers, counted while they are.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;

use crate::{admission::Permit, budget::Share, connection::OnItsWay, errors, node_request::Whole};

/// An answer is handed to its connection in parts of this size, so that what the
/// caller doesn't read stays here, where it is counted.
const PART_BYTES: usize = 16 * 1024;

/// A whole answer.
pub(crate) struct WholeBody {
    frames: VecDeque<Frame<Bytes>>,
    _held: Share,
    _permit: Permit,
    _on_its_way: OnItsWay,
}

impl WholeBody {
    /// Data and trailers of `whole`; its headers are the caller's to give.
    pub(crate) fn new(whole: Whole, permit: Permit, on_its_way: OnItsWay) -> Self {
        let mut frames = VecDeque::with_capacity(whole.data.len() + 1);
        for mut part in whole.data {
            while part.len() > PART_BYTES {
                frames.push_back(Frame::data(part.split_to(PART_BYTES)));
            }
            frames.push_back(Frame::data(part));
        }
        if !whole.trailers.is_empty() {
            frames.push_back(Frame::trailers(whole.trailers));
        }
        Self { frames, _held: whole.held, _permit: permit, _on_its_way: on_its_way }
    }
}

impl Body for WholeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.frames.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
    }
}

/// A stream whose frames come one by one from the task that reads the node.
pub(crate) struct StreamBody(pub(crate) mpsc::Receiver<Frame<Bytes>>);

impl Body for StreamBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// A stream of the front's own (health, reflection), which ends with the front.
pub(crate) struct OwnBody {
    inner: tonic::body::Body,
    ending: Pin<Box<WaitForCancellationFutureOwned>>,
    ended: bool,
    _permit: Permit,
}

impl OwnBody {
    /// `inner` until `ending`.
    pub(crate) fn new(inner: tonic::body::Body, ending: CancellationToken, permit: Permit) -> Self {
        Self { inner, ending: Box::pin(ending.cancelled_owned()), ended: false, _permit: permit }
    }
}

impl Body for OwnBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        std::task::ready!(self.ending.as_mut().poll(cx));
        self.ended = true;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(&errors::shutting_down())))))
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.inner.is_end_stream()
    }
}

/// `status` as the end of a stream.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    if status.add_header(&mut trailers).is_err() {
        trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            http::HeaderValue::from(status.code() as i32),
        )]);
    }
    trailers
}
