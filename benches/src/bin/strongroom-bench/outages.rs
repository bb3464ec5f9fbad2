//! What callers see of a leader that is killed, and of a rolling restart.

use std::time::Duration;

use clap::Args;
use strongroom_benches::stats::{Estimate, Sample};
use strongroom_testkit::Cluster;

use crate::{
    client_load::{ClientLoad, PATH},
    measured::{Goal, Measured, Report},
};

/// Results between two events: everything flows again.
const CALM: u64 = 500;
/// Everything flows again within this, or the run fails.
const RECOVERY: Duration = Duration::from_secs(60);
/// A clean end takes this long at most.
const SHUTDOWN: Duration = Duration::from_secs(20);

#[derive(Args, Clone, Copy)]
pub(crate) struct Outages {
    /// Times that the leader is killed
    #[arg(long, default_value_t = 9)]
    kills: u32,
    /// Rolling restarts of all nodes
    #[arg(long, default_value_t = 3)]
    rolls: u32,
    /// Callers meanwhile
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    callers: u16,
}

impl Outages {
    pub(crate) async fn run(&self, report: &mut Report) -> anyhow::Result<()> {
        let cluster = Cluster::builder("outages").direct_links().fixed_ports().serving().await?;
        self.kill_leaders(report, &cluster).await?;
        self.restart_in_turn(report, &cluster).await?;
        cluster.finish().await
    }

    /// Kills the leader again and again; the killed node comes back each time.
    async fn kill_leaders(&self, report: &mut Report, cluster: &Cluster) -> anyhow::Result<()> {
        let tenant = cluster.tenant().await?;
        let load = ClientLoad::start(cluster, &tenant, usize::from(self.callers))?;
        let mut silences = Vec::new();
        for _ in 0..self.kills {
            load.progress(CALM, RECOVERY).await?;
            let leader = cluster.leader().await?;
            load.listen();
            leader.kill()?;
            load.progress(CALM, RECOVERY).await?;
            cluster.leader().await?;
            load.progress(CALM, RECOVERY).await?;
            silences.push(load.longest_silence().as_secs_f64() * 1000.0);
            cluster.revive(&leader).await?;
        }
        let (succeeded, failed) = load.stop().await?;
        let silences = Sample::new(silences);
        report.measured.push(
            Measured::new("failover_silence_ms", "leader killed: time without a success", "ms")
                .of_runs(silences.len(), silences.estimate())
                .with_goal(Goal::AtMost(2000.0, 700.0))
                .with_note(PATH),
        );
        let figures = &mut report.figures;
        figures.round("leader killed: shortest silence", silences.quantile(0.0), 0, "ms");
        figures.round("leader killed: longest silence", silences.quantile(1.0), 0, "ms");
        figures.add("leader killed: calls that succeeded", succeeded, "");
        figures.add("leader killed: calls that failed for good", failed.values().sum::<u64>(), "");
        Ok(())
    }

    /// Ends each node cleanly, starts and unseals it, then the next, as an
    /// operator does for a new version.
    async fn restart_in_turn(&self, report: &mut Report, cluster: &Cluster) -> anyhow::Result<()> {
        let tenant = cluster.tenant().await?;
        let load = ClientLoad::start(cluster, &tenant, usize::from(self.callers))?;
        load.progress(CALM, RECOVERY).await?;
        load.listen();
        let mut most = 0;
        for _ in 0..self.rolls {
            let before = load.failed();
            for node in cluster.nodes() {
                node.stop(SHUTDOWN).await?;
                node.start().await?;
                cluster.unseal(node).await?;
                load.progress(CALM, RECOVERY).await?;
            }
            most = most.max(load.failed() - before);
        }
        let silence = load.longest_silence();
        let (succeeded, failed) = load.stop().await?;
        let value = f64::from(u32::try_from(most).unwrap_or(u32::MAX));
        let runs = self.rolls as usize;
        report.measured.push(
            Measured::new(
                "rolling_restart_failed_calls",
                "calls failed by a rolling restart, the worst of them",
                "",
            )
            .of_runs(runs, (runs > 0).then_some(Estimate { value, spread: None }))
            .with_goal(Goal::AtMost(0.0, 0.0))
            .with_note(PATH),
        );
        let figures = &mut report.figures;
        figures.add("rolling restarts: calls that succeeded", succeeded, "");
        for (reason, count) in failed {
            figures.add(format!("rolling restarts: calls that failed, {reason}"), count, "");
        }
        figures.ms("rolling restarts: longest silence", silence);
        Ok(())
    }
}
