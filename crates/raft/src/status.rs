//! What a node knows of the cluster's Raft, for callers and monitors.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use openraft::{Instant as _, ServerState};
use strongroom_base::{Incarnation, LogIndex, NodeId, Term};

use crate::{
    errors::node_id,
    types::{LogId, Membership, PeerNode, TypeConfig},
};

type Metrics = openraft::RaftMetrics<TypeConfig>;
type ServerMetrics = openraft::metrics::RaftServerMetrics<TypeConfig>;

/// A member of the cluster, as the membership in the Raft log names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Node id.
    pub node: NodeId,
    /// Peer address, host:port.
    pub address: String,
    /// Its data directory; none until it was heard of for the first time.
    pub incarnation: Option<Incarnation>,
    /// Name from its configuration.
    pub name: String,
}

impl Member {
    pub(crate) fn to_peer(&self) -> PeerNode {
        PeerNode {
            address: self.address.clone(),
            name: self.name.clone(),
            incarnation: self.incarnation.map_or([0; 16], |directory| *directory.as_bytes()),
        }
    }

    pub(crate) fn from_peer(node: NodeId, peer: &PeerNode) -> Self {
        Self {
            node,
            address: peer.address.clone(),
            incarnation: peer.incarnation(),
            name: peer.name.clone(),
        }
    }
}

/// What a node does in Raft.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RaftRole {
    /// Takes part in nothing: not a voter, or not yet a member.
    Learner,
    /// Follows a leader, or waits for one.
    Follower,
    /// Campaigns.
    Candidate,
    /// Leads, or believes so: whether a quorum agrees is told by
    /// [`RaftStatus::since_quorum_ack`] alone.
    Leader,
    /// Has stopped.
    Stopped,
}

impl RaftRole {
    /// Its name in interfaces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Learner => "learner",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
            Self::Stopped => "shutdown",
        }
    }
}

impl From<ServerState> for RaftRole {
    fn from(state: ServerState) -> Self {
        match state {
            ServerState::Learner => Self::Learner,
            ServerState::Follower => Self::Follower,
            ServerState::Candidate => Self::Candidate,
            ServerState::Leader => Self::Leader,
            ServerState::Shutdown => Self::Stopped,
        }
    }
}

/// A member, and how far the leader has brought it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The member.
    pub member: Member,
    /// False: a learner.
    pub voter: bool,
    /// Newest entry known to be in its log. On a leader only, and only once it
    /// answered.
    pub matched: Option<LogIndex>,
    /// Entries that it lacks. As `matched`.
    pub lag: Option<u64>,
    /// Time since it last acknowledged anything. On a leader only.
    pub heard_ago: Option<Duration>,
}

/// State of Raft on this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftStatus {
    /// This node.
    pub node: NodeId,
    /// What it does.
    pub role: RaftRole,
    /// Term.
    pub term: Term,
    /// Who leads, as far as this node knows.
    pub leader: Option<NodeId>,
    /// Newest entry in the log.
    pub last_log: Option<LogIndex>,
    /// Newest entry known here to be committed.
    pub committed: Option<LogIndex>,
    /// Newest entry applied.
    pub applied: Option<LogIndex>,
    /// Newest entry covered by this node's snapshot.
    pub snapshot: Option<LogIndex>,
    /// Newest entry purged from the log.
    pub purged: Option<LogIndex>,
    /// On a leader: time since a quorum last acknowledged it. None elsewhere,
    /// and before the first time.
    pub since_quorum_ack: Option<Duration>,
    /// Time since a leader was last heard of; none on a leader, and before the
    /// first time. A leader that is heard may itself have lost its quorum.
    pub since_leader_heard: Option<Duration>,
    /// The members, by ascending node id.
    pub members: Vec<MemberStatus>,
    /// True where this node knows a membership: it belongs to a formed cluster.
    pub initialised: bool,
}

impl RaftStatus {
    /// True where this node leads and a quorum said so within `within`.
    #[must_use]
    pub fn leads_within(&self, within: Duration) -> bool {
        self.role == RaftRole::Leader && self.since_quorum_ack.is_some_and(|ago| ago <= within)
    }

    /// The other voter that is fittest to lead: heard of within `within`, and
    /// the most of the log in its own.
    #[must_use]
    pub fn best_successor(&self, within: Duration) -> Option<NodeId> {
        let fit = self.members.iter().filter(|member| {
            member.voter
                && member.member.node != self.node
                && member.heard_ago.is_some_and(|ago| ago <= within)
        });
        fit.max_by_key(|member| member.matched).map(|member| member.member.node)
    }

    /// The status right after a change of `server`, which the library publishes
    /// before the rest.
    pub(crate) fn changed(
        metrics: &Metrics,
        server: &ServerMetrics,
        since_leader_heard: Option<Duration>,
    ) -> Self {
        let mut metrics = metrics.clone();
        metrics.state = server.state;
        metrics.vote = server.vote;
        metrics.current_leader = server.current_leader;
        metrics.current_term = metrics.current_term.max(server.vote.leader_id.term);
        metrics.membership_config = Arc::clone(&server.membership_config);
        Self::of(&metrics, since_leader_heard)
    }

