//! A cluster of processes, from its certificates to its end.

mod builder;
mod ceremony;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use futures::future::try_join_all;
use parking_lot::Mutex;
use strongroom_wire::peer::{AppendHashPointRequest, StateHashRequest};
use tempfile::TempDir;
use tokio::sync::OwnedSemaphorePermit;

pub use builder::{Builder, turn};
pub use ceremony::{Ceremony, Tenant};

use crate::{
    caller::{Caller, Explain as _},
    node::Node,
    peer::PeerCaller,
    pki::Pki,
    proxy::{Link, Mesh},
    wait,
};

/// An election among nodes that run, on a machine that is busy with tests.
const ELECTION: Duration = Duration::from_secs(30);
/// A follower that runs catches up within this.
const CATCH_UP: Duration = Duration::from_secs(60);
/// A clean end: `limits.shutdown_ms` of the configuration and some more.
const SHUTDOWN: Duration = Duration::from_secs(20);

/// Nodes that belong together. Every process dies with it.
///
/// One cluster at a time lives in a test executable: the machine is shared, and
/// elections of one would wait for the load of another.
pub struct Cluster {
    name: String,
    folder: PathBuf,
    keep: Mutex<Option<TempDir>>,
    nodes: Vec<Arc<Node>>,
    pki: Arc<Pki>,
    mesh: Arc<Mesh>,
    shares: (u32, u32),
    ceremony: Mutex<Option<Ceremony>>,
    tenant: Mutex<Option<Tenant>>,
    finished: AtomicBool,
    _turn: OwnedSemaphorePermit,
}

impl Cluster {
    /// Three nodes, five shares of which three unseal, unless told otherwise.
    /// `name` shows up in the names of its directories.
    #[must_use]
    pub fn builder(name: &str) -> Builder {
        Builder::new(name)
    }

    /// All nodes, by ascending id, running or not.
    #[must_use]
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Node `id`, counted from 1.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn node(&self, id: u64) -> &Arc<Node> {
        self.nodes.iter().find(|node| node.id == id).expect("a node of this cluster")
    }

    /// The nodes whose process runs.
    #[must_use]
    pub fn running(&self) -> Vec<Arc<Node>> {
        self.nodes.iter().filter(|node| node.is_running()).cloned().collect()
    }

    /// Its certificates.
    #[must_use]
    pub fn pki(&self) -> &Pki {
        &self.pki
    }

    /// Directory that holds everything of it.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// One caller per node, with the same token.
    #[must_use]
    pub fn callers(&self, token: &str) -> Vec<Caller> {
        self.nodes.iter().map(|node| node.caller().with_token(token)).collect()
    }

    /// Links between `member` and all others, in both directions.
    pub fn set_links(&self, member: u64, link: Link) {
        self.mesh.set_around(member, link);
    }

    /// The link on which `from` dials `to`.
    pub fn set_link(&self, from: u64, to: u64, link: Link) {
        self.mesh.link(from, to).set(link);
    }

    /// Opens every link.
    pub fn heal(&self) {
        self.mesh.set_all(Link::Open);
    }

    /// The node that leads, once one does and a majority of those that run
    /// follow it.
    ///
    /// # Errors
    ///
    /// After half a minute.
    pub async fn leader(&self) -> anyhow::Result<Arc<Node>> {
        wait::until("a leader is known", ELECTION, || async {
            let running = self.running();
            let mut seen = Vec::new();
            for node in &running {
                let raft = node.status().await?.raft;
                seen.push((node.id, raft.term, raft.leader_id, raft.role));
            }
            let leader = seen
                .iter()
                .filter(|(_, _, _, role)| role == "leader")
                .max_by_key(|(_, term, _, _)| *term)
                .with_context(|| format!("{seen:?}"))?;
            let followers =
                seen.iter().filter(|(_, term, of, _)| *term == leader.1 && *of == Some(leader.0));
            anyhow::ensure!(followers.count() > self.nodes.len() / 2, "{seen:?}");
            Ok(Arc::clone(self.node(leader.0)))
        })
        .await
    }

    /// Some node that runs and does not lead.
    ///
    /// # Errors
    ///
    /// When there is no leader for long, or no follower.
    pub async fn follower(&self) -> anyhow::Result<Arc<Node>> {
        let leader = self.leader().await?;
        let running = self.running();
        running.into_iter().find(|node| node.id != leader.id).context("no follower runs")
    }

