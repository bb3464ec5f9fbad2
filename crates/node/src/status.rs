//! What a node says of itself and of its cluster.

use strongroom_base::{LogIndex, NodeId};

use crate::{core::Core, lifecycle::Phase};

/// A member, as this node sees it.
pub(crate) struct MemberView {
    /// Its id.
    pub(crate) node: NodeId,
    /// Its name.
    pub(crate) name: String,
    /// Its peer address.
    pub(crate) address: String,
    /// False: a learner.
    pub(crate) voter: bool,
    /// Its state; `None`: not heard of lately.
    pub(crate) phase: Option<Phase>,
    /// Its applied index when it was last heard of.
    pub(crate) applied: LogIndex,
    /// Milliseconds since then; 0 for this node.
    pub(crate) heard_ms_ago: u64,
    /// Its clock less this node's, milliseconds.
    pub(crate) clock_offset_ms: i64,
}

/// The members, by ascending node id.
#[must_use]
pub(crate) fn members(core: &Core) -> Vec<MemberView> {
    let mut members: Vec<MemberView> = core
        .raft
        .status()
        .members
        .into_iter()
        .map(|status| {
            let node = status.member.node;
            let mut view = MemberView {
                node,
                name: status.member.name,
                address: status.member.address,
                voter: status.voter,
                phase: None,
                applied: LogIndex(0),
                heard_ms_ago: 0,
                clock_offset_ms: 0,
            };
            if node == core.node {
                view.phase = Some(core.lifecycle.phase());
                view.applied = core.raft.applied();
            } else if let Some(report) = core.reports.of(node) {
                let elapsed = report.heard.elapsed().as_millis();
                view.phase = report.is_fresh().then_some(report.phase);
                view.applied = report.applied;
                view.heard_ms_ago = u64::try_from(elapsed).unwrap_or(u64::MAX);
                view.clock_offset_ms = report.clock_offset_ms;
            }
            view
        })
        .collect();
    members.sort_by_key(|member| member.node);
    members
}

/// Size and root of the audit log; the root as 64 hexadecimal digits.
#[must_use]
pub(crate) fn audit(core: &Core) -> (u64, String) {
    // One snapshot: size and root belong together.
    let view = core.state.latest();
    let reader = view.reader();
    let size = strongroom_state::audit_size(&reader).unwrap_or_default();
    let root = strongroom_state::tree_root(&reader).map(|root| hex(&root)).unwrap_or_default();
    (size, root)
}

/// Lower-case hexadecimal digits.
#[must_use]
pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}
