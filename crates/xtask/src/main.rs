//! Project tasks: `cargo xtask <task>`.
//!
//! `check` never writes and is what continuous integration runs; `fix` writes.
//! Each cargo call here names the whole workspace and asks for the features of
//! its tests too (`--all-targets`, `test`, or `--examples`): another selection
//! unifies features differently, and RocksDB, twenty minutes of C++, compiles
//! once per selection.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task runner: it talks to its terminal and times its steps"
)]

mod bench;
mod cargo;
mod check;
mod demo;
mod graph;
mod prerequisites;
mod program;
mod steps;
mod test;

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
};

const USAGE: &str = "\
Project tasks.

Usage: cargo xtask <task>

Tasks:
  check          formatting, lints, documentation, crate graph, licences; writes nothing
  fix            formats, and applies what the linter can fix by itself
  test [args]    builds everything, then runs all tests; arguments go to `cargo test`
  demo [--once]  builds the workspace and shows a cluster at work
  bench quick    builds the workspace and prints the ratios to reach, in two minutes
  bench full     these and all else that is measured, in hours; --help says more
  graph          prints which of our crates imports which
  help           this text
";

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1);
    let task = args.next().unwrap_or_default();
    let rest: Vec<OsString> = args.collect();
    let result = match task.to_str() {
        Some("test") => test::run(&rest),
        Some("demo") => demo::run(&rest),
        Some("bench") => bench::run(&rest),
        Some("check") if rest.is_empty() => check::run(),
        Some("fix") if rest.is_empty() => check::fix(),
        Some("graph") if rest.is_empty() => graph::print(),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            Ok(true)
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The top of the checkout: of the one that cargo was called in.
fn root() -> PathBuf {
    let manifest = env::var_os("CARGO_MANIFEST_DIR");
    Path::new(&manifest.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()))
        .ancestors()
        .nth(2)
        .expect("this crate lies two folders below the top")
        .to_owned()
}

/// Compiled anew when another checkout is built in the same build directory
/// (`.cargo/config.toml`). None without that file: a vendored copy of the crate.
const _: Option<&str> = option_env!("STRONGROOM_CHECKOUT");
