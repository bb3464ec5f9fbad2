//! A member that is first started after many transactions, when the others have
//! purged from their logs what it needs.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use clap::Args;
use strongroom_benches::{lanes::Lanes, load::per_second, machine::disk_bytes};
use strongroom_testkit::Cluster;

use crate::{
    keys::use_keys,
    report::Figures,
    serving::{last_share_to_serving, memory},
    stand::servers,
};

/// Catching up takes this long at most.
const CATCH_UP: Duration = Duration::from_secs(300);
/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(10);

#[derive(Args)]
pub(crate) struct Latecomer {
    /// Transactions while it is away
    #[arg(long, default_value_t = 100_000)]
    transactions: u64,
    /// Calls in flight: the fewer, the fewer transactions share a log entry
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=2048))]
    in_flight: u16,
    /// Raft log entries between snapshots
    #[arg(long, default_value_t = 2000)]
    snapshot_every: u32,
}

impl Latecomer {
    pub(crate) async fn run(&self) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        let cluster = Cluster::builder("latecomer")
            .direct_links()
            .snapshot_every(self.snapshot_every, self.snapshot_every / 10)
            .prepare()
            .await?;
        let (late, others) = cluster.nodes().split_last().context("three nodes")?;
        for node in others {
            node.start().await?;
        }
        cluster.init_without_absent(&others[0]).await?;
        cluster.unseal_all().await?;
        let tenant = cluster.tenant().await?;

        let servers = servers(&cluster.running())?;
        let lanes = Lanes::connect(&servers, 2, cluster.pki(), &tenant.user).await?;
        let started = Instant::now();
        let in_flight = usize::from(self.in_flight);
        use_keys(&lanes, &[tenant.key_id], self.transactions, in_flight).await?;
        figures.add("transactions", self.transactions, "");
        let rate = per_second(self.transactions, started.elapsed());
        figures.round("transactions a second, two of three nodes", rate, 0, "/s");

        let leader = cluster.leader().await?;
        let before = leader.status().await?;
        let snapshot = before.raft.snapshot_index.unwrap_or(0);
        let purged = before.raft.purged_index.unwrap_or(0);
        anyhow::ensure!(purged > 0, "nothing was purged");
        figures.add("Raft log index", before.applied(), "");
        figures.add("of it purged from the leader's log", purged, "");
        figures.add("of it in the newest snapshot", snapshot, "");
        figures.mib("snapshots of the leader", disk_bytes(&leader.data_dir().join("snapshots"))?);

        let started = Instant::now();
        late.start().await?;
        figures.ms("latecomer: to listening", started.elapsed());
        loop {
            let status = late.status().await?;
            if status.applied() >= before.applied() {
                let own = status.raft.snapshot_index.unwrap_or(0);
                figures.add("latecomer: index of its snapshot", own, "");
                anyhow::ensure!(own > 0, "it caught up without a snapshot: nothing was purged");
                break;
            }
            anyhow::ensure!(started.elapsed() < CATCH_UP, "it is at {}", status.applied());
            tokio::time::sleep(LOOK).await;
        }
        figures.ms("latecomer: start to caught up", started.elapsed());
        let served = last_share_to_serving(&cluster, late).await?;
        figures.ms("latecomer: last share to serving", served);
        cluster.equal_hashes().await?;
        figures.add("state hashes", "equal", "");
        memory(&mut figures, &cluster, "at the end")?;
        cluster.finish().await?;
        Ok(figures)
    }
}
