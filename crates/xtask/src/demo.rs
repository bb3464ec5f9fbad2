//! `demo`: builds the workspace and becomes the demonstration.

use std::ffi::OsString;

use crate::program;

/// The program that shows a cluster at work, of `crates/testkit`.
const DEMO: &str = "strongroom-demo";

/// Does not return once the demonstration runs.
pub(crate) fn run(args: &[OsString]) -> anyhow::Result<bool> {
    program::become_one(DEMO, args)
}
