//! Accepting connections: bounded, with the handshake done off the accept path.

use std::{
    future::Future as _,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use strongroom_base::limits::{
    CLIENT_CONNECTIONS_MAX, HANDSHAKE_TIMEOUT_MS, HANDSHAKES_MAX, MEMBERS_MAX,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
    time::Sleep,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpIncoming;

use crate::{
    connection::{ConnectInfo, Gate, TlsConn},
    credentials::{Credentials, validity},
    handshake::{self, ALPN_HTTP2, HandshakeError},
    identity::PeerIdentity,
    stats::{AcceptorStats, OpenGuard},
    store::CertStore,
};

/// Idle time after which the kernel asks whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);
/// Pause after the system could not accept: time for descriptors to be freed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections that one peer may hold: its channels, old ones that time out
/// after a restart, and room.
const CONNECTIONS_PER_PEER: usize = 64;
/// Refusals are logged at most this often; the others are counted.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Who may connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Nodes of the cluster only, each with its certificate, over TLS 1.3.
    Peer,
    /// Anyone; a certificate is optional, and verified where there is one.
    Client,
}

/// Bounds of one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptorLimits {
    /// Connections open at a time, those in their handshake included. More are
    /// closed at once and counted.
    pub connections_max: usize,
    /// Handshakes at a time. More wait in the kernel's backlog.
    pub handshakes_max: usize,
    /// Time for one handshake; a tenth of it once half of the handshakes are
    /// taken, so that slow ones can't hold the rest for long.
    pub handshake_timeout: Duration,
}

impl AcceptorLimits {
    /// The product's bounds (`strongroom_base::limits`).
    #[must_use]
    pub fn of(listener: Listener) -> Self {
        Self {
            connections_max: match listener {
                Listener::Peer => MEMBERS_MAX * CONNECTIONS_PER_PEER,
                Listener::Client => CLIENT_CONNECTIONS_MAX,
            },
            handshakes_max: HANDSHAKES_MAX,
            handshake_timeout: Duration::from_millis(HANDSHAKE_TIMEOUT_MS),
        }
    }
}

/// The connections of one listener, for tonic's `serve_with_incoming_shutdown`.
///
/// Works while it is polled, and ends (socket and open handshakes with it) when
/// dropped. Never yields an error and never ends by itself: what goes wrong with
/// one connection is counted and logged, and accepting goes on.
pub struct Incoming {
    tcp: TcpIncoming,
    listener: Listener,
    store: Arc<CertStore>,
    limits: AcceptorLimits,
    stats: Arc<AcceptorStats>,
    gate: Option<Gate>,
    handshakes: JoinSet<Result<TlsConn, HandshakeFailed>>,
    pause: Option<Pin<Box<Sleep>>>,
    log: LogLimit,
}

/// A handshake that failed, and where it came from.
struct HandshakeFailed {
    remote: SocketAddr,
    error: HandshakeError,
}

/// Lets one line through per [`LOG_EVERY`].
#[derive(Default)]
struct LogLimit {
    last: Option<Instant>,
    suppressed: u64,
}

impl Incoming {
    /// Accepts from `tcp` whom `listener` lets in. `stats` belongs to this
    /// listener alone, as its count of open connections is what is bounded.
    #[must_use]
    pub fn new(
        tcp: TcpListener,
        listener: Listener,
        store: Arc<CertStore>,
        limits: AcceptorLimits,
        stats: Arc<AcceptorStats>,
    ) -> Self {
        let tcp = TcpIncoming::from(tcp).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
        Self {
            tcp,
            listener,
            store,
            limits,
            stats,
            gate: None,
            handshakes: JoinSet::new(),
            pause: None,
            log: LogLimit::default(),
        }
    }

    /// The same, and `gate` is asked before each handshake. What it refuses is
    /// closed at once and counted as over the limit.
    #[must_use]
    pub fn with_gate(self, gate: Gate) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// The address that is listened on.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }

