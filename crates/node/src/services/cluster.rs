//! Service `strongroom.v1.Cluster`: members, leader, barrier.

use std::sync::Arc;

use strongroom_audit::Operation;
use strongroom_barrier::DropEpochError;
use strongroom_base::{BarrierEpoch, NodeId, Revision};
use strongroom_crypto::Nonces;
use strongroom_format::store::EpochKind;
use strongroom_model::{self as model, Basis, Refusal, RotatedKeyring, facts};
use strongroom_raft::RaftError;
use strongroom_wire::v1::{self, cluster_server::Cluster};
use tonic::{Request, Response, Status};

use super::seal_status;
use crate::{
    attempt::{Effect, commit, look},
    caller::Caller,
    core::Core,
    entropy::OsEntropy,
    errors, leadership,
    lifecycle::{Phase, Secrets},
    status,
};

/// Service `strongroom.v1.Cluster`.
#[derive(Clone)]
pub(crate) struct ClusterService {
    core: Arc<Core>,
}

impl ClusterService {
    /// Serves `core`.
    #[must_use]
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }

    /// The secrets under which a decision on `basis` was taken; none where the
    /// keyring changed since, and the decision will be superseded anyway.
    fn secrets_of(&self, basis: &Basis<'_>) -> Result<Arc<Secrets>, Refusal> {
        self.core
            .lifecycle
            .secrets()
            .filter(|secrets| secrets.keyring_revision() == basis.keyring)
            .ok_or(Refusal::Unauthenticated)
    }

    fn rotate(&self, basis: &Basis<'_>, revision: Revision) -> Result<RotatedKeyring, Refusal> {
        let secrets = self.secrets_of(basis)?;
        let rotated = secrets.keyring().rotate(&mut OsEntropy).map_err(|_| Refusal::KeyringFull)?;
        Ok(RotatedKeyring {
            wrapped: secrets.unsealed.wrap(&rotated, revision, Nonces::draw(&mut OsEntropy)),
            barrier: rotated.barrier_epoch(),
            audit: rotated.audit_epoch(),
        })
    }

    fn drop_epoch(
        &self,
        basis: &Basis<'_>,
        kind: EpochKind,
        epoch: BarrierEpoch,
        revision: Revision,
    ) -> Result<Vec<u8>, Refusal> {
        let secrets = self.secrets_of(basis)?;
        let rest = match kind {
            EpochKind::Audit => secrets.keyring().drop_audit_epoch(epoch),
            _ => secrets.keyring().drop_barrier_epoch(epoch),
        };
        let rest = rest.map_err(|error| match error {
            DropEpochError::Newest(_) => Refusal::EpochInUse { epoch: epoch.0 },
            _ => Refusal::EpochNotFound { epoch: epoch.0 },
        })?;
        Ok(secrets.unsealed.wrap(&rest, revision, Nonces::draw(&mut OsEntropy)))
    }

    async fn record(
        &self,
        caller: &Caller,
        operation: Operation,
        what: &[strongroom_audit::Fact],
    ) -> Result<(), Status> {
        commit(&self.core, caller, Effect::Change, |basis, by, _| {
            Ok(model::record_act(basis, by, operation, what))
        })
        .await
    }
}

fn epoch_kind(kind: i32) -> Result<EpochKind, Status> {
    match kind {
        1 => Ok(EpochKind::Barrier),
        2 => Ok(EpochKind::Audit),
        _ => Err(errors::invalid_argument("kind", "must be BARRIER or AUDIT")),
    }
}

fn node_state(phase: Phase) -> i32 {
    phase as i32
}

#[tonic::async_trait]
impl Cluster for ClusterService {
    async fn list_members(
        &self,
        request: Request<v1::ListMembersRequest>,
    ) -> Result<Response<v1::ListMembersResponse>, Status> {
        let caller = Caller::of(&request)?;
        let core = &self.core;
        let response = look(core, &caller, Operation::ListMembers, None, |_, by| {
            if let Err(refusal) = model::authorise(by, Operation::ListMembers) {
                return Ok(Err(refusal));
            }
            let raft = core.raft.status();
            let members = status::members(core).into_iter().map(|member| v1::Member {
                node_id: member.node.value(),
                name: member.name,
                peer_address: member.address,
                voter: member.voter,
                leader: raft.leader == Some(member.node),
                state: member.phase.map_or(0, node_state),
                applied_index: member.applied.0,
                heard_ms_ago: member.heard_ms_ago,
                clock_offset_ms: member.clock_offset_ms,
            });
            Ok(Ok(v1::ListMembersResponse {
                members: members.collect(),
                term: raft.term.0,
                leader_id: raft.leader.map_or(0, NodeId::value),
            }))
        })
        .await?;
        Ok(Response::new(response))
    }

    async fn node_status(
        &self,
        _: Request<v1::NodeStatusRequest>,
    ) -> Result<Response<v1::NodeStatusResponse>, Status> {
        let core = &self.core;
        let raft = core.raft.status();
        let point = core.hash_points.newest();
        let (audit_size, audit_root) = status::audit(core);
        Ok(Response::new(v1::NodeStatusResponse {
            seal: Some(seal_status(core)),
            role: raft.role.name().to_owned(),
            term: raft.term.0,
            leader_id: raft.leader.map_or(0, NodeId::value),
            last_log_index: raft.last_log.map_or(0, |index| index.0),
            committed_index: raft.committed.map_or(0, |index| index.0),
            applied_index: core.raft.applied().0,
            snapshot_index: raft.snapshot.map_or(0, |index| index.0),
            state_hash: point.map(|(_, hash)| hash.to_string()).unwrap_or_default(),
            state_hash_index: point.map_or(0, |(index, _)| index.0),
            audit_size,
            audit_root,
            cluster_time_ms: core.cluster_time().0,
            disk_free_bytes: core.disk.free_bytes(),
            uptime_seconds: core.started.elapsed().as_secs(),
        }))
    }

