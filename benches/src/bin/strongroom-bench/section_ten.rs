//! The numbers to reach of the design's section 10 that short slices can tell:
//! ratios to the echo and latencies of lone calls, on three nodes and on one.

use std::time::{Duration, Instant};

use clap::Args;
use strongroom_benches::{
    draw::{Comparison, Kept, Wanted, draw},
    load::{Call, quantile_ms},
    rounds::{Tolerance, Total},
};
use strongroom_testkit::Cluster;

use crate::{
    measured::{Goal, Measured, Report},
    report::Figures,
    stand::Stand,
};

/// Data keys a call, where a call asks for many.
const BATCH: u32 = 100;
/// Part of the time for three nodes, their start included.
const THREE_NODES: f64 = 0.66;
/// Ending a cluster, and the report.
const END: Duration = Duration::from_secs(3);

#[derive(Args, Clone, Copy)]
pub(crate) struct Slices {
    /// Length of one slice, milliseconds
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    slice_ms: u64,
    /// Good rounds of each figure that are enough
    #[arg(long, default_value_t = 60)]
    rounds: usize,
    /// Share of CPU time that may be stolen in a slice
    #[arg(long, default_value_t = Tolerance::default().stolen_max)]
    stolen_max: f64,
    /// Share of CPU time that other processes may take in a slice
    #[arg(long, default_value_t = Tolerance::default().foreign_max)]
    foreign_max: f64,
    /// Connections to each node; the echo gets as many as all nodes together
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) connections: u16,
}

impl Slices {
    pub(crate) fn wanted(&self) -> Wanted {
        Wanted {
            slice: Duration::from_millis(self.slice_ms),
            rounds: self.rounds,
            tolerance: self.tolerance(),
        }
    }

    pub(crate) fn tolerance(&self) -> Tolerance {
        Tolerance { stolen_max: self.stolen_max, foreign_max: self.foreign_max }
    }
}

/// Measures for `time`, starts and ends of the clusters included.
pub(crate) async fn measure(
    report: &mut Report,
    slices: &Slices,
    time: Duration,
) -> anyhow::Result<()> {
    let started = Instant::now();
    three_nodes(report, slices, started + time.mul_f64(THREE_NODES)).await?;
    one_node(report, slices, started + time.saturating_sub(END)).await
}

async fn three_nodes(report: &mut Report, slices: &Slices, until: Instant) -> anyhow::Result<()> {
    let cluster = Cluster::builder("three").nodes(3).direct_links().serving().await?;
    let stand = Stand::of(&cluster, slices.connections).await?;
    let single = |in_flight| Comparison::new(stand.target(Call::DataKey), in_flight);
    let mut comparisons = [
        single(64),
        Comparison::new(stand.target(Call::DataKeys(BATCH)), 64),
        single(256),
        single(1).with_probe(cluster.folder()),
    ];
    draw(&stand.limit(), &mut comparisons, &slices.wanted(), until).await?;
    let [at_64, batch, at_256, lone] = comparisons.map(|one| one.kept(&slices.tolerance()));
    cluster.finish().await?;

    report.measured.extend([
        Measured::new("three_nodes_64_over_echo", "three nodes, 64 in flight, of echo", "x")
            .of(&at_64, &at_64.ratios())
            .with_goal(Goal::AtLeast(0.30, 0.60)),
        Measured::new("three_nodes_256_over_echo", "three nodes, 256 in flight, of echo", "x")
            .of(&at_256, &at_256.ratios())
            .with_goal(Goal::AtLeast(0.45, 0.75)),
        Measured::new(
            "server_cpu_three_nodes_over_echo",
            "server CPU a use, three nodes, 256 in flight, of echo's",
            "x",
        )
        .of(&at_256, &at_256.server_cpu())
        .with_goal(Goal::AtMost(2.0, 1.3)),
        Measured::new(
            "batch_keys_over_echo",
            "data keys/s in calls for 100, three nodes, of echo's calls/s",
            "x",
        )
        .of(&batch, &batch.ratios())
        .with_goal(Goal::AtLeast(4.0, 8.0)),
        Measured::new("lone_latency_three_nodes_ms", "lone use, three nodes, p50", "ms")
            .of(&lone, &lone.p50_ms())
            .with_goal(lone_goal(&lone, 3.0, [1.0, 0.4])),
    ]);
    let figures = &mut report.figures;
    total(figures, "echo, 64 in flight", &at_64.echo());
    total(figures, "three nodes, 64 in flight", &at_64.subject());
    total(figures, "echo, 256 in flight", &at_256.echo());
    total(figures, "three nodes, 256 in flight", &at_256.subject());
    total(figures, "three nodes, 64 calls for 100 data keys", &batch.subject());
    Ok(())
}

async fn one_node(report: &mut Report, slices: &Slices, until: Instant) -> anyhow::Result<()> {
    let cluster = Cluster::builder("one").nodes(1).direct_links().serving().await?;
    let stand = Stand::of(&cluster, slices.connections).await?;
    let single = |in_flight| Comparison::new(stand.target(Call::DataKey), in_flight);
    let mut comparisons = [single(64), single(1).with_probe(cluster.folder())];
    draw(&stand.limit(), &mut comparisons, &slices.wanted(), until).await?;
    let [at_64, lone] = comparisons.map(|one| one.kept(&slices.tolerance()));
    cluster.finish().await?;

    report.measured.extend([
        Measured::new("one_node_64_over_echo", "one node, 64 in flight, of echo", "x")
            .of(&at_64, &at_64.ratios())
            .with_goal(Goal::AtLeast(0.60, 0.80)),
        Measured::new("lone_latency_ms", "lone use, one node, p50", "ms")
            .of(&lone, &lone.p50_ms())
            .with_goal(lone_goal(&lone, 2.0, [0.5, 0.2])),
        Measured::new("echo_p50_ms", "lone call of the echo, p50", "ms")
            .of(&lone, &lone.echo_p50_ms()),
        Measured::new("fdatasync_p50_ms", "4 KiB and fdatasync, p50", "ms")
            .of(&lone, &lone.fdatasync_ms()),
    ]);
    total(&mut report.figures, "one node, 64 in flight", &at_64.subject());
    Ok(())
}

/// A lone use may take the echo's time, so many syncs, and some milliseconds.
fn lone_goal(lone: &Kept, syncs: f64, more_ms: [f64; 2]) -> Goal {
    let least = lone.echo_p50_ms().median() + syncs * lone.fdatasync_ms().median();
    let [first, then] = more_ms.map(|more| least + more);
    Goal::AtMost(first, then)
}

/// Absolute figures of some slices.
pub(crate) fn total(figures: &mut Figures, name: &str, total: &Total) {
    let micros = |cpu: Duration| cpu.as_secs_f64() * 1e6;
    figures.round(format!("{name}: calls a second"), total.rates.median(), 0, "/s");
    for (quantile, label) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
        let latency = quantile_ms(&total.latency_us, quantile);
        figures.round(format!("{name}: latency {label}"), latency, 2, "ms");
    }
    figures.round(format!("{name}: server CPU a call"), micros(total.server_cpu_per_call), 1, "us");
    figures.round(format!("{name}: client CPU a call"), micros(total.client_cpu_per_call), 1, "us");
    figures.add(format!("{name}: calls refused"), total.refused, "");
}
