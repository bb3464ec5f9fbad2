//! The way of a batch to the leader, until its outcome is known.
//!
//! A batch is sent again, byte for byte, whenever it is not known to be
//! applied: to whoever leads by then. The replicated state answers a repeat
//! from its marks, so however often it is sent, it counts once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use strongroom_base::{NodeId, UnixMillis};
use strongroom_raft::{PeerPool, RaftNode};
use strongroom_state::{BatchOutcome, Outcome};
use strongroom_wire::peer;

use crate::{
    admission::{Admission, Admitted},
    ledger::{Proposals, Resolution},
    metrics::Metrics,
    outcomes::Outcomes,
    peers,
    read_index::{Confirm, ReadPoint},
};

/// One call to the leader takes at most this long; then the batch is sent again.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// One confirmation of a read takes at most this long.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two looks at whether anybody still waits.
const LOOK: Duration = Duration::from_millis(100);
/// First and longest pause before a batch is sent again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// Sends batches to the leader, wherever it is.
pub(crate) struct Proposer {
    node: NodeId,
    raft: RaftNode,
    peers: PeerPool,
    admission: Arc<Admission>,
    outcomes: Arc<Outcomes>,
    metrics: Arc<Metrics>,
    resends: AtomicU64,
}

/// What one try told.
enum Tried {
    Applied(BatchOutcome),
    /// Surely not proposed, and another try may do.
    NotProposed,
    /// Surely not proposed, and another try won't do.
    Refused,
    /// Committed, and refused as a whole by the replicated state: a repeat that
    /// came too late to be answered, or one that was never applied.
    Dead,
    /// May have been proposed.
    Unknown,
}

impl Proposer {
    /// A proposer of `node`'s batches.
    #[must_use]
    pub(crate) fn new(
        node: NodeId,
        raft: RaftNode,
        peers: PeerPool,
        admission: Arc<Admission>,
        outcomes: Arc<Outcomes>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let resends = AtomicU64::new(0);
        Self { node, raft, peers, admission, outcomes, metrics, resends }
    }

    /// Times that a batch was sent again.
    #[must_use]
    pub(crate) fn resends(&self) -> u64 {
        self.resends.load(Ordering::Relaxed)
    }

    /// Proposes `batch` until its outcome is known or `wanted` gives false. No
    /// MAC: a ceremony batch. `doubt` is told whether the batch may be proposed
    /// by now, as often as that changes.
    pub(crate) async fn propose(
        &self,
        sequence: u64,
        batch: Bytes,
        mac: Option<[u8; 32]>,
        wanted: impl Fn() -> bool + Send + Sync,
        doubt: impl Fn(bool) + Send + Sync,
    ) -> Resolution {
        let begin = Instant::now();
        let resolution = self.insist(sequence, batch, mac, wanted, doubt).await;
        self.metrics.proposed(resolution.name(), begin.elapsed());
        resolution
    }

