//! Request bodies, counted while they are held.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use strongroom_base::limits;
use tonic::Status;

/// Bytes of request bodies that the node holds at a time.
#[derive(Debug, Default)]
pub(crate) struct BytesBudget {
    held: AtomicUsize,
}

impl BytesBudget {
    /// Bytes held.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(bytes).filter(|sum| *sum <= limits::REQUEST_BYTES_IN_FLIGHT_MAX)
        });
        taken.is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A request body whose bytes count against a budget until it is dropped.
pub(crate) struct CountedBody {
    inner: tonic::body::Body,
    budget: Arc<BytesBudget>,
    taken: usize,
}

impl CountedBody {
    /// Counts `inner` against `budget`.
    pub(crate) fn new(inner: tonic::body::Body, budget: Arc<BytesBudget>) -> Self {
        Self { inner, budget, taken: 0 }
    }
}

impl Body for CountedBody {
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
            if !self.budget.take(bytes) {
                return Poll::Ready(Some(Err(crate::errors::overloaded("request bytes"))));
            }
            self.taken += bytes;
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

impl Drop for CountedBody {
    fn drop(&mut self) {
        self.budget.give_back(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_budget_refuses_what_is_over_it_and_takes_back_what_is_given() {
        let budget = BytesBudget::default();
        assert!(budget.take(limits::REQUEST_BYTES_IN_FLIGHT_MAX));
        assert!(!budget.take(1));
        budget.give_back(1);
        assert!(budget.take(1));
    }
}
