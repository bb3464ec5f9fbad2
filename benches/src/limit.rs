//! The echo as a process of its own, beside a cluster and with its certificates.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use anyhow::Context as _;
use strongroom_testkit::{Pki, Who};

use crate::lanes::{Lanes, Server};

/// The echo's process; it dies with this value.
pub struct EchoProcess {
    process: Child,
    address: SocketAddr,
}

impl EchoProcess {
    /// Starts the program beside this one, with the certificate of node 1.
    ///
    /// # Errors
    ///
    /// When it is not built or doesn't start.
    pub fn start(pki: &Pki) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let program = own.with_file_name("strongroom-echo");
        let files = pki.files(Who::Node(1));
        let mut process = Command::new(&program)
            .arg("--cert")
            .arg(files.cert)
            .arg("--key")
            .arg(files.key)
            .arg("--ca")
            .arg(pki.ca_path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("can't start {}", program.display()))?;
        let mut line = String::new();
        let out = process.stdout.take().context("its output is a pipe")?;
        BufReader::new(out).read_line(&mut line)?;
        let address = line.trim().strip_prefix("listening ").context("the echo did not start")?;
        let address = address.parse()?;
        Ok(Self { process, address })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// `connections` to it, with the metadata of calls to a cluster.
    ///
    /// # Errors
    ///
    /// When it doesn't answer.
    pub async fn lanes(&self, connections: usize, pki: &Pki, token: &str) -> anyhow::Result<Lanes> {
        let server = Server { node: 1, address: self.address };
        Lanes::connect(&[server], connections, pki, token).await
    }
}

impl Drop for EchoProcess {
    fn drop(&mut self) {
        // Fails only for a process that is gone already.
        let _gone = self.process.kill();
        let _gone = self.process.wait();
    }
}
