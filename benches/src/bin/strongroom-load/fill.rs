//! Many keys and many audit records, by the interface that callers use; then
//! what they cost: memory, disk, time to serve again.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Args;
use strongroom_benches::{
    echo,
    lanes::{Lane, Lanes, Server},
    load::{self, per_second},
    machine::disk_bytes,
};
use strongroom_testkit::{Cluster, Explain as _, Node};
use strongroom_wire::v1::{
    CreateKeyRequest, TakeSnapshotRequest, crypto_client::CryptoClient, keys_client::KeysClient,
};
use tokio::task::JoinSet;
use tonic::{Code, Status};

use crate::report::Figures;

/// Repeats of a call before the filling fails.
const ATTEMPTS_MAX: u32 = 50;
/// Pause before the second attempt; it grows by as much with each one.
const BACKOFF: Duration = Duration::from_millis(20);
/// Serving again takes this long at most.
const SERVING: Duration = Duration::from_secs(300);
/// Between two looks at whether a node serves.
const LOOK: Duration = Duration::from_millis(2);

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
    let keys = make_keys(&lanes, wanted.keys, in_flight).await?;
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

/// Uses `keys` in turn, `count` times in all.
///
/// # Errors
///
/// The first refusal that lasts.
pub(crate) async fn use_keys(
    lanes: &Lanes,
    keys: &[String],
    count: u64,
    in_flight: usize,
) -> anyhow::Result<()> {
    let keys: Arc<[String]> = keys.into();
    load::all(count, in_flight, |number| {
        let (lane, keys) = (lane_of(lanes, number), Arc::clone(&keys));
        async move {
            let position = usize::try_from(number).unwrap_or(usize::MAX) % keys.len();
            use_key(lane, &keys[position]).await
        }
    })
    .await
}

async fn make_keys(lanes: &Lanes, count: u64, in_flight: usize) -> anyhow::Result<Vec<String>> {
    let made: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
    load::all(count, in_flight, |number| {
        let (lane, made) = (lane_of(lanes, number), Arc::clone(&made));
        async move {
            let key = make_key(lane, number).await?;
            made.lock().expect("nobody panics under this lock").push(key);
            Ok(())
        }
    })
    .await?;
    let made = std::mem::take(&mut *made.lock().expect("nobody panics under this lock"));
    Ok(made)
}

fn lane_of(lanes: &Lanes, number: u64) -> Lane {
    lanes.lane(usize::try_from(number).unwrap_or(usize::MAX))
}

/// Waits before a call is repeated.
///
/// # Errors
///
/// The refusal, where it is none that passes, or has lasted.
async fn before_next(what: &str, attempt: u32, status: Status) -> anyhow::Result<()> {
    let passes = matches!(
        status.code(),
        Code::Aborted | Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded
    );
    if !passes || attempt >= ATTEMPTS_MAX {
        return Err(status).explain(&format!("{what}, attempt {attempt}"));
    }
    tokio::time::sleep(BACKOFF * attempt).await;
    Ok(())
}

/// One use, repeated while the refusal is one that passes.
async fn use_key(lane: Lane, key_id: &str) -> anyhow::Result<()> {
    let mut client = CryptoClient::new(lane);
    for attempt in 1.. {
        match client.generate_data_key(echo::request(key_id)).await {
            Ok(_) => break,
            Err(status) => before_next("GenerateDataKey", attempt, status).await?,
        }
    }
    Ok(())
}

/// Makes one key. Its token makes a repeat after an unknown outcome the same key.
async fn make_key(lane: Lane, number: u64) -> anyhow::Result<String> {
    let request = CreateKeyRequest {
        description: format!("key {number} of the load"),
        client_token: format!("load-{number}"),
        ..CreateKeyRequest::default()
    };
    let mut client = KeysClient::new(lane);
    let mut attempt = 0;
    loop {
        attempt += 1;
        match client.create_key(request.clone()).await {
            Ok(response) => {
                let metadata = response.into_inner().key_metadata;
                return Ok(metadata.context("a key without metadata")?.key_id);
            }
            Err(status) => before_next("CreateKey", attempt, status).await?,
        }
    }
}

/// The nodes with their addresses.
pub(crate) fn servers(nodes: &[Arc<Node>]) -> anyhow::Result<Vec<Server>> {
    nodes.iter().map(|node| Ok(Server { node: node.id, address: node.client_address()? })).collect()
}

/// Resident memory of each node.
pub(crate) fn memory(figures: &mut Figures, cluster: &Cluster, when: &str) -> anyhow::Result<()> {
    for node in cluster.running() {
        figures.mib(format!("node {}, resident, {when}", node.id), node.resident_bytes()?);
    }
    Ok(())
}

/// What lies on disk, before and after a snapshot.
async fn sizes(figures: &mut Figures, cluster: &Cluster) -> anyhow::Result<()> {
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

/// Kills a follower and starts it again, while the others serve.
async fn restart_one(figures: &mut Figures, cluster: &Cluster) -> anyhow::Result<()> {
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

/// Kills all nodes at once, starts and unseals them.
async fn restart_all(figures: &mut Figures, cluster: &Cluster) -> anyhow::Result<()> {
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
    figures.ms("all killed: last share to all serving", started.elapsed());
    Ok(())
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
