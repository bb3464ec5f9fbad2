//! How much of the Raft log stays behind a snapshot.
//!
//! The library purges to a fixed distance behind each snapshot. Under load the
//! log may then be gone before a member that is being sent a snapshot has
//! installed it: it would be sent another one, and so on for ever. So the
//! library purges nothing by itself, and this decides: the log stays from the
//! entry on that the hindmost member needs which is at work on catching up, as
//! long as the log is not too large for that.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use strongroom_base::{LogIndex, NodeId};

use crate::status::{MemberStatus, RaftRole, RaftStatus};

/// A member that acknowledged nothing for this long is taken to be away: it
/// gets a snapshot when it is back.
const AWAY_AFTER: Duration = Duration::from_secs(10);

/// Once a snapshot was installed, the member's first acknowledgement of entries
/// comes within this time.
const INSTALLED_GRACE: Duration = Duration::from_secs(5);

/// Snapshots that are on their way to members, and those that just arrived.
#[derive(Clone, Default)]
pub(crate) struct Transfers(Arc<Mutex<BTreeMap<NodeId, Transfer>>>);

#[derive(Clone, Copy)]
struct Transfer {
    /// Newest entry that the snapshot covers.
    covered: LogIndex,
    arrived: Option<Instant>,
}

impl Transfers {
    /// Notes that `node` is being sent a snapshot that covers the log up to
    /// `covered`; until the returned value is dropped, and a moment longer where
    /// it [`arrived`](Transferring::arrived).
    pub(crate) fn begin(&self, node: NodeId, covered: LogIndex) -> Transferring {
        self.0.lock().insert(node, Transfer { covered, arrived: None });
        Transferring { transfers: self.clone(), node, arrived: false }
    }

    /// What each member that is sent a snapshot has once it is there.
    pub(crate) fn covered(&self) -> BTreeMap<NodeId, LogIndex> {
        let mut transfers = self.0.lock();
        transfers.retain(|_, transfer| {
            transfer.arrived.is_none_or(|arrived| arrived.elapsed() < INSTALLED_GRACE)
        });
        transfers.iter().map(|(node, transfer)| (*node, transfer.covered)).collect()
    }
}

/// A snapshot on its way.
pub(crate) struct Transferring {
    transfers: Transfers,
    node: NodeId,
    arrived: bool,
}

impl Transferring {
    /// The member has installed it.
    pub(crate) fn arrived(mut self) {
        self.arrived = true;
    }
}

impl Drop for Transferring {
    fn drop(&mut self) {
        let mut transfers = self.transfers.0.lock();
        if !self.arrived {
            transfers.remove(&self.node);
        } else if let Some(transfer) = transfers.get_mut(&self.node) {
            transfer.arrived = Some(Instant::now());
        }
    }
}

/// How much is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// Entries behind a snapshot that stay in any case.
    pub(crate) keep: u64,
    /// Whether members that catch up are waited for; not where the log has
    /// become too large.
    pub(crate) hold: bool,
}

impl Retention {
    /// Where the log is to be purged to, inclusive; none where there is too
    /// little to purge.
    pub(crate) fn purge_to(
        self,
        status: &RaftStatus,
        transfers: &BTreeMap<NodeId, LogIndex>,
    ) -> Option<LogIndex> {
        let snapshot = status.snapshot?.0;
        let purged = status.purged.map_or(0, |index| index.0);
        let wanted = snapshot.checked_sub(self.keep)?;
        let held = self.hold && status.role == RaftRole::Leader;
        let needed = held.then(|| hindmost(status, transfers, purged)).flatten();
        let to = needed.map_or(wanted, |needed| wanted.min(needed));
        // Each purge is a write: not one for every entry.
        let batch = (self.keep / 4).max(1);
        (to >= purged.saturating_add(batch)).then_some(LogIndex(to))
    }
}