    fn admit(&mut self, tcp: TcpStream) {
        let Some(open) = OpenGuard::open(&self.stats, self.limits.connections_max) else {
            AcceptorStats::add(&self.stats.refused_over_limit);
            if let Some(suppressed) = self.log.pass() {
                tracing::warn!(
                    listener = ?self.listener,
                    connections_max = self.limits.connections_max,
                    suppressed,
                    "connection refused: too many are open"
                );
            }
            return;
        };
        // Gone already, else it has an address.
        let Ok(remote) = tcp.peer_addr() else {
            AcceptorStats::add(&self.stats.handshake_failed);
            return;
        };
        let admitted = match self.gate.as_ref().map(|gate| gate(remote)) {
            Some(None) => {
                AcceptorStats::add(&self.stats.refused_over_limit);
                return;
            }
            Some(admitted) => admitted,
            None => None,
        };
        let (credentials, listener) = (self.store.current(), self.listener);
        let timeout = self.timeout();
        self.handshakes.spawn(async move {
            let work = shake_hands(&credentials, listener, tcp, remote, open);
            match tokio::time::timeout(timeout, work).await {
                Ok(result) => result.map(|connection| connection.admitted(admitted)),
                Err(_) => Err(HandshakeError::Timeout {
                    timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
                }),
            }
            .map_err(|error| HandshakeFailed { remote, error })
        });
    }

    fn timeout(&self) -> Duration {
        if self.handshakes.len() * 2 < self.limits.handshakes_max {
            self.limits.handshake_timeout
        } else {
            self.limits.handshake_timeout / 10
        }
    }

    fn note_refused(&mut self, failed: &HandshakeFailed) {
        AcceptorStats::add(match failed.error {
            HandshakeError::Timeout { .. } => &self.stats.handshake_timeout,
            _ => &self.stats.handshake_failed,
        });
        if let Some(suppressed) = self.log.pass() {
            tracing::warn!(
                listener = ?self.listener,
                remote = %failed.remote,
                error = %handshake::chain(&failed.error),
                suppressed,
                "TLS handshake refused"
            );
        }
    }

    fn note_panicked(&self, error: &JoinError) {
        AcceptorStats::add(&self.stats.handshake_failed);
        tracing::error!(listener = ?self.listener, %error, "a TLS handshake ended abnormally");
    }

    fn note_accept_error(&mut self, error: &io::Error) {
        AcceptorStats::add(&self.stats.accept_failed);
        // The connection broke before it was accepted: the next one may be fine.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        ) {
            return;
        }
        self.pause = Some(Box::pin(tokio::time::sleep(ACCEPT_PAUSE)));
        if let Some(suppressed) = self.log.pass() {
            tracing::error!(
                listener = ?self.listener,
                %error,
                suppressed,
                "can't accept connections at present"
            );
        }
    }
}

impl Stream for Incoming {
    type Item = io::Result<TlsConn>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            while let Poll::Ready(Some(joined)) = self.handshakes.poll_join_next(cx) {
                match joined {
                    Ok(Ok(connection)) => {
                        AcceptorStats::add(&self.stats.accepted);
                        return Poll::Ready(Some(Ok(connection)));
                    }
                    Ok(Err(failed)) => self.note_refused(&failed),
                    Err(error) => self.note_panicked(&error),
                }
            }
            if self.handshakes.len() >= self.limits.handshakes_max {
                return Poll::Pending;
            }
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match ready!(Pin::new(&mut self.tcp).poll_next(cx)) {
                Some(Ok(tcp)) => self.admit(tcp),
                Some(Err(error)) => self.note_accept_error(&error),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Takes one connection through its handshake under `credentials`.
pub(crate) async fn shake_hands(
    credentials: &Credentials,
    listener: Listener,
    tcp: TcpStream,
    remote: SocketAddr,
    open: OpenGuard,
) -> Result<TlsConn, HandshakeError> {
    let acceptor = TlsAcceptor::from(Arc::clone(credentials.server_config(listener)));
    let stream = acceptor.accept(tcp).await?;
    let session = stream.get_ref().1;
    if session.alpn_protocol() != Some(ALPN_HTTP2) {
        return Err(HandshakeError::NoHttp2);
    }
    // The verifier read the same bytes; a listener that requires a certificate
    // does not get here without one.
    let (identity, not_after, end) = match session.peer_certificates().and_then(<[_]>::first) {
        Some(certificate) => {
            let identity = PeerIdentity::from_certificate(certificate)?;
            let (_, not_after) = validity(certificate)?;
            (Some(Arc::new(identity)), Some(not_after), credentials.trust().child_token())
        }
        None => (None, None, CancellationToken::new()),
    };
    let info = ConnectInfo::new(remote, identity).ended_by(end);
    Ok(TlsConn::new(stream, info, not_after, open))
}

impl LogLimit {
    /// Whether a line may be written, and how many were not since the last.
    fn pass(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < LOG_EVERY) {
            self.suppressed += 1;
            return None;
        }
        self.last = Some(Instant::now());
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests;
