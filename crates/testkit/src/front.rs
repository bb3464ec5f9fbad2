//! A front between callers and nodes: its process and its listeners.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use parking_lot::Mutex;
use rustix::process::Signal;
use toml::{Table, Value};

use crate::{
    binary::server_binary,
    cluster::Cluster,
    monitor,
    pki::Who,
    process::{self, Process},
    wait,
};

/// A start takes this long at most.
const START: Duration = Duration::from_secs(30);

/// A front of a cluster whose nodes keep their addresses
/// (`Builder::fixed_ports`).
pub struct Front {
    /// Its number.
    pub id: u64,
    program: PathBuf,
    folder: PathBuf,
    client: SocketAddr,
    monitor: SocketAddr,
    process: Mutex<Option<Process>>,
}

impl Front {
    /// Starts front `id` of `cluster`, and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it ends instead: with its last lines.
    pub async fn start(cluster: &Cluster, id: u64) -> anyhow::Result<Self> {
        let folder = cluster.folder().join(format!("front-{id}"));
        fs::create_dir_all(&folder)?;
        let [client, monitor] = free()?;
        cluster.pki().issue_front(id)?;
        let config = config(cluster, id, client, monitor)?;
        fs::write(folder.join("front.toml"), toml::to_string(&config)?)?;
        let program = server_binary()?;
        let front = Self { id, program, folder, client, monitor, process: Mutex::default() };
        front.restart().await?;
        Ok(front)
    }

    /// Starts its process, which does not run, and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it ends instead: with its last lines.
    pub async fn restart(&self) -> anyhow::Result<()> {
        let (config, log) = (self.folder.join("front.toml"), self.log_path());
        let process = Process::start(&self.program, "front", &config, &self.folder, &log)?;
        *self.process.lock() = Some(process);
        let what = format!("front {} listens", self.id);
        let listens = wait::until(&what, START, || async {
            let ended = self.process.lock().as_mut().map(Process::exited).transpose()?.flatten();
            if let Some(status) = ended {
                return Ok(Err(status));
            }
            monitor::fetch(self.monitor, "/livez").await?;
            Ok(Ok(()))
        });
        let ended = listens.await?;
        ended.map_err(|status| {
            let log = fs::read_to_string(self.log_path()).unwrap_or_default();
            let id = self.id;
            anyhow::anyhow!("front {id} did not start: {}: {log}", process::describe(status))
        })
    }

    /// Where callers reach it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.client
    }

    /// Where monitors do.
    #[must_use]
    pub fn monitor_address(&self) -> SocketAddr {
        self.monitor
    }

    /// Its log.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.folder.join("front.log")
    }

    /// A page of its monitor.
    ///
    /// # Errors
    ///
    /// When it doesn't answer.
    pub async fn fetch(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let (status, text) = monitor::fetch(self.monitor, path).await?;
        Ok((status.as_u16(), String::from_utf8_lossy(&text).into_owned()))
    }

    /// SIGKILL, and gone on return.
    ///
    /// # Errors
    ///
    /// When it doesn't run.
    pub fn kill(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().take().context("the front does not run")?;
        process.kill().map(drop)
    }

    /// Ends it as an operator does, within `limit`.
    ///
    /// # Errors
    ///
    /// When it goes on, or ends with another code than 0.
    pub async fn stop(&self, limit: Duration) -> anyhow::Result<()> {
        let mut process = self.process.lock().take().context("the front does not run")?;
        process.signal(Signal::TERM)?;
        let status = process.ended(limit).await?;
        anyhow::ensure!(status.success(), "front {}: {}", self.id, process::describe(status));
        Ok(())
    }
}

/// Ports that were free a moment ago.
fn free() -> anyhow::Result<[SocketAddr; 2]> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (one, two) = (bind()?, bind()?);
    Ok([one.local_addr()?, two.local_addr()?])
}

fn config(
    cluster: &Cluster,
    id: u64,
    client: SocketAddr,
    monitor: SocketAddr,
) -> anyhow::Result<Table> {
    let files = cluster.pki().files(Who::Front(id));
    let nodes = cluster.nodes().iter().map(|node| Ok(node.client_address()?.to_string().into()));
    let nodes = nodes.collect::<anyhow::Result<Vec<Value>>>()?;
    let path = |path: &std::path::Path| Value::from(path.display().to_string());
    let section = |entries: Vec<(&str, Value)>| {
        Value::from(Table::from_iter(
            entries.into_iter().map(|(key, value)| (key.to_owned(), value)),
        ))
    };
    Ok(Table::from_iter([
        ("nodes".to_owned(), nodes.into()),
        ("cluster".to_owned(), section(vec![("id", cluster.pki().cluster().to_string().into())])),
        (
            "listen".to_owned(),
            section(vec![
                ("client", client.to_string().into()),
                ("monitor", monitor.to_string().into()),
            ]),
        ),
        (
            "tls".to_owned(),
            section(vec![
                ("certificate", path(&files.cert)),
                ("key", path(&files.key)),
                ("ca", path(cluster.pki().ca_path())),
            ]),
        ),
        ("drain".to_owned(), section(vec![("lead_ms", 1000.into())])),
        ("log".to_owned(), section(vec![("format", "human".into())])),
    ]))
}
