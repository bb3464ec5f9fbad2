//! A minimal load generator: real clusters, real processes, real TLS, on
//! loopback, all started and ended by it.
//!
//! Prints a table, and with `--json FILE` writes the same figures there.

#![allow(clippy::print_stdout, reason = "prints what it measured")]
#![allow(clippy::disallowed_methods, reason = "measures time")]

mod fill;
mod latecomer;
mod report;
mod uses;

use std::{fs, path::PathBuf};

use clap::{Parser, Subcommand};

/// Measures clusters on this machine.
#[derive(Parser)]
#[command(name = "strongroom-load", max_term_width = 100)]
struct Arguments {
    /// Write the figures to this file as JSON too
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
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
    let figures = match &arguments.what {
        What::Uses(uses) => uses.run().await?,
        What::Fill(fill) => fill.run().await?,
        What::Latecomer(latecomer) => latecomer.run().await?,
    };
    print!("{figures}");
    if let Some(path) = arguments.json {
        fs::write(path, serde_json::to_vec_pretty(&figures.to_json())?)?;
    }
    Ok(())
}
