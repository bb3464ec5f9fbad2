//! A connection that a test can stop, as SIGSTOP does, or break.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tonic::transport::server::Connected;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    #[default]
    Open,
    /// The kernel takes bytes; nobody reads or writes.
    Paused,
    Broken,
}

#[derive(Default)]
struct State {
    mode: Mode,
    waiting: Vec<Waker>,
}

/// Of all connections of one server.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<State>>);

impl Gate {
    pub(crate) fn set(&self, mode: Mode) {
        let waiting = {
            let mut state = self.0.lock().unwrap();
            state.mode = mode;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    fn pass(&self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.lock().unwrap();
        if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            state.waiting.push(cx.waker().clone());
        }
        match state.mode {
            Mode::Open => Poll::Ready(Ok(())),
            Mode::Paused => Poll::Pending,
            Mode::Broken => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }
}

/// A connection behind a gate.
pub(crate) struct Gated {
    pub(crate) tcp: TcpStream,
    pub(crate) gate: Gate,
}

impl Connected for Gated {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        std::task::ready!(self.gate.pass(cx))?;
        Pin::new(&mut self.tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        std::task::ready!(self.gate.pass(cx))?;
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.gate.pass(cx))?;
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.gate.pass(cx))?;
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
