//! Load generator and measurements: real clusters, real processes, real TLS, on
//! loopback, all started and ended by it.
//!
//! `quick` and `full` hold the numbers to reach of the design's section 10 and
//! say how far each can be trusted; the others look at one thing. Each prints a
//! table, and with `--json FILE` writes the same figures there.

#![allow(clippy::print_stdout, reason = "prints what it measured")]
#![allow(clippy::disallowed_methods, reason = "measures time")]

mod client_load;
mod curve;
mod fill;
mod full;
mod keys;
mod latecomer;
mod measured;
mod outages;
mod quick;
mod report;
mod scale;
mod section_ten;
mod serving;
mod stand;
mod uses;

use std::{fs, path::PathBuf};

use clap::{Parser, Subcommand};

/// Measures clusters on this machine.
#[derive(Parser)]
#[command(name = "strongroom-bench", max_term_width = 100)]
struct Arguments {
    /// Write the figures to this file as JSON too
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The ratios of the design's section 10, in two minutes
    Quick(quick::Quick),
    /// These, curves, failover, rolling restart, a million keys
    Full(Box<full::Full>),
    /// Audited GenerateDataKey against a bare echo of the same messages
    Uses(uses::Uses),
    /// Many keys and audit records: memory, sizes, restart
    Fill(fill::Fill),
    /// A member first started after many transactions and a log purge
    Latecomer(latecomer::Latecomer),
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let json = arguments.json.as_deref();
    let (text, value) = match &arguments.what {
        What::Quick(quick) => quick.run().await.map(shown)?,
        What::Full(full) => full.run(json).await.map(shown)?,
        What::Uses(uses) => uses.run().await.map(listed)?,
        What::Fill(fill) => fill.run().await.map(listed)?,
        What::Latecomer(latecomer) => latecomer.run().await.map(listed)?,
    };
    print!("{text}");
    if let Some(path) = json {
        fs::write(path, serde_json::to_vec_pretty(&value)?)?;
    }
    Ok(())
}

fn shown(report: measured::Report) -> (String, serde_json::Value) {
    (report.to_string(), report.to_json())
}

fn listed(figures: report::Figures) -> (String, serde_json::Value) {
    (figures.to_string(), figures.to_json())
}
