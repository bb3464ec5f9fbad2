//! The nodes as this front sees them: the pools that pick one for each request,
//! and, in words, why one doesn't serve.
//!
//! Streams have connections of their own: one that its caller doesn't read fills
//! its window and stops there, without stopping the answers of others.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use strongroom_base::limits;
use strongroom_client::{
    Address, Error, Windows,
    balance::{Health, NodeView, Pool},
    reason,
};
use strongroom_net::{CertStore, Connector};
use strongroom_wire::v1::{NodeState, SealStatusRequest, seal_client::SealClient};
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

use crate::{
    config::{Config, ConfigError},
    errors,
    routes::Method,
    upstream::{self, CONNECT_TIME, Lanes},
};

/// Between two questions to a node that doesn't serve.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Time that an answer to one has.
const ASK_TIME: Duration = Duration::from_secs(1);

/// The nodes.
pub(crate) struct Nodes {
    calls: Pool,
    streams: Pool,
    certificates: Arc<CertStore>,
    /// What nodes that don't serve said of their seal last.
    said: Mutex<BTreeMap<String, Said>>,
}

/// A question's connection, and the answer that came last.
struct Said {
    channel: Channel,
    state: Option<NodeState>,
}

impl Nodes {
    /// The nodes of `config`, dialled under `certificates`. Dials nothing yet.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for addresses that are none.
    pub(crate) fn new(config: &Config, certificates: Arc<CertStore>) -> Result<Self, ConfigError> {
        let stream_bytes = limits::FRONT_STREAM_WINDOW_BYTES;
        let streams = u32::try_from(limits::FRONT_STREAMS_MAX).unwrap_or(u32::MAX);
        let windows =
            Windows { stream_bytes, connection_bytes: stream_bytes.saturating_mul(streams) };
        let connections = config.limits.connections_per_node;
        let calls = Lanes { connections, windows: None };
        let streams = Lanes { connections: 1, windows: Some(windows) };
        Ok(Self {
            calls: upstream::pool(config, &certificates, calls)?,
            streams: upstream::pool(config, &certificates, streams)?,
            certificates,
            said: Mutex::default(),
        })
    }

    /// For requests with one answer.
    pub(crate) fn calls(&self) -> &Pool {
        &self.calls
    }

    /// For requests that are answered with a stream.
    pub(crate) fn streams(&self) -> &Pool {
        &self.streams
    }

    /// Whether one node at least says that it serves.
    pub(crate) fn one_serves(&self) -> bool {
        self.calls.nodes().iter().any(|node| node.health == Health::Serving)
    }

    /// What is known of each node, with its state in words.
    pub(crate) fn views(&self) -> Vec<(NodeView, &'static str)> {
        let said = self.said.lock();
        let view = |node: NodeView| {
            let state = said.get(&node.address.to_string()).and_then(|said| said.state);
            let words = words(node.health, state);
            (node, words)
        };
        self.calls.nodes().into_iter().map(view).collect()
    }

    /// What a caller is told of the failure of a call of `method`: a node's own
    /// words where it said some that are the caller's to know.
    pub(crate) fn refusal(&self, error: &Error, method: &Method) -> Status {
        let of_one_node = [reason::SEALED, reason::UNINITIALISED, reason::SHUTTING_DOWN]
            .contains(&error.reason());
        if let Some(status) = error.status().filter(|_| !of_one_node) {
            return status.clone();
        }
        if error.reason() == reason::DEADLINE_EXCEEDED {
            return errors::deadline_exceeded();
        }
        if method.changes && !error.is_surely_not_executed() {
            return errors::outcome_unknown();
        }
        let state = |(node, words): (NodeView, &str)| (node.address.to_string(), words.to_owned());
        errors::no_serving_node(self.views().into_iter().map(state).collect())
    }

    /// Starts probing, and asks nodes that don't serve for their state; for ever.
    pub(crate) async fn watch(self: Arc<Self>) {
        self.calls.resolved().await;
        self.streams.resolved().await;
        loop {
            let nodes = self.calls.nodes();
            let asked: Vec<&Address> = nodes
                .iter()
                .filter(|node| node.health == Health::NotServing)
                .map(|node| &node.address)
                .collect();
            self.said.lock().retain(|known, _| asked.iter().any(|at| at.to_string() == *known));
            futures::future::join_all(asked.into_iter().map(|address| self.ask(address))).await;
            tokio::time::sleep(ASK_EVERY).await;
        }
    }

    async fn ask(&self, address: &Address) {
        let channel = {
            let mut said = self.said.lock();
            let known = said.entry(address.to_string()).or_insert_with(|| {
                let uri = format!("http://{address}").parse::<http::Uri>();
                let endpoint = Endpoint::from(uri.expect("an address is host and port"));
                let connector =
                    Connector::to_any_node(Arc::clone(&self.certificates), CONNECT_TIME);
                Said { channel: endpoint.connect_with_connector_lazy(connector), state: None }
            });
            known.channel.clone()
        };
        let mut seal = SealClient::new(channel);
        let asked = tokio::time::timeout(ASK_TIME, seal.seal_status(SealStatusRequest {})).await;
        let state = match asked {
            Ok(Ok(answer)) => Some(answer.get_ref().state()),
            Ok(Err(_)) | Err(_) => None,
        };
        if let Some(known) = self.said.lock().get_mut(&address.to_string()) {
            known.state = state;
        }
    }
}

/// A node's state in words.
fn words(health: Health, said: Option<NodeState>) -> &'static str {
    match (health, said) {
        (Health::Serving, _) => "serving",
        (Health::Unknown, _) => "not probed yet",
        (Health::Unreachable, _) => "unreachable",
        (Health::Silent, _) => "silent",
        (_, Some(NodeState::Uninitialised)) => "uninitialised",
        (_, Some(NodeState::Sealed)) => "sealed",
        (_, Some(NodeState::Verifying)) => "verifying",
        (_, Some(NodeState::Unsealed)) => "without a quorum or ending",
        (_, Some(NodeState::Unspecified) | None) => "not serving",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_said_of_its_seal_is_told_only_while_it_answers() {
        assert_eq!(words(Health::NotServing, Some(NodeState::Sealed)), "sealed");
        assert_eq!(words(Health::NotServing, Some(NodeState::Verifying)), "verifying");
        assert_eq!(words(Health::NotServing, None), "not serving");
        assert_eq!(words(Health::Silent, Some(NodeState::Sealed)), "silent");
        assert_eq!(words(Health::Serving, Some(NodeState::Sealed)), "serving");
    }
}
