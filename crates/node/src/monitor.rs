//! The monitor listener: `/metrics`, `/livez`, `/readyz`, `/status`.
//!
//! Plain HTTP for probes and scrapers; answers in every state of the node and
//! says nothing of keys, principals or tokens.

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

use crate::{clock, lifecycle::Phase, server::Running, status, unseal};

/// A node that has had no contact with a quorum for this long is not ready.
const QUORUM_SILENCE: Duration = Duration::from_secs(5);
/// The same for gRPC health, on which callers choose another node: longer than
/// an election takes.
const HEALTH_SILENCE: Duration = Duration::from_secs(2);

/// The routes.
pub(crate) fn router(node: Arc<Running>) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/status", get(state))
        .with_state(node)
}

async fn metrics(State(node): State<Arc<Running>>) -> Response {
    fill(&node);
    match node.core.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics can't be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn ready(State(node): State<Arc<Running>>) -> Response {
    let reason = why_not_ready(&node, QUORUM_SILENCE);
    let code = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": reason.is_none(), "reason": reason }))).into_response()
}

/// Whether callers should come here, as gRPC health tells them.
pub(crate) fn serves(node: &Running) -> bool {
    why_not_ready(node, HEALTH_SILENCE).is_none()
}

fn why_not_ready(node: &Running, silence: Duration) -> Option<&'static str> {
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
        "ready": why_not_ready(&node, QUORUM_SILENCE).is_none(),
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

fn clamp(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn clamp_size(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Fills in the gauges that are read when metrics are asked for.
fn fill(node: &Running) {
    let core = &node.core;
    let gauges = &core.metrics.gauges;
    let raft = core.raft.status();
    gauges.seal_state.set(core.lifecycle.phase() as i64 - 1);
    gauges.share_progress.set(core.lifecycle.shares_given().into());
    for role in [RaftRole::Leader, RaftRole::Follower, RaftRole::Candidate, RaftRole::Learner] {
        let held = i64::from(role == raft.role);
        gauges.raft_role.with_label_values(&[role.name()]).set(held);
    }
    gauges.raft_term.set(clamp(raft.term.0));
    let indexes = [
        ("last", raft.last_log),
        ("committed", raft.committed),
        ("applied", Some(core.raft.applied())),
        ("snapshot", raft.snapshot),
        ("purged", raft.purged),
    ];
    for (kind, index) in indexes {
        let index = index.map_or(0, |index| clamp(index.0));
        gauges.raft_index.with_label_values(&[kind]).set(index);
    }
    let ack = raft
        .since_quorum_ack
        .map_or(-1, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX));
    gauges.quorum_ack_ms.set(ack);
    gauges.follower_lag.reset();
    for member in raft.members.iter().filter(|member| member.member.node != core.node) {
        if let Some(lag) = member.lag {
            let label = member.member.node.to_string();
            gauges.follower_lag.with_label_values(&[&label]).set(clamp(lag));
        }
    }
    let ledger = core.ledger.stats();
    gauges.ledger_queue.set(clamp_size(ledger.queued));
    gauges.ledger_queue_bytes.set(clamp_size(ledger.queued_bytes));
    gauges.batch_resends.set(clamp(core.proposer.resends()));
    let (hits, misses) = core.rows.counts();
    gauges.row_cache.with_label_values(&["hit"]).set(clamp(hits));
    gauges.row_cache.with_label_values(&["miss"]).set(clamp(misses));
    gauges.ledger_batches.set(clamp(ledger.batches));
    gauges.ledger_attempts.set(clamp(ledger.attempts));
    gauges.audit_size.set(clamp(*core.audit_size.borrow()));
    gauges.disk_free_bytes.set(clamp(core.disk.free_bytes()));
    gauges.disk_low.set(core.disk.is_low().into());
    gauges.certificate_not_after_seconds.set(clamp(core.certificates.not_after().0 / 1000));
    if let Some(median) = core.reports.median_clock(raft.members.len()) {
        let own = clock::wall_now().0;
        gauges.clock_offset_ms.set(clamp(own) - clamp(median.0));
    }
    gauges.calls_in_flight.set(clamp_size(node.calls.calls_in_flight()));
    gauges.request_bytes.set(clamp_size(node.calls.bytes_held()));
    for (listener, stats) in [("client", &node.client_stats), ("peer", &node.peer_stats)] {
        let counts = stats.counts();
        gauges.connections.with_label_values(&[listener]).set(clamp(counts.open));
        gauges
            .connections_refused
            .with_label_values(&[listener])
            .set(clamp(counts.refused_over_limit));
    }
    let sync = core.log.stats().write_last.as_millis();
    gauges.log_sync_ms.set(i64::try_from(sync).unwrap_or(i64::MAX));
    let arena = strongroom_secmem::arena_status();
    gauges.secret_bytes.set(clamp_size(arena.bytes_in_use));
    gauges.secret_memory_locked.set(arena.locked.into());
    gauges.state_verified.set(core.verification.is_complete().into());
}
