//! What the members last said of themselves.
//!
//! Each member is asked twice a second. A report is a hint: it decides whom a
//! sealed leader hands over to, what `status` shows and how far clocks are
//! apart, never whether a key may be used.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use parking_lot::RwLock;
use strongroom_base::{Incarnation, LogIndex, NodeId, UnixMillis};
use strongroom_raft::PeerPool;
use strongroom_wire::peer;

use crate::{clock, lifecycle::Phase, peers};

/// Between two questions to a member.
const EVERY: Duration = Duration::from_millis(500);
/// A member that takes longer is not heard of this time.
const TIMEOUT: Duration = Duration::from_secs(1);
/// A report older than this says nothing of the present.
pub(crate) const FRESH: Duration = Duration::from_secs(3);

/// What a member said.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Its state.
    pub(crate) phase: Phase,
    /// Its data directory.
    pub(crate) incarnation: Incarnation,
    /// Its wall clock less this node's, milliseconds, within half a round trip.
    pub(crate) clock_offset_ms: i64,
    /// Newest index that it applied.
    pub(crate) applied: LogIndex,
    /// Whether it belongs to a formed cluster.
    pub(crate) initialised: bool,
    /// Whether its state was compared with a quorum's since it started.
    pub(crate) verified: bool,
    /// Whether its disk has less free than its reserve.
    pub(crate) disk_low: bool,
    /// When it said so.
    pub(crate) heard: Instant,
}

impl Report {
    /// Whether it says anything of the present.
    #[must_use]
    pub(crate) fn is_fresh(&self) -> bool {
        self.heard.elapsed() < FRESH
    }

    /// Whether it can judge batches as a leader.
    #[must_use]
    pub(crate) fn is_able(&self) -> bool {
        self.phase.has_secrets() && self.verified
    }
}

/// The newest report of each other member.
#[derive(Default)]
pub(crate) struct Reports {
    newest: RwLock<BTreeMap<NodeId, Report>>,
}

impl Reports {
    /// The newest report of `node`.
    #[must_use]
    pub(crate) fn of(&self, node: NodeId) -> Option<Report> {
        self.newest.read().get(&node).cloned()
    }

    /// Fresh reports, by node id.
    #[must_use]
    pub(crate) fn fresh(&self) -> Vec<(NodeId, Report)> {
        let newest = self.newest.read();
        newest
            .iter()
            .filter(|(_, report)| report.is_fresh())
            .map(|(node, report)| (*node, report.clone()))
            .collect()
    }

    /// The median of the wall clocks of `members` members, where a majority was
    /// heard of lately.
    #[must_use]
    pub(crate) fn median_clock(&self, members: usize) -> Option<UnixMillis> {
        let mut offsets: Vec<i64> = self.fresh().iter().map(|(_, r)| r.clock_offset_ms).collect();
        offsets.push(0);
        clock::median_clock(clock::wall_now(), &mut offsets, members)
    }

    /// Whether so many members' disks are below their reserve that, once those
    /// are full, no majority is left: this node's, where `own`, and those of the
    /// others that said so lately.
    #[must_use]
    pub(crate) fn disks_threaten_quorum(&self, members: usize, own: bool) -> bool {
        let low = self.fresh().iter().filter(|(_, report)| report.disk_low).count();
        let low = low + usize::from(own);
        low > 0 && members - low.min(members) < members / 2 + 1
    }

    /// Asks `node` for a report at once.
    ///
    /// # Errors
    ///
    /// What its channel or the node itself says.
    pub(crate) async fn ask(
        &self,
        peers: &PeerPool,
        node: NodeId,
    ) -> Result<Report, tonic::Status> {
        let mut client = peers::node_client(peers, node)?;
        let sent = clock::wall_now();
        let mut request = tonic::Request::new(peer::ReportRequest {});
        request.set_timeout(TIMEOUT);
        let answer = tokio::time::timeout(TIMEOUT, client.report(request))
            .await
            .map_err(|_| tonic::Status::deadline_exceeded("no report in time"))??
            .into_inner();
        let back = clock::wall_now();
        let middle = sent.0.midpoint(back.0);
        let report = Report {
            phase: Phase::from_number(answer.state),
            incarnation: Incarnation::from_slice(&answer.incarnation)
                .map_err(|error| tonic::Status::internal(error.to_string()))?,
            clock_offset_ms: i64::try_from(i128::from(answer.clock_ms) - i128::from(middle))
                .unwrap_or(i64::MAX),
            applied: LogIndex(answer.applied_index),
            initialised: answer.initialised,
            verified: answer.verified,
            disk_low: answer.disk_low,
            heard: Instant::now(),
        };
        self.newest.write().insert(node, report.clone());
        Ok(report)
    }

    /// Asks `node` again and again, for ever.
    pub(crate) async fn watch(&self, peers: &PeerPool, node: NodeId) {
        let mut tick = tokio::time::interval(EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            if let Err(status) = self.ask(peers, node).await {
                tracing::trace!(%node, code = ?status.code(), "a member gives no report");
            }
        }
    }
}
