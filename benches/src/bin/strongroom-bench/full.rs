//! Everything: the ratios, curves, outages, scale. Takes hours on a small
//! machine, most of it for ten million audit events.

use std::{
    env, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Args, ValueEnum};
use strongroom_benches::origin::Origin;

use crate::{
    curve::Curve,
    measured::Report,
    outages::Outages,
    scale::Scale,
    section_ten::{self, Slices},
};

#[derive(Args)]
pub(crate) struct Full {
    /// Only these parts [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Seconds for the ratios of short slices
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(20..=36_000))]
    seconds: u64,
    /// Folder for the pictures, which is made
    #[arg(long, default_value = "target/bench")]
    plots: PathBuf,
    #[command(flatten)]
    slices: Slices,
    #[command(flatten)]
    curve: Curve,
    #[command(flatten)]
    outages: Outages,
    #[command(flatten)]
    scale: Scale,
}

/// Parts of the run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Ratios to the echo and lone calls, as `quick` takes them
    Ratios,
    /// Throughput and latency against load, as pictures
    Curves,
    /// The leader killed, rolling restarts
    Outages,
    /// Many keys and audit events
    Scale,
}

impl Full {
    /// A part that fails is said at the end and takes none of the others with
    /// it; after each, what there is so far goes to `json`.
    pub(crate) async fn run(&self, json: Option<&Path>) -> anyhow::Result<Report> {
        let mut report = Report::new(Origin::find(&env::temp_dir()));
        for part in Part::value_variants() {
            if !self.only.is_empty() && !self.only.contains(part) {
                continue;
            }
            println!("==> {part:?}");
            if let Err(error) = self.part(*part, &mut report).await {
                println!("    failed: {error:#}");
                report.failed.push(format!("{part:?}: {error:#}"));
            }
            if let Some(path) = json {
                fs::write(path, serde_json::to_vec_pretty(&report.to_json())?)?;
            }
        }
        Ok(report)
    }

    async fn part(&self, part: Part, report: &mut Report) -> anyhow::Result<()> {
        match part {
            Part::Ratios => {
                let time = Duration::from_secs(self.seconds);
                section_ten::measure(report, &self.slices, time).await
            }
            Part::Curves => {
                report.curves = Some(self.curve.run(&self.slices, &self.plots).await?);
                Ok(())
            }
            Part::Outages => self.outages.run(report).await,
            Part::Scale => self.scale.run(report, &self.slices).await,
        }
    }
}
