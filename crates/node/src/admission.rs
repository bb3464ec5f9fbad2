//! What a leader lets into the Raft log.
//!
//! An unsealed leader (whose state was compared with a quorum's) admits batches
//! that carry a MAC under the keyring's batch key, and nothing else: a node's certificate alone proposes nothing. A sealed
//! leader, which can check no MAC, admits ceremony batches only: what a sealed
//! cluster has to record about its own unsealing, checked item by item, and at
//! a bounded rate.

mod ceremony;
mod entries;

use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use prost::Message;
use strongroom_base::{LogIndex, NodeId, UnixMillis, limits};
use strongroom_format::{COMMAND_FORMAT, store};
use strongroom_raft::{ProposeError, RaftNode};
use strongroom_storage::StateDb;

use crate::{
    clock::StampClock,
    denials::RateLimit,
    lifecycle::Lifecycle,
    metrics::{Bound, Metrics},
    reports::Reports,
    verify::Verification,
};

/// Entries a second that are admitted without a MAC.
const UNPROVEN_PER_SECOND: u32 = 30;

pub(crate) use entries::Entries;

/// What became of a batch at the leader.
#[derive(Debug)]
pub(crate) enum Admitted {
    /// Applied here.
    Applied {
        /// Index of its entry.
        index: LogIndex,
        /// Encoded outcome.
        outcome: Bytes,
    },
    /// This node does not lead; surely not proposed.
    NotLeader {
        /// Whom it knows to lead.
        leader: Option<NodeId>,
    },
    /// It leads without a quorum; surely not proposed.
    NoQuorum,
    /// Malformed, of another node, too large, or its MAC is wrong.
    Refused,
    /// It leads and is sealed, or not verified yet, and this is no ceremony
    /// batch.
    Sealed,
    /// May be proposed.
    Unknown,
}

/// The first fields of a batch: who proposes it.
#[derive(Clone, PartialEq, Message)]
struct BatchHeader {
    #[prost(uint64, tag = "1")]
    node_id: u64,
}

/// Lets batches into the Raft log of this node, while it leads.
pub(crate) struct Admission {
    raft: RaftNode,
    state: StateDb,
    lifecycle: Arc<Lifecycle>,
    verification: Arc<Verification>,
    reports: Arc<Reports>,
    metrics: Arc<Metrics>,
    stamps: StampClock,
    /// Batches and hash points that come without a MAC.
    unproven: RateLimit,
}

impl Admission {
    /// Admission to `raft`'s log.
    #[must_use]
    pub(crate) fn new(
        raft: RaftNode,
        state: StateDb,
        lifecycle: Arc<Lifecycle>,
        verification: Arc<Verification>,
        reports: Arc<Reports>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            raft,
            state,
            lifecycle,
            verification,
            reports,
            metrics,
            stamps: StampClock::default(),
            unproven: RateLimit::new(UNPROVEN_PER_SECOND, Instant::now()),
        }
    }

    /// Checks a batch that `from` sent, and proposes it.
    pub(crate) async fn admit(&self, from: NodeId, batch: Bytes, mac: Option<&[u8]>) -> Admitted {
        if batch.len() > limits::BATCH_BYTES_MAX {
            return Admitted::Refused;
        }
        // Other fields of a batch are unknown to the header, and skipped.
        let claimed = BatchHeader::decode(batch.clone()).map(|header| header.node_id);
        if claimed != Ok(from.value()) {
            tracing::warn!(%from, "refused a batch that is malformed or names another node");
            return Admitted::Refused;
        }
        if let Err(refused) = self.check(from, &batch, mac) {
            return refused;
        }
        let mac = mac.map(<[u8]>::to_vec).unwrap_or_default();
        self.propose(store::command::Body::Batch(batch.into()), mac).await
    }

    /// Appends a hash point.
    pub(crate) async fn hash_point(&self, node: NodeId, nonce: u64) -> Admitted {
        if !self.may_be_unproven() {
            return Admitted::NoQuorum;
        }
        let point = store::HashPoint { node_id: node.value(), nonce };
        self.propose(store::command::Body::HashPoint(point), Vec::new()).await
    }

    /// Cluster time at this moment, while this node leads: what an entry would
    /// be stamped with. Looks are decided by it, as they append nothing.
    pub(crate) fn cluster_time(&self) -> UnixMillis {
        let applied = strongroom_state::cluster_time(&self.state.latest()).unwrap_or_default();
        let median = self.reports.median_clock(self.raft.status().members.len());
        self.stamps.peek(Instant::now(), applied, median).max(applied)
    }

    fn check(&self, from: NodeId, batch: &Bytes, mac: Option<&[u8]>) -> Result<(), Admitted> {
        match (mac, self.lifecycle.secrets()) {
            // Its verdicts are taken by the others at its word: not before its
            // state was compared with theirs.
            (Some(_), Some(_)) if !self.verification.is_complete() => Err(Admitted::Sealed),
            (Some(mac), Some(secrets)) => {
                if secrets.keyring().verify_batch_mac(batch, mac).is_ok() {
                    return Ok(());
                }
                tracing::warn!(%from, "refused a batch whose MAC is wrong");
                Err(Admitted::Refused)
            }
            (Some(_), None) => Err(Admitted::Sealed),
            (None, Some(_)) => {
                tracing::debug!(%from, "refused a batch without a MAC: this leader is unsealed");
                Err(Admitted::Refused)
            }
            (None, None) if !self.may_be_unproven() => Err(Admitted::NoQuorum),
            (None, None) => match ceremony::check(batch, &self.state.latest()) {
                Ok(_) => Ok(()),
                Err(problem) => {
                    tracing::warn!(%from, %problem, "refused a batch without a MAC");
                    Err(Admitted::Refused)
                }
            },
        }
    }

    /// Takes one of what may come without a MAC.
    fn may_be_unproven(&self) -> bool {
        let within = self.unproven.take(Instant::now());
        if !within {
            self.metrics.hit(Bound::UnprovenEntries);
        }
        within
    }

    async fn propose(&self, body: store::command::Body, mac: Vec<u8>) -> Admitted {
        let status = self.raft.status();
        let members = status.members.len();
        let applied = strongroom_state::cluster_time(&self.state.latest());
        let Ok(applied) = applied else { return Admitted::NoQuorum };
        let median = self.reports.median_clock(members);
        let stamp = self.stamps.stamp(Instant::now(), applied, median);
        let body = Some(body);
        let command = store::Command { format: COMMAND_FORMAT, stamp_ms: stamp.0, body, mac };
        match self.raft.propose(Bytes::from(command.encode_to_vec())).await {
            Ok(proposed) => {
                self.metrics.commit_seconds.observe(proposed.commit.as_secs_f64());
                Admitted::Applied { index: proposed.index, outcome: proposed.outcome }
            }
            Err(ProposeError::NotLeader { leader }) => Admitted::NotLeader { leader },
            Err(ProposeError::NoQuorum) => Admitted::NoQuorum,
            Err(ProposeError::TooLarge { .. }) => Admitted::Refused,
            Err(_) => Admitted::Unknown,
        }
    }
}
