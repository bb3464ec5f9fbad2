//! Audited uses of a key, held against a bare echo of the same messages.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use hdrhistogram::Histogram;
use strongroom_benches::{
    lanes::{Lanes, Server},
    load::{self, Call, Slice, Target},
    machine::{self, Tasks},
    rounds::{Round, Tolerance, Total, quantile},
};
use strongroom_testkit::{Cluster, Pki, Who};

use crate::report::Figures;

/// Writes of the disk probe.
const DISK_PROBES: u32 = 200;

#[derive(Args)]
pub(crate) struct Uses {
    /// Members of the cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    nodes: u64,
    /// Calls in flight, over all nodes
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=2048))]
    in_flight: u16,
    /// Connections to each node; the echo gets as many as all nodes together
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    connections: u16,
    /// Ask for this many data keys in one call, of the cluster only
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    batch: Option<u32>,
    /// Good rounds wanted
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Rounds at most, spoiled ones included
    #[arg(long, default_value_t = 60)]
    rounds_max: usize,
    /// Length of one slice, milliseconds
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(100..=60_000))]
    slice_ms: u64,
    /// Share of CPU time that may be stolen in a slice
    #[arg(long, default_value_t = 0.02)]
    stolen_max: f64,
    /// Share of CPU time that other processes may take in a slice
    #[arg(long, default_value_t = 0.20)]
    foreign_max: f64,
    /// Only load the cluster for so many seconds: for a profiler
    #[arg(long)]
    only_cluster_seconds: Option<u64>,
}

impl Uses {
    pub(crate) async fn run(&self) -> anyhow::Result<Figures> {
        let cluster = Cluster::builder("uses").nodes(self.nodes).direct_links().serving().await?;
        let tenant = cluster.tenant().await?;
        let servers = cluster
            .nodes()
            .iter()
            .map(|node| Ok(Server { node: node.id, address: node.client_address()? }))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let processes =
            cluster.nodes().iter().map(|node| node.pid()).collect::<anyhow::Result<Vec<_>>>()?;
        let each = usize::from(self.connections);
        let lanes = Lanes::connect(&servers, each, cluster.pki(), &tenant.user).await?;
        let call = self.batch.map_or(Call::DataKey, Call::DataKeys);
        let target = Target { lanes: &lanes, key_id: &tenant.key_id, call, servers: &processes };
        println!("nodes: {}", processes.iter().map(u32::to_string).collect::<Vec<_>>().join(","));

        if let Some(seconds) = self.only_cluster_seconds {
            let figures = self.only_cluster(&target, seconds).await?;
            cluster.finish().await?;
            return Ok(figures);
        }

        let echo = Echo::start(cluster.pki())?;
        let echo_lanes =
            Lanes::connect(&[echo.server()], lanes.count(), cluster.pki(), &tenant.user).await?;
        let echo_process = [echo.process.id()];
        let limit = Target {
            lanes: &echo_lanes,
            key_id: &tenant.key_id,
            call: Call::DataKey,
            servers: &echo_process,
        };
        let rounds = self.rounds(&limit, &target).await?;
        let leader = cluster.leader().await?.id;
        let fdatasync = machine::fdatasync_us(cluster.folder(), DISK_PROBES)?;
        cluster.finish().await?;
        self.figures(&rounds, leader, &fdatasync)
    }

    /// Slices in turn, until enough rounds are good.
    async fn rounds(&self, limit: &Target<'_>, target: &Target<'_>) -> anyhow::Result<Vec<Round>> {
        let (in_flight, length) =
            (usize::from(self.in_flight), Duration::from_millis(self.slice_ms));
        // Caches, code and clock speeds of both, not counted.
        load::slice(limit, in_flight, length).await?;
        load::slice(target, in_flight, length).await?;
        let tolerance = self.tolerance();
        let mut rounds: Vec<Round> = Vec::new();
        let mut before = load::slice(limit, in_flight, length).await?;
        let mut good = 0;
        while good < self.rounds && rounds.len() < self.rounds_max {
            let cluster = load::slice(target, in_flight, length).await?;
            let after = load::slice(limit, in_flight, length).await?;
            let round = Round { before, cluster, after: after.clone() };
            good += usize::from(!round.is_spoiled(&tolerance));
            rounds.push(round);
            before = after;
        }
        Ok(rounds)
    }

    fn tolerance(&self) -> Tolerance {
        Tolerance { stolen_max: self.stolen_max, foreign_max: self.foreign_max }
    }

