//! Runs the program `strongroom` as an operator would on a shell.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, ensure};
use serde_json::Value;
use strongroom_testkit::{Cluster, Who, server_binary};

use crate::story::Story;

/// The command line, with where the nodes are and who calls.
pub(crate) struct Program {
    program: PathBuf,
    environment: Vec<(&'static str, String)>,
}

/// What a run gave.
pub(crate) struct Run {
    /// Exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) output: String,
}

impl Program {
    /// Calls this cluster with the certificate of `who`, and with the token in
    /// `token_file` where there is one.
    pub(crate) fn new(
        cluster: &Cluster,
        who: Who,
        token_file: Option<&PathBuf>,
    ) -> anyhow::Result<Self> {
        let files = cluster.pki().files(who);
        let mut environment = vec![
            ("STRONGROOM_ADDRESS", addresses(cluster)?),
            ("STRONGROOM_CA", cluster.pki().ca_path().display().to_string()),
            ("STRONGROOM_CERT", files.cert.display().to_string()),
            ("STRONGROOM_KEY", files.key.display().to_string()),
        ];
        if let Some(file) = token_file {
            environment.push(("STRONGROOM_TOKEN_FILE", file.display().to_string()));
        }
        Ok(Self { program: server_binary()?, environment })
    }

    /// The environment to paste into a shell.
    pub(crate) fn environment(&self) -> impl Iterator<Item = String> {
        self.environment.iter().map(|(name, value)| format!("export {name}={value}"))
    }

    /// Runs a command whatever it answers.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<Run> {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().envs(self.environment.clone());
        for name in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        // A profile of the user's own must not change what is shown.
        command.env("STRONGROOM_CLIENT_CONFIG", "/dev/null");
        let output = command.output().context("can't run strongroom")?;
        let code = output.status.code().context("strongroom was killed")?;
        let mut text = String::from_utf8(output.stdout)?;
        if code == 1 {
            text.push_str(&String::from_utf8_lossy(&output.stderr));
        }
        Ok(Run { code, output: text })
    }

    /// Runs a command that must succeed, and shows it.
    pub(crate) fn show(&self, story: &Story, arguments: &[&str]) -> anyhow::Result<String> {
        let Run { code, output } = self.run(arguments)?;
        story.command(&arguments.join(" "), &output);
        ensure!(code == 0, "`strongroom {}` ended with {code}", arguments.join(" "));
        Ok(output)
    }

    /// Runs a command that must succeed, and reads what it says.
    pub(crate) fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json"]);
        let Run { code, output } = self.run(&all)?;
        ensure!(code == 0, "`strongroom {}` ended with {code}: {output}", all.join(" "));
        serde_json::from_str(&output)
            .with_context(|| format!("`strongroom {}` printed no JSON", all.join(" ")))
    }
}

/// Where callers reach the nodes that run, in one list.
pub(crate) fn addresses(cluster: &Cluster) -> anyhow::Result<String> {
    let addresses =
        cluster.running().into_iter().map(|node| Ok(node.client_address()?.to_string()));
    Ok(addresses.collect::<anyhow::Result<Vec<_>>>()?.join(","))
}
