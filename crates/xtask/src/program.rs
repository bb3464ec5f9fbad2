//! Tasks that build the workspace and become one of its programs.

use std::{ffi::OsString, os::unix::process::CommandExt as _, process::Command};

use anyhow::Context as _;

use crate::{cargo::build_programs, prerequisites, steps::Steps};

/// The program that such programs start as servers, of `crates/cli`.
const SERVER: &str = "strongroom";

/// Does not return once the program runs: this process becomes it, so that its
/// exit code, and an interrupt from the terminal, are its own.
pub(crate) fn become_one(name: &str, args: &[OsString]) -> anyhow::Result<bool> {
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
    let error = Command::new(path(name)?).args(args).env("STRONGROOM_BIN", path(SERVER)?).exec();
    Err(error).with_context(|| format!("{name} can't be started"))
}
