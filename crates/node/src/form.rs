//! The making of one Raft cluster out of the configured members.
//!
//! One member does it, whichever is asked for `init`: the one with the lowest
//! node id. What it writes is the first entry of the log, and two members that
//! wrote different ones would never agree. A minority may be absent where the
//! operator says so. The membership then names no data directory of theirs, and
//! whoever leads binds each to the directory with which it first comes.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use strongroom_base::NodeId;
use strongroom_raft::{Member, RaftRole};
use strongroom_wire::peer;
use tonic::{Code, Status};

use crate::{config::MemberConfig, core::Core, errors, peers, reports::Report};

/// Between two looks at a cluster that is being formed.
const LOOK: Duration = Duration::from_millis(50);
/// Before it answers, the former asks each other member, eight at most, for a
/// report, and waits a second for each.
const FORM_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two looks for members that are to be bound.
const BIND_EVERY: Duration = Duration::from_millis(500);

/// Has the configured members made one Raft cluster, where they are none yet,
/// and waits until this node knows of it.
///
/// # Errors
///
/// Why it can't be done now.
pub(crate) async fn form(core: &Core, absent: bool, deadline: Instant) -> Result<(), Status> {
    while !core.raft.is_initialised() {
        if former(core) == core.node {
            form_here(core, absent).await?;
        } else {
            ask_former(core, absent).await?;
        }
        if Instant::now() > deadline {
            return Err(errors::no_quorum());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

/// The member that forms the cluster.
fn former(core: &Core) -> NodeId {
    let ids = core.config.cluster.members.iter().map(|member| member.id);
    ids.min().unwrap_or(core.node)
}

async fn ask_former(core: &Core, absent: bool) -> Result<(), Status> {
    let node = former(core);
    let mut request = tonic::Request::new(peer::FormRequest {
        member_ids: core.config.cluster.members.iter().map(|member| member.id.value()).collect(),
        allow_absent: absent,
    });
    request.set_timeout(FORM_TIMEOUT);
    let mut client = peers::node_client(&core.peers, node)?;
    let status = match tokio::time::timeout(FORM_TIMEOUT, client.form(request)).await {
        Ok(Ok(_)) => return Ok(()),
        Ok(Err(status)) => status,
        Err(_) => Status::deadline_exceeded("no answer in time"),
    };
    // A refusal of its own says why; anything else is the way to it.
    if status.details().is_empty() && status.code() != Code::PermissionDenied {
        return Err(unreachable(core, node, &status));
    }
    Err(status)
}

/// Answers a member that was asked for `init`.
///
/// # Errors
///
/// A refusal, or why the cluster can't be formed now.
pub(crate) async fn serve(core: &Core, request: &peer::FormRequest) -> Result<(), Status> {
    let own: BTreeSet<u64> =
        core.config.cluster.members.iter().map(|member| member.id.value()).collect();
    let theirs: BTreeSet<u64> = request.member_ids.iter().copied().collect();
    if own != theirs {
        return Err(errors::precondition(
            "MEMBERS_DIFFER",
            format!(
                "the members in the configurations of the nodes differ: {theirs:?} there, {own:?} \
                 on node {}; make `cluster.members` the same everywhere",
                core.node
            ),
        ));
    }
    if former(core) == core.node && !core.raft.is_initialised() {
        form_here(core, request.allow_absent).await?;
    }
    Ok(())
}

async fn form_here(core: &Core, absent: bool) -> Result<(), Status> {
    let members = gather(core, absent).await?;
    for member in members.iter().filter(|member| member.incarnation.is_none()) {
        tracing::warn!(node = %member.node, "the cluster is formed without a member: it was absent");
    }
    if let Err(error) = core.raft.form(members).await {
        // Another init may just have formed it, or this node waits for its
        // peers: the next look tells.
        tracing::info!(%error, "the cluster was not formed by this attempt");
    }
    Ok(())
}

/// Every configured member, with the data directory that it reports.
async fn gather(core: &Core, absent: bool) -> Result<Vec<Member>, Status> {
    let configured = &core.config.cluster.members;
    let mut members = Vec::new();
    let mut missing = Vec::new();
    for member in configured {
        let incarnation = if member.id == core.node {
            Some(core.data.incarnation())
        } else {
            match core.reports.ask(&core.peers, member.id).await {
                Ok(report) => Some(require_fresh(core, member, &report)?.incarnation),
                Err(status) => {
                    missing.push((member.id, status));
                    None
                }
            }
        };
        members.push(Member {
            node: member.id,
            address: member.address.clone(),
            incarnation,
            name: member.name.clone(),
        });
    }
    let majority = configured.len() / 2 + 1;
    match missing.first() {
        Some((node, status)) if !absent || configured.len() - missing.len() < majority => {
            Err(unreachable(core, *node, status))
        }
        _ => Ok(members),
    }
}

fn require_fresh<'a>(
    core: &Core,
    member: &MemberConfig,
    report: &'a Report,
) -> Result<&'a Report, Status> {
    if !report.initialised {
        return Ok(report);
    }
    Err(errors::precondition(
        "ALREADY_FORMED",
        format!(
            "node {} at {} belongs to a formed cluster, and node {}, which would form one, does \
             not: it lost its data directory, or has another cluster's configuration",
            member.id, member.address, core.node
        ),
    ))
}

fn unreachable(core: &Core, node: NodeId, status: &Status) -> Status {
    let address = core.config.cluster.members.iter().find(|member| member.id == node);
    let address = address.map_or("", |member| member.address.as_str());
    let need = if node == former(core) {
        "init needs the member with the lowest node id, and a majority"
    } else {
        "init needs every configured member, or a majority where absent ones are allowed \
         (--allow-absent)"
    };
    let cause = status.message();
    let message = format!("{need}: node {node} at {address} does not answer ({cause})");
    errors::unavailable("MEMBER_UNREACHABLE", message)
}

/// Binds members that were absent when the cluster was formed, for ever.
pub(crate) async fn bind_absent(core: Arc<Core>) {
    let mut tick = tokio::time::interval(BIND_EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let status = core.raft.status();
        if status.role != RaftRole::Leader {
            continue;
        }
        let members = status.members.into_iter().map(|status| status.member);
        for Member { node, .. } in members.filter(|member| member.incarnation.is_none()) {
            let Some(report) = core.reports.of(node).filter(Report::is_fresh) else { continue };
            let directory = report.incarnation;
            match core.raft.bind(node, directory).await {
                Ok(()) => tracing::info!(%node, %directory, "a member came for the first time"),
                Err(error) => tracing::debug!(%node, %error, "a member is not bound yet"),
            }
        }
    }
}
