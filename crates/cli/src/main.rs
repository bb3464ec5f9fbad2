//! `strongroom`: server, development server, and everything that operators,
//! administrators and scripts ask of a cluster.
//!
//! Decides how things are asked and shown; what they mean is the service's.
//! Results go to standard output, everything else to standard error. No secret
//! is ever taken from the command line, where every user of the machine could
//! read it: secrets come from files, the environment, standard input or a prompt
//! without echo.
//!
//! Exit codes: 0 done; 1 refused, failed or misused; 2 only from `status`: a
//! node is not unsealed. `server` and `front` have their own, listed in their help.

#![allow(clippy::disallowed_methods, reason = "a command line: it reads clocks and draws ids")]
#![allow(clippy::print_stderr, reason = "warnings and prompts of a command line")]

mod args;
mod bytes;
mod commands;
mod connect;
mod context;
mod failure;
mod files;
mod names;
mod output;
mod profile;
mod progress;
mod settings;
mod times;
mod views;

use std::process::ExitCode;

use crate::{args::Cli, failure::Failure, settings::Environment};

#[global_allocator]
static ALLOCATOR: strongroom_node::WipingAllocator<mimalloc::MiMalloc> =
    strongroom_node::WipingAllocator(mimalloc::MiMalloc);

fn main() -> ExitCode {
    // Before any secret: shares and tokens pass through the other commands too.
    // Of what the system refuses the server says so itself.
    strongroom_node::harden_process();
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(error) => return misused(&error),
    };
    let environment = Environment::process();
    let format = settings::format_before_profile(&cli.global, &environment);
    match commands::run(cli, &environment) {
        Ok(code) => ExitCode::from(code),
        Err(error) => Failure::from(error).report(format),
    }
}

/// Shows help, version or what is wrong with the arguments. Misuse is 1, not
/// clap's 2, which `status` gives another meaning.
fn misused(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when the terminal is gone.
    let _ = error.print();
    if error.use_stderr() { ExitCode::from(1) } else { ExitCode::SUCCESS }
}
