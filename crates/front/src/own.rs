//! What a front answers itself: health and reflection.
//!
//! Health says that the front serves while it is not about to end and one node at
//! least serves; for each routed service and for the front as a whole (the empty
//! name) alike.

use std::{sync::Arc, time::Duration};

use http::{Request, Response};
use strongroom_wire::FILE_DESCRIPTOR_SET;
use tokio::sync::watch;
use tonic::{body::Body, service::Routes};
use tonic_health::{ServingStatus, server::HealthReporter};
use tower::Service as _;

use crate::{nodes::Nodes, routes};

/// Largest message of these services.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Between two looks at whether a node serves.
const LOOK: Duration = Duration::from_millis(50);

/// Health and reflection. Clones share them.
#[derive(Clone)]
pub(crate) struct Own(Routes);

impl Own {
    /// The services, and what tells the first what to say. Says that the front
    /// doesn't serve until [`tell`] runs.
    pub(crate) async fn new() -> (Self, HealthReporter) {
        let (reporter, health) = tonic_health::server::health_reporter();
        set(&reporter, false).await;
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .build_v1()
            .expect("the descriptors were made by our own build");
        let routes = Routes::new(health.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .add_service(reflection.max_decoding_message_size(MESSAGE_BYTES_MAX))
            .prepare();
        (Self(routes), reporter)
    }

    /// Answers a request to one of the services.
    pub(crate) async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let mut routes = self.0.clone();
        match routes.call(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

/// Keeps health true, for ever: `ready` and gRPC health alike.
pub(crate) async fn tell(
    nodes: Arc<Nodes>,
    draining: watch::Receiver<bool>,
    ready: watch::Sender<bool>,
    reporter: HealthReporter,
) {
    let mut draining = draining;
    let mut told = false;
    loop {
        let serves = !*draining.borrow_and_update() && nodes.one_serves();
        if serves != told {
            set(&reporter, serves).await;
            ready.send_replace(serves);
            told = serves;
        }
        // The end is told at once, the nodes are looked at.
        if let Ok(Err(_)) = tokio::time::timeout(LOOK, draining.changed()).await {
            return;
        }
    }
}

async fn set(reporter: &HealthReporter, serves: bool) {
    let status = if serves { ServingStatus::Serving } else { ServingStatus::NotServing };
    for service in routes::services().into_iter().chain([""]) {
        reporter.set_service_status(service, status).await;
    }
}
