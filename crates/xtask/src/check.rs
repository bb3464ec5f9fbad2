//! `check`: all that can be said about the source without running it; and `fix`.

use std::process::{Command, Stdio};

use crate::{
    cargo::cargo,
    graph, prerequisites,
    steps::{self, Steps},
};

/// Writes nothing but build products.
pub(crate) fn run() -> anyhow::Result<bool> {
    prerequisites::ensure()?;
    let mut steps = Steps::new();
    steps.step("formatting", || run_cargo(&["fmt", "--all", "--check"]));
    steps.step("crate graph", graph::check);
    steps.step("lints", || {
        run_cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])
    });
    steps.step("documentation", || {
        let mut doc = cargo(["doc", "--workspace", "--no-deps"]);
        doc.env("RUSTDOCFLAGS", "-D warnings");
        steps::run(doc)
    });
    steps.step("licences, bans, sources", deny);
    Ok(steps.finish())
}

/// Formats the workspace and applies the linter's own fixes.
pub(crate) fn fix() -> anyhow::Result<bool> {
    prerequisites::ensure()?;
    let mut steps = Steps::new();
    steps.step("lints", || {
        run_cargo(&[
            "clippy",
            "--fix",
            "--workspace",
            "--all-targets",
            "--allow-dirty",
            "--allow-staged",
        ])
    });
    steps.step("formatting", || run_cargo(&["fmt", "--all"]));
    Ok(steps.finish())
}

fn run_cargo(args: &[&str]) -> anyhow::Result<()> {
    steps::run(cargo(args))
}

/// Needs the program cargo-deny, which a fresh machine lacks: then says so.
fn deny() -> anyhow::Result<()> {
    let installed = Command::new("cargo-deny")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if installed {
        return run_cargo(&["deny", "--offline", "check", "bans", "licenses", "sources"]);
    }
    println!("    skipped: cargo-deny is not installed (`cargo install cargo-deny --locked`)");
    Ok(())
}
