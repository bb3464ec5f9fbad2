//! Connections to the other members, shared by Raft and the node.
//!
//! A few connections a peer, by what goes over them, so that a snapshot never
//! stands in a heartbeat's way. They are made when first used and made again
//! when they break; a call over a broken one fails, it doesn't wait.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use strongroom_base::{Incarnation, NodeId};
use strongroom_net::{CertStore, Connector};
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use crate::identity::{KnownMembers, LocalIdentity, PeerMetadata};

/// A connection to a peer; its calls carry this node's identity.
pub type PeerChannel = InterceptedService<Channel, PeerMetadata>;

/// Resolving, connecting and the handshake together.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that is silent this long is asked for a sign of life.
const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(3);
/// A connection that gives no sign of life this long is dropped.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes that may be under way in one stream before the peer reads them.
const STREAM_WINDOW_BYTES: u32 = 2 * 1024 * 1024;
/// The same over all streams of a connection.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// What goes over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// AppendEntries with entries, votes, leader transfer.
    Replication,
    /// Heartbeats and confirmations of leadership.
    Heartbeat,
    /// Snapshots.
    Snapshot,
    /// The node's own calls.
    Node,
}

/// Connections to the other members.
#[derive(Clone)]
pub struct PeerPool(Arc<Inner>);

struct Inner {
    local: LocalIdentity,
    store: Arc<CertStore>,
    /// From the configuration; they take precedence.
    configured: BTreeMap<NodeId, String>,
    members: KnownMembers,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Addresses that the membership names.
    addresses: BTreeMap<NodeId, String>,
    channels: BTreeMap<(NodeId, Lane), (String, Channel)>,
}

impl PeerPool {
    pub(crate) fn new(
        local: LocalIdentity,
        store: Arc<CertStore>,
        configured: BTreeMap<NodeId, String>,
        members: KnownMembers,
    ) -> Self {
        let known = Mutex::default();
        Self(Arc::new(Inner { local, store, configured, members, known }))
    }

    /// Takes over what the membership says; connections to nodes that left it
    /// and aren't configured are dropped.
    pub(crate) fn learn(&self, members: &BTreeMap<NodeId, (String, Option<Incarnation>)>) {
        let incarnations = members.iter().map(|(node, (_, incarnation))| (*node, *incarnation));
        self.0.members.replace(incarnations.collect());
        let mut known = self.0.known.lock();
        known.addresses =
            members.iter().map(|(node, (address, _))| (*node, address.clone())).collect();
        known.channels.retain(|(node, _), _| {
            members.contains_key(node) || self.0.configured.contains_key(node)
        });
    }

    /// Nodes whose address is known, but for this one.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeId> {
        let known = self.0.known.lock();
        let mut nodes: Vec<NodeId> =
            self.0.configured.keys().chain(known.addresses.keys()).copied().collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.retain(|node| *node != self.0.local.node);
        nodes
    }

    /// A connection for the node's own calls; none where no usable address is
    /// known. Needs the async runtime.
    #[must_use]
    pub fn channel(&self, node: NodeId) -> Option<PeerChannel> {
        self.connection(node, Lane::Node, self.0.members.incarnation(node), None)
    }

    /// The data directory that the membership names for a node, where it names
    /// one.
    pub(crate) fn incarnation(&self, node: NodeId) -> Option<Incarnation> {
        self.0.members.incarnation(node)
    }

    /// A connection to the data directory `incarnation` of a node at an address
    /// that no membership may know. Needs the async runtime.
    #[must_use]
    pub fn channel_to(
        &self,
        node: NodeId,
        incarnation: Option<Incarnation>,
        address: &str,
    ) -> Option<PeerChannel> {
        self.connection(node, Lane::Node, incarnation, Some(address))
    }

    /// A connection for Raft's calls to the data directory `incarnation`.
    /// `address` is what the membership says, where the configuration says
    /// nothing.
    pub(crate) fn connection(
        &self,
        node: NodeId,
        lane: Lane,
        incarnation: Option<Incarnation>,
        address: Option<&str>,
    ) -> Option<PeerChannel> {
        let mut known = self.0.known.lock();
        let configured = self.0.configured.get(&node).map(String::as_str);
        let address = configured.or(address).or(known.addresses.get(&node).map(String::as_str))?;
        let channel = match known.channels.get(&(node, lane)) {
            Some((at, channel)) if at == address => channel.clone(),
            _ => {
                let address = address.to_owned();
                let channel = self.dial(node, &address)?;
                known.channels.insert((node, lane), (address, channel.clone()));
                channel
            }
        };
        drop(known);
        let metadata = PeerMetadata::new(&self.0.local, incarnation);
        Some(InterceptedService::new(channel, metadata))
    }

    fn dial(&self, node: NodeId, address: &str) -> Option<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .inspect_err(|error| tracing::warn!(%node, address, %error, "no usable peer address"))
            .ok()?
            .http2_keep_alive_interval(KEEP_ALIVE_EVERY)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let connector = Connector::new(Arc::clone(&self.0.store), node, CONNECT_TIMEOUT);
        Some(endpoint.connect_with_connector_lazy(connector))
    }
}
