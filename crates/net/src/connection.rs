//! An accepted connection, as tonic serves it.

use std::{
    any::Any,
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use strongroom_base::UnixMillis;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::server::Connected;

use crate::{ending::Ending, identity::PeerIdentity, stats::OpenGuard};

/// Who is at the other end; tonic puts it into each request's extensions.
#[derive(Clone, Debug)]
pub struct ConnectInfo {
    /// Address that the connection came from: for records, never for trust.
    pub remote: SocketAddr,
    /// The verified identity. Always a node of the cluster on a peer listener;
    /// absent on a client listener when no certificate was presented.
    pub identity: Option<Arc<PeerIdentity>>,
    end: CancellationToken,
}

impl ConnectInfo {
    /// What is known of a connection, without one: nothing listens to
    /// [`ConnectInfo::end`].
    #[must_use]
    pub fn new(remote: SocketAddr, identity: Option<Arc<PeerIdentity>>) -> Self {
        Self { remote, identity, end: CancellationToken::new() }
    }

    /// The same, of a connection that `end` ends.
    pub(crate) fn ended_by(self, end: CancellationToken) -> Self {
        Self { end, ..self }
    }

    /// Ends the connection: calls under way on it fail, others are not touched.
    /// Does not wait; a second time changes nothing.
    pub fn end(&self) {
        self.end.cancel();
    }
}

/// What a [`Gate`] keeps for as long as a connection is open, its handshake
/// included: dropped with it.
pub type Admitted = Box<dyn Any + Send + Sync>;

/// Says before the handshake whether a connection from an address is taken.
pub type Gate = Arc<dyn Fn(SocketAddr) -> Option<Admitted> + Send + Sync>;

/// A TLS connection whose handshake is over and whose peer was let in.
///
/// Ends by itself, with an error of [`io::ErrorKind::ConnectionAborted`], when
/// the peer's certificate has ended, when a CA is taken out of the set under
/// which the peer was verified, and by [`ConnectInfo::end`]. A peer that showed
/// no certificate proved nothing: only the last ends it.
#[derive(Debug)]
pub struct TlsConn {
    stream: Ending<TlsStream<TcpStream>>,
    info: ConnectInfo,
    /// Keeps the connection counted.
    _open: OpenGuard,
    /// What the listener's gate gave.
    _admitted: Option<Admitted>,
}

impl TlsConn {
    /// A connection that ends when `not_after` (if any) is past, or by the token
    /// of `info`.
    pub(crate) fn new(
        stream: TlsStream<TcpStream>,
        info: ConnectInfo,
        not_after: Option<UnixMillis>,
        open: OpenGuard,
    ) -> Self {
        let stream = Ending::new(stream, not_after, info.end.clone());
        Self { stream, info, _open: open, _admitted: None }
    }

    /// The same, keeping `admitted` until it is dropped.
    pub(crate) fn admitted(self, admitted: Option<Admitted>) -> Self {
        Self { _admitted: admitted, ..self }
    }

    /// Who is at the other end.
    #[must_use]
    pub fn info(&self) -> &ConnectInfo {
        &self.info
    }
}

impl Connected for TlsConn {
    type ConnectInfo = ConnectInfo;

    fn connect_info(&self) -> ConnectInfo {
        self.info.clone()
    }
}

impl AsyncRead for TlsConn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsConn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
