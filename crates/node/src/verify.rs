//! Whether this node's state is the cluster's.
//!
//! Whoever writes to a disk can't forge a row, but can put an old one back, or
//! delete one. So before a node serves, it recomputes everything that is kept
//! about its rows and records from the rows and records themselves, and
//! compares its state hash with the others' at one and the same log entry. It
//! serves once a majority of the voters, itself included, agrees; where a
//! majority agrees on another state, it stops. Where neither is so it waits:
//! two nodes that differ can't tell which of them is wrong.
//!
//! A single voter has no one to compare with; it checks itself only.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use strongroom_base::{LogIndex, NodeId};
use strongroom_state::StateHash;
use strongroom_wire::peer;

use crate::{admission::Admitted, core::Core, entropy, peers};

/// Between two attempts at a comparison.
const EVERY: Duration = Duration::from_millis(300);
/// A hash point's hashes are asked for during this long.
const ASK: Duration = Duration::from_secs(3);
/// Between two looks at a peer that has not applied the hash point yet.
const LOOK: Duration = Duration::from_millis(20);

/// What is known about this node's state since it started.
#[derive(Default)]
pub(crate) struct Verification {
    /// The whole state was recomputed and agrees with what is kept.
    scrubbed: AtomicBool,
    /// Raised by each snapshot that was installed.
    installs: AtomicU64,
    /// The state was compared with a quorum, after install number so-and-so.
    compared: AtomicBool,
}

/// A comparison's end.
#[derive(Debug, PartialEq, Eq)]
enum Compared {
    /// A majority agrees with this node.
    Agrees,
    /// A majority agrees on another state.
    Diverged,
    /// Too few answered, or no majority agrees on anything.
    Undecided,
}

impl Verification {
    /// Whether the whole state was recomputed since the process started, or
    /// since the newest snapshot was installed.
    #[must_use]
    pub(crate) fn is_scrubbed(&self) -> bool {
        self.scrubbed.load(Ordering::Acquire)
    }

    /// Whether the state was recomputed and compared.
    #[must_use]
    pub(crate) fn is_complete(&self) -> bool {
        self.is_scrubbed() && self.compared.load(Ordering::Acquire)
    }

    /// A snapshot replaced the state: everything has to be checked again.
    pub(crate) fn installed(&self) {
        self.installs.fetch_add(1, Ordering::AcqRel);
        self.scrubbed.store(false, Ordering::Release);
        self.compared.store(false, Ordering::Release);
    }
}

/// Recomputes the state whenever it has to be, for ever. Ends the process where
/// it contradicts itself.
pub(crate) async fn scrub(core: Arc<Core>) {
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tick.tick().await;
        if core.verification.is_scrubbed() {
            continue;
        }
        let install = core.verification.installs.load(Ordering::Acquire);
        let state = core.state.clone();
        let begin = Instant::now();
        let report = tokio::task::spawn_blocking(move || {
            state.read(|reader| strongroom_state::scrub(reader))
        })
        .await;
        match report {
            Ok(Ok(report)) if report.is_clean() => {
                tracing::info!(
                    rows = report.rows,
                    records = report.records,
                    elapsed_ms = begin.elapsed().as_millis(),
                    "the state agrees with itself"
                );
                if core.verification.installs.load(Ordering::Acquire) == install {
                    core.verification.scrubbed.store(true, Ordering::Release);
                }
            }
            Ok(Ok(report)) => core.fatal.diverged(&format!(
                "the state in {} contradicts itself: {report}; its files were changed from \
                 outside, or the disk is failing. Remedy: replace this node: remove it, empty \
                 its data directory, and let it join under a new node id",
                core.data.path().display()
            )),
            Ok(Err(error)) => core.fatal.storage(&error),
            Err(panicked) => core.fatal.diverged(&format!("checking the state failed: {panicked}")),
        }
    }
}

/// Waits until the state was recomputed and a majority agrees with it.
pub(crate) async fn complete(core: &Core) {
    let mut tick = tokio::time::interval(EVERY);
    let mut told = Instant::now();
    loop {
        tick.tick().await;
        if !core.verification.is_scrubbed() {
            continue;
        }
        if core.verification.is_complete() {
            return;
        }
        let install = core.verification.installs.load(Ordering::Acquire);
        match compare(core).await {
            Compared::Agrees => {
                if core.verification.installs.load(Ordering::Acquire) == install {
                    core.verification.compared.store(true, Ordering::Release);
                }
            }
            Compared::Diverged => core.fatal.diverged(
                "this node's state differs from the one that a majority agrees on; its files \
                 were changed from outside, or put back from a copy. Remedy: replace this node: \
                 remove it, empty its data directory, and let it join under a new node id",
            ),
            Compared::Undecided => {
                if told.elapsed() > Duration::from_secs(10) {
                    told = Instant::now();
                    tracing::warn!(
                        "waiting for a majority whose state agrees with this node's before serving"
                    );
                }
            }
        }
    }
}

