//! Requests of peers, checked before the library sees them.
//!
//! What a leader that follows the protocol never sends, the library asserts, or
//! would write into the log: a hole, an order that contradicts itself. Checked
//! here is what a request says by itself; what depends on this node's log the
//! library judges and answers. Does no I/O.

use tonic::Status;

use crate::types::{AppendRequest, LogId, SnapshotMeta, Vote};

/// A rule of Raft that a request breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Invalid {
    /// Entries and snapshots come from leaders, and a leader's vote is granted
    /// by a quorum.
    #[error("its vote is no established leader's")]
    NoLeader,
    /// An entry at an index that doesn't follow the one before, or that none
    /// can follow.
    #[error("an entry at index {index} is out of place")]
    Index {
        /// Its index.
        index: u64,
    },
    /// An entry that an earlier leader proposed than the entry before it.
    #[error("the entry at index {index} is older than the entry before it")]
    Order {
        /// Its index.
        index: u64,
    },
    /// An entry that a later leader proposed than the one that sends it.
    #[error("the entry at index {index} is newer than the leader that sends it")]
    Newer {
        /// Its index.
        index: u64,
    },
    /// A snapshot that lacks entries committed here, or has others.
    #[error("a snapshot that ends at index {index} contradicts what is committed here")]
    Contradiction {
        /// Index of its last entry.
        index: u64,
    },
}

impl From<Invalid> for Status {
    fn from(invalid: Invalid) -> Self {
        Self::invalid_argument(format!("the request breaks a rule of raft: {invalid}"))
    }
}

/// Checks an AppendEntries: its entries follow `prev_log_id`, index by index,
/// no leader's after a later one's; none is of a later leader than the sender.
/// The commit index may be anything: the library takes what it has of it.
pub(crate) fn append(request: &AppendRequest) -> Result<(), Invalid> {
    let mut before: Option<LogId> = request.prev_log_id;
    for entry in &request.entries {
        let LogId { leader_id, index } = entry.log_id;
        let expected = before.map_or(Some(0), |before| before.index.checked_add(1));
        if expected != Some(index) || index == u64::MAX {
            return Err(Invalid::Index { index });
        }
        if before.is_some_and(|before| leader_id < before.leader_id) {
            return Err(Invalid::Order { index });
        }
        before = Some(entry.log_id);
    }
    // The last one is of the latest leader.
    sent_by(&request.vote, before)
}

/// Checks the description of a snapshot: it ends with an entry of no later
/// leader than the sender, and, where that is newer than `committed`, the newest
/// entry known to be committed here, at a higher index.
pub(crate) fn snapshot(
    vote: &Vote,
    meta: &SnapshotMeta,
    committed: Option<LogId>,
) -> Result<(), Invalid> {
    sent_by(vote, meta.last_log_id)?;
    match (meta.last_log_id, committed) {
        (Some(last), Some(committed)) if last > committed && last.index <= committed.index => {
            Err(Invalid::Contradiction { index: last.index })
        }
        _ => Ok(()),
    }
}

