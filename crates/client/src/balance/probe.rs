//! Probes of one node: is it there, and does it say that it serves?
//!
//! A probe is a short unary `Check` of the standard health service and not a
//! stream: a stream would tell a sealed node as soon, but not a stopped one, and
//! a node bounds its streams.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rand::random;
use tonic::{Code, Request};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tracing::debug;

use super::{connection::Connection, endpoint::Endpoint, health::Health, pool::Activity};
use crate::error::{Error, Origin, reason};

/// When nodes are probed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Between two probes while calls are made.
    pub(crate) interval: Duration,
    /// Time that a probe has.
    pub(crate) timeout: Duration,
    /// Between two probes while nobody calls.
    pub(crate) idle: Duration,
}

/// Shortest time between two probes, whoever asks for one.
const INTERVAL_LEAST: Duration = Duration::from_millis(50);

/// Probes `endpoint` until the task is aborted.
pub(crate) async fn run(endpoint: Arc<Endpoint>, pace: Pace, activity: Arc<Activity>) {
    // A client that makes one call and ends dials the node of that call only;
    // and clients that start together don't probe together.
    let mut wait = pace.interval.mul_f64(0.5 + random::<f64>() / 2.0);
    loop {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = endpoint.wake.notified() => {}
        }
        let sent = Instant::now();
        let found = probe(endpoint.first_connection().clone(), pace.timeout).await;
        let now = Instant::now();
        if let Some(found) = found {
            debug!(address = %endpoint.address, health = ?found, "probed");
            endpoint.probed_as(found, sent, now);
        }
        tokio::time::sleep(INTERVAL_LEAST).await;
        // The next one is counted from when this one was sent.
        let interval = if activity.is_idle(now) { pace.idle } else { pace.interval };
        wait = interval.saturating_sub(sent.elapsed());
    }
}

/// One probe; `None` where it says nothing new.
async fn probe(connection: Connection, timeout: Duration) -> Option<Health> {
    let mut stub = HealthClient::new(connection);
    let mut request = Request::new(HealthCheckRequest { service: String::new() });
    request.set_timeout(timeout);
    let status = match tokio::time::timeout(timeout, stub.check(request)).await {
        Err(_) => return Some(Health::Silent),
        Ok(Ok(answer)) => {
            let serving = answer.get_ref().status == i32::from(ServingStatus::Serving);
            return Some(if serving { Health::Serving } else { Health::NotServing });
        }
        Ok(Err(status)) => status,
    };
    let error = Error::from_status(&status, timeout);
    match error.origin() {
        Origin::NotSent => Some(Health::Unreachable),
        Origin::NoAnswer if error.reason() == reason::DEADLINE_EXCEEDED => Some(Health::Silent),
        // The connection was old, perhaps; the next probe dials.
        Origin::NoAnswer => None,
        // It has no health service, and answers.
        Origin::Service if error.code() == Code::Unimplemented => Some(Health::Serving),
        // At its bounds, or late: it answers, and its other answers tell.
        Origin::Service => None,
    }
}