    async fn rotate_barrier(
        &self,
        request: Request<v1::RotateBarrierRequest>,
    ) -> Result<Response<v1::RotateBarrierResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (barrier, audit) = commit(&self.core, &caller, Effect::Change, |basis, by, _| {
            Ok(model::rotate_barrier(basis, by, |revision| self.rotate(basis, revision)))
        })
        .await?;
        Ok(Response::new(v1::RotateBarrierResponse {
            barrier_epoch: barrier.0,
            audit_epoch: audit.0,
        }))
    }

    async fn drop_epoch(
        &self,
        request: Request<v1::DropEpochRequest>,
    ) -> Result<Response<v1::DropEpochResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let kind = epoch_kind(request.kind)?;
        let epoch = BarrierEpoch(request.epoch);
        if epoch.0 == 0 {
            return Err(errors::invalid_argument("epoch", "must be 1 or more"));
        }
        commit(&self.core, &caller, Effect::Change, |basis, by, _| {
            let table = model::RowTable::Keys;
            let left = strongroom_state::rows_under(&self.core.state.latest(), kind, epoch)
                .map_err(|error| model::ReadError { table, source: Box::new(error) })?;
            Ok(model::drop_epoch(basis, by, kind, epoch, left, |revision| {
                self.drop_epoch(basis, kind, epoch, revision)
            }))
        })
        .await?;
        Ok(Response::new(v1::DropEpochResponse {}))
    }

    async fn list_epochs(
        &self,
        request: Request<v1::ListEpochsRequest>,
    ) -> Result<Response<v1::ListEpochsResponse>, Status> {
        let caller = Caller::of(&request)?;
        let core = &self.core;
        let epochs = look(core, &caller, Operation::ListEpochs, None, |_, by| {
            if let Err(refusal) = model::authorise(by, Operation::ListEpochs) {
                return Ok(Err(refusal));
            }
            let Some(secrets) = core.lifecycle.secrets() else {
                return Ok(Err(Refusal::Unauthenticated));
            };
            let table = model::RowTable::Keys;
            let count = |kind, epoch| {
                strongroom_state::rows_under(&core.state.latest(), kind, epoch)
                    .map_err(|error| model::ReadError { table, source: Box::new(error) })
            };
            let mut epochs = Vec::new();
            for epoch in secrets.keyring().barrier_epochs() {
                let count = count(EpochKind::Barrier, epoch)?;
                let kind = v1::EpochKind::Barrier.into();
                epochs.push(v1::Epoch { kind, epoch: epoch.0, count });
            }
            for epoch in secrets.keyring().audit_epochs() {
                let count = count(EpochKind::Audit, epoch)?;
                epochs.push(v1::Epoch { kind: v1::EpochKind::Audit.into(), epoch: epoch.0, count });
            }
            Ok(Ok(epochs))
        })
        .await?;
        Ok(Response::new(v1::ListEpochsResponse { epochs }))
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let caller = Caller::of(&request)?;
        let asked = request.into_inner().node_id;
        let core = &self.core;
        let to = match asked {
            0 => leadership::successor(core, false),
            asked => NodeId::new(asked).ok(),
        };
        let to = to.ok_or_else(|| {
            errors::invalid_argument("node_id", "must name another voter that is reachable")
        })?;
        if core.raft.status().leader != Some(core.node) {
            return Err(errors::precondition(
                "NOT_LEADER",
                "ask the leader to hand over: this node does not lead",
            ));
        }
        self.record(&caller, Operation::TransferLeader, &[facts::node(to)]).await?;
        let transfer = core.raft.transfer_leader(to);
        match tokio::time::timeout_at(caller.deadline().0.into(), transfer).await {
            Ok(Ok(())) => {}
            Ok(Err(RaftError::NotVoter { .. })) => {
                return Err(errors::invalid_argument("node_id", "must name another voter"));
            }
            Ok(Err(error)) => {
                return Err(errors::unavailable("NOT_TRANSFERRED", error.to_string()));
            }
            Err(_) => {
                let message = "the successor has not taken over in the call's time";
                return Err(errors::unavailable("NOT_TRANSFERRED", message));
            }
        }
        Ok(Response::new(v1::TransferLeaderResponse { leader_id: to.value() }))
    }

    async fn take_snapshot(
        &self,
        request: Request<v1::TakeSnapshotRequest>,
    ) -> Result<Response<v1::TakeSnapshotResponse>, Status> {
        let caller = Caller::of(&request)?;
        self.record(&caller, Operation::TakeSnapshot, &[]).await?;
        // It is taken all the same where the caller's time is over first.
        let taken =
            tokio::time::timeout_at(caller.deadline().0.into(), self.core.raft.snapshot_now());
        let index = match taken.await {
            Ok(Ok(index)) => index,
            Ok(Err(error)) => return Err(errors::unavailable("NO_SNAPSHOT", error.to_string())),
            Err(_) => {
                return Err(errors::unavailable("NO_SNAPSHOT", "it is not finished in time"));
            }
        };
        Ok(Response::new(v1::TakeSnapshotResponse { snapshot_index: index.0 }))
    }
}
