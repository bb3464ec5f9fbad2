//! The monitor listener: `/metrics`, `/livez`, `/readyz`, `/status`.
//!
//! Plain HTTP for probes and scrapers; answers in every state of the node and
//! names no key, principal or token.

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use strongroom_raft::RaftRole;

use crate::{lifecycle::Phase, metrics, server::Running, status, unseal};

/// A node that has had no contact with a quorum for this long is not ready.
const QUORUM_SILENCE: Duration = Duration::from_secs(5);
/// The same for gRPC health, on which callers choose another node: longer than
/// an election takes.
const HEALTH_SILENCE: Duration = Duration::from_secs(2);

/// The routes.
pub(crate) fn router(node: Arc<Running>) -> Router {
    Router::new()
        .route("/metrics", get(exposition))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/status", get(state))
        .with_state(node)
}

async fn exposition(State(node): State<Arc<Running>>) -> Response {
    match node.core.metrics.text(|metrics, gauges| metrics::fill(&node, metrics, gauges)) {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics can't be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn ready(State(node): State<Arc<Running>>) -> Response {
    let reason = why_not_ready(&node);
    let code = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": reason.is_none(), "reason": reason }))).into_response()
}

/// Why this node should get no calls; `None`: it should.
#[must_use]
pub(crate) fn why_not_ready(node: &Running) -> Option<&'static str> {
    unfit_after(node, QUORUM_SILENCE)
}

/// Whether callers should come here, as gRPC health tells them.
pub(crate) fn serves(node: &Running) -> bool {
    unfit_after(node, HEALTH_SILENCE).is_none()
}

fn unfit_after(node: &Running, silence: Duration) -> Option<&'static str> {
    let core = &node.core;
    if core.is_draining() {
        return Some("shutting down");
    }
    match core.lifecycle.phase() {
        Phase::Unsealed => {}
        phase => return Some(phase.name()),
    }
    let raft = core.raft.status();
    let silent = match raft.role {
        RaftRole::Leader => raft.since_quorum_ack.is_none_or(|since| since > silence),
        _ => raft.leader.is_none() || raft.since_leader_heard.is_none_or(|since| since > silence),
    };
    silent.then_some("no contact with a quorum")
}

async fn state(State(node): State<Arc<Running>>) -> Json<Value> {
    let core = &node.core;
    let raft = core.raft.status();
    let records = unseal::records(&core.state).ok();
    let seal = records.as_ref().map(|records| &records.seal);
    let (size, root) = status::audit(core);
    let point = core.hash_points.newest();
    let members: Vec<Value> = status::members(core)
        .into_iter()
        .map(|member| {
            json!({
                "node_id": member.node.value(),
                "name": member.name,
                "peer_address": member.address,
                "voter": member.voter,
                "leader": raft.leader == Some(member.node),
                "state": member.phase.map(Phase::name),
                "applied_index": member.applied.0,
                "heard_ms_ago": member.heard_ms_ago,
                "clock_offset_ms": member.clock_offset_ms,
            })
        })
        .collect();
    Json(json!({
        "version": crate::VERSION,
        "node": { "id": core.node.value(), "name": core.config.node_name() },
        "cluster_id": core.config.cluster.id.to_string(),
        "ready": why_not_ready(&node).is_none(),
        "seal": {
            "state": core.lifecycle.phase().name(),
            "shares": seal.map_or(0, |seal| seal.shares),
            "threshold": seal.map_or(0, |seal| seal.threshold),
            "progress": core.lifecycle.shares_given(),
            "seal_epoch": seal.map_or(0, |seal| seal.seal_epoch.0),
        },
        "raft": {
            "role": raft.role.name(),
            "term": raft.term.0,
            "leader_id": raft.leader.map_or(0, strongroom_base::NodeId::value),
            "last_log_index": raft.last_log.map_or(0, |index| index.0),
            "committed_index": raft.committed.map_or(0, |index| index.0),
            "applied_index": core.raft.applied().0,
            "snapshot_index": raft.snapshot.map_or(0, |index| index.0),
            "purged_index": raft.purged.map_or(0, |index| index.0),
            "since_quorum_ack_ms": raft.since_quorum_ack.map(|since| since.as_millis()),
        },
        "audit": { "size": size, "root": root },
        "state_hash": {
            "index": point.map_or(0, |(index, _)| index.0),
            "hash": point.map(|(_, hash)| hash.to_string()).unwrap_or_default(),
        },
        "state_verified": core.verification.is_complete(),
        "cluster_time_ms": core.cluster_time().0,
        "disk_free_bytes": core.disk.free_bytes(),
        "uptime_seconds": core.started.elapsed().as_secs(),
        "members": members,
    }))
}
