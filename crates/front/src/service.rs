//! What happens to a request: let in or refused, then sent to a node or answered
//! here.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, Method as HttpMethod, Request, Response, StatusCode};
use http_body_util::Limited;
use hyper::body::Incoming;
use strongroom_base::{RequestId, limits};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use crate::{
    admission::{Admission, Class, Permit},
    answer::OwnBody,
    connection::{Connection, Unread},
    errors, message, metadata,
    metrics::Metrics,
    nodes::Nodes,
    own::Own,
    record::Record,
    routes::{Answers, Method, Route},
    stream, unary,
};

/// What the requests of a front share.
pub(crate) struct Service {
    /// Bounds.
    pub(crate) admission: Admission,
    /// The nodes.
    pub(crate) nodes: Arc<Nodes>,
    /// Answers that are on their way.
    pub(crate) unread: Arc<Unread>,
    /// Counts.
    pub(crate) metrics: Arc<Metrics>,
    /// Health and reflection.
    pub(crate) own: Own,
    /// Whether a line is written for each request.
    pub(crate) access_log: bool,
    /// Cancelled when streams are to end, as this front does.
    pub(crate) ending: CancellationToken,
}

/// A request on its way to a node.
pub(crate) struct Call {
    pub(crate) method: &'static Method,
    /// What goes to the node, but for what each attempt adds.
    pub(crate) headers: HeaderMap,
    pub(crate) message: Bytes,
    pub(crate) id: RequestId,
    /// When the answer must be here, so that it arrives in time.
    pub(crate) deadline: Instant,
    /// Time that the caller gave, where it gave one.
    pub(crate) given: Option<Duration>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) permit: Permit,
    /// Keeps the request's bytes counted.
    pub(crate) _held: message::Message,
    pub(crate) record: Record,
}

impl Call {
    /// Time left; zero when there is none.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl Service {
    /// Answers one request of `connection`.
    pub(crate) async fn serve(
        self: Arc<Self>,
        connection: Arc<Connection>,
        request: Request<Incoming>,
    ) -> Response<Body> {
        let now = Instant::now();
        if request.method() != HttpMethod::POST {
            return plain(StatusCode::METHOD_NOT_ALLOWED);
        }
        if !metadata::is_grpc(request.headers()) {
            return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let path = request.uri().path();
        let route = Route::of(path);
        let class = Class::of(route, path);
        let source = connection.info.remote.ip();
        let metrics = Arc::clone(&self.metrics);
        let mut record = Record::begin(metrics, self.access_log, route, source, now);
        let id = metadata::request_id(request.headers());
        let known = id.as_ref().ok().copied();
        if let Some(id) = known {
            record.is_known_as(id);
        }
        let admitted = match id {
            Ok(id) => self.admit(&connection, class, request.headers(), now).map(|it| (id, it)),
            Err(refusal) => Err(refusal),
        };
        let mut response = match admitted {
            Ok((id, permit)) => {
                self.route(route, id, permit, connection, request, record, now).await
            }
            Err(refusal) => {
                record.refused(&refusal);
                refusal.into_http()
            }
        };
        if let Some(id) = known {
            metadata::returned(response.headers_mut(), id);
        }
        response
    }

    fn admit(
        &self,
        connection: &Arc<Connection>,
        class: Class,
        headers: &HeaderMap,
        now: Instant,
    ) -> Result<Permit, Status> {
        let permit = self.admission.admit(connection, class, now)?;
        metadata::refuse_forwarded(headers)?;
        Ok(permit)
    }

    #[expect(clippy::too_many_arguments, reason = "what is known of one request, taken apart")]
    async fn route(
        self: Arc<Self>,
        route: Route,
        id: RequestId,
        permit: Permit,
        connection: Arc<Connection>,
        request: Request<Incoming>,
        mut record: Record,
        now: Instant,
    ) -> Response<Body> {
        let refusal = match route {
            Route::Node(method) => {
                return self.forward(method, id, permit, connection, request, record, now).await;
            }
            Route::Health | Route::Reflection => {
                let bounded = request
                    .map(|body| Body::new(Limited::new(body, limits::STREAM_REQUEST_BYTES_MAX)));
                // What a balancer's check hangs in is given up; a reflection that was
                // begun may last.
                let time = Duration::from_millis(limits::FRONT_PROBE_MS);
                match tokio::time::timeout(time, self.own.answer(bounded)).await {
                    Ok(response) => {
                        record.answered();
                        let ending = self.ending.clone();
                        return response.map(|body| Body::new(OwnBody::new(body, ending, permit)));
                    }
                    Err(_) => errors::deadline_exceeded(),
                }
            }
            Route::OneNodeOnly => errors::not_through_a_front(),
            Route::Unknown => errors::unimplemented(),
        };
        record.refused(&refusal);
        refusal.into_http()
    }

    #[expect(clippy::too_many_arguments, reason = "what is known of one request, taken apart")]
    async fn forward(
        self: Arc<Self>,
        method: &'static Method,
        id: RequestId,
        permit: Permit,
        connection: Arc<Connection>,
        request: Request<Incoming>,
        mut record: Record,
        now: Instant,
    ) -> Response<Body> {
        let given = metadata::time_given(request.headers());
        let time = given.unwrap_or(Duration::from_millis(limits::DEADLINE_DEFAULT_MS));
        let margin = Duration::from_millis(limits::FRONT_DEADLINE_MARGIN_MS).min(time / 8);
        let deadline = now + time - margin;
        let (parts, body) = request.into_parts();
        let budgets = [&self.admission.request_bytes, &connection.request_bytes];
        let reading = message::read(body, limits::CLIENT_MESSAGE_BYTES_MAX, budgets);
        let held = match tokio::time::timeout_at(deadline.into(), reading).await {
            Ok(Ok(message)) => message,
            Ok(Err(refusal)) => {
                record.refused(&refusal);
                return refusal.into_http();
            }
            Err(_) => {
                let refusal = errors::deadline_exceeded();
                record.refused(&refusal);
                return refusal.into_http();
            }
        };
        let identity = connection.info.identity.as_deref();
        let call = Call {
            method,
            headers: metadata::forwarded(&parts.headers, connection.info.remote.ip(), identity),
            message: held.bytes(),
            id,
            deadline,
            given,
            connection,
            permit,
            _held: held,
            record,
        };
        match method.answers {
            Answers::Once => unary::forward(&self, call).await,
            Answers::Stream => stream::forward(self, call).await,
        }
    }
}

/// An answer to what is no gRPC.
fn plain(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
