//! What Strongroom does, shown on this machine: real processes, real TLS, the
//! command line as an operator uses it and the client as an application does.
//!
//! Every step checks what it shows. With `--once` the exit code is 0 only if all
//! of it held; without, the cluster stays up until Ctrl-C.

#![allow(clippy::disallowed_methods, reason = "a demonstration shows how long things take")]

mod application;
mod envelope;
mod program;
mod steps;
mod story;

use std::{path::PathBuf, process::ExitCode};

use anstream::eprintln;
use clap::Parser;
use story::Story;

/// Shows a Strongroom cluster on this machine.
#[derive(Parser)]
#[command(name = "strongroom-demo", max_term_width = 100)]
struct Arguments {
    /// End after the last step, with exit code 0 only if all of it held
    #[arg(long)]
    once: bool,
    /// File to encrypt [default: the program strongroom itself]
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Callers that go on while the leader is killed
    #[arg(long, value_name = "N", default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=256))]
    callers: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match show(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nthe demonstration failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn show(arguments: &Arguments) -> anyhow::Result<()> {
    let mut story = Story::new();
    let cluster = steps::start(&mut story).await?;
    let run = tokio::select! {
        run = steps::all(&mut story, &cluster, arguments) => run,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    let front = run?;
    if !arguments.once {
        steps::invite(&mut story, &cluster, &front)?;
        tokio::signal::ctrl_c().await?;
    }
    drop(front);
    cluster.finish().await?;
    story.holds(format!("all of it held, in {:.0} s", story.took().as_secs_f32()));
    Ok(())
}
