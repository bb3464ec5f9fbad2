//! A cluster with the echo beside it, and connections to both.

use std::sync::Arc;

use strongroom_benches::{
    lanes::{Lanes, Server},
    limit::EchoProcess,
    load::{Call, Target},
};
use strongroom_testkit::{Cluster, Node};

/// What calls are made over.
pub(crate) struct Stand {
    lanes: Lanes,
    processes: Vec<u32>,
    /// Lives as long as this.
    _echo: EchoProcess,
    echo_lanes: Lanes,
    echo_process: [u32; 1],
    keys: Arc<[String]>,
}

impl Stand {
    /// Connects to all nodes of a serving cluster as its tenant's user,
    /// `connections` to each, and starts an echo with as many as all of them.
    pub(crate) async fn of(cluster: &Cluster, connections: u16) -> anyhow::Result<Self> {
        let tenant = cluster.tenant().await?;
        let (pki, each) = (cluster.pki(), usize::from(connections));
        let lanes = Lanes::connect(&servers(cluster.nodes())?, each, pki, &tenant.user).await?;
        let processes = cluster.nodes().iter().map(|node| node.pid());
        let echo = EchoProcess::start(pki)?;
        Ok(Self {
            processes: processes.collect::<anyhow::Result<_>>()?,
            echo_lanes: echo.lanes(lanes.count(), pki, &tenant.user).await?,
            echo_process: [echo.pid()],
            lanes,
            _echo: echo,
            keys: [tenant.key_id].into(),
        })
    }

    /// Calls take these keys from now on, not the tenant's.
    pub(crate) fn use_keys(&mut self, keys: Arc<[String]>) {
        self.keys = keys;
    }

    /// Process ids of the nodes.
    pub(crate) fn processes(&self) -> &[u32] {
        &self.processes
    }

    /// The cluster.
    pub(crate) fn target(&self, call: Call) -> Target<'_> {
        let keys = Arc::clone(&self.keys);
        Target { lanes: &self.lanes, keys, call, servers: &self.processes }
    }

    /// The echo: single calls.
    pub(crate) fn limit(&self) -> Target<'_> {
        let keys = Arc::clone(&self.keys);
        let servers = &self.echo_process;
        Target { lanes: &self.echo_lanes, keys, call: Call::DataKey, servers }
    }
}

/// The nodes with their addresses.
pub(crate) fn servers(nodes: &[Arc<Node>]) -> anyhow::Result<Vec<Server>> {
    nodes.iter().map(|node| Ok(Server { node: node.id, address: node.client_address()? })).collect()
}
