//! What a node holds at a time: calls, streams, bytes of requests and answers.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use strongroom_base::limits;

use crate::metrics::Bound;

/// A number that may be taken from, up to a bound.
#[derive(Debug)]
pub(super) struct Budget {
    held: AtomicUsize,
    max: usize,
    /// Times that it was exceeded.
    hits: AtomicU64,
}

/// A part of a budget; given back on drop.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    amount: usize,
}

impl Budget {
    fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), max, hits: AtomicU64::new(0) })
    }

    fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// A share of nothing, to be grown.
    pub(super) fn nothing(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), amount: 0 }
    }

    /// Takes `amount`; `None` where that would exceed the bound.
    pub(super) fn take(self: &Arc<Self>, amount: usize) -> Option<Share> {
        let mut share = self.nothing();
        share.grow(amount).then_some(share)
    }
}

impl Share {
    /// Takes `more`; false, and nothing taken, where that would exceed the bound.
    pub(super) fn grow(&mut self, more: usize) -> bool {
        let max = self.budget.max;
        let taken = self.budget.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
            held.checked_add(more).filter(|sum| *sum <= max)
        });
        if taken.is_ok() {
            self.amount += more;
        } else {
            self.refuse();
        }
        taken.is_ok()
    }

    /// Counts as a hit of the budget's bound what is refused by a narrower one.
    pub(super) fn refuse(&self) {
        self.budget.hits.fetch_add(1, Ordering::Relaxed);
    }

    /// How much it is.
    pub(super) fn amount(&self) -> usize {
        self.amount
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

/// Kinds of calls that are bounded apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Operators' calls and probes: kept possible while the rest is at its bound.
    Reserved,
    /// Answered with a stream that lasts as long as the caller likes.
    Stream,
    /// Everything else.
    Ordinary,
}

impl Class {
    /// The class of a path `/package.Service/Operation`.
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/grpc.health.v1.Health/Watch" | "/strongroom.v1.Audit/TailEvents" => Self::Stream,
            path if path.starts_with("/grpc.reflection.") => Self::Stream,
            path if path.starts_with("/grpc.health.v1.Health/") => Self::Reserved,
            path if path.starts_with("/strongroom.v1.Seal/") => Self::Reserved,
            _ => Self::Ordinary,
        }
    }
}

/// The bounds of one node.
#[derive(Debug)]
pub(super) struct CallBounds {
    calls: Arc<Budget>,
    reserved_calls: Arc<Budget>,
    streams: Arc<Budget>,
    request_bytes: Arc<Budget>,
    reserved_bytes: Arc<Budget>,
    answer_bytes: Arc<Budget>,
}

impl Default for CallBounds {
    fn default() -> Self {
        Self {
            calls: Budget::new(limits::REQUESTS_IN_FLIGHT_MAX),
            reserved_calls: Budget::new(limits::RESERVED_CALLS_MAX),
            streams: Budget::new(limits::STREAMS_MAX),
            request_bytes: Budget::new(limits::REQUEST_BYTES_IN_FLIGHT_MAX),
            reserved_bytes: Budget::new(limits::RESERVED_BYTES_MAX),
            answer_bytes: Budget::new(limits::ANSWER_BYTES_IN_FLIGHT_MAX),
        }
    }
}

impl CallBounds {
    /// Counts a call of `class` until the share is dropped.
    pub(super) fn begin(&self, class: Class) -> Option<Share> {
        match class {
            Class::Reserved => &self.reserved_calls,
            Class::Stream => &self.streams,
            Class::Ordinary => &self.calls,
        }
        .take(1)
    }

    /// What the request bodies of `class` are counted against.
    pub(super) fn request_bytes(&self, class: Class) -> &Arc<Budget> {
        match class {
            Class::Reserved => &self.reserved_bytes,
            Class::Stream | Class::Ordinary => &self.request_bytes,
        }
    }

    /// What large answers are counted against.
    pub(super) fn answer_bytes(&self) -> &Arc<Budget> {
        &self.answer_bytes
    }

    /// What is held at this moment.
    pub(super) fn held(&self) -> Held {
        Held {
            calls: self.calls.held() + self.reserved_calls.held(),
            streams: self.streams.held(),
            request_bytes: self.request_bytes.held() + self.reserved_bytes.held(),
            answer_bytes: self.answer_bytes.held(),
        }
    }

    /// Times that each bound was hit.
    pub(super) fn hits(&self) -> [(Bound, u64); 6] {
        [
            (Bound::Calls, &self.calls),
            (Bound::ReservedCalls, &self.reserved_calls),
            (Bound::Streams, &self.streams),
            (Bound::RequestBytes, &self.request_bytes),
            (Bound::ReservedBytes, &self.reserved_bytes),
            (Bound::AnswerBytes, &self.answer_bytes),
        ]
        .map(|(bound, budget)| (bound, budget.hits.load(Ordering::Relaxed)))
    }
}

/// What a node holds of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// Calls under way, but for streams.
    pub(crate) calls: usize,
    /// Streams.
    pub(crate) streams: usize,
    /// Bytes of request bodies.
    pub(crate) request_bytes: usize,
    /// Bytes of large answers that are not read yet.
    pub(crate) answer_bytes: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_refuses_what_is_over_it_and_takes_back_what_is_given() {
        let budget = Budget::new(10);
        let mut share = budget.take(4).unwrap();
        assert!(budget.take(7).is_none());
        assert!(!share.grow(7));
        assert!(share.grow(6));
        assert_eq!((share.amount(), budget.held()), (10, 10));
        assert!(budget.take(1).is_none());
        drop(share);
        assert_eq!(budget.held(), 0);
        assert!(budget.take(10).is_some());
    }

    #[test]
    fn operators_get_through_where_everybody_else_is_refused() {
        let bounds = CallBounds::default();
        let held: Vec<_> = std::iter::from_fn(|| bounds.begin(Class::Ordinary)).collect();
        assert_eq!(held.len(), limits::REQUESTS_IN_FLIGHT_MAX);
        assert!(bounds.begin(Class::of("/strongroom.v1.Crypto/Decrypt")).is_none());
        assert!(bounds.begin(Class::of("/strongroom.v1.Seal/SealNode")).is_some());
        assert!(bounds.begin(Class::of("/grpc.health.v1.Health/Check")).is_some());
        let all = bounds.request_bytes(Class::Ordinary);
        let _held = all.take(limits::REQUEST_BYTES_IN_FLIGHT_MAX).unwrap();
        assert!(bounds.request_bytes(Class::Reserved).take(1000).is_some());
    }

    #[test]
    fn streams_are_no_calls_and_have_a_bound() {
        let bounds = CallBounds::default();
        let class = Class::of("/grpc.health.v1.Health/Watch");
        let held: Vec<_> = std::iter::from_fn(|| bounds.begin(class)).collect();
        assert_eq!(held.len(), limits::STREAMS_MAX);
        assert_eq!((bounds.held().calls, bounds.held().streams), (0, limits::STREAMS_MAX));
        let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
        assert!(bounds.begin(Class::of(reflection)).is_none());
        // The one that ended the filling, and this one.
        assert!(bounds.hits().contains(&(Bound::Streams, 2)));
        assert!(bounds.hits().contains(&(Bound::Calls, 0)));
    }
}