/// The newest entry of the hindmost member that can go on from the log: what
/// follows that entry is still needed.
fn hindmost(
    status: &RaftStatus,
    transfers: &BTreeMap<NodeId, LogIndex>,
    purged: u64,
) -> Option<u64> {
    let others = status.members.iter().filter(|member| member.member.node != status.node);
    let has = |member: &MemberStatus| {
        let transfer = transfers.get(&member.member.node).map(|covered| covered.0);
        let heard = member.heard_ago.is_some_and(|ago| ago < AWAY_AFTER);
        let matched = member.matched.filter(|_| heard).map(|index| index.0);
        // Whoever needs what was purged gets a snapshot, and then the rest.
        transfer.max(matched).filter(|index| *index >= purged)
    };
    others.filter_map(has).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{status::Member, types::PeerNode};

    fn node(id: u64) -> NodeId {
        NodeId::new(id).unwrap()
    }

    fn member(id: u64, matched: Option<u64>, heard_s_ago: Option<u64>) -> MemberStatus {
        MemberStatus {
            member: Member::from_peer(node(id), &PeerNode::default()),
            voter: true,
            matched: matched.map(LogIndex),
            lag: None,
            heard_ago: heard_s_ago.map(Duration::from_secs),
        }
    }

    /// A leader, node 1, with the log from 501 on and a snapshot up to 1,000.
    fn leader(members: Vec<MemberStatus>) -> RaftStatus {
        let metrics = openraft::RaftMetrics::new_initial(1);
        RaftStatus {
            role: RaftRole::Leader,
            snapshot: Some(LogIndex(1000)),
            purged: Some(LogIndex(500)),
            members,
            ..RaftStatus::of(&metrics, None)
        }
    }

    const KEEP: Retention = Retention { keep: 20, hold: true };

    fn purge_to(members: Vec<MemberStatus>, transfers: &[(u64, u64)]) -> Option<u64> {
        let transfers = transfers.iter().map(|(id, at)| (node(*id), LogIndex(*at))).collect();
        KEEP.purge_to(&leader(members), &transfers).map(|index| index.0)
    }

    #[test]
    fn what_a_member_that_is_sent_a_snapshot_needs_next_is_kept() {
        let abreast = member(2, Some(1010), Some(0));
        let behind = member(3, Some(7), Some(0));
        assert_eq!(purge_to(vec![abreast.clone(), behind.clone()], &[(3, 900)]), Some(900));
        // Also while it is too busy to answer, and before it ever was heard of.
        let silent = member(3, None, None);
        assert_eq!(purge_to(vec![abreast.clone(), silent], &[(3, 900)]), Some(900));
        // What a transfer covers that the log has not any more helps nobody.
        assert_eq!(purge_to(vec![abreast, behind], &[(3, 400)]), Some(980));
    }

    #[test]
    fn a_member_at_work_is_waited_for_and_one_that_is_away_is_not() {
        assert_eq!(purge_to(vec![member(2, Some(700), Some(1))], &[]), Some(700));
        assert_eq!(purge_to(vec![member(2, Some(700), Some(60))], &[]), Some(980));
        assert_eq!(purge_to(vec![member(2, Some(700), None)], &[]), Some(980));
        // It needs a snapshot, which holds nothing up until it is on its way.
        assert_eq!(purge_to(vec![member(2, Some(300), Some(1))], &[]), Some(980));
        // The leader's own log holds nothing up.
        assert_eq!(purge_to(vec![member(1, Some(600), None)], &[]), Some(980));
    }

    #[test]
    fn the_configured_distance_is_kept_and_little_is_not_worth_a_purge() {
        assert_eq!(purge_to(vec![member(2, Some(2000), Some(0))], &[]), Some(980));
        assert_eq!(purge_to(vec![member(2, Some(503), Some(0))], &[]), None);
        assert_eq!(purge_to(vec![member(2, Some(505), Some(0))], &[]), Some(505));
        let mut status = leader(Vec::new());
        status.snapshot = Some(LogIndex(15));
        assert_eq!(KEEP.purge_to(&status, &BTreeMap::new()), None);
        status.snapshot = None;
        assert_eq!(KEEP.purge_to(&status, &BTreeMap::new()), None);
    }

    #[test]
    fn a_follower_and_a_log_that_is_too_large_wait_for_nobody() {
        let behind = vec![member(2, Some(700), Some(1))];
        let mut status = leader(behind.clone());
        status.role = RaftRole::Follower;
        assert_eq!(KEEP.purge_to(&status, &BTreeMap::new()), Some(LogIndex(980)));
        let large = Retention { hold: false, ..KEEP };
        assert_eq!(large.purge_to(&leader(behind), &BTreeMap::new()), Some(LogIndex(980)));
    }

    #[test]
    fn a_transfer_is_forgotten_when_it_fails_and_remembered_when_it_arrives() {
        let transfers = Transfers::default();
        let failing = transfers.begin(node(2), LogIndex(9));
        assert_eq!(transfers.covered(), BTreeMap::from([(node(2), LogIndex(9))]));
        drop(failing);
        assert!(transfers.covered().is_empty());
        transfers.begin(node(2), LogIndex(9)).arrived();
        assert_eq!(transfers.covered(), BTreeMap::from([(node(2), LogIndex(9))]));
    }
}
