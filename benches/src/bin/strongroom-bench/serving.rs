//! From a start to serving, and what a node takes meanwhile: memory and disk.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use strongroom_benches::{echo, machine::disk_bytes};
use strongroom_testkit::{Cluster, Explain as _, Node};
use strongroom_wire::v1::TakeSnapshotRequest;
use tokio::task::JoinSet;

use crate::report::Figures;

/// Serving again takes this long at most.
const SERVING: Duration = Duration::from_secs(300);
/// Between two looks at whether a node serves.
const LOOK: Duration = Duration::from_millis(2);

/// Resident memory of each node.
pub(crate) fn memory(figures: &mut Figures, cluster: &Cluster, when: &str) -> anyhow::Result<()> {
    for node in cluster.running() {
        figures.mib(format!("node {}, resident, {when}", node.id), node.resident_bytes()?);
    }
    Ok(())
}

/// What lies on disk, before and after a snapshot.
pub(crate) async fn sizes(figures: &mut Figures, cluster: &Cluster) -> anyhow::Result<()> {
    let leader = cluster.leader().await?;
    let started = Instant::now();
    let mut client = cluster.administrator(&leader).cluster();
    client.take_snapshot(TakeSnapshotRequest {}).await.explain("TakeSnapshot")?;
    figures.ms("taking a snapshot", started.elapsed());
    let data = leader.data_dir();
    let parts =
        BTreeMap::from([("Raft log", "log"), ("state", "state"), ("snapshots", "snapshots")]);
    for (name, part) in parts {
        figures.mib(format!("{name}, on disk"), disk_bytes(&data.join(part))?);
    }
    figures.mib("all, links counted once, on disk", disk_bytes(data)?);
    Ok(())
}

/// Kills a follower and starts it again, while the others serve. Nothing on a
/// single node.
pub(crate) async fn restart_one(figures: &mut Figures, cluster: &Cluster) -> anyhow::Result<()> {
    if cluster.nodes().len() == 1 {
        return Ok(());
    }
    let node = cluster.follower().await?;
    let started = Instant::now();
    node.restart().await?;
    figures.ms("one of them killed: to listening, sealed", started.elapsed());
    let served = last_share_to_serving(cluster, &node).await?;
    figures.ms("one of them killed: last share to serving", served);
    Ok(())
}

/// Kills all nodes at once, starts and unseals them. Gives the time from the
/// first node's last share until all serve.
pub(crate) async fn restart_all(
    figures: &mut Figures,
    cluster: &Cluster,
) -> anyhow::Result<Duration> {
    for node in cluster.nodes() {
        node.kill()?;
    }
    let started = Instant::now();
    let mut starts = JoinSet::new();
    for node in cluster.nodes() {
        let node = Arc::clone(node);
        starts.spawn(async move { node.start().await });
    }
    while let Some(start) = starts.join_next().await {
        start??;
    }
    figures.ms("all killed: to listening, sealed", started.elapsed());
    let ceremony = cluster.ceremony();
    let (last, first) = ceremony.enough().split_last().context("there are shares")?;
    for node in cluster.nodes() {
        for share in first {
            node.submit_share(share).await.explain("a share")?;
        }
    }
    let started = Instant::now();
    for node in cluster.nodes() {
        node.submit_share(last).await.explain("the last share")?;
    }
    for node in cluster.nodes() {
        serves(cluster, node).await?;
    }
    let served = started.elapsed();
    figures.ms("all killed: last share to all serving", served);
    Ok(served)
}

/// Gives a sealed node its shares; time from the last one to its first data key.
///
/// # Errors
///
/// A refused share, or a node that doesn't serve for long.
pub(crate) async fn last_share_to_serving(
    cluster: &Cluster,
    node: &Arc<Node>,
) -> anyhow::Result<Duration> {
    let ceremony = cluster.ceremony();
    let (last, first) = ceremony.enough().split_last().context("there are shares")?;
    for share in first {
        node.submit_share(share).await.explain("a share")?;
    }
    let started = Instant::now();
    node.submit_share(last).await.explain("the last share")?;
    serves(cluster, node).await?;
    Ok(started.elapsed())
}

/// Asks `node` for a data key until it gives one.
async fn serves(cluster: &Cluster, node: &Arc<Node>) -> anyhow::Result<()> {
    let tenant = cluster.tenant().await?;
    let started = Instant::now();
    let mut client = node.caller().with_token(&tenant.user).crypto();
    loop {
        match client.generate_data_key(echo::request(&tenant.key_id)).await {
            Ok(_) => return Ok(()),
            Err(status) if started.elapsed() > SERVING => {
                return Err(status).explain(&format!("node {} doesn't serve", node.id));
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}