    pub(crate) fn of(metrics: &Metrics, since_leader_heard: Option<Duration>) -> Self {
        let role = match metrics.running_state {
            Ok(()) => metrics.state.into(),
            Err(_) => RaftRole::Stopped,
        };
        let leads = role == RaftRole::Leader;
        let voters: BTreeSet<u64> = metrics.membership_config.voter_ids().collect();
        let alone = voters.len() == 1 && voters.contains(&metrics.id);
        let acked = metrics.last_quorum_acked.map(|at| at.elapsed());
        Self {
            node: node_id(metrics.id).expect("this node's id came from a NodeId"),
            role,
            term: Term(metrics.current_term),
            leader: metrics.current_leader.and_then(node_id),
            last_log: metrics.last_log_index.map(LogIndex),
            committed: metrics.local_committed.map(log_index),
            applied: metrics.last_applied.map(log_index),
            snapshot: metrics.snapshot.map(log_index),
            purged: metrics.purged.map(log_index),
            // A single voter is its own quorum.
            since_quorum_ack: if leads && alone { Some(Duration::ZERO) } else { acked },
            since_leader_heard: if leads { None } else { since_leader_heard },
            members: members(metrics, &voters),
            initialised: is_formed(&metrics.membership_config),
        }
    }
}

fn members(metrics: &Metrics, voters: &BTreeSet<u64>) -> Vec<MemberStatus> {
    let status = |(id, peer): (&u64, &PeerNode)| {
        let here = *id == metrics.id;
        let matched = match &metrics.replication {
            Some(_) if here => metrics.last_log_index,
            Some(matched) => matched.get(id).copied().flatten().map(|log_id| log_id.index),
            None => None,
        };
        let heard = metrics.heartbeat.as_ref().and_then(|heard| heard.get(id).copied().flatten());
        Some(MemberStatus {
            member: Member::from_peer(node_id(*id)?, peer),
            voter: voters.contains(id),
            matched: matched.map(LogIndex),
            lag: matched.zip(metrics.last_log_index).map(|(at, last)| last.saturating_sub(at)),
            heard_ago: if here { None } else { heard.map(|at| at.elapsed()) },
        })
    };
    metrics.membership_config.nodes().filter_map(status).collect()
}

fn log_index(log_id: LogId) -> LogIndex {
    LogIndex(log_id.index)
}

pub(crate) fn is_formed(membership: &Membership) -> bool {
    membership.nodes().next().is_some()
}

/// Addresses and data directories that a membership names.
pub(crate) fn directory(
    membership: &Membership,
) -> BTreeMap<NodeId, (String, Option<Incarnation>)> {
    let named = |(id, peer): (&u64, &PeerNode)| {
        Some((node_id(*id)?, (peer.address.clone(), peer.incarnation())))
    };
    membership.nodes().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(id: u64, matched: u64, heard_ms_ago: Option<u64>) -> MemberStatus {
        let node = NodeId::new(id).unwrap();
        MemberStatus {
            member: Member::from_peer(node, &PeerNode::default()),
            voter: id != 9,
            matched: Some(LogIndex(matched)),
            lag: None,
            heard_ago: heard_ms_ago.map(Duration::from_millis),
        }
    }

    #[test]
    fn a_successor_is_another_voter_heard_of_lately_with_the_most_of_the_log() {
        let mut status = RaftStatus::of(&Metrics::new_initial(1), None);
        let within = Duration::from_millis(500);
        assert_eq!(status.best_successor(within), None);
        assert!(!status.initialised);
        status.members = vec![
            member(1, 100, Some(0)),
            member(2, 90, Some(10)),
            member(3, 95, Some(20)),
            member(4, 99, Some(600)),
            member(5, 99, None),
            member(9, 99, Some(1)),
        ];
        assert_eq!(status.best_successor(within), NodeId::new(3).ok());
    }

    #[test]
    fn a_change_is_told_even_where_the_rest_is_older() {
        let metrics = Metrics::new_initial(1);
        let server = ServerMetrics {
            id: 1,
            vote: crate::types::Vote::new_committed(4, 2),
            state: ServerState::Follower,
            current_leader: Some(2),
            membership_config: Arc::default(),
            committed_membership_config: Arc::default(),
        };
        let status = RaftStatus::changed(&metrics, &server, None);
        assert_eq!(status.role, RaftRole::Follower);
        assert_eq!(status.leader, NodeId::new(2).ok());
        assert_eq!(status.term, Term(4));
    }

    #[test]
    fn a_leader_without_a_recent_quorum_is_not_taken_for_one() {
        let mut status = RaftStatus::of(&Metrics::new_initial(1), None);
        status.role = RaftRole::Leader;
        let within = Duration::from_secs(1);
        assert!(!status.leads_within(within));
        status.since_quorum_ack = Some(Duration::from_secs(2));
        assert!(!status.leads_within(within));
        status.since_quorum_ack = Some(Duration::from_millis(2));
        assert!(status.leads_within(within));
    }
}
