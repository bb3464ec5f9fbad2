//! `test`: builds everything first, then runs all tests.

use std::ffi::OsString;

use crate::{
    cargo::{build_programs, cargo},
    prerequisites,
    steps::{self, Steps},
};

/// Arguments after the task go to `cargo test`, such as a part of a test's name.
pub(crate) fn run(args: &[OsString]) -> anyhow::Result<bool> {
    prerequisites::ensure()?;
    let mut steps = Steps::new();
    // Tests of whole clusters start these programs; cargo builds them for the
    // tests of their own package only.
    let built = steps.step("build programs", || build_programs().map(|_| ()))
        && steps.step("build tests", || steps::run(cargo(["test", "--workspace", "--no-run"])));
    if built {
        steps.step("run tests", || {
            let mut test = cargo(["test", "--workspace"]);
            test.args(args);
            steps::run(test)
        });
    }
    Ok(steps.finish())
}
