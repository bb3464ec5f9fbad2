//! A million keys and ten million audit events: throughput against a thousand
//! keys, memory, and the time to serve again.

use std::time::{Duration, Instant};

use clap::Args;
use strongroom_benches::{
    draw::{Comparison, Kept, draw},
    lanes::Lanes,
    load::{Call, per_second},
    stats::Estimate,
};
use strongroom_testkit::{Cluster, Tenant};

use crate::{
    keys::{make_keys, use_keys},
    measured::{Goal, Measured, Report},
    section_ten::{Slices, total},
    serving::{memory, restart_all, restart_one, sizes},
    stand::{Stand, servers},
};

/// Keys to which more are held against.
const FEW: u64 = 1000;
/// Calls in flight of the comparison.
const IN_FLIGHT: usize = 256;
/// Calls in flight while keys and records are made.
const FILLING: usize = 512;

#[derive(Args, Clone, Copy)]
pub(crate) struct Scale {
    /// Keys to make
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1001..))]
    keys: u64,
    /// Audit events to reach, those of the keys included
    #[arg(long, default_value_t = 10_000_000)]
    records: u64,
    /// Seconds of slices with few and with many keys, each
    #[arg(long, default_value_t = 60)]
    scale_seconds: u64,
}

impl Scale {
    pub(crate) async fn run(&self, report: &mut Report, slices: &Slices) -> anyhow::Result<()> {
        let cluster = Cluster::builder("scale").direct_links().serving().await?;
        let tenant = cluster.tenant().await?;
        let mut stand = Stand::of(&cluster, slices.connections).await?;
        memory(&mut report.figures, &cluster, "empty")?;

        let lanes = self.lanes(&cluster, slices, &tenant.administrator).await?;
        let few = make_keys(&lanes, 0..FEW, FILLING).await?;
        stand.use_keys(few.clone().into());
        let with_few = self.slices(&stand, slices).await?;
        let started = Instant::now();
        let mut keys = make_keys(&lanes, FEW..self.keys, FILLING).await?;
        let rate = per_second(self.keys - FEW, started.elapsed());
        report.figures.round("keys made a second", rate, 0, "/s");
        keys.extend(few);
        stand.use_keys(keys.as_slice().into());
        let with_many = self.slices(&stand, slices).await?;
        self.compare(report, &with_few, &with_many);

        self.fill(report, &cluster, slices, &tenant, &keys).await?;
        self.costs(report, &cluster).await?;
        cluster.finish().await
    }

    async fn lanes(
        &self,
        cluster: &Cluster,
        slices: &Slices,
        token: &str,
    ) -> anyhow::Result<Lanes> {
        let each = usize::from(slices.connections);
        Lanes::connect(&servers(cluster.nodes())?, each, cluster.pki(), token).await
    }

    async fn slices(&self, stand: &Stand, slices: &Slices) -> anyhow::Result<Kept> {
        let mut comparisons = [Comparison::new(stand.target(Call::DataKey), IN_FLIGHT)];
        let until = Instant::now() + Duration::from_secs(self.scale_seconds);
        draw(&stand.limit(), &mut comparisons, &slices.wanted(), until).await?;
        Ok(comparisons[0].kept(&slices.tolerance()))
    }

    /// Both are held against the echo of their own time, then against each other.
    fn compare(&self, report: &mut Report, few: &Kept, many: &Kept) {
        report.measured.push(
            Measured::new(
                "million_keys_over_thousand",
                "throughput with a million keys, of that with a thousand",
                "x",
            )
            .of_both(few, many, many.ratios().over(&few.ratios()))
            .with_goal(Goal::AtLeast(0.9, 0.98))
            .with_note(format!(
                "{} keys against {FEW}, {IN_FLIGHT} in flight, each call a random one of them",
                self.keys
            )),
        );
        total(&mut report.figures, "a thousand keys", &few.subject());
        total(&mut report.figures, "a million keys", &many.subject());
    }

    /// Uses keys in turn until there are enough records.
    async fn fill(
        &self,
        report: &mut Report,
        cluster: &Cluster,
        slices: &Slices,
        tenant: &Tenant,
        keys: &[String],
    ) -> anyhow::Result<()> {
        let lanes = self.lanes(cluster, slices, &tenant.user).await?;
        let records = cluster.leader().await?.status().await?.audit.size;
        let uses = self.records.saturating_sub(records);
        let started = Instant::now();
        use_keys(&lanes, keys, uses, FILLING).await?;
        let rate = per_second(uses, started.elapsed());
        report.figures.round("uses a second while filling", rate, 0, "/s");
        cluster.caught_up().await?;
        Ok(())
    }

    /// Memory, disk, and the time to serve after a restart.
    async fn costs(&self, report: &mut Report, cluster: &Cluster) -> anyhow::Result<()> {
        let mut resident = 0;
        for node in cluster.nodes() {
            resident = resident.max(node.resident_bytes()?);
        }
        let records = cluster.leader().await?.status().await?.audit.size;
        let mib = f64::from(u32::try_from(resident >> 10).unwrap_or(u32::MAX)) / 1024.0;
        let once = |value| Some(Estimate { value, spread: None });
        report.measured.push(
            Measured::new("resident_mib", "resident memory, the largest node", "MiB")
                .of_runs(1, once(mib))
                .with_goal(Goal::AtMost(512.0, 256.0))
                .with_note(format!("{} keys, {records} audit events", self.keys)),
        );
        let figures = &mut report.figures;
        memory(figures, cluster, "filled")?;
        sizes(figures, cluster).await?;
        restart_one(figures, cluster).await?;
        let served = restart_all(figures, cluster).await?;
        memory(figures, cluster, "after the restart")?;
        report.measured.push(
            Measured::new("start_to_serving_ms", "all killed: last share to all serving", "ms")
                .of_runs(1, once(served.as_secs_f64() * 1000.0))
                .with_goal(Goal::AtMost(2000.0, 500.0))
                .with_note(format!("{} keys, three nodes at once on one machine", self.keys)),
        );
        Ok(())
    }
}