    async fn insist(
        &self,
        sequence: u64,
        batch: Bytes,
        mac: Option<[u8; 32]>,
        wanted: impl Fn() -> bool + Send + Sync,
        doubt: impl Fn(bool) + Send + Sync,
    ) -> Resolution {
        let mut expected = self.outcomes.expect(sequence);
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut pause = PAUSE.0;
        let mut may_be_proposed = false;
        loop {
            doubt(true);
            let tried = {
                let attempt = self.try_once(batch.clone(), mac);
                tokio::pin!(attempt);
                loop {
                    tokio::select! {
                        biased;
                        Ok(outcome) = &mut expected.arrival => return Resolution::Applied(outcome),
                        tried = &mut attempt => break tried,
                        _ = look.tick() => if !wanted() { return Resolution::Abandoned },
                    }
                }
            };
            match tried {
                Tried::Applied(outcome) => return Resolution::Applied(outcome),
                Tried::Refused | Tried::Dead if !may_be_proposed => return Resolution::Refused,
                Tried::Dead => return Resolution::Abandoned,
                Tried::Refused | Tried::NotProposed => {}
                Tried::Unknown => may_be_proposed = true,
            }
            doubt(may_be_proposed);
            if !wanted() {
                return if may_be_proposed { Resolution::Abandoned } else { Resolution::Refused };
            }
            self.resends.fetch_add(1, Ordering::Relaxed);
            let mut changes = self.raft.watch();
            changes.mark_unchanged();
            tokio::select! {
                Ok(outcome) = &mut expected.arrival => return Resolution::Applied(outcome),
                _ = changes.changed() => tokio::time::sleep(PAUSE.0).await,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn try_once(&self, batch: Bytes, mac: Option<[u8; 32]>) -> Tried {
        match self.raft.status().leader {
            None => Tried::NotProposed,
            Some(leader) if leader == self.node => self.try_here(batch, mac).await,
            Some(leader) => {
                let mut changes = self.raft.watch();
                // A leader that hangs, or is cut off, answers nothing: the next
                // one is not kept waiting for its silence.
                let replaced =
                    changes.wait_for(|status| status.leader.is_some_and(|newer| newer != leader));
                tokio::select! {
                    biased;
                    tried = self.try_there(leader, batch, mac) => tried,
                    _ = replaced => Tried::Unknown,
                }
            }
        }
    }

    async fn try_here(&self, batch: Bytes, mac: Option<[u8; 32]>) -> Tried {
        match self.admission.admit(self.node, batch, mac.as_ref().map(<[u8; 32]>::as_slice)).await {
            Admitted::Applied { outcome, .. } => applied(&outcome),
            Admitted::NotLeader { .. } | Admitted::NoQuorum | Admitted::Sealed => {
                Tried::NotProposed
            }
            Admitted::Refused => Tried::Refused,
            Admitted::Unknown => Tried::Unknown,
        }
    }

    async fn try_there(&self, leader: NodeId, batch: Bytes, mac: Option<[u8; 32]>) -> Tried {
        use peer::propose_response::Result as Answer;
        let Ok(mut client) = peers::node_client(&self.peers, leader) else {
            return Tried::NotProposed;
        };
        let mac = mac.map_or_else(Bytes::new, |mac| Bytes::copy_from_slice(&mac));
        let mut request = tonic::Request::new(peer::ProposeRequest { batch, mac });
        request.set_timeout(CALL_TIMEOUT);
        let answer = match tokio::time::timeout(CALL_TIMEOUT, client.propose(request)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            // The call may have arrived whatever its status says.
            Ok(Err(_)) | Err(_) => return Tried::Unknown,
        };
        match answer.result {
            Some(Answer::Applied(answer)) => applied(&answer.outcome),
            Some(Answer::NotProposed(not)) => {
                if not.cause() == peer::not_proposed::Cause::Refused {
                    Tried::Refused
                } else {
                    Tried::NotProposed
                }
            }
            Some(Answer::Unknown(_)) | None => Tried::Unknown,
        }
    }
}

fn applied(outcome: &[u8]) -> Tried {
    match Outcome::decode(outcome) {
        Ok(Outcome::Batch(outcome)) => Tried::Applied(outcome),
        // The state machine refused the batch as a whole, deterministically.
        Ok(_) => Tried::Dead,
        Err(error) => {
            tracing::error!(%error, "the leader's outcome can't be read");
            Tried::Unknown
        }
    }
}

impl Proposals for Proposer {
    async fn resolve(
        &self,
        sequence: u64,
        batch: Bytes,
        mac: [u8; 32],
        wanted: impl Fn() -> bool + Send + Sync,
        doubt: impl Fn(bool) + Send + Sync,
    ) -> Resolution {
        self.propose(sequence, batch, Some(mac), wanted, doubt).await
    }
}

/// ReadIndex, here or at the leader; then waits until this node has applied it.
pub(crate) struct Confirmer {
    node: NodeId,
    raft: RaftNode,
    peers: PeerPool,
    admission: Arc<Admission>,
}

impl Confirmer {
    /// A confirmer of `node`'s reads; `admission` tells cluster time.
    #[must_use]
    pub(crate) fn new(
        node: NodeId,
        raft: RaftNode,
        peers: PeerPool,
        admission: Arc<Admission>,
    ) -> Self {
        Self { node, raft, peers, admission }
    }

    async fn ask(&self) -> Option<ReadPoint> {
        let leader = self.raft.status().leader?;
        let (index, stamp) = if leader == self.node {
            let index = self.raft.read_index().await.ok()?;
            (index, self.admission.cluster_time())
        } else {
            let mut client = peers::node_client(&self.peers, leader).ok()?;
            let mut request = tonic::Request::new(peer::ReadIndexRequest {});
            request.set_timeout(CONFIRM_TIMEOUT);
            let answer = client.read_index(request).await.ok()?.into_inner();
            if !answer.confirmed {
                return None;
            }
            (strongroom_base::LogIndex(answer.log_index), UnixMillis(answer.stamp_ms))
        };
        self.raft.wait_applied(index).await.ok()?;
        Some(ReadPoint { index, stamp })
    }
}

impl Confirm for Confirmer {
    async fn confirm(&self) -> Option<ReadPoint> {
        let point = tokio::time::timeout(CONFIRM_TIMEOUT, self.ask()).await.ok().flatten();
        if point.is_none() {
            // No leader, most likely: time for an election to end.
            tokio::time::sleep(PAUSE.0 * 5).await;
        }
        point
    }
}
