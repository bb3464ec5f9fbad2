//! The layer around every call.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use http::{HeaderValue, Request, Response};
use strongroom_base::{RequestId, limits};
use strongroom_net::ConnectInfo;
use tonic::{body::Body, server::NamedService};
use tower::{Layer, Service};
use tracing::Instrument as _;

use super::{
    body::{AnswerBody, AnswersHeld, RequestBody},
    bounds::{CallBounds, Class, Held, Share},
    status,
};
use crate::{
    entropy, errors,
    metrics::{Bound, Metrics, operation_of},
};

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

    /// What is held of calls at this moment.
    #[must_use]
    pub(crate) fn held(&self) -> Held {
        self.bounds.held()
    }

    /// Times that each bound on calls was hit.
    #[must_use]
    pub(crate) fn hits(&self) -> [(Bound, u64); 6] {
        self.bounds.hits()
    }
}

/// Counts a call as it ends: with its code, or as cancelled where it is dropped
/// before it has one, because its caller went away.
struct Ending {
    metrics: Arc<Metrics>,
    operation: &'static str,
    start: Instant,
    code: tonic::Code,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.metrics.call_ended(self.operation, self.code, self.start.elapsed());
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
        let metrics = Arc::clone(&self.layer.metrics);
        let mut ending = Ending { metrics, operation, start, code: tonic::Code::Cancelled };
        let request_id = match request_id_of(request.headers()) {
            Ok(id) => id,
            Err(refusal) => {
                ending.code = refusal.code();
                return Box::pin(async { Ok(refusal.into_http()) });
            }
        };
        let class = Class::of(request.uri().path());
        let bounds = Arc::clone(&self.layer.bounds);
        let Some(counted) = bounds.begin(class) else {
            ending.code = tonic::Code::ResourceExhausted;
            return Box::pin(async { Ok(errors::overloaded("calls in flight").into_http()) });
        };
        let deadline = deadline_of(request.headers(), start);
        let info = CallInfo { request_id, deadline: Deadline(deadline.answer) };
        request.extensions_mut().insert(info);
        let connection = request.extensions().get::<ConnectInfo>().cloned();
        let bytes_max = match class {
            Class::Stream => limits::STREAM_REQUEST_BYTES_MAX,
            Class::Reserved | Class::Ordinary => usize::MAX,
        };
        let bytes = Arc::clone(bounds.request_bytes(class));
        let request = request.map(|body| Body::new(RequestBody::new(body, &bytes, bytes_max)));
        let span = tracing::debug_span!("call", operation, request_id = %request_id);
        // The service that was polled ready is the one that is called.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let call = async move {
            // Whatever a service waits for it gives up at its own deadline; this
            // one ends the wait for a request that doesn't come, too.
            let mut response =
                match tokio::time::timeout_at(deadline.end.into(), inner.call(request)).await {
                    Ok(Ok(response)) => response,
                    Ok(Err(never)) => match never {},
                    Err(_) => errors::deadline_exceeded().into_http(),
                };
            let mut code = status::translate(&mut response);
            match answer(response, class, counted, &bounds, connection).await {
                Ok(answered) => response = answered,
                Err(AnswersHeld) => {
                    let status = errors::overloaded("answers that are not read");
                    code = status.code();
                    response = status.into_http();
                }
            }
            ending.code = code;
            drop(ending);
            tracing::debug!(?code, elapsed_us = start.elapsed().as_micros(), "answered");
            if let Ok(value) = HeaderValue::from_str(&request_id.to_string()) {
                response.headers_mut().insert(REQUEST_ID, value);
            }
            Ok(response)
        };
        Box::pin(call.instrument(span))
    }
}

/// Counts what is left of a call: the stream that it is, or the answer until it
/// was read.
async fn answer(
    response: Response<Body>,
    class: Class,
    counted: Share,
    bounds: &CallBounds,
    connection: Option<ConnectInfo>,
) -> Result<Response<Body>, AnswersHeld> {
    let (parts, body) = response.into_parts();
    let body = match class {
        Class::Stream => AnswerBody::stream(body, counted),
        Class::Reserved | Class::Ordinary => {
            drop(counted);
            AnswerBody::unary(body, bounds.answer_bytes(), connection).await?
        }
    };
    Ok(Response::from_parts(parts, Body::new(body)))
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

/// The times of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Times {
    /// Until then a service answers.
    answer: Instant,
    /// A service that has not answered until then is not waited for.
    end: Instant,
}

/// The deadline that a caller gave (`grpc-timeout`; gRPC over HTTP/2), bounded,
/// less a margin in which the answer travels.
fn deadline_of(headers: &http::HeaderMap, now: Instant) -> Times {
    let given = headers
        .get("grpc-timeout")
        .and_then(|value| value.to_str().ok())
        .and_then(parse_timeout)
        .unwrap_or(Duration::from_millis(limits::DEADLINE_DEFAULT_MS));
    let bounded = given.min(Duration::from_millis(limits::DEADLINE_MAX_MS));
    let margin = Duration::from_millis(limits::DEADLINE_MARGIN_MS).min(bounded / 4);
    Times { answer: now + bounded - margin, end: now + bounded - margin / 2 }
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
        assert!(deadline_of(&headers, now).end < most);
        headers.insert("grpc-timeout", HeaderValue::from_static("8m"));
        let times = deadline_of(&headers, now);
        assert_eq!(times.answer, now + Duration::from_millis(6));
        assert_eq!(times.end, now + Duration::from_millis(7));
    }
}
