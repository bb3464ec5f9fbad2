//! The orderly end: no new calls, calls under way answered, leadership handed
//! over, databases closed; each within its share of a bounded time.

use std::{sync::Arc, time::Duration};

use strongroom_raft::RaftRole;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};

use super::Running;
use crate::{fatal::EXIT_CLEAN, leadership, unseal};

/// Between two looks at the calls under way.
const LOOK: Duration = Duration::from_millis(10);

/// Waits for SIGTERM or SIGINT; SIGHUP reloads the certificates.
pub(super) async fn wait_for_signal(node: &Running) {
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        tracing::error!("signals can't be received: this node ends");
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => match node.core.certificates.reload() {
                Ok(()) => tracing::info!("certificates reloaded"),
                Err(error) => tracing::error!(%error, "the certificates in use stay"),
            },
        }
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("second signal: ending at once");
        strongroom_secmem::exit_now(EXIT_CLEAN);
    });
}

/// Ends a node.
pub(super) async fn run(node: Arc<Running>) {
    let core = Arc::clone(&node.core);
    let patience = Duration::from_millis(core.config.limits.shutdown_ms);
    let end = Instant::now() + patience;
    // The last resort: whatever hangs, the process ends.
    tokio::spawn(async move {
        tokio::time::sleep_until(end + Duration::from_secs(1)).await;
        tracing::error!("the shutdown took too long: ending at once");
        strongroom_secmem::exit_now(EXIT_CLEAN);
    });
    tracing::info!("shutting down");
    core.draining.send_replace(true);
    hand_over(&node, end).await;
    node.serving.cancel();
    let drained = Instant::now() + patience / 3;
    while node.calls.held().calls > 0 && Instant::now() < drained {
        tokio::time::sleep(LOOK).await;
    }
    unseal::seal(&core).await;
    node.peers_serving.cancel();
    let _ = tokio::time::timeout(patience / 4, core.raft.shutdown()).await;
    node.tasks.close();
    if tokio::time::timeout(patience / 8, node.tasks.wait()).await.is_err() {
        tracing::debug!("some connections did not end in time");
    }
    let (log, state) = (core.log.clone(), core.state.clone());
    let closing = tokio::task::spawn_blocking(move || {
        if let Err(error) = state.flush() {
            tracing::error!(%error, "the state was not flushed; it is rebuilt from the log");
        }
        log.close_within(patience / 4)
    });
    let closed = tokio::time::timeout_at(end, closing).await;
    tracing::info!(clean = matches!(closed, Ok(Ok(true))), "ended");
}

async fn hand_over(node: &Running, end: Instant) {
    let core = &node.core;
    if core.raft.status().role != RaftRole::Leader {
        return;
    }
    let Some(to) = leadership::successor(core, false) else { return };
    match tokio::time::timeout_at(end, core.raft.transfer_leader(to)).await {
        Ok(Ok(())) => tracing::info!(%to, "leadership handed over"),
        Ok(Err(error)) => tracing::warn!(%to, %error, "leadership was not handed over"),
        Err(_) => tracing::warn!(%to, "leadership was not handed over in time"),
    }
}
