//! A server process.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};

use crate::wait;

/// A child process that dies with this value.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Runs `program command --config <config>`; its output is appended to `log`.
    ///
    /// Nothing of the caller's environment reaches it but what a program needs
    /// to start at all.
    pub(crate) fn start(
        program: &Path,
        subcommand: &str,
        config: &Path,
        folder: &Path,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let out = append(log)?;
        let errors = out.try_clone()?;
        let mut command = Command::new(program);
        command
            .arg(subcommand)
            .arg("--config")
            .arg(config)
            .current_dir(folder)
            .env_clear()
            .env("RUST_BACKTRACE", "1")
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors);
        for name in ["PATH", "HOME", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let child =
            command.spawn().with_context(|| format!("can't start {}", program.display()))?;
        Ok(Self { child, log: log.to_owned() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).with_context(|| format!("{signal:?} to process {}", self.id()))
    }

    /// Exit status, once it ended.
    pub(crate) fn exited(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// SIGKILL, and gone on return.
    pub(crate) fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.child.kill()?;
        Ok(self.child.wait()?)
    }

    /// Waits for the end of the process, for `limit` at most.
    pub(crate) async fn ended(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let (id, log) = (self.id(), self.log.clone());
        let what = format!("process {id} ends (its log: {})", log.display());
        let child = parking_lot::Mutex::new(&mut self.child);
        wait::until(&what, limit, || async {
            child.lock().try_wait()?.context("it is still running")
        })
        .await
    }

    /// Resident memory in bytes.
    pub(crate) fn resident_bytes(&self) -> anyhow::Result<u64> {
        let path = format!("/proc/{}/status", self.id());
        let text = fs::read_to_string(&path)?;
        let line = text.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
        let kib: u64 = line.split_whitespace().nth(1).context("no number")?.parse()?;
        Ok(kib * 1024)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails only for a process that is gone already.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// What an exit status says, in words.
pub(crate) fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}

fn append(log: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("can't write {}", log.display()))
}
