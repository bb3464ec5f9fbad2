//! Signs of life while something takes long.

use std::{
    future::Future,
    io::{self, IsTerminal as _},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::io::{AsyncRead, ReadBuf};

use crate::output::Output;

/// Waits below this are not worth a sign.
const QUIET: Duration = Duration::from_millis(500);

/// Awaits `work`; shows a spinner with `message` on standard error once it
/// takes longer than half a second, where a person sees it.
pub(crate) async fn waiting<T>(
    output: Output,
    message: &'static str,
    work: impl Future<Output = T>,
) -> T {
    let mut work = std::pin::pin!(work);
    if output.is_json() || !io::stderr().is_terminal() {
        return work.await;
    }
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(QUIET) => {}
    }
    let spinner = ProgressBar::new_spinner().with_message(message);
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
        .expect("a constant template that is well-formed");
    spinner.set_style(style);
    spinner.enable_steady_tick(Duration::from_millis(120));
    let done = work.await;
    spinner.finish_and_clear();
    done
}

/// How far a stream is, on standard error, where a person sees it.
pub(crate) struct Transfer(ProgressBar);

impl Transfer {
    /// Of `bytes` bytes, where that is known; `doing` is the word in front.
    pub(crate) fn new(output: Output, doing: &'static str, bytes: Option<u64>) -> Self {
        if output.is_json() || !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let (bar, template) = match bytes {
            Some(bytes) => (
                ProgressBar::new(bytes),
                "{msg} {wide_bar} {bytes} of {total_bytes} {binary_bytes_per_sec} {eta}",
            ),
            None => (ProgressBar::new_spinner(), "{spinner} {msg} {bytes} {binary_bytes_per_sec}"),
        };
        let style = ProgressStyle::with_template(template)
            .expect("a constant template that is well-formed");
        bar.set_style(style);
        bar.set_message(doing);
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(bar)
    }

    /// `reader`, whose bytes count.
    pub(crate) fn counted<R>(&self, reader: R) -> Counted<R> {
        Counted { reader, bar: self.0.clone() }
    }

    /// Takes it off the screen.
    pub(crate) fn end(&self) {
        self.0.finish_and_clear();
    }
}

/// A reader whose bytes are counted.
pub(crate) struct Counted<R> {
    reader: R,
    bar: ProgressBar,
}

impl<R: AsyncRead + Unpin> AsyncRead for Counted<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.reader).poll_read(context, buffer);
        self.bar.inc((buffer.filled().len() - before) as u64);
        polled
    }
}
