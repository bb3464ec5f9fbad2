//! A leader that can't serve hands over to a member that can.

use std::{sync::Arc, time::Duration};

use strongroom_base::NodeId;
use strongroom_raft::RaftRole;

use crate::core::Core;

/// Between two looks at whether this node leads and is sealed.
const EVERY: Duration = Duration::from_millis(250);
/// After a handover that failed, the next one waits this long.
const PAUSE: Duration = Duration::from_secs(2);

/// Watches, for ever.
pub(crate) async fn watch(core: Arc<Core>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if able(&core) || core.raft.status().role != RaftRole::Leader {
            continue;
        }
        let Some(to) = successor(&core, true) else { continue };
        tracing::info!(%to, "a leader that can't serve hands over to a member that can");
        if let Err(error) = core.raft.transfer_leader(to).await {
            tracing::warn!(%to, %error, "the handover failed");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether this node can judge batches: it has secrets, and a state that was
/// compared with a quorum's.
fn able(core: &Core) -> bool {
    core.lifecycle.phase().has_secrets() && core.verification.is_complete()
}

/// The voter that is best placed to lead: can judge batches where `able`, was
/// heard of lately, and has applied most.
#[must_use]
pub(crate) fn successor(core: &Core, able: bool) -> Option<NodeId> {
    let status = core.raft.status();
    let voter = |node: NodeId| status.members.iter().any(|m| m.voter && m.member.node == node);
    core.reports
        .fresh()
        .into_iter()
        .filter(|(node, report)| voter(*node) && (!able || report.is_able()))
        .max_by_key(|(_, report)| (report.is_able(), report.applied))
        .map(|(node, _)| node)
}
