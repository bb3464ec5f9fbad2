//! Connections of callers, each served by a task of its own until it ends, is
//! idle for too long, or the front does.

use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{Request, body::Incoming as RequestBody, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use strongroom_base::limits;
use strongroom_net::{Gate, Incoming, TlsConn};
use tokio_stream::StreamExt as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{connection::Connection, service::Service, sources::Sources};

/// A connection that says nothing for this long is asked for a sign of life.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(30);
/// A connection that gives none for this long is closed.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that a caller resets before they are accepted (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 64;
/// Streams that this end resets for a caller's errors (CVE-2025-8671).
const LOCAL_RESETS_MAX: usize = 64;
/// Bytes that a caller may send in one stream before they are read.
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// The same over all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes of one answer that wait in the transport.
const SEND_BUFFER_BYTES: usize = 32 * 1024;
/// A connection that was told to go, and has been without a request for this long
/// since, is dropped.
const GOODBYE: Duration = Duration::from_secs(2);

/// What all connections share.
pub(crate) struct Listener {
    /// What answers their requests.
    pub(crate) service: Arc<Service>,
    /// Where they come from.
    pub(crate) sources: Arc<Sources>,
    /// Streams of one at a time.
    pub(crate) streams: u32,
    /// One without a request is closed after this long.
    pub(crate) idle: Duration,
    /// Cancelled when no new request is to come: connections are told to go.
    pub(crate) closing: CancellationToken,
    /// Their tasks.
    pub(crate) tasks: TaskTracker,
}

impl Listener {
    /// Asks before each handshake whether the address has room.
    pub(crate) fn gate(sources: Arc<Sources>) -> Gate {
        Arc::new(move |remote| {
            let connected = sources.connect(remote.ip(), Instant::now())?;
            Some(Box::new(connected))
        })
    }

    /// Accepts until it is told to close; what is accepted by then is served on.
    pub(crate) async fn run(self: Arc<Self>, incoming: Incoming) {
        let mut incoming = pin!(incoming);
        loop {
            let accepted = tokio::select! {
                accepted = incoming.next() => accepted,
                () = self.closing.cancelled() => return,
            };
            match accepted {
                Some(Ok(connection)) => {
                    self.tasks.spawn(Arc::clone(&self).serve(connection));
                }
                Some(Err(error)) => tracing::warn!(%error, "a connection was not accepted"),
                None => return,
            }
        }
    }

    async fn serve(self: Arc<Self>, accepted: TlsConn) {
        let info = accepted.info().clone();
        let remote = info.remote;
        let source = self.sources.of(remote.ip(), Instant::now());
        let connection = Connection::new(info, source, Instant::now());
        let (service, of_connection) = (Arc::clone(&self.service), Arc::clone(&connection));
        let answer = service_fn(move |request: Request<RequestBody>| {
            let answered = Arc::clone(&service).serve(Arc::clone(&of_connection), request);
            async move { Ok::<_, std::convert::Infallible>(answered.await) }
        });
        let served = self.http2().serve_connection(TokioIo::new(accepted), answer);
        let mut served = pin!(served);
        let told = tokio::select! {
            ended = served.as_mut() => Some(ended),
            () = self.is_idle(&connection) => None,
            () = self.closing.cancelled() => None,
        };
        let ended = match told {
            Some(ended) => ended,
            None => {
                served.as_mut().graceful_shutdown();
                // What was on its way when it was told is served.
                loop {
                    tokio::select! {
                        ended = served.as_mut() => break ended,
                        () = tokio::time::sleep(GOODBYE) => {}
                    }
                    if connection.idle_for(Instant::now()) >= GOODBYE {
                        return;
                    }
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%remote, %error, "a connection broke");
        }
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE_EVERY)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .max_header_list_size(limits::FRONT_HEADER_LIST_BYTES_MAX)
            .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
            .max_local_error_reset_streams(LOCAL_RESETS_MAX)
            .max_concurrent_streams(self.streams)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES);
        builder
    }

    /// Waits until no request was under way on `connection` for long.
    async fn is_idle(&self, connection: &Connection) {
        loop {
            let idle = connection.idle_for(Instant::now());
            if idle >= self.idle {
                return;
            }
            tokio::time::sleep(self.idle - idle).await;
        }
    }
}
