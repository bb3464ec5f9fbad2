//! Calls of the program: what goes in, and what is expected to come out.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;

use super::site::Site;

/// A call ends within this; `unseal` and `init` wait up to half of it themselves.
const LIMIT: Duration = Duration::from_secs(60);

/// A call of the program, before it is made.
pub(super) struct Call<'a> {
    site: &'a Site,
    arguments: Vec<String>,
    variables: Vec<(&'static str, PathBuf)>,
    input: Option<Vec<u8>>,
    shows_secret: bool,
}

impl<'a> Call<'a> {
    pub(super) fn new(site: &'a Site, arguments: &[&str]) -> Self {
        let arguments = arguments.iter().map(ToString::to_string).collect();
        Self { site, arguments, variables: Vec::new(), input: None, shows_secret: false }
    }

    /// With the token in this file, named by the environment.
    pub(super) fn with_token(mut self, file: &str) -> Self {
        self.variables.push(("STRONGROOM_TOKEN_FILE", self.site.path(file)));
        self
    }

    /// With the profiles of another file.
    pub(super) fn with_profiles(mut self, path: &Path) -> Self {
        self.variables.push(("STRONGROOM_CLIENT_CONFIG", path.to_owned()));
        self
    }

    /// With this on standard input.
    pub(super) fn with_input(mut self, bytes: &[u8]) -> Self {
        self.input = Some(bytes.to_vec());
        self
    }

    /// Its standard output is where a secret belongs.
    pub(super) fn showing_a_secret(mut self) -> Self {
        self.shows_secret = true;
        self
    }

    /// Makes the call, whatever becomes of it.
    pub(super) async fn run(self) -> Run {
        let Self { site, arguments, variables, input, shows_secret } = self;
        let line = format!("strongroom {}", arguments.join(" "));
        let mut child = tokio::process::Command::new(&site.program)
            .args(&arguments)
            .current_dir(&site.folder)
            .env_clear()
            .envs(site.environment())
            .envs(variables)
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let running = async move {
            if let Some(input) = input {
                // It may refuse before it read all: its exit code tells then.
                let _unread = child.stdin.take().unwrap().write_all(&input).await;
            }
            child.wait_with_output().await.unwrap()
        };
        let output = tokio::time::timeout(LIMIT, running).await;
        let output = output.unwrap_or_else(|_| panic!("{line}: no end within {LIMIT:?}"));
        site.print(&line, shows_secret, output.stdout.clone());
        site.print(&line, false, output.stderr.clone());
        Run {
            code: output.status.code().unwrap_or_else(|| panic!("{line}: {}", output.status)),
            line,
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Makes a call that is to succeed.
    pub(super) async fn succeeds(self) -> Run {
        let run = self.run().await;
        assert_eq!(run.code, 0, "{}: {}", run.line, run.stderr);
        run
    }

    /// Makes a call that is to succeed, and reads its result.
    pub(super) async fn prints(mut self) -> Value {
        self.arguments.extend(["--output", "json"].map(str::to_owned));
        self.succeeds().await.json()
    }

    /// Makes a call that is to be refused: exit code 1, no result, and on
    /// standard error the reason, which begins like this.
    pub(super) async fn refused(self, reason: &str) {
        let Run { line, code, stdout, stderr } = self.run().await;
        let told = stderr.lines().any(|line| line.starts_with(&format!("error: {reason}")));
        assert!(told && code == 1, "{line}: exit code {code}, not for {reason:?}: {stderr}");
        assert!(stdout.is_empty(), "{line}: refused, and a result");
    }
}

/// A call that was made.
pub(super) struct Run {
    pub(super) line: String,
    pub(super) code: i32,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: String,
}

impl Run {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.line, self.stderr))
    }
}

/// A field that holds a text.
pub(super) fn field<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text '{name}': {value}"))
}