    /// Waits until every node that runs has applied what the furthest has in its
    /// log, and nothing moves any more.
    ///
    /// # Errors
    ///
    /// After a minute.
    pub async fn caught_up(&self) -> anyhow::Result<u64> {
        wait::until("all nodes have applied the same", CATCH_UP, || async {
            let mut seen = Vec::new();
            for node in self.running() {
                let status = node.status().await?;
                let last = status.raft.last_log_index.unwrap_or(0);
                seen.push((node.id, last, status.applied()));
            }
            let newest = seen.iter().map(|(_, last, _)| *last).max().context("no node runs")?;
            anyhow::ensure!(seen.iter().all(|(_, _, applied)| *applied == newest), "{seen:?}");
            Ok(newest)
        })
        .await
    }

    /// Waits until every node that runs has applied entry `index`.
    ///
    /// # Errors
    ///
    /// After a minute.
    pub async fn applied_everywhere(&self, index: u64) -> anyhow::Result<()> {
        let running = self.running();
        try_join_all(running.iter().map(|node| async move {
            let what = format!("node {} applies entry {index}", node.id);
            node.wait_status(&what, CATCH_UP, |status| status.applied() >= index).await
        }))
        .await?;
        Ok(())
    }

    /// Appends a hash point and requires the same state hash of every node that
    /// runs. Gives the index and the hash.
    ///
    /// # Errors
    ///
    /// When hashes differ: which.
    pub async fn equal_hashes(&self) -> anyhow::Result<(u64, Vec<u8>)> {
        let nonce: u64 = rand::random();
        let index = wait::until("a hash point is appended", ELECTION, || async {
            let leader = self.leader().await?;
            let mut peer = self.peer_of(&leader)?.node();
            let request = AppendHashPointRequest { nonce };
            let index = peer
                .append_hash_point(request)
                .await
                .explain("AppendHashPoint")?
                .into_inner()
                .log_index;
            anyhow::ensure!(index > 0, "not appended");
            Ok(index)
        })
        .await?;
        let hashes = try_join_all(self.running().iter().map(|node| async {
            let peer = self.peer_of(node)?;
            let hash = wait::until("a node hashes its state", CATCH_UP, || async {
                let request = StateHashRequest { log_index: index };
                let response =
                    peer.node().state_hash(request).await.explain("StateHash")?.into_inner();
                anyhow::ensure!(response.hash.len() == 32, "no hash at {index} yet");
                Ok(response.hash.to_vec())
            })
            .await?;
            anyhow::Ok((node.id, hash))
        }))
        .await?;
        let first = hashes.first().context("no node runs")?.1.clone();
        anyhow::ensure!(
            hashes.iter().all(|(_, hash)| *hash == first),
            "state hashes differ at index {index}: {hashes:02x?}"
        );
        Ok((index, first))
    }

    /// Calls `node`'s peer listener as some other member.
    fn peer_of(&self, node: &Node) -> anyhow::Result<PeerCaller> {
        let other = self.nodes.iter().find(|other| other.id != node.id);
        PeerCaller::new(other.map_or(node, |other| other), node, &self.pki)
    }

    /// Ends all processes cleanly, and the test with it: nothing is kept.
    ///
    /// # Errors
    ///
    /// When a process ended otherwise than well or left a panic in its log.
    pub async fn finish(self) -> anyhow::Result<()> {
        let running = self.running();
        try_join_all(running.iter().map(|node| node.stop(SHUTDOWN))).await?;
        for node in &self.nodes {
            let log = node.log().unwrap_or_default();
            let panic = log.lines().find(|line| line.contains("panicked at"));
            anyhow::ensure!(panic.is_none(), "node {} panicked: {}", node.id, panic.unwrap_or(""));
        }
        self.finished.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Cluster {
    #[expect(clippy::print_stderr, reason = "says where a failed test left its logs")]
    fn drop(&mut self) {
        for node in self.running() {
            // It is gone already, or will be with its value.
            let _gone = node.kill();
        }
        if self.finished.load(Ordering::Relaxed) {
            return;
        }
        if let Some(folder) = self.keep.lock().take() {
            let path = folder.keep();
            eprintln!("cluster '{}': logs and data are kept in {}", self.name, path.display());
        }
    }
}
