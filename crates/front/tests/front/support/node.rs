//! A node that does as it is told: over real TLS, with a node's certificate.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{body::Incoming as RequestBody, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use prost::Message as _;
use strongroom_net::{AcceptorLimits, Incoming, Listener, PeerIdentity, TlsConn};
use strongroom_wire::v1::{NodeState, SealStatusResponse};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::{Code, Status, body::Body};
use tonic_health::pb::{HealthCheckResponse, health_check_response::ServingStatus};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Pki, caller::framed};

/// What a node does with calls.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Does {
    /// Answers with the message that came, after a while.
    Echoes(Duration),
    /// Answers with this many bytes.
    Answers(usize),
    /// Says that it is in this state, and refuses.
    Is(NodeState),
    /// Takes the call and never answers.
    Hangs,
    /// Refuses with code and reason.
    Refuses(Code, &'static str),
    /// Sends that many messages of a stream, and goes on or ends it.
    Streams { messages: usize, then: Then },
}

/// What comes after the messages of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Then {
    /// Its end.
    Ends,
    /// Nothing.
    Waits,
    /// Messages without end.
    Floods,
}

/// A request as the node saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) identity: Option<PeerIdentity>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

struct Inner {
    does: watch::Sender<Does>,
    /// Counts the times that connections were broken.
    connections: watch::Sender<u64>,
    seen: Mutex<Vec<Seen>>,
    under_way: AtomicUsize,
    streams: AtomicUsize,
    streamed_bytes: AtomicUsize,
}

/// A node.
pub(crate) struct Node {
    address: SocketAddr,
    inner: Arc<Inner>,
    serving: tokio::task::AbortHandle,
}

struct UnderWay(Arc<Inner>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, SeqCst);
    }
}

/// An open stream.
struct Open(Arc<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, SeqCst);
    }
}

