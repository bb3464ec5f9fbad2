//! Addresses that a server listens on, as it writes them down itself.

use std::{fs, io, net::SocketAddr, path::Path};

use anyhow::Context as _;
use serde::Deserialize;

/// Content of `<data_dir>/endpoints.json`.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Endpoints {
    /// gRPC for callers.
    pub(crate) client: SocketAddr,
    /// gRPC between members.
    pub(crate) peer: SocketAddr,
    /// HTTP: metrics, health, status.
    pub(crate) monitor: SocketAddr,
    /// The process that listens there.
    pub(crate) pid: u32,
}

const FILE: &str = "endpoints.json";

impl Endpoints {
    /// What process `pid` wrote into `data_dir`.
    pub(crate) fn read(data_dir: &Path, pid: u32) -> anyhow::Result<Self> {
        let path = data_dir.join(FILE);
        let text = fs::read(&path).with_context(|| format!("no {}", path.display()))?;
        let endpoints: Self = serde_json::from_slice(&text)?;
        anyhow::ensure!(endpoints.pid == pid, "{} is of an earlier process", path.display());
        Ok(endpoints)
    }

    /// Forgets what an earlier process wrote.
    pub(crate) fn clear(data_dir: &Path) -> io::Result<()> {
        match fs::remove_file(data_dir.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }
}
