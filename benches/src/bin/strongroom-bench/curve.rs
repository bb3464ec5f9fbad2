//! Throughput and latency against load, as pictures and as numbers.
//!
//! Throughput is taken in the closed loop, by calls in flight; latency in the
//! open loop, by calls offered a second, up to what the closed loop reached.

use std::{fs, path::Path, time::Duration};

use clap::Args;
use serde_json::{Value, json};
use strongroom_benches::{
    load::{Call, Slice, Target, closed, open, quantile_ms},
    plot::{Axis, Plot, Scale, Series},
    rounds::Tolerance,
};
use strongroom_testkit::Cluster;

use crate::{section_ten::Slices, stand::Stand};

/// Calls in flight of the closed loop.
const IN_FLIGHT: [u32; 6] = [1, 4, 16, 64, 256, 1024];
/// Calls offered of the open loop, as parts of the highest throughput.
const OFFERED: [f64; 8] = [0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1.0];
/// Slices for one point until one of them is good.
const ATTEMPTS: u64 = 4;

#[derive(Args, Clone, Copy)]
pub(crate) struct Curve {
    /// Members of the cluster whose curves are drawn
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=9))]
    curve_nodes: u64,
    /// Length of the slice of one point, milliseconds
    #[arg(long, default_value_t = 2000, value_parser = clap::value_parser!(u64).range(200..=60_000))]
    point_ms: u64,
}

impl Curve {
    /// Writes `throughput.svg` and `latency.svg` into `folder`, which is made.
    /// Gives the points.
    pub(crate) async fn run(&self, slices: &Slices, folder: &Path) -> anyhow::Result<Value> {
        let cluster =
            Cluster::builder("curve").nodes(self.curve_nodes).direct_links().serving().await?;
        let stand = Stand::of(&cluster, slices.connections).await?;
        let name = match self.curve_nodes {
            1 => "one node".to_owned(),
            nodes => format!("{nodes} nodes"),
        };
        let mut points = Points { tolerance: slices.tolerance(), thrown: 0, refused: Vec::new() };
        let length = Duration::from_millis(self.point_ms);
        let mut throughput = Vec::new();
        let mut latency = Vec::new();
        for (name, target) in
            [("echo", stand.limit()), (name.as_str(), stand.target(Call::DataKey))]
        {
            let closed = points.throughput(&target, length).await?;
            let highest = closed.iter().map(|point| point.1).fold(0.0, f64::max);
            throughput.push(Series { name: name.to_owned(), points: closed });
            latency.extend(points.latency(&target, name, highest, length).await?);
        }
        cluster.finish().await?;
        let (throughput, latency) = (throughput_plot(throughput), latency_plot(latency));
        fs::create_dir_all(folder)?;
        fs::write(folder.join("throughput.svg"), throughput.to_svg())?;
        fs::write(folder.join("latency.svg"), latency.to_svg())?;
        Ok(json!({
            "throughput": numbers(&throughput),
            "latency": numbers(&latency),
            "refused": points.refused,
            "slices_thrown_away": points.thrown,
        }))
    }
}

/// Takes points.
struct Points {
    tolerance: Tolerance,
    /// Slices that were spoiled.
    thrown: u32,
    /// Calls of the open loop that were refused, where there were any.
    refused: Vec<Value>,
}

impl Points {
    async fn throughput(
        &mut self,
        target: &Target<'_>,
        length: Duration,
    ) -> anyhow::Result<Vec<(f64, f64)>> {
        let mut points = Vec::new();
        for in_flight in IN_FLIGHT {
            for _ in 0..ATTEMPTS {
                let slice = closed::slice(target, in_flight as usize, length).await?;
                if self.is_good(&slice) {
                    points.push((f64::from(in_flight), slice.rate()));
                    break;
                }
            }
        }
        Ok(points)
    }

    /// Two series: p50 and p99 by calls offered. Calls that are refused have no
    /// latency and are counted beside the points.
    async fn latency(
        &mut self,
        target: &Target<'_>,
        name: &str,
        highest: f64,
        length: Duration,
    ) -> anyhow::Result<[Series; 2]> {
        let series = |quantile| Series { name: format!("{name}, {quantile}"), points: Vec::new() };
        let mut both = [series("p50"), series("p99")];
        for rate in OFFERED.map(|part| part * highest).into_iter().filter(|rate| *rate > 0.0) {
            for attempt in 0..ATTEMPTS {
                let slice = open::slice(target, rate, length, attempt).await?;
                if self.is_good(&slice) {
                    if !slice.refused.is_empty() {
                        let refused = &slice.refused;
                        let refused = json!({ "name": name, "offered": rate, "calls": refused });
                        self.refused.push(refused);
                    }
                    for (series, quantile) in both.iter_mut().zip([0.5, 0.99]) {
                        series.points.push((rate, quantile_ms(&slice.latency_us, quantile)));
                    }
                    break;
                }
            }
        }
        Ok(both)
    }

    fn is_good(&mut self, slice: &Slice) -> bool {
        let good = self.tolerance.spoiler(slice).is_none();
        self.thrown += u32::from(!good);
        good
    }
}

fn throughput_plot(series: Vec<Series>) -> Plot {
    Plot {
        title: "Audited GenerateDataKey: throughput against load".to_owned(),
        x: Axis { label: "calls in flight (closed loop)", scale: Scale::Logarithmic },
        y: Axis { label: "calls a second", scale: Scale::Linear },
        series,
    }
}

fn latency_plot(series: Vec<Series>) -> Plot {
    Plot {
        title: "Audited GenerateDataKey: latency against load".to_owned(),
        x: Axis { label: "calls offered a second (open loop)", scale: Scale::Logarithmic },
        y: Axis { label: "ms since the call was meant to be made", scale: Scale::Logarithmic },
        series,
    }
}

fn numbers(plot: &Plot) -> Value {
    let series = |series: &Series| json!({ "name": series.name, "points": series.points });
    json!({
        "x": plot.x.label,
        "y": plot.y.label,
        "series": plot.series.iter().map(series).collect::<Vec<_>>(),
    })
}
