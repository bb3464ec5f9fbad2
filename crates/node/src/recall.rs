//! Whether this node's data directory was put back to an older copy.
//!
//! A directory that was put back has forgotten votes and entries that Raft
//! counts on; taking part with it could lose what was acknowledged. So a node
//! that starts takes no part in Raft until a majority of the members, itself
//! included, has told it what they remember of it. Where one of them remembers
//! more than the directory holds, the node ends. Members that run remember;
//! where all restart at once, nobody does, and this finds nothing.

use std::{sync::Arc, time::Duration};

use strongroom_base::{LogIndex, NodeId, Term};
use strongroom_raft::Position;
use strongroom_wire::peer;
use tokio::task::JoinSet;
use tonic::Code;

use crate::{core::Core, peers};

/// Between two questions to a member that did not answer.
const EVERY: Duration = Duration::from_millis(100);
/// A member that takes longer is asked again.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Once a majority has answered, the others have this long.
const GRACE: Duration = Duration::from_millis(500);
/// Between two lines in the log on a majority that is not there.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Asks the members, then lets this node take part.
pub(crate) async fn run(core: Arc<Core>) {
    let members = core.config.cluster.members.len();
    let others: Vec<NodeId> = core
        .config
        .cluster
        .members
        .iter()
        .map(|member| member.id)
        .filter(|id| *id != core.node)
        .collect();
    let own = core.raft.position_at_start();
    let mut answers = JoinSet::new();
    for member in others {
        let core = Arc::clone(&core);
        answers.spawn(async move { (member, ask(&core, member).await) });
    }
    let (mut heard, majority) = (1, members / 2 + 1);
    let mut told = tokio::time::interval(SAY_EVERY);
    told.reset();
    // A majority must have answered; the others have a moment more. Not longer:
    // what is remembered later is of this run.
    let mut end = None;
    while heard < members {
        if heard >= majority && end.is_none() {
            end = Some(tokio::time::Instant::now() + GRACE);
        }
        let over = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(Ok((member, remembered))) = answers.join_next() => {
                if let Some(remembered) = remembered {
                    require_not_behind(&core, own, member, remembered);
                }
                heard += 1;
            }
            () = over => break,
            _ = told.tick() => tracing::warn!(
                heard,
                members,
                "waiting for a majority of the members before taking part in Raft"
            ),
        }
    }
    core.raft.take_part();
}

fn require_not_behind(core: &Core, own: Position, member: NodeId, remembered: Position) {
    if !own.is_behind(&remembered) {
        return;
    }
    core.fatal.diverged(&format!(
        "the data directory {} was put back to an older copy: by its own files this node had come \
         to {}, node {member} saw it at {}. It would break promises that it made since. Remedy: \
         replace this node: remove it, empty its data directory, and let it join under a new node \
         id",
        core.data.path().display(),
        words(own),
        words(remembered),
    ));
}

fn words(position: Position) -> String {
    let term = position.term.0;
    match position.last {
        Some((of, index)) => format!("term {term}, Raft log index {index} of term {}", of.0),
        None => format!("term {term}"),
    }
}

/// What `member` remembers of this node; asks until it answers.
async fn ask(core: &Core, member: NodeId) -> Option<Position> {
    let mut said = false;
    loop {
        if let Ok(mut client) = peers::node_client(&core.peers, member) {
            let request = tonic::Request::new(peer::RecallRequest {});
            let answer = tokio::time::timeout(TIMEOUT, client.recall(request)).await;
            match answer {
                Ok(Ok(answer)) => return position(&answer.into_inner()),
                // Not down, but refusing: it says why.
                Ok(Err(status)) if status.code() != Code::Unavailable && !said => {
                    said = true;
                    tracing::warn!(%member, reason = status.message(), "a member refuses this node");
                }
                Ok(Err(status)) => tracing::trace!(%member, code = ?status.code(), "no answer"),
                Err(_) => tracing::trace!(%member, "no answer in time"),
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

fn position(answer: &peer::RecallResponse) -> Option<Position> {
    let last = (Term(answer.last_term), LogIndex(answer.last_index));
    (!answer.nothing)
        .then(|| Position { term: Term(answer.term), last: answer.acknowledged.then_some(last) })
}
