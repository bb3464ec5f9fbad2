//! One node of a cluster: its process, its directories, its listeners.

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::ExitStatus,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, bail};
use parking_lot::Mutex;
use rustix::process::Signal;
use strongroom_base::NodeId;
use strongroom_net::Connector;
use strongroom_wire::v1::{
    ResetUnsealRequest, SealNodeRequest, SealStatusResponse, SubmitShareRequest,
};

use crate::{
    caller::{Address, Caller, Dialer, Explain as _, channel},
    endpoints::Endpoints,
    monitor::{self, Metrics, Status},
    pki::{Pki, Who},
    process::{self, Process},
    proxy::Mesh,
    wait,
};

/// A start takes this long at most, RocksDB's recovery included.
const START: Duration = Duration::from_secs(30);
/// Waiting for a state of the seal: comparing the state with a quorum included.
const SEAL: Duration = Duration::from_secs(30);
/// Dialling, the handshake included.
const DIAL: Duration = Duration::from_secs(3);

/// Where a node keeps what.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) program: PathBuf,
    pub(crate) folder: PathBuf,
    pub(crate) config: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) log: PathBuf,
}

/// A node. Its process may be down.
pub struct Node {
    /// Its id.
    pub id: u64,
    places: Places,
    pki: Arc<Pki>,
    mesh: Arc<Mesh>,
    process: Mutex<Option<Process>>,
    endpoints: Mutex<Option<Endpoints>>,
    client: Address,
    peer: Address,
    last_exit: Mutex<Option<ExitStatus>>,
}

impl Node {
    pub(crate) fn new(id: u64, places: Places, pki: Arc<Pki>, mesh: Arc<Mesh>) -> Self {
        Self {
            id,
            places,
            pki,
            mesh,
            process: Mutex::default(),
            endpoints: Mutex::default(),
            client: Address::default(),
            peer: Address::default(),
            last_exit: Mutex::default(),
        }
    }