async fn compare(core: &Core) -> Compared {
    let status = core.raft.status();
    let voters: Vec<NodeId> =
        status.members.iter().filter(|m| m.voter).map(|m| m.member.node).collect();
    if voters.len() == 1 && voters[0] == core.node {
        return Compared::Agrees;
    }
    let Some(point) = hash_point(core).await else { return Compared::Undecided };
    if tokio::time::timeout(ASK, core.raft.wait_applied(point)).await.is_err() {
        return Compared::Undecided;
    }
    let Some(own) = core.hash_points.at(point) else { return Compared::Undecided };
    let mut answers = tokio::task::JoinSet::new();
    for voter in voters.iter().copied().filter(|voter| *voter != core.node) {
        let peers = core.peers.clone();
        answers.spawn(async move {
            let hash = tokio::time::timeout(ASK, ask(&peers, voter, point)).await.ok().flatten();
            (voter, hash)
        });
    }
    let mut heard = BTreeMap::new();
    while let Some(answer) = answers.join_next().await {
        if let Ok((voter, Some(hash))) = answer {
            heard.insert(voter, hash);
        }
        match judge(voters.len(), own, &heard) {
            Compared::Undecided => {}
            decided => return decided,
        }
    }
    for (voter, hash) in &heard {
        if *hash != own {
            tracing::error!(%voter, index = %point, "a member's state differs from this node's");
        }
    }
    Compared::Undecided
}

/// Judges what was heard from the other voters, out of `voters` with this node.
fn judge(voters: usize, own: StateHash, heard: &BTreeMap<NodeId, StateHash>) -> Compared {
    let majority = voters / 2 + 1;
    let count = |hash: StateHash| heard.values().filter(|heard| **heard == hash).count();
    if 1 + count(own) >= majority {
        return Compared::Agrees;
    }
    if heard.values().any(|hash| *hash != own && count(*hash) >= majority) {
        return Compared::Diverged;
    }
    Compared::Undecided
}

async fn hash_point(core: &Core) -> Option<LogIndex> {
    let nonce = entropy::random_u64();
    let leader = core.raft.status().leader?;
    if leader == core.node {
        return match core.admission.hash_point(core.node, nonce).await {
            Admitted::Applied { index, .. } => Some(index),
            _ => None,
        };
    }
    let mut client = peers::node_client(&core.peers, leader).ok()?;
    let request = tonic::Request::new(peer::AppendHashPointRequest { nonce });
    let answer = tokio::time::timeout(ASK, client.append_hash_point(request)).await.ok()?.ok()?;
    Some(answer.into_inner().log_index).filter(|index| *index != 0).map(LogIndex)
}

async fn ask(
    peers: &strongroom_raft::PeerPool,
    voter: NodeId,
    point: LogIndex,
) -> Option<StateHash> {
    loop {
        if let Ok(mut client) = peers::node_client(peers, voter) {
            let request = tonic::Request::new(peer::StateHashRequest { log_index: point.0 });
            let answer = client.state_hash(request).await;
            let hash =
                answer.ok().and_then(|answer| answer.into_inner().hash.as_ref().try_into().ok());
            if let Some(hash) = hash {
                return Some(StateHash(hash));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(byte: u8) -> StateHash {
        StateHash([byte; 32])
    }

    fn heard(hashes: &[u8]) -> BTreeMap<NodeId, StateHash> {
        let nodes = (2..).map(|id| NodeId::new(id).unwrap());
        nodes.zip(hashes.iter().map(|byte| hash(*byte))).collect()
    }

    #[test]
    fn two_nodes_that_differ_decide_nothing() {
        assert_eq!(judge(3, hash(1), &heard(&[2])), Compared::Undecided);
        assert_eq!(judge(2, hash(1), &heard(&[2])), Compared::Undecided);
    }

    #[test]
    fn a_majority_that_agrees_on_another_state_convicts_this_node() {
        assert_eq!(judge(3, hash(1), &heard(&[2, 2])), Compared::Diverged);
        assert_eq!(judge(5, hash(1), &heard(&[2, 2, 3])), Compared::Undecided);
    }

    #[test]
    fn one_that_agrees_is_a_majority_of_three() {
        assert_eq!(judge(3, hash(1), &heard(&[1])), Compared::Agrees);
        assert_eq!(judge(3, hash(1), &heard(&[1, 2])), Compared::Agrees);
        assert_eq!(judge(5, hash(1), &heard(&[1])), Compared::Undecided);
    }
}
