//! `strongroom cluster`.

use clap::Subcommand;
use serde::Serialize;
use strongroom_client::proto::{
    DropEpochRequest, EpochKind, ListEpochsRequest, ListMembersRequest, ListMembersResponse,
    RotateBarrierRequest, TakeSnapshotRequest, TransferLeaderRequest,
};

use crate::{
    commands::DONE,
    connect::Session,
    names,
    output::{Output, Tone, right},
    progress::waiting,
    views,
};

#[derive(Subcommand)]
pub(crate) enum ClusterCommand {
    /// List the members, as the node that answers sees them
    Members,
    /// Make a new barrier and audit epoch: new rows are sealed under new keys
    RotateBarrier,
    /// List epochs and what is left under each
    Epochs,
    /// Drop an epoch under which nothing is left
    DropEpoch {
        /// Which keys
        kind: KindArg,
        /// Which epoch
        epoch: u32,
    },
    /// Hand Raft leadership to another node
    TransferLeader {
        /// To this node [default: the one that is furthest]
        #[arg(long, value_name = "ID", default_value_t = 0)]
        node_id: u64,
    },
    /// Take a snapshot on every given node, and purge its Raft log as configured
    Snapshot,
}

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum KindArg {
    /// Keys of rows
    Barrier,
    /// Keys of the private parts of audit records
    Audit,
}

impl From<KindArg> for EpochKind {
    fn from(kind: KindArg) -> Self {
        match kind {
            KindArg::Barrier => Self::Barrier,
            KindArg::Audit => Self::Audit,
        }
    }
}

pub(crate) async fn run(command: ClusterCommand, session: Session) -> anyhow::Result<u8> {
    let Session { client, output, .. } = &session;
    match command {
        ClusterCommand::Members => {
            let call = client.list_members(ListMembersRequest {});
            members(*output, &waiting(*output, "asking for the members", call).await?)?;
        }
        ClusterCommand::RotateBarrier => rotate_barrier(&session).await?,
        ClusterCommand::Epochs => epochs(&session).await?,
        ClusterCommand::DropEpoch { kind, epoch } => drop_epoch(kind, epoch, &session).await?,
        ClusterCommand::TransferLeader { node_id } => transfer_leader(node_id, &session).await?,
        ClusterCommand::Snapshot => snapshot(&session).await?,
    }
    Ok(DONE)
}

fn members(output: Output, answer: &ListMembersResponse) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Members<'a> {
        members: Vec<views::Member<'a>>,
        term: u64,
        leader_id: u64,
    }
    if output.is_json() {
        return output.json(&Members {
            members: answer.members.iter().map(Into::into).collect(),
            term: answer.term,
            leader_id: answer.leader_id,
        });
    }
    let titles = ["NODE", "NAME", "PEER ADDRESS", "ROLE", "STATE", "APPLIED", "HEARD", "CLOCK"];
    let mut table = output.table(titles);
    right(&mut table, &[5, 6, 7]);
    for member in &answer.members {
        let role = match (member.leader, member.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "learner",
        };
        let state = match names::node_state(member.state) {
            "UNKNOWN" => output.cell("not heard of", Tone::Bad),
            name => output.cell(name, names::node_state_tone(member.state)),
        };
        table.add_row([
            output.cell(member.node_id, Tone::Plain),
            output.cell(&member.name, Tone::Plain),
            output.cell(&member.peer_address, Tone::Plain),
            output.cell(role, Tone::Plain),
            state,
            output.cell(member.applied_index, Tone::Plain),
            output.cell(format!("{} ms ago", member.heard_ms_ago), Tone::Plain),
            output.cell(format!("{:+} ms", member.clock_offset_ms), Tone::Plain),
        ]);
    }
    output.show(&table)
}

async fn rotate_barrier(session: &Session) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Rotated {
        barrier_epoch: u32,
        audit_epoch: u32,
    }
    let output = session.output;
    let call = session.client.rotate_barrier(RotateBarrierRequest {});
    let answer = waiting(output, "rotating the barrier", call).await?;
    let rotated = Rotated { barrier_epoch: answer.barrier_epoch, audit_epoch: answer.audit_epoch };
    if output.is_json() {
        return output.json(&rotated);
    }
    output.say(format!(
        "barrier epoch {}, audit epoch {}",
        rotated.barrier_epoch, rotated.audit_epoch
    ))
}

async fn epochs(session: &Session) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Epoch {
        kind: &'static str,
        epoch: u32,
        count: u64,
    }
    #[derive(Serialize)]
    struct Epochs {
        epochs: Vec<Epoch>,
    }
    let output = session.output;
    let call = session.client.list_epochs(ListEpochsRequest {});
    let answer = waiting(output, "asking for the epochs", call).await?;
    let epochs: Vec<_> = answer
        .epochs
        .iter()
        .map(|epoch| Epoch {
            kind: names::epoch_kind(epoch.kind),
            epoch: epoch.epoch,
            count: epoch.count,
        })
        .collect();
    if output.is_json() {
        return output.json(&Epochs { epochs });
    }
    let mut table = output.table(["KIND", "EPOCH", "COUNT"]);
    right(&mut table, &[1, 2]);
    for epoch in &epochs {
        table.add_row([
            output.cell(epoch.kind, Tone::Plain),
            output.cell(epoch.epoch, Tone::Plain),
            output.cell(epoch.count, Tone::Plain),
        ]);
    }
    output.show(&table)
}

async fn drop_epoch(kind: KindArg, epoch: u32, session: &Session) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Dropped {
        kind: &'static str,
        epoch: u32,
    }
    let kind = EpochKind::from(kind).into();
    let call = session.client.drop_epoch(DropEpochRequest { kind, epoch });
    waiting(session.output, "dropping the epoch", call).await?;
    let kind = names::epoch_kind(kind);
    if session.output.is_json() {
        return session.output.json(&Dropped { kind, epoch });
    }
    session.output.say(format!("{kind} epoch {epoch} is gone"))
}

/// Asks one node after the other: only the leader can hand over.
async fn transfer_leader(node_id: u64, session: &Session) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Transferred {
        leader_id: u64,
    }
    let mut last = None;
    for node in session.client.nodes() {
        let call = node.transfer_leader(TransferLeaderRequest { node_id });
        match waiting(session.output, "handing leadership over", call).await {
            Ok(answer) => {
                let leader_id = answer.leader_id;
                if session.output.is_json() {
                    return session.output.json(&Transferred { leader_id });
                }
                return session.output.say(format!("node {leader_id} leads"));
            }
            // What was done or may have been done must not be done twice.
            Err(error) if !error.is_surely_not_executed() => return Err(error.into()),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => anyhow::bail!("no node is configured"),
    }
}

async fn snapshot(session: &Session) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Taken {
        address: String,
        snapshot_index: u64,
    }
    #[derive(Serialize)]
    struct All {
        nodes: Vec<Taken>,
    }
    let mut nodes = Vec::new();
    for node in session.client.nodes() {
        let call = node.take_snapshot(TakeSnapshotRequest {});
        let answer = waiting(session.output, "taking a snapshot", call).await?;
        let address = node.address().to_string();
        session.output.say(format!("{address}: snapshot at index {}", answer.snapshot_index))?;
        nodes.push(Taken { address, snapshot_index: answer.snapshot_index });
    }
    if session.output.is_json() { session.output.json(&All { nodes }) } else { Ok(()) }
}
