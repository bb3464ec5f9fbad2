//! One HTTP/2 connection to one node.
//!
//! It is dialled on first use and again after a break. Whoever calls while it is
//! being dialled waits for the same dial, and fails with it. What was surely not
//! sent is told apart from what may have been, which the library's own channel
//! can't do.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use futures::{FutureExt as _, future::Shared};
use http::{HeaderValue, Request, Response, Uri, header::USER_AGENT, uri::PathAndQuery};
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::oneshot;
use tonic::body::Body;
use tower::Service;
use tracing::debug;

use crate::{address::Address, dialer::Connector, tls::ConnectError};

/// A connection on which nothing came for this long is asked for a sign of life.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// It is given up when none comes for this long.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// How this crate names itself.
const AGENT: &str = concat!("strongroom-client/", env!("CARGO_PKG_VERSION"));

/// Why a request has no response.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionError {
    /// There is no connection; nothing was sent.
    #[error("no connection to the node")]
    Connect(#[source] Arc<ConnectError>),
    /// The connection ended before the request was sent.
    #[error("the connection ended before the request was sent")]
    NotSent(#[source] Arc<hyper::Error>),
    /// The connection or the stream broke; the request may have arrived.
    #[error("the connection broke before the response came")]
    Broken(#[source] Arc<hyper::Error>),
}

type Sender = http2::SendRequest<Body>;
type Dialled = Result<Sender, Arc<ConnectError>>;
type Dial = Shared<Pin<Box<dyn Future<Output = Dialled> + Send>>>;

enum State {
    Idle,
    Dialling(Dial),
    Open(Sender),
}

struct Inner {
    address: Address,
    uri: Uri,
    connector: Connector,
    state: Mutex<State>,
}

/// A connection to one node; a service of HTTP requests, on which generated
/// gRPC clients and [`tonic::client::Grpc`] work. Clones share the connection.
#[derive(Clone)]
pub struct Connection(Arc<Inner>);

impl Connection {
    /// Dials nothing yet.
    pub(crate) fn new(address: Address, connector: Connector) -> Self {
        let uri = Uri::try_from(format!("https://{address}"))
            .expect("Address lets only hosts and ports in");
        Self(Arc::new(Inner { address, uri, connector, state: Mutex::new(State::Idle) }))
    }

    /// Where it leads.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.0.address
    }

    /// True while there is a connection that was not found broken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(&*self.0.lock(), State::Open(sender) if !sender.is_closed())
    }

    async fn sender(&self) -> Dialled {
        let dial = {
            let mut state = self.0.lock();
            match &*state {
                State::Open(sender) if !sender.is_closed() => return Ok(sender.clone()),
                // One that failed and was not cleared away lost its runtime.
                State::Dialling(dial) if dial.peek().is_none_or(Result::is_ok) => dial.clone(),
                State::Dialling(_) | State::Open(_) | State::Idle => {
                    let dial = Inner::dial(&self.0);
                    *state = State::Dialling(dial.clone());
                    dial
                }
            }
        };
        dial.await
    }

    async fn send(self, request: Request<Body>) -> Result<Response<Incoming>, ConnectionError> {
        let mut request = self.0.addressed(request);
        // A connection that ended unnoticed gives the request back: it goes out
        // on the next one, once.
        for last in [false, true] {
            let mut sender = self.sender().await.map_err(ConnectionError::Connect)?;
            let mut error = match sender.try_send_request(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            match error.take_message() {
                Some(unsent) if !last => request = unsent,
                Some(_) => return Err(ConnectionError::NotSent(Arc::new(error.into_error()))),
                None => return Err(ConnectionError::Broken(Arc::new(error.into_error()))),
            }
        }
        unreachable!("the last round returns")
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Dials in a task of its own: a caller that goes away ends nobody's dial.
    fn dial(inner: &Arc<Self>) -> Dial {
        let (tell, told) = oneshot::channel();
        let dialled = Arc::clone(inner);
        tokio::spawn(async move {
            let result = dialled.open().await.map_err(Arc::new);
            *dialled.lock() = match &result {
                Ok(sender) => State::Open(sender.clone()),
                Err(_) => State::Idle,
            };
            // Nobody may wait any more.
            let _ = tell.send(result);
        });
        let address = inner.address.to_string();
        let told = async move {
            told.await.unwrap_or_else(|_| {
                let source = "the runtime is shutting down".into();
                Err(Arc::new(ConnectError::Dial { address, source }))
            })
        };
        told.boxed().shared()
    }

    async fn open(&self) -> Result<Sender, ConnectError> {
        let io = self.connector.clone().connect(self.uri.clone()).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
        if let Some(windows) = self.connector.windows() {
            builder
                .initial_stream_window_size(windows.stream_bytes)
                .initial_connection_window_size(windows.connection_bytes);
        }
        let opened = builder.handshake(io).await;
        let address = self.address.to_string();
        let (sender, connection) = opened.map_err(|error| ConnectError::Dial {
            address: address.clone(),
            source: error.into(),
        })?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%address, %error, "a connection ended");
            }
        });
        Ok(sender)
    }

    /// The request as HTTP/2 wants it: scheme and authority in the URI.
    fn addressed(&self, mut request: Request<Body>) -> Request<Body> {
        let mut parts = self.uri.clone().into_parts();
        parts.path_and_query =
            Some(request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/")));
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
        request.headers_mut().entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        request
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = ConnectionError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Incoming>, ConnectionError>> + Send>>;

    /// Always ready: a connection that isn't there is dialled by the call.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.clone().send(request))
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.0.address.to_string())
            .field("open", &self.is_open())
            .finish()
    }
}
