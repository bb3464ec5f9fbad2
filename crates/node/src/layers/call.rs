//! The layer around every call.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, Response};
use strongroom_base::{RequestId, limits};
use tonic::{body::Body, server::NamedService};
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::{
    body::{BytesBudget, CountedBody},
    status,
};
use crate::{entropy, errors, metrics::Metrics};

/// Metadata entry of the request id.
const REQUEST_ID: &str = "x-request-id";

/// When a call must have been answered: the caller's deadline less a margin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(pub(crate) Instant);

/// What is known of a call before its service sees it; in the extensions of its
/// request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallInfo {
    /// Given by the caller, or drawn here.
    pub(crate) request_id: RequestId,
    /// When it must have been answered.
    pub(crate) deadline: Deadline,
}

/// Calls under way and bytes held, of one node.
#[derive(Default)]
pub(crate) struct CallBounds {
    calls: AtomicUsize,
    bytes: Arc<BytesBudget>,
}

/// Puts [`CallService`] around a service.
#[derive(Clone)]
pub(crate) struct CallLayer {
    bounds: Arc<CallBounds>,
    metrics: Arc<Metrics>,
}

impl CallLayer {
    /// A layer whose calls count against one node's bounds.
    #[must_use]
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self { bounds: Arc::default(), metrics }
    }

    /// Calls under way.
    #[must_use]
    pub(crate) fn calls_in_flight(&self) -> usize {
        self.bounds.calls.load(Ordering::Relaxed)
    }

    /// Bytes of request bodies held.
    #[must_use]
    pub(crate) fn bytes_held(&self) -> usize {
        self.bounds.bytes.held()
    }
}

impl<S> Layer<S> for CallLayer {
    type Service = CallService<S>;

    fn layer(&self, inner: S) -> CallService<S> {
        CallService { inner, layer: self.clone() }
    }
}

/// A service whose calls are bounded, named, timed and put into our terms.
#[derive(Clone)]
pub(crate) struct CallService<S> {
    inner: S,
    layer: CallLayer,
}

impl<S: NamedService> NamedService for CallService<S> {
    const NAME: &'static str = S::NAME;
}

/// A call that counts until it is dropped.
struct Counted(Arc<CallBounds>);

impl Counted {
    fn begin(bounds: &Arc<CallBounds>) -> Option<Self> {
        let before = bounds.calls.fetch_add(1, Ordering::Relaxed);
        let counted = Self(Arc::clone(bounds));
        (before < limits::REQUESTS_IN_FLIGHT_MAX).then_some(counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S> Service<Request<Body>> for CallService<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let start = Instant::now();
        let operation = operation_of(request.uri().path());
        let request_id = match request_id_of(request.headers()) {
            Ok(id) => id,
            Err(refusal) => return Box::pin(async { Ok(refusal.into_http()) }),
        };
        let metrics = Arc::clone(&self.layer.metrics);
        let Some(counted) = Counted::begin(&self.layer.bounds) else {
            metrics.call_ended(operation, tonic::Code::ResourceExhausted, start.elapsed());
            return Box::pin(async { Ok(errors::overloaded("calls in flight").into_http()) });
        };
        let deadline = Deadline(deadline_of(request.headers(), start));
        request.extensions_mut().insert(CallInfo { request_id, deadline });
        let bytes = Arc::clone(&self.layer.bounds.bytes);
        let request = request.map(|body| Body::new(CountedBody::new(body, bytes)));
        let span = tracing::debug_span!("call", operation, request_id = %request_id);
        // The service that was polled ready is the one that is called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let call = async move {
            let mut response = match inner.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            drop(counted);
            let code = status::translate(&mut response);
            metrics.call_ended(operation, code, start.elapsed());
            tracing::debug!(?code, elapsed_us = start.elapsed().as_micros(), "answered");
            if let Ok(value) = HeaderValue::from_str(&request_id.to_string()) {
                response.headers_mut().insert(REQUEST_ID, value);
            }
            Ok(response)
        };
        Box::pin(call.instrument(span))
    }
}

/// The operation of a path `/package.Service/Operation`, out of a fixed list:
/// what a caller invents becomes no label of a metric.
fn operation_of(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or_default();
    crate::metrics::OPERATIONS.iter().find(|known| **known == name).copied().unwrap_or("other")
}

fn request_id_of(headers: &http::HeaderMap) -> Result<RequestId, tonic::Status> {
    match headers.get(REQUEST_ID) {
        None => Ok(RequestId::from_random(entropy::random_id())),
        Some(value) => value
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| errors::invalid_argument(REQUEST_ID, "must be a UUID")),
    }
}

/// The deadline that a caller gave (`grpc-timeout`; gRPC over HTTP/2), bounded,
/// less a margin in which the answer travels.
fn deadline_of(headers: &http::HeaderMap, now: Instant) -> Instant {
    let given = headers
        .get("grpc-timeout")
        .and_then(|value| value.to_str().ok())
        .and_then(parse_timeout)
        .unwrap_or(Duration::from_millis(limits::DEADLINE_DEFAULT_MS));
    let bounded = given.min(Duration::from_millis(limits::DEADLINE_MAX_MS));
    let margin = Duration::from_millis(limits::DEADLINE_MARGIN_MS).min(bounded / 4);
    now + bounded - margin
}

/// `TimeoutValue TimeoutUnit`: at most eight digits, then one of `HMSmun`.
fn parse_timeout(text: &str) -> Option<Duration> {
    let split = text.len().checked_sub(1).filter(|at| text.is_char_boundary(*at))?;
    let (digits, unit) = text.split_at(split);
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let value: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(value * 3600),
        "M" => Duration::from_secs(value * 60),
        "S" => Duration::from_secs(value),
        "m" => Duration::from_millis(value),
        "u" => Duration::from_micros(value),
        "n" => Duration::from_nanos(value),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_timeout_is_no_timeout() {
        for text in ["", "S", "123456789S", "-1S", "1", "1x", "é"] {
            assert_eq!(parse_timeout(text), None, "{text}");
        }
        assert_eq!(parse_timeout("250m"), Some(Duration::from_millis(250)));
    }

    #[test]
    fn a_deadline_is_bounded_and_keeps_a_margin() {
        let now = Instant::now();
        let mut headers = http::HeaderMap::new();
        headers.insert("grpc-timeout", HeaderValue::from_static("99999999H"));
        let most = now + Duration::from_millis(limits::DEADLINE_MAX_MS);
        assert!(deadline_of(&headers, now) < most);
        headers.insert("grpc-timeout", HeaderValue::from_static("8m"));
        assert_eq!(deadline_of(&headers, now), now + Duration::from_millis(6));
    }

    #[test]
    fn what_a_caller_invents_is_no_label() {
        assert_eq!(operation_of("/strongroom.v1.Crypto/Decrypt"), "Decrypt");
        assert_eq!(operation_of("/strongroom.v1.Crypto/Invented"), "other");
        assert_eq!(operation_of(""), "other");
    }
}
