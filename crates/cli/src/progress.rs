//! Signs of life while something takes long.

use std::{future::Future, io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

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
    if output.is_json() || !std::io::stderr().is_terminal() {
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
