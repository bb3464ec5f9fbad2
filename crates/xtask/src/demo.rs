//! `demo`: builds the workspace and becomes the demonstration.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::Context as _;

use crate::{cargo::build_programs, prerequisites, root, steps::Steps};

/// The program that shows a cluster at work, of `crates/testkit`.
const DEMO: &str = "strongroom-demo";
/// The program that it shows, of `crates/cli`.
const PROGRAM: &str = "strongroom";

/// Does not return once the demonstration runs: this process becomes it, so
/// that its exit code, and an interrupt from the terminal, are its own.
pub(crate) fn run(args: &[OsString]) -> anyhow::Result<bool> {
    prerequisites::ensure()?;
    let mut steps = Steps::new();
    let mut programs = None;
    steps.step("build programs", || {
        programs = Some(build_programs()?);
        Ok(())
    });
    let Some(programs) = programs else { return Ok(steps.finish()) };
    let path = |name: &str| {
        programs.get(name).with_context(|| format!("the workspace builds no program `{name}`"))
    };
    let error = Command::new(path(DEMO)?)
        .args(args)
        .env("STRONGROOM_BIN", path(PROGRAM)?)
        .current_dir(root())
        .exec();
    Err(error).with_context(|| format!("{DEMO} can't be started"))
}
