//! Audited uses of a key, held against a bare echo of the same messages.

use std::time::{Duration, Instant};

use clap::Args;
use strongroom_benches::{
    draw::{Comparison, Kept, draw},
    load::{Call, closed, quantile_ms},
    machine::Tasks,
    rounds::Total,
};
use strongroom_testkit::Cluster;

use crate::{
    report::Figures,
    section_ten::{Slices, total},
    stand::Stand,
};

#[derive(Args)]
pub(crate) struct Uses {
    /// Members of the cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// Calls in flight, over all nodes
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=2048))]
    in_flight: u16,
    /// Ask for this many data keys in one call, of the cluster only
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    batch: Option<u32>,
    /// Seconds at most, after the start of the cluster
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only load the cluster for so many seconds: for a profiler
    #[arg(long)]
    only_cluster_seconds: Option<u64>,
    #[command(flatten)]
    slices: Slices,
}

impl Uses {
    pub(crate) async fn run(&self) -> anyhow::Result<Figures> {
        let cluster = Cluster::builder("uses").nodes(self.nodes).direct_links().serving().await?;
        let stand = Stand::of(&cluster, self.slices.connections).await?;
        let processes: Vec<_> = stand.processes().iter().map(u32::to_string).collect();
        println!("nodes: {}", processes.join(","));
        let figures = match self.only_cluster_seconds {
            Some(seconds) => self.only_cluster(&stand, seconds).await?,
            None => self.against_echo(&cluster, &stand).await?,
        };
        cluster.finish().await?;
        Ok(figures)
    }

    fn call(&self) -> Call {
        self.batch.map_or(Call::DataKey, Call::DataKeys)
    }

    async fn against_echo(&self, cluster: &Cluster, stand: &Stand) -> anyhow::Result<Figures> {
        let subject = stand.target(self.call());
        let in_flight = usize::from(self.in_flight);
        let mut comparisons = [Comparison::new(subject, in_flight).with_probe(cluster.folder())];
        let until = Instant::now() + Duration::from_secs(self.seconds);
        draw(&stand.limit(), &mut comparisons, &self.slices.wanted(), until).await?;
        let leader = cluster.leader().await?.id;
        let [comparison] = comparisons;
        let kept = comparison.kept(&self.slices.tolerance());
        Ok(self.figures(&kept, leader))
    }

    fn figures(&self, kept: &Kept, leader: u64) -> Figures {
        let mut figures = Figures::default();
        figures.add("nodes", self.nodes, "");
        figures.add("leader at the end", leader, "");
        figures.add("calls in flight", self.in_flight, "");
        figures.add("connections to each node", self.slices.connections, "");
        figures.add("data keys a call", self.batch.unwrap_or(1), "");
        figures.add("rounds kept", kept.len(), "");
        figures.add("rounds thrown away, stolen", kept.thrown.stolen, "");
        figures.add("rounds thrown away, foreign", kept.thrown.foreign, "");
        figures.round("stolen, median of all slices", 100.0 * kept.stolen.median(), 1, "%");
        figures.round("foreign, median of all slices", 100.0 * kept.foreign.median(), 1, "%");
        let ratios = kept.ratios();
        for (name, share) in [("median", 0.5), ("lower quartile", 0.25), ("upper quartile", 0.75)] {
            figures.round(
                format!("data keys/s of echo's calls/s, {name}"),
                ratios.quantile(share),
                3,
                "x",
            );
        }
        total(&mut figures, "echo", &kept.echo());
        total(&mut figures, "cluster", &kept.subject());
        let corrected = kept.corrected_us(usize::from(self.in_flight));
        figures.round("cluster: latency p99, corrected", quantile_ms(&corrected, 0.99), 2, "ms");
        figures.round("server CPU a call, of echo's", kept.server_cpu().median(), 2, "x");
        figures.round("fdatasync of 4 KiB, p50", kept.fdatasync_ms().median(), 2, "ms");
        figures
    }

    /// Load without echo, with the CPU time of the nodes' threads.
    async fn only_cluster(&self, stand: &Stand, seconds: u64) -> anyhow::Result<Figures> {
        let before = Tasks::of_all(stand.processes())?;
        let length = Duration::from_secs(seconds);
        let target = stand.target(self.call());
        let slice = closed::slice(&target, usize::from(self.in_flight), length).await?;
        let after = Tasks::of_all(stand.processes())?;
        let mut figures = Figures::default();
        total(&mut figures, "cluster", &Total::of([&slice]));
        for (refusal, count) in &slice.refused {
            figures.add(format!("refused: {refusal}"), *count, "");
        }
        figures.round("stolen", 100.0 * slice.stolen, 1, "%");
        figures.round("foreign", 100.0 * slice.foreign, 1, "%");
        let all = after.since(&before);
        let sum: Duration = all.iter().map(|(_, cpu)| *cpu).sum();
        for (name, cpu) in all {
            let share = 100.0 * cpu.as_secs_f64() / sum.as_secs_f64();
            figures.round(format!("CPU of threads {name}"), share, 1, "%");
        }
        Ok(figures)
    }
}
