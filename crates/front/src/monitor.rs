//! The monitor listener: `/metrics`, `/livez`, `/readyz`, `/status`.
//!
//! Plain HTTP for probes and scrapers; says nothing of callers.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use strongroom_client::balance::Health;

use crate::{metrics, server::Shared};

/// The routes.
pub(crate) fn router(front: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(text))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .with_state(front)
}

async fn text(State(front): State<Arc<Shared>>) -> Response {
    fill(&front);
    match front.service.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
            .into_response(),
        Err(error) => {
            tracing::error!(%error, "metrics can't be encoded");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn ready(State(front): State<Arc<Shared>>) -> Response {
    let reason = why_not_ready(&front);
    let code = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(json!({ "ready": reason.is_none(), "reason": reason }))).into_response()
}

fn why_not_ready(front: &Shared) -> Option<&'static str> {
    if *front.draining.borrow() {
        Some("shutting down")
    } else if !front.service.nodes.one_serves() {
        Some("no node serves")
    } else {
        None
    }
}

async fn status(State(front): State<Arc<Shared>>) -> Json<Value> {
    let nodes: Vec<Value> = front
        .service
        .nodes
        .views()
        .into_iter()
        .map(|(node, state)| {
            json!({
                "address": node.address.to_string(),
                "state": state,
                "taken": node.is_healthy,
                "attempts_in_flight": node.pending,
                "latency_us": node.latency.map(|latency| latency.as_micros()),
            })
        })
        .collect();
    let (admission, counts) = (&front.service.admission, front.stats.counts());
    Json(json!({
        "version": crate::VERSION,
        "name": front.name,
        "cluster_id": front.config.cluster.id.to_string(),
        "ready": why_not_ready(&front).is_none(),
        "draining": *front.draining.borrow(),
        "nodes": nodes,
        "connections": counts.open,
        "requests_in_flight": admission.requests_held(),
        "streams": admission.streams_held(),
        "uptime_seconds": front.started.elapsed().as_secs(),
    }))
}

fn clamp<N: TryInto<i64>>(number: N) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}

/// Fills in the numbers that are read when metrics are asked for.
fn fill(front: &Shared) {
    let (service, read) = (&front.service, &front.service.metrics.read);
    // Addresses come and go where names are resolved.
    for gauge in [&read.node_health, &read.node_attempts, &read.node_latency_us] {
        gauge.reset();
    }
    for (node, _) in service.nodes.views() {
        let address = node.address.to_string();
        read.node_health.with_label_values(&[address.as_str(), name(node.health)]).set(1);
        read.node_attempts.with_label_values(&[&address]).set(node.pending.into());
        if let Some(latency) = node.latency {
            read.node_latency_us.with_label_values(&[&address]).set(clamp(latency.as_micros()));
        }
    }
    read.ready.set(why_not_ready(front).is_none().into());
    read.requests_in_flight.set(clamp(service.admission.requests_held()));
    read.streams.set(clamp(service.admission.streams_held()));
    read.request_bytes.set(clamp(service.admission.request_bytes.held()));
    read.answer_bytes.set(clamp(service.admission.answer_bytes.held()));
    read.sources.set(clamp(front.sources.count()));
    let counts = front.stats.counts();
    read.connections.set(clamp(counts.open));
    metrics::set(&read.accepted, counts.accepted);
    metrics::set(&read.refused, counts.refused_over_limit);
    metrics::set(&read.handshakes_failed, counts.handshake_failed + counts.handshake_timeout);
    read.certificate_not_after.set(clamp(front.certificates.not_after().0 / 1000));
    let reloads = front.certificates.counts();
    metrics::set(&read.reloads.with_label_values(&["taken"]), reloads.reloaded);
    metrics::set(&read.reloads.with_label_values(&["refused"]), reloads.failed);
}

fn name(health: Health) -> &'static str {
    match health {
        Health::Serving => "serving",
        Health::NotServing => "not_serving",
        Health::Unreachable => "unreachable",
        Health::Silent => "silent",
        _ => "unknown",
    }
}