impl Node {
    /// Starts a node that echoes.
    pub(crate) async fn start(pki: &Pki, id: u64) -> Self {
        let tcp = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = tcp.local_addr().unwrap();
        let limits = AcceptorLimits::of(Listener::Client);
        let mut incoming =
            Incoming::new(tcp, Listener::Client, pki.node_store(id), limits, Arc::default());
        let inner = Arc::new(Inner {
            does: watch::Sender::new(Does::Echoes(Duration::ZERO)),
            connections: watch::Sender::new(0),
            seen: Mutex::default(),
            under_way: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            streamed_bytes: AtomicUsize::new(0),
        });
        let served = Arc::clone(&inner);
        // All of it ends with the task: connections, too.
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Some(Ok(connection)) = incoming.next().await {
                connections.spawn(serve(Arc::clone(&served), connection));
            }
        });
        Self { address, inner, serving: serving.abort_handle() }
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// From now on.
    pub(crate) fn does(&self, what: Does) {
        self.inner.does.send_replace(what);
    }

    /// Ends the process, as far as others can see.
    pub(crate) fn kill(&self) {
        self.serving.abort();
    }

    /// Breaks the connections that there are; the node is there for new ones.
    pub(crate) fn disconnect(&self) {
        self.inner.connections.send_modify(|generation| *generation += 1);
    }

    /// Calls that came, but for probes and questions of its seal.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.inner.seen.lock().clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.inner.seen.lock().len()
    }

    /// Streams that are open.
    pub(crate) fn streams(&self) -> usize {
        self.inner.streams.load(SeqCst)
    }

    /// Bytes that were sent in streams, or wait to be.
    pub(crate) fn streamed_bytes(&self) -> usize {
        self.inner.streamed_bytes.load(SeqCst)
    }

    /// Calls that are not answered yet.
    pub(crate) fn under_way(&self) -> usize {
        self.inner.under_way.load(SeqCst)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(inner: Arc<Inner>, connection: TlsConn) {
    let identity = connection.info().identity.as_deref().cloned();
    let mut broken = inner.connections.subscribe();
    let service = service_fn(move |request: Request<RequestBody>| {
        let (inner, identity) = (Arc::clone(&inner), identity.clone());
        async move { Ok::<_, Infallible>(answer(inner, identity, request).await) }
    });
    let http2 = http2::Builder::new(TokioExecutor::new());
    tokio::select! {
        // A broken connection is the caller's affair.
        _ = http2.serve_connection(TokioIo::new(connection), service) => {}
        _ = broken.changed() => {}
    }
}

async fn answer(
    inner: Arc<Inner>,
    identity: Option<PeerIdentity>,
    request: Request<RequestBody>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().to_owned();
    let does = inner.does.borrow().clone();
    match path.as_str() {
        "/grpc.health.v1.Health/Check" => return health(&does).await,
        "/strongroom.v1.Seal/SealStatus" => {
            let state = match does {
                Does::Is(state) => state,
                _ => NodeState::Unsealed,
            };
            let status = SealStatusResponse { state: state.into(), ..Default::default() };
            return whole(framed(&status.encode_to_vec()));
        }
        _ => {}
    }
    inner.under_way.fetch_add(1, SeqCst);
    let _under_way = UnderWay(Arc::clone(&inner));
    inner.seen.lock().push(Seen { path, headers: parts.headers, identity });
    let Ok(message) = body.collect().await.map(|body| body.to_bytes()) else {
        return Status::cancelled("the caller went away").into_http();
    };
    match does {
        Does::Echoes(after) => {
            tokio::time::sleep(after).await;
            whole(message)
        }
        Does::Answers(bytes) => whole(framed(&vec![7; bytes])),
        Does::Is(_) => refusal(Code::FailedPrecondition, "SEALED").into_http(),
        Does::Refuses(code, reason) => refusal(code, reason).into_http(),
        Does::Hangs => std::future::pending().await,
        Does::Streams { messages, then } => {
            inner.streams.fetch_add(1, SeqCst);
            stream(messages, then, Open(inner))
        }
    }
}

async fn health(does: &Does) -> Response<Body> {
    let status = match does {
        Does::Is(state) if *state != NodeState::Unsealed => ServingStatus::NotServing,
        _ => ServingStatus::Serving,
    };
    whole(framed(&HealthCheckResponse { status: status.into() }.encode_to_vec()))
}

fn refusal(code: Code, reason: &str) -> Status {
    let metadata = [("told".to_owned(), "by the node".to_owned())];
    let details = ErrorDetails::with_error_info(reason, "strongroom", metadata);
    Status::with_error_details(code, "no, says the node", details)
}

fn ok() -> HeaderMap {
    HeaderMap::from_iter([(
        http::HeaderName::from_static("grpc-status"),
        http::HeaderValue::from_static("0"),
    )])
}

fn response(frames: mpsc::Receiver<Frame<Bytes>>) -> Response<Body> {
    let frames = ReceiverStream::new(frames).map(Ok::<_, Infallible>);
    Response::builder()
        .header("content-type", "application/grpc")
        .header("x-of-the-node", "yes")
        .body(Body::new(StreamBody::new(frames)))
        .unwrap()
}

fn whole(message: Bytes) -> Response<Body> {
    let (tx, rx) = mpsc::channel(2);
    tx.try_send(Frame::data(message)).unwrap();
    tx.try_send(Frame::trailers(ok())).unwrap();
    response(rx)
}

fn stream(messages: usize, then: Then, open: Open) -> Response<Body> {
    let (tx, rx) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut number = 0_usize;
        while number < messages || then == Then::Floods {
            let message = framed(&vec![number as u8; if then == Then::Floods { 8000 } else { 1 }]);
            let bytes = message.len();
            if tx.send(Frame::data(message)).await.is_err() {
                return;
            }
            open.0.streamed_bytes.fetch_add(bytes, SeqCst);
            number += 1;
        }
        match then {
            Then::Ends => drop(tx.send(Frame::trailers(ok())).await),
            Then::Waits | Then::Floods => tx.closed().await,
        }
    });
    response(rx)
}
