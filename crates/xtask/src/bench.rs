//! `bench`: builds the workspace and becomes the measurement.

use std::ffi::OsString;

use crate::program;

/// The program that measures, of `benches`.
const BENCH: &str = "strongroom-bench";

/// Arguments after the task are the program's: `quick`, `full`, `--json FILE` …
/// Client, echo and servers are of one build; does not return once it measures.
pub(crate) fn run(args: &[OsString]) -> anyhow::Result<bool> {
    program::become_one(BENCH, args)
}