/// A leader's log, of which `last` is the newest entry sent, holds nothing of
/// later leaders: it was elected after all that it has.
fn sent_by(vote: &Vote, last: Option<LogId>) -> Result<(), Invalid> {
    match last {
        _ if !vote.committed => Err(Invalid::NoLeader),
        Some(LogId { leader_id, index }) if leader_id > vote.leader_id => {
            Err(Invalid::Newer { index })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use openraft::{EntryPayload, vote::RaftLeaderId as _};

    use super::*;
    use crate::types::{Entry, TypeConfig};

    type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;

    /// An entry of node 2 in a term.
    fn log_id(term: u64, index: u64) -> LogId {
        LogId::new(LeaderId::new(term, 2), index)
    }

    /// From node 2, which leads in term 3.
    fn request(prev_log_id: Option<LogId>, entries: &[LogId]) -> AppendRequest {
        let entry = |log_id: &LogId| Entry { log_id: *log_id, payload: EntryPayload::Blank };
        AppendRequest {
            vote: Vote::new_committed(3, 2),
            prev_log_id,
            entries: entries.iter().map(entry).collect(),
            leader_commit: None,
        }
    }

    fn meta(last_log_id: Option<LogId>) -> SnapshotMeta {
        SnapshotMeta { last_log_id, ..SnapshotMeta::default() }
    }

    #[test]
    fn entries_that_leave_a_hole_or_come_twice_are_refused() {
        let wrong = |prev, entries: &[LogId]| append(&request(prev, entries)).unwrap_err();
        assert_eq!(wrong(None, &[log_id(1, 1)]), Invalid::Index { index: 1 });
        let prev = Some(log_id(1, 6));
        for index in [0, 6, 8] {
            assert_eq!(wrong(prev, &[log_id(1, index)]), Invalid::Index { index });
        }
        let hole = [log_id(1, 7), log_id(1, 9)];
        assert_eq!(wrong(prev, &hole), Invalid::Index { index: 9 });
        let twice = [log_id(1, 7), log_id(1, 7)];
        assert_eq!(wrong(prev, &twice), Invalid::Index { index: 7 });
        for (before, index) in [(u64::MAX, 0), (u64::MAX - 1, u64::MAX)] {
            let prev = Some(log_id(1, before));
            assert_eq!(wrong(prev, &[log_id(1, index)]), Invalid::Index { index });
        }
    }

    #[test]
    fn entries_of_earlier_leaders_after_later_ones_and_beyond_the_sender_are_refused() {
        let wrong = |prev, entries: &[LogId]| append(&request(prev, entries)).unwrap_err();
        let prev = Some(log_id(2, 6));
        assert_eq!(wrong(prev, &[log_id(1, 7)]), Invalid::Order { index: 7 });
        let falling = [log_id(3, 7), log_id(2, 8)];
        assert_eq!(wrong(prev, &falling), Invalid::Order { index: 8 });
        assert_eq!(wrong(prev, &[log_id(4, 7)]), Invalid::Newer { index: 7 });
        assert_eq!(wrong(Some(log_id(4, 6)), &[]), Invalid::Newer { index: 6 });
        // The same term, another node: leaders are ordered by both.
        let other = LogId::new(LeaderId::new(3, 9), 7);
        assert_eq!(wrong(prev, &[other]), Invalid::Newer { index: 7 });
    }

    #[test]
    fn a_candidate_sends_neither_entries_nor_snapshots() {
        let mut request = request(None, &[]);
        request.vote = Vote::new(3, 2);
        assert_eq!(append(&request), Err(Invalid::NoLeader));
        assert_eq!(snapshot(&request.vote, &meta(None), None), Err(Invalid::NoLeader));
    }

    #[test]
    fn what_leaders_send_is_taken() {
        let first = LogId::new(LeaderId::new(0, 9), 0);
        let grown = [first, log_id(1, 1), log_id(1, 2), log_id(3, 3)];
        for (prev, entries) in [
            (None, &grown[..0]),
            (None, &grown[..1]),
            (None, &grown[..]),
            (Some(grown[0]), &grown[1..]),
            (Some(grown[3]), &grown[..0]),
            (Some(log_id(3, u64::MAX)), &grown[..0]),
        ] {
            let mut request = request(prev, entries);
            assert_eq!(append(&request), Ok(()));
            request.leader_commit = Some(log_id(9, 99));
            assert_eq!(append(&request), Ok(()));
        }
    }

    #[test]
    fn a_snapshot_beyond_its_sender_or_against_what_is_committed_is_refused() {
        let vote = Vote::new_committed(3, 2);
        let check = |last, committed| snapshot(&vote, &meta(Some(last)), committed);
        assert_eq!(check(log_id(4, 9), None), Err(Invalid::Newer { index: 9 }));
        let committed = Some(log_id(2, 8));
        for index in [7, 8] {
            assert_eq!(check(log_id(3, index), committed), Err(Invalid::Contradiction { index }));
        }
        // Older than what is here: the library leaves it.
        assert_eq!(check(log_id(2, 8), committed), Ok(()));
        assert_eq!(check(log_id(1, 5), committed), Ok(()));
        assert_eq!(check(log_id(3, 9), committed), Ok(()));
        assert_eq!(check(log_id(3, 9), None), Ok(()));
        assert_eq!(snapshot(&vote, &meta(None), committed), Ok(()));
    }
}
