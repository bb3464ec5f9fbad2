//! Calls of cargo, as the workspace needs them.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::root;

/// What builds libraries and programs with the features that tests ask for,
/// without building the tests: `--examples` makes cargo count development
/// dependencies when it unifies features, and there are no examples.
const BUILD: [&str; 6] = [
    "build",
    "--workspace",
    "--lib",
    "--bins",
    "--examples",
    "--message-format=json-render-diagnostics",
];

/// The cargo that started this program, in the checkout.
pub(crate) fn cargo<S: AsRef<OsStr>>(args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Builds all libraries and programs; gives the programs by name.
///
/// # Errors
///
/// When the build fails; cargo has said why.
pub(crate) fn build_programs() -> anyhow::Result<BTreeMap<String, PathBuf>> {
    let mut child =
        cargo(BUILD).stdout(Stdio::piped()).spawn().context("cargo can't be started")?;
    let stdout = child.stdout.take().expect("standard output is piped");
    let mut programs = BTreeMap::new();
    for line in BufReader::new(stdout).lines() {
        let line = line.context("cargo's messages can't be read")?;
        programs.extend(program(&line));
    }
    let status = child.wait().context("cargo can't be waited for")?;
    if !status.success() {
        bail!("the build failed ({status})");
    }
    Ok(programs)
}

/// The program that one of cargo's messages is about, if it is about one.
fn program(line: &str) -> Option<(String, PathBuf)> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = message.get("executable")?.as_str()?;
    let name = message.get("target")?.get("name")?.as_str()?;
    Some((name.to_owned(), PathBuf::from(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_about_programs_name_one() {
        assert_eq!(program("not JSON"), None);
        assert_eq!(program(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(program(r#"{"target":{"name":"a"},"executable":null}"#), None);
        assert_eq!(
            program(r#"{"target":{"name":"a"},"executable":"/b/a"}"#),
            Some(("a".to_owned(), PathBuf::from("/b/a")))
        );
    }
}