    /// Data directory.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.places.data
    }

    /// Everything that the node has on disk but its data: configuration, logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.places.folder
    }

    /// Its log, of all its processes so far.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.places.log
    }

    /// What it logged so far.
    ///
    /// # Errors
    ///
    /// When the log can't be read.
    pub fn log(&self) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&fs::read(&self.places.log)?).into_owned())
    }

    /// Starts the process, and waits until it listens.
    ///
    /// # Errors
    ///
    /// When it ends instead: with its last lines.
    pub async fn start(&self) -> anyhow::Result<()> {
        let pid = self.spawn()?;
        wait::until(&format!("node {} listens", self.id), START, || async {
            if let Some(status) = self.exited()? {
                return Ok(Err(status));
            }
            let endpoints = Endpoints::read(&self.places.data, pid)?;
            monitor::fetch(endpoints.monitor, "/livez").await?;
            self.learn(endpoints);
            Ok(Ok(()))
        })
        .await?
        .or_else(|status| {
            bail!(
                "node {} did not start: {}; its last lines:\n{}",
                self.id,
                process::describe(status),
                self.last_lines(20)
            )
        })
    }

    /// Starts the process of a node that is expected to refuse: waits for its
    /// end, and gives its status.
    ///
    /// # Errors
    ///
    /// When it goes on running for `limit`.
    pub async fn start_and_end(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        self.spawn()?;
        self.wait_ended(limit).await
    }

    fn spawn(&self) -> anyhow::Result<u32> {
        anyhow::ensure!(self.exited()?.is_some(), "node {} runs already", self.id);
        Endpoints::clear(&self.places.data)?;
        let Places { program, config, folder, log, .. } = &self.places;
        let process = Process::start(program, "server", config, folder, log)?;
        let pid = process.id();
        *self.process.lock() = Some(process);
        Ok(pid)
    }

    fn learn(&self, endpoints: Endpoints) {
        self.mesh.set_target(self.id, endpoints.peer);
        *self.client.lock() = Some(endpoints.client);
        *self.peer.lock() = Some(endpoints.peer);
        *self.endpoints.lock() = Some(endpoints);
    }

    fn forget(&self, status: ExitStatus) -> ExitStatus {
        *self.last_exit.lock() = Some(status);
        *self.client.lock() = None;
        *self.peer.lock() = None;
        *self.endpoints.lock() = None;
        status
    }

    /// How its last process ended; `None` while one runs.
    ///
    /// # Errors
    ///
    /// When the system can't tell.
    pub fn exited(&self) -> anyhow::Result<Option<ExitStatus>> {
        let mut process = self.process.lock();
        let Some(running) = process.as_mut() else {
            // Never started counts as ended well.
            return Ok(Some(self.last_exit.lock().unwrap_or_else(|| ExitStatus::from_raw(0))));
        };
        let status = running.exited()?;
        if let Some(status) = status {
            *process = None;
            self.forget(status);
        }
        Ok(status)
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.exited(), Ok(None))
    }

    /// Waits for the end of the process.
    ///
    /// # Errors
    ///
    /// When it goes on for `limit`.
    pub async fn wait_ended(&self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let Some(mut process) = self.process.lock().take() else {
            return self.exited()?.context("it never ran");
        };
        match process.ended(limit).await {
            Ok(status) => Ok(self.forget(status)),
            Err(error) => {
                *self.process.lock() = Some(process);
                Err(error)
            }
        }
    }

    /// SIGKILL. On return the process is gone.
    ///
    /// # Errors
    ///
    /// When it did not run.
    pub fn kill(&self) -> anyhow::Result<()> {
        let mut process = self.process.lock().take().context("the node is down already")?;
        self.forget(process.kill()?);
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    ///
    /// When it ends otherwise than well, or not within `limit`.
    pub async fn stop(&self, limit: Duration) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        let status = self.wait_ended(limit).await?;
        anyhow::ensure!(
            status.success(),
            "node {} ended with {}; its last lines:\n{}",
            self.id,
            process::describe(status),
            self.last_lines(20)
        );
        Ok(())
    }

    /// Kills the process, if it runs, and starts it again.
    ///
    /// # Errors
    ///
    /// As of [`Node::start`].
    pub async fn restart(&self) -> anyhow::Result<()> {
        if self.is_running() {
            self.kill()?;
        }
        self.start().await
    }

    /// SIGSTOP: it neither runs nor ends; its connections stay.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Any signal.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.process.lock().as_ref().context("the node is down")?.signal(signal)
    }

    /// Its process id.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn pid(&self) -> anyhow::Result<u32> {
        Ok(self.process.lock().as_ref().context("the node is down")?.id())
    }

    /// Resident memory of its process.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn resident_bytes(&self) -> anyhow::Result<u64> {
        self.process.lock().as_ref().context("the node is down")?.resident_bytes()
    }

    /// `/status`.
    ///
    /// # Errors
    ///
    /// When it is down or answers otherwise.
    pub async fn status(&self) -> anyhow::Result<Status> {
        monitor::status(self.endpoints()?.monitor).await
    }

    /// `/metrics`.
    ///
    /// # Errors
    ///
    /// When it is down or answers otherwise.
    pub async fn metrics(&self) -> anyhow::Result<Metrics> {
        monitor::metrics(self.endpoints()?.monitor).await
    }

    /// HTTP status code and body of a path of the monitor listener.
    ///
    /// # Errors
    ///
    /// When it is down.
    pub async fn fetch(&self, path: &str) -> anyhow::Result<(u16, String)> {
        let (code, body) = monitor::fetch(self.endpoints()?.monitor, path).await?;
        Ok((code.as_u16(), String::from_utf8(body.to_vec())?))
    }

    /// Where it takes calls.
    ///
    /// # Errors
    ///
    /// When it is down.
    pub fn client_address(&self) -> anyhow::Result<std::net::SocketAddr> {
        Ok(self.endpoints()?.client)
    }

    /// Where it shows its metrics and states.
    ///
    /// # Errors
    ///
    /// When it is down.
    pub fn monitor_address(&self) -> anyhow::Result<std::net::SocketAddr> {
        Ok(self.endpoints()?.monitor)
    }

    fn endpoints(&self) -> anyhow::Result<Endpoints> {
        self.endpoints.lock().with_context(|| format!("node {} is down", self.id))
    }

    /// Calls it as an application, without a token.
    ///
    /// # Panics
    ///
    /// When the certificate of the application, made by this crate, is bad.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.caller_as(Who::Client).expect("the cluster's certificates were made by testkit")
    }

    /// Calls it with a certificate of `who`; follows restarts.
    ///
    /// # Errors
    ///
    /// When there is no such certificate.
    pub fn caller_as(&self, who: Who) -> anyhow::Result<Caller> {
        Ok(Caller::new(channel(self.dialer(who, &self.client)?), self.id))
    }

    pub(crate) fn peer_dialer(&self, who: Who) -> anyhow::Result<Dialer> {
        self.dialer(who, &self.peer)
    }

    fn dialer(&self, who: Who, address: &Address) -> anyhow::Result<Dialer> {
        let connector = Connector::new(self.pki.store(who)?, NodeId::new(self.id)?, DIAL);
        Ok(Dialer { address: Arc::clone(address), connector })
    }

    /// Gives it one share.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn submit_share(&self, share: &str) -> Result<SealStatusResponse, tonic::Status> {
        let request = SubmitShareRequest { share: share.to_owned() };
        let response = self.caller().seal().submit_share(request).await?;
        Ok(response.into_inner().status.unwrap_or_default())
    }

    /// Gives it shares and waits until it serves. After a crash a node learns
    /// again first that it belongs to a cluster.
    ///
    /// # Errors
    ///
    /// A refusal, or that it doesn't serve for long.
    pub async fn unseal(&self, shares: &[String]) -> anyhow::Result<()> {
        let what = format!("node {} belongs to a cluster", self.id);
        self.wait_status(&what, SEAL, |status| status.seal.state != "uninitialised").await?;
        for share in shares {
            self.submit_share(share).await.explain(&format!("a share for node {}", self.id))?;
        }
        self.wait_seal("unsealed").await
    }

    /// Makes it forget the shares given so far.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn reset_unseal(&self) -> anyhow::Result<()> {
        let mut seal = self.caller_as(Who::Operator)?.seal();
        seal.reset_unseal(ResetUnsealRequest {}).await.explain("ResetUnseal")?;
        Ok(())
    }

    /// Seals it.
    ///
    /// # Errors
    ///
    /// The refusal.
    pub async fn seal(&self) -> anyhow::Result<()> {
        let mut seal = self.caller_as(Who::Operator)?.seal();
        seal.seal_node(SealNodeRequest {}).await.explain("SealNode")?;
        self.wait_seal("sealed").await
    }

    /// Waits for a state of its seal.
    ///
    /// # Errors
    ///
    /// After half a minute.
    pub async fn wait_seal(&self, state: &str) -> anyhow::Result<()> {
        self.wait_status(&format!("node {} is {state}", self.id), SEAL, |status| {
            status.seal.state == state
        })
        .await
        .map(drop)
    }

    /// Waits until its `/status` is as wanted.
    ///
    /// # Errors
    ///
    /// After `limit`: what it was instead. At once when its process ended.
    pub async fn wait_status(
        &self,
        what: &str,
        limit: Duration,
        wanted: impl Fn(&Status) -> bool,
    ) -> anyhow::Result<Status> {
        wait::until(what, limit, || async {
            if let Some(status) = self.exited()? {
                return Ok(Err(status));
            }
            let status = self.status().await?;
            anyhow::ensure!(wanted(&status), "{:?} {:?}", status.seal, status.raft);
            Ok(Ok(status))
        })
        .await?
        .or_else(|status| {
            bail!(
                "{what}: the process of node {} ended ({}); its last lines:\n{}",
                self.id,
                process::describe(status),
                self.last_lines(20)
            )
        })
    }

    /// The last lines of its log.
    #[must_use]
    pub fn last_lines(&self, count: usize) -> String {
        let log = self.log().unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}
