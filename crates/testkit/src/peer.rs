//! Calls to the peer listener with a member's certificate: what whoever stole
//! that certificate can send.

use std::fs;

use anyhow::Context as _;
use strongroom_wire::peer::{ReportRequest, node_client::NodeClient, raft_client::RaftClient};
use tonic::{
    Request, Status,
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};
use uuid::Uuid;

use crate::{
    caller::channel,
    node::Node,
    pki::{Pki, Who},
};

/// Calls one node's peer listener as another member.
#[derive(Clone)]
pub struct PeerCaller {
    channel: Channel,
    claims: Claims,
}

/// Who the caller says that it is (`proto/strongroom/peer/v1/raft.proto`).
#[derive(Clone)]
pub struct Claims {
    cluster: String,
    from_node: u64,
    from_incarnation: String,
    to_incarnation: Option<String>,
}

impl Interceptor for Claims {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let mut insert = |name: &'static str, value: &str| {
            let value = value.parse().expect("ids are ASCII");
            request.metadata_mut().insert(name, value);
        };
        insert("strongroom-cluster", &self.cluster);
        insert("strongroom-from-node", &self.from_node.to_string());
        insert("strongroom-from-incarnation", &self.from_incarnation);
        if let Some(incarnation) = &self.to_incarnation {
            insert("strongroom-to-incarnation", incarnation);
        }
        Ok(request)
    }
}

impl PeerCaller {
    /// Calls `to` with certificate and incarnation of `from`.
    ///
    /// # Errors
    ///
    /// When `from` has no certificate or no data directory.
    pub fn new(from: &Node, to: &Node, pki: &Pki) -> anyhow::Result<Self> {
        Ok(Self {
            channel: channel(to.peer_dialer(Who::Node(from.id))?),
            claims: Claims {
                cluster: pki.cluster().to_string(),
                from_node: from.id,
                from_incarnation: incarnation(from)?.to_string(),
                to_incarnation: Some(incarnation(to)?.to_string()),
            },
        })
    }

    /// Calls `to`'s peer listener with a certificate that is no member's: gives
    /// what becomes of the first request.
    ///
    /// # Errors
    ///
    /// That there is no connection, as it should be.
    pub async fn probe(to: &Node, who: Who) -> anyhow::Result<()> {
        let channel = channel(to.peer_dialer(who)?);
        NodeClient::new(channel).report(ReportRequest {}).await?;
        Ok(())
    }

    /// The same with an incarnation of the caller's choice.
    #[must_use]
    pub fn with_incarnation(mut self, incarnation: Uuid) -> Self {
        self.claims.from_incarnation = incarnation.to_string();
        self
    }

    /// Service `Node`.
    #[must_use]
    pub fn node(&self) -> NodeClient<InterceptedService<Channel, Claims>> {
        NodeClient::with_interceptor(self.channel.clone(), self.claims.clone())
    }

    /// Service `Raft`.
    #[must_use]
    pub fn raft(&self) -> RaftClient<InterceptedService<Channel, Claims>> {
        RaftClient::with_interceptor(self.channel.clone(), self.claims.clone())
    }
}

/// Incarnation of a node's data directory, as the directory says.
fn incarnation(node: &Node) -> anyhow::Result<Uuid> {
    let path = node.data_dir().join("identity.json");
    let text = fs::read(&path).with_context(|| format!("no {}", path.display()))?;
    let identity: serde_json::Value = serde_json::from_slice(&text)?;
    let text = identity["incarnation"].as_str().context("identity.json names no incarnation")?;
    Ok(text.parse()?)
}
