//! Counts the terms and leaders that this node sees come.

use std::sync::Arc;

use strongroom_base::{NodeId, Term};

use crate::core::Core;

/// What was seen last.
#[derive(Debug)]
struct Seen {
    term: Term,
    /// The leader known last; stays while there is none.
    leader: Option<NodeId>,
}

impl Seen {
    /// Takes note of what is so now: how many terms came, and whether another
    /// leader did.
    fn note(&mut self, term: Term, leader: Option<NodeId>) -> (u64, bool) {
        let terms = term.0.saturating_sub(self.term.0);
        self.term = self.term.max(term);
        let other = leader.is_some() && leader != self.leader;
        self.leader = leader.or(self.leader);
        (terms, other)
    }
}

/// Counts, for ever.
pub(crate) async fn watch(core: Arc<Core>) {
    let mut statuses = core.raft.watch();
    let status = core.raft.status();
    let mut seen = Seen { term: status.term, leader: status.leader };
    while statuses.changed().await.is_ok() {
        let (term, leader) = {
            let status = statuses.borrow_and_update();
            (status.term, status.leader)
        };
        let (terms, other) = seen.note(term, leader);
        core.metrics.term_changes.inc_by(terms);
        core.metrics.leader_changes.inc_by(u64::from(other));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_that_comes_back_is_no_other_and_terms_in_between_count() {
        let (first, second) = (NodeId::new(1).ok(), NodeId::new(2).ok());
        let mut seen = Seen { term: Term(4), leader: first };
        assert_eq!(seen.note(Term(4), first), (0, false));
        assert_eq!(seen.note(Term(5), None), (1, false));
        assert_eq!(seen.note(Term(7), first), (2, false));
        assert_eq!(seen.note(Term(8), second), (1, true));
        assert_eq!(seen.note(Term(6), second), (0, false));
    }

    #[test]
    fn the_first_leader_of_a_node_that_knew_none_counts() {
        let mut seen = Seen { term: Term(0), leader: None };
        assert_eq!(seen.note(Term(1), NodeId::new(3).ok()), (1, true));
    }
}
