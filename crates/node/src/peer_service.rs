//! What this node answers its peers, beside Raft itself.

use std::sync::Arc;

use bytes::Bytes;
use strongroom_base::{LogIndex, NodeId};
use strongroom_model::Cluster;
use strongroom_net::ConnectInfo;
use strongroom_raft::PeerOrigin;
use strongroom_wire::peer::{self, node_server::Node};
use tonic::{Request, Response, Status};

use crate::{admission::Admitted, clock, core::Core, form};

/// Longest a peer waits for this node's own `apply`.
const WAIT_APPLIED: std::time::Duration = std::time::Duration::from_secs(1);

/// Service `strongroom.peer.v1.Node`.
#[derive(Clone)]
pub(crate) struct PeerService {
    core: Arc<Core>,
}

impl PeerService {
    /// Answers for `core`.
    #[must_use]
    pub(crate) fn new(core: Arc<Core>) -> Self {
        Self { core }
    }
}

/// Who asks: the node in the certificate of its connection, and no other.
fn from<T>(request: &Request<T>) -> Result<NodeId, Status> {
    request
        .extensions()
        .get::<ConnectInfo>()
        .and_then(|connection| connection.identity.as_ref())
        .and_then(|identity| identity.require_any_node().ok())
        .ok_or_else(|| Status::permission_denied("no node's certificate"))
}

fn not_proposed(cause: peer::not_proposed::Cause, leader: Option<NodeId>) -> peer::ProposeResponse {
    let leader_id = leader.map_or(0, NodeId::value);
    let not = peer::NotProposed { cause: cause.into(), leader_id };
    peer::ProposeResponse { result: Some(peer::propose_response::Result::NotProposed(not)) }
}

#[tonic::async_trait]
impl Node for PeerService {
    async fn propose(
        &self,
        request: Request<peer::ProposeRequest>,
    ) -> Result<Response<peer::ProposeResponse>, Status> {
        use peer::{not_proposed::Cause, propose_response::Result as Answer};
        let from = from(&request)?;
        let peer::ProposeRequest { batch, mac } = request.into_inner();
        let mac = (!mac.is_empty()).then_some(mac);
        let answer = match self.core.admission.admit(from, batch, mac.as_deref()).await {
            Admitted::Applied { index, outcome } => peer::ProposeResponse {
                result: Some(Answer::Applied(peer::Applied { log_index: index.0, outcome })),
            },
            Admitted::NotLeader { leader } => not_proposed(Cause::NotLeader, leader),
            Admitted::NoQuorum => not_proposed(Cause::NoQuorum, None),
            Admitted::Refused => not_proposed(Cause::Refused, None),
            Admitted::Sealed => not_proposed(Cause::Sealed, None),
            Admitted::Unknown => {
                peer::ProposeResponse { result: Some(Answer::Unknown(peer::Unknown {})) }
            }
        };
        Ok(Response::new(answer))
    }

    async fn read_index(
        &self,
        _: Request<peer::ReadIndexRequest>,
    ) -> Result<Response<peer::ReadIndexResponse>, Status> {
        let index = self.core.raft.read_index().await;
        let leader = self.core.raft.status().leader;
        Ok(Response::new(peer::ReadIndexResponse {
            confirmed: index.is_ok(),
            log_index: index.map_or(0, |index| index.0),
            leader_id: leader.map_or(0, NodeId::value),
            stamp_ms: self.core.admission.cluster_time().0,
        }))
    }

    async fn report(
        &self,
        _: Request<peer::ReportRequest>,
    ) -> Result<Response<peer::ReportResponse>, Status> {
        let core = &self.core;
        Ok(Response::new(peer::ReportResponse {
            state: core.lifecycle.phase() as u32,
            incarnation: Bytes::copy_from_slice(core.data.incarnation().as_bytes()),
            clock_ms: clock::wall_now().0,
            applied_index: core.raft.applied().0,
            initialised: core.raft.is_initialised(),
            verified: core.verification.is_complete(),
            disk_low: core.disk.is_low(),
            version: crate::VERSION.to_owned(),
            cluster_version_max: Cluster::VERSION_KNOWN,
            name: core.config.node_name(),
        }))
    }

    async fn form(
        &self,
        request: Request<peer::FormRequest>,
    ) -> Result<Response<peer::FormResponse>, Status> {
        form::serve(&self.core, request.get_ref()).await?;
        Ok(Response::new(peer::FormResponse {}))
    }

    async fn recall(
        &self,
        request: Request<peer::RecallRequest>,
    ) -> Result<Response<peer::RecallResponse>, Status> {
        let origin = request.extensions().get::<PeerOrigin>().copied();
        let origin = origin.ok_or_else(|| Status::internal("a call that was not checked"))?;
        let Some(position) = self.core.raft.remembered(&origin) else {
            return Ok(Response::new(peer::RecallResponse {
                nothing: true,
                ..peer::RecallResponse::default()
            }));
        };
        let (last_term, last_index) =
            position.last.map_or((0, 0), |(term, index)| (term.0, index.0));
        Ok(Response::new(peer::RecallResponse {
            nothing: false,
            term: position.term.0,
            acknowledged: position.last.is_some(),
            last_term,
            last_index,
        }))
    }

    async fn append_hash_point(
        &self,
        request: Request<peer::AppendHashPointRequest>,
    ) -> Result<Response<peer::AppendHashPointResponse>, Status> {
        let from = from(&request)?;
        let nonce = request.into_inner().nonce;
        let log_index = match self.core.admission.hash_point(from, nonce).await {
            Admitted::Applied { index, .. } => index.0,
            _ => 0,
        };
        Ok(Response::new(peer::AppendHashPointResponse { log_index }))
    }

    async fn state_hash(
        &self,
        request: Request<peer::StateHashRequest>,
    ) -> Result<Response<peer::StateHashResponse>, Status> {
        let index = LogIndex(request.into_inner().log_index);
        // Where it is not applied in time the answer is empty, and the asker
        // asks again.
        let _ = tokio::time::timeout(WAIT_APPLIED, self.core.raft.wait_applied(index)).await;
        let hash = self.core.hash_points.at(index);
        Ok(Response::new(peer::StateHashResponse {
            hash: hash.map_or_else(Bytes::new, |hash| Bytes::copy_from_slice(&hash.0)),
            scrubbed: self.core.verification.is_scrubbed(),
        }))
    }
}