    fn figures(
        &self,
        rounds: &[Round],
        leader: u64,
        fdatasync: &Histogram<u64>,
    ) -> anyhow::Result<Figures> {
        let mut figures = Figures::default();
        figures.add("nodes", self.nodes, "");
        figures.add("leader at the end", leader, "");
        figures.add("calls in flight", self.in_flight, "");
        figures.add("connections to each node", self.connections, "");
        figures.add("data keys a call", self.batch.unwrap_or(1), "");
        let tolerance = self.tolerance();
        let good: Vec<_> = rounds.iter().filter(|round| !round.is_spoiled(&tolerance)).collect();
        figures.add("rounds kept", good.len(), "");
        figures.add("rounds thrown away", rounds.len() - good.len(), "");
        let slices = |of: fn(&Slice) -> f64| {
            let mut shares: Vec<_> = rounds.iter().map(|round| of(&round.cluster)).collect();
            shares.sort_by(f64::total_cmp);
            100.0 * quantile(&shares, 0.5)
        };
        figures.round("stolen, median of all slices", slices(|slice| slice.stolen), 1, "%");
        figures.round("foreign, median of all slices", slices(|slice| slice.foreign), 1, "%");
        anyhow::ensure!(!good.is_empty(), "every round was spoiled:\n{figures}");

        let mut ratios: Vec<_> = good.iter().map(|round| round.ratio()).collect();
        ratios.sort_by(f64::total_cmp);
        for (name, share) in [("median", 0.5), ("lower quartile", 0.25), ("upper quartile", 0.75)] {
            figures.round(format!("of echo, {name}"), quantile(&ratios, share), 3, "x");
        }
        let echo = Total::of(good.iter().flat_map(|round| [&round.before, &round.after]));
        let cluster = Total::of(good.iter().map(|round| &round.cluster));
        total(&mut figures, "echo", &echo);
        total(&mut figures, "cluster", &cluster);
        let cpu =
            cluster.server_cpu_per_call.as_secs_f64() / echo.server_cpu_per_call.as_secs_f64();
        figures.round("server CPU a call, of echo's", cpu, 2, "x");
        figures.add("fdatasync of 4 KiB, p50", fdatasync.value_at_quantile(0.5), "us");
        figures.add("fdatasync of 4 KiB, p99", fdatasync.value_at_quantile(0.99), "us");
        Ok(figures)
    }

    /// Load without echo, with the CPU time of the nodes' threads.
    async fn only_cluster(&self, target: &Target<'_>, seconds: u64) -> anyhow::Result<Figures> {
        let before = Tasks::of_all(target.servers)?;
        let length = Duration::from_secs(seconds);
        let slice = load::slice(target, usize::from(self.in_flight), length).await?;
        let after = Tasks::of_all(target.servers)?;
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

fn total(figures: &mut Figures, name: &str, total: &Total) {
    figures.round(format!("{name}, calls a second, median"), quantile(&total.rates, 0.5), 0, "/s");
    for (quantile, label) in [(0.5, "p50"), (0.99, "p99"), (0.999, "p99.9")] {
        let latency = total.latency_us.value_at_quantile(quantile);
        figures.add(format!("{name}, latency {label}"), latency, "us");
    }
    let micros = |cpu: Duration| cpu.as_secs_f64() * 1e6;
    figures.round(format!("{name}, server CPU a call"), micros(total.server_cpu_per_call), 1, "us");
    figures.round(format!("{name}, client CPU a call"), micros(total.client_cpu_per_call), 1, "us");
    figures.add(format!("{name}, calls refused"), total.refused, "");
}

/// The echo's process; it dies with this value.
struct Echo {
    process: Child,
    address: SocketAddr,
}

impl Echo {
    /// Starts the program beside this one, with the certificate of node 1.
    fn start(pki: &Pki) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let program = own.with_file_name("strongroom-echo");
        let files = pki.files(Who::Node(1));
        let mut process = Command::new(&program)
            .arg("--cert")
            .arg(files.cert)
            .arg("--key")
            .arg(files.key)
            .arg("--ca")
            .arg(pki.ca_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start {}", program.display()))?;
        let mut line = String::new();
        let out = process.stdout.take().context("its output is a pipe")?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening ").context("the echo did not start")?;
        let address = address.parse()?;
        Ok(Self { process, address })
    }

    fn server(&self) -> Server {
        Server { node: 1, address: self.address }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Fails only for a process that is gone already.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}
