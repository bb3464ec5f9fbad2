//! A stream that this end ends by itself, when what its peer proved holds no
//! longer.

use std::{
    fmt,
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use strongroom_base::UnixMillis;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

use crate::clock;

/// Why this end ended a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ended {
    /// The moment is past that the stream was given.
    #[error("the certificate of the other end has ended")]
    Certificate,
    /// The token was cancelled: by this node, or with the set of CAs under which
    /// the peer was verified.
    #[error("the connection, or trust in the CA of the other end, was ended here")]
    Cancelled,
}

/// A stream until it is ended from inside.
///
/// From then on every call fails with [`io::ErrorKind::ConnectionAborted`],
/// whatever is left to be read or written, so that whoever drives the stream
/// drops it. One task drives it, as hyper does: the end wakes the task of the
/// last call.
pub struct Ending<S> {
    stream: S,
    end: End,
}

enum End {
    Awaited(Pin<Box<dyn Future<Output = Ended> + Send>>),
    Come(Ended),
}

impl<S> Ending<S> {
    /// `stream` until `not_after` (if any) is past or `token` is cancelled.
    pub(crate) fn new(stream: S, not_after: Option<UnixMillis>, token: CancellationToken) -> Self {
        let end = async move {
            tokio::select! {
                biased;
                () = token.cancelled() => Ended::Cancelled,
                () = passed(not_after) => Ended::Certificate,
            }
        };
        Self { stream, end: End::Awaited(Box::pin(end)) }
    }

    /// The stream within, for what its handshake found out.
    #[cfg(test)]
    pub(crate) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Fails once the end has come.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let ended = match &mut self.end {
            End::Come(ended) => *ended,
            End::Awaited(end) => match end.as_mut().poll(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(ended) => ended,
            },
        };
        self.end = End::Come(ended);
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, ended))
    }
}

async fn passed(moment: Option<UnixMillis>) {
    match moment {
        Some(moment) => clock::passed(moment).await,
        None => std::future::pending().await,
    }
}

impl<S: fmt::Debug> fmt::Debug for Ending<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ending").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ending<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ending<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests;
