//! What this node remembers of how far each peer had come.
//!
//! A data directory that is put back to an older copy forgets votes and entries
//! that Raft counts on. The directory can't tell; its peers can, as long as they
//! run. So each node remembers the highest term in which a peer was heard, and
//! the newest entry that the peer acknowledged in it, and tells the peer when it
//! starts again. In memory only: when all members restart at once nobody knows
//! more than its own disk.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use strongroom_base::{Incarnation, LogIndex, NodeId, Term};

use crate::types::LogId;

/// How far a node has come: its vote, and the end of its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Term of its vote.
    pub term: Term,
    /// Its newest entry: the term in which it was proposed, and its index.
    pub last: Option<(Term, LogIndex)>,
}

impl Position {
    /// Whether a node at this position has been further, as `remembered` shows:
    /// it voted, or acknowledged an entry, and has neither now.
    ///
    /// A later term proves nothing of entries: the leader of a later term may
    /// have replaced what earlier ones had sent.
    #[must_use]
    pub fn is_behind(&self, remembered: &Self) -> bool {
        self.term < remembered.term || (self.term == remembered.term && self.last < remembered.last)
    }
}

/// What is remembered of each peer's data directory.
#[derive(Default)]
pub(crate) struct PeerMemory(Mutex<BTreeMap<NodeId, (Incarnation, Position)>>);

impl PeerMemory {
    /// `node` was heard in `term`: it voted in it, or followed its leader.
    pub(crate) fn heard(&self, node: NodeId, incarnation: Incarnation, term: u64) {
        self.note(node, incarnation, Position { term: Term(term), last: None });
    }

    /// `node` acknowledged to the leader of `term` that it has `last` on disk.
    pub(crate) fn acknowledged(
        &self,
        node: NodeId,
        incarnation: Incarnation,
        term: u64,
        last: LogId,
    ) {
        let last = Some((Term(last.leader_id.term), LogIndex(last.index)));
        self.note(node, incarnation, Position { term: Term(term), last });
    }

    fn note(&self, node: NodeId, incarnation: Incarnation, seen: Position) {
        let mut memory = self.0.lock();
        let (of, position) = memory.entry(node).or_insert((incarnation, seen));
        if *of != incarnation {
            (*of, *position) = (incarnation, seen);
        }
        if seen.term > position.term {
            *position = seen;
        } else if seen.term == position.term {
            position.last = position.last.max(seen.last);
        }
    }

    /// What is remembered of one data directory of `node`.
    pub(crate) fn of(&self, node: NodeId, incarnation: Incarnation) -> Option<Position> {
        let memory = self.0.lock();
        memory.get(&node).filter(|(of, _)| *of == incarnation).map(|(_, position)| *position)
    }
}

#[cfg(test)]
mod tests {
    use openraft::vote::RaftLeaderId as _;

    use super::*;
    use crate::types::TypeConfig;

    fn position(term: u64, last: Option<(u64, u64)>) -> Position {
        let last = last.map(|(term, index)| (Term(term), LogIndex(index)));
        Position { term: Term(term), last }
    }

    fn log_id(term: u64, index: u64) -> LogId {
        LogId::new(openraft::alias::LeaderIdOf::<TypeConfig>::new(term, 1), index)
    }

    #[test]
    fn a_forgotten_vote_and_a_forgotten_entry_are_found() {
        assert!(position(4, Some((4, 9))).is_behind(&position(5, None)));
        assert!(position(5, Some((5, 8))).is_behind(&position(5, Some((5, 9)))));
        assert!(position(5, None).is_behind(&position(5, Some((0, 0)))));
        assert!(position(0, None).is_behind(&position(1, None)));
    }

    #[test]
    fn whoever_has_come_further_or_was_truncated_by_a_later_leader_is_let_in() {
        let remembered = position(5, Some((5, 9)));
        for last in [Some((5, 9)), Some((5, 10))] {
            assert!(!position(5, last).is_behind(&remembered));
        }
        assert!(!position(6, Some((4, 7))).is_behind(&remembered));
        assert!(!position(3, Some((2, 1))).is_behind(&Position::default()));
    }

    #[test]
    fn the_newest_term_counts_and_in_it_the_newest_entry() {
        let (node, directory) = (NodeId::new(2).unwrap(), Incarnation::from_bytes([1; 16]));
        let memory = PeerMemory::default();
        assert_eq!(memory.of(node, directory), None);
        memory.acknowledged(node, directory, 3, log_id(3, 10));
        memory.acknowledged(node, directory, 3, log_id(3, 7));
        memory.heard(node, directory, 2);
        memory.heard(node, directory, 3);
        assert_eq!(memory.of(node, directory), Some(position(3, Some((3, 10)))));
        memory.heard(node, directory, 4);
        assert_eq!(memory.of(node, directory), Some(position(4, None)));
        memory.acknowledged(node, directory, 4, log_id(3, 8));
        assert_eq!(memory.of(node, directory), Some(position(4, Some((3, 8)))));
    }

    #[test]
    fn another_directory_of_a_node_begins_with_nothing() {
        let node = NodeId::new(2).unwrap();
        let [old, new] = [1, 2].map(|byte| Incarnation::from_bytes([byte; 16]));
        let memory = PeerMemory::default();
        memory.acknowledged(node, old, 3, log_id(3, 10));
        assert_eq!(memory.of(node, new), None);
        memory.heard(node, new, 1);
        assert_eq!(memory.of(node, new), Some(position(1, None)));
        assert_eq!(memory.of(node, old), None);
    }
}
