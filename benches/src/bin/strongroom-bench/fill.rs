//! Many keys and many audit records, by the interface that callers use; then
//! what they cost: memory, disk, time to serve again.

use std::time::Instant;

use clap::Args;
use strongroom_benches::{lanes::Lanes, load::per_second};
use strongroom_testkit::Cluster;

use crate::{
    keys::{make_keys, use_keys},
    report::Figures,
    serving::{memory, restart_all, restart_one, sizes},
    stand::servers,
};

#[derive(Args)]
pub(crate) struct Fill {
    /// Keys to make; each is a transaction with one audit record
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Audit records to reach, those of the keys included, by uses of keys
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Members of the cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// Calls in flight
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=2048))]
    in_flight: u16,
    /// Connections to each node
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
}

impl Fill {
    pub(crate) async fn run(&self) -> anyhow::Result<Figures> {
        let cluster = Cluster::builder("fill").nodes(self.nodes).direct_links().serving().await?;
        let mut figures = Figures::default();
        figures.add("nodes", self.nodes, "");
        memory(&mut figures, &cluster, "empty")?;
        fill(&mut figures, &cluster, self).await?;
        cluster.caught_up().await?;
        memory(&mut figures, &cluster, "filled")?;
        sizes(&mut figures, &cluster).await?;
        restart_one(&mut figures, &cluster).await?;
        restart_all(&mut figures, &cluster).await?;
        memory(&mut figures, &cluster, "after the restart")?;
        cluster.finish().await?;
        Ok(figures)
    }
}

/// Makes the keys, then uses them in turn until there are enough records.
async fn fill(figures: &mut Figures, cluster: &Cluster, wanted: &Fill) -> anyhow::Result<()> {
    let tenant = cluster.tenant().await?;
    let (each, in_flight) = (usize::from(wanted.connections), usize::from(wanted.in_flight));
    let servers = servers(&cluster.running())?;
    let lanes = Lanes::connect(&servers, each, cluster.pki(), &tenant.administrator).await?;
    let started = Instant::now();
    let keys = make_keys(&lanes, 0..wanted.keys, in_flight).await?;
    let elapsed = started.elapsed();
    figures.add("keys made", keys.len(), "");
    figures.round("keys made a second", per_second(keys.len() as u64, elapsed), 0, "/s");

    let user = Lanes::connect(&servers, each, cluster.pki(), &tenant.user).await?;
    let keys = if keys.is_empty() { vec![tenant.key_id] } else { keys };
    let records = cluster.node(1).status().await?.audit.size;
    let uses = wanted.records.saturating_sub(records);
    let started = Instant::now();
    use_keys(&user, &keys, uses, in_flight).await?;
    figures.add("uses", uses, "");
    figures.round("uses a second", per_second(uses, started.elapsed()), 0, "/s");
    let status = cluster.leader().await?.status().await?;
    figures.add("audit records", status.audit.size, "");
    figures.add("Raft log index", status.applied(), "");
    Ok(())
}
