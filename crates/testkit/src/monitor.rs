//! What a node says of itself: `/status`, `/metrics`, `/livez`, `/readyz`.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode, body::Bytes};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

/// A monitor listener answers within this, or the node is not well.
const TIMEOUT: Duration = Duration::from_secs(5);

/// `/status`.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// The seal.
    pub seal: SealView,
    /// Raft.
    pub raft: RaftView,
    /// The audit log.
    pub audit: AuditView,
    /// State hash at the newest hash point.
    pub state_hash: Option<HashView>,
    /// Cluster time, Unix milliseconds.
    #[serde(default)]
    pub cluster_time_ms: u64,
}

/// The seal of a node.
#[derive(Clone, Debug, Deserialize)]
pub struct SealView {
    /// `uninitialised`, `sealed`, `verifying`, `unsealed`.
    pub state: String,
    /// Shares that were given so far.
    #[serde(default)]
    pub progress: u32,
    /// Shares that unseal.
    #[serde(default)]
    pub threshold: u32,
    /// Counts root keys.
    #[serde(default)]
    pub seal_epoch: u64,
}

/// Raft on a node. Absent indexes are 0.
#[derive(Clone, Debug, Deserialize)]
pub struct RaftView {
    /// `leader`, `follower`, `candidate`, `learner`, `shutdown`.
    pub role: String,
    /// Term.
    #[serde(default)]
    pub term: u64,
    /// Leader that the node knows of.
    pub leader_id: Option<u64>,
    /// Newest index in the log.
    pub last_log_index: Option<u64>,
    /// Newest index applied.
    pub applied_index: Option<u64>,
    /// Index of the newest snapshot.
    pub snapshot_index: Option<u64>,
    /// Newest index purged from the log.
    pub purged_index: Option<u64>,
}

/// The audit log on a node.
#[derive(Clone, Debug, Deserialize)]
pub struct AuditView {
    /// Records.
    #[serde(default)]
    pub size: u64,
    /// Root of the tree, hexadecimal.
    #[serde(default)]
    pub root: String,
}

/// A state hash.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct HashView {
    /// Log index of the hash point.
    #[serde(default)]
    pub index: u64,
    /// The hash, hexadecimal.
    #[serde(default)]
    pub hash: String,
}

impl Status {
    /// Newest index applied, 0 before the first.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.raft.applied_index.unwrap_or(0)
    }

    /// Whether the node serves.
    #[must_use]
    pub fn is_unsealed(&self) -> bool {
        self.seal.state == "unsealed"
    }

    /// Whether it leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.raft.role == "leader"
    }
}

/// A scrape of `/metrics`.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// As served.
    pub text: String,
    values: BTreeMap<String, f64>,
}

impl Metrics {
    fn parse(text: String) -> anyhow::Result<Self> {
        let mut values = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            let (name, value) = line.rsplit_once(' ').context("a sample is name and value")?;
            values.insert(name.to_owned(), value.parse()?);
        }
        Ok(Self { text, values })
    }

    /// Value of one series, written as in the scrape, labels included.
    #[must_use]
    pub fn value(&self, series: &str) -> Option<f64> {
        self.values.get(series).copied()
    }

    /// Sum over all series of a metric.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        let of = |series: &str| series.split('{').next() == Some(name);
        self.values.iter().filter(|(series, _)| of(series)).map(|(_, value)| value).sum()
    }
}

pub(crate) async fn status(address: SocketAddr) -> anyhow::Result<Status> {
    let (code, body) = fetch(address, "/status").await?;
    anyhow::ensure!(code == StatusCode::OK, "/status answers {code}");
    serde_json::from_slice(&body).context("/status is not as agreed")
}

pub(crate) async fn metrics(address: SocketAddr) -> anyhow::Result<Metrics> {
    let (code, body) = fetch(address, "/metrics").await?;
    anyhow::ensure!(code == StatusCode::OK, "/metrics answers {code}");
    Metrics::parse(String::from_utf8(body.to_vec())?)
}

/// One HTTP/1.1 GET on a connection of its own.
pub(crate) async fn fetch(address: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, Bytes)> {
    tokio::time::timeout(TIMEOUT, async {
        let stream = TokioIo::new(TcpStream::connect(address).await?);
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream).await?;
        let driving = tokio::spawn(connection);
        let request = Request::get(path)
            .header("host", address.to_string())
            .body(Empty::<Bytes>::new())
            .expect("a fixed path makes a request");
        let response = sender.send_request(request).await?;
        let code = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        driving.abort();
        Ok((code, body))
    })
    .await
    .with_context(|| format!("{path} took too long"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_found_by_name_and_summed_over_labels() {
        let text = "# HELP a b\na{x=\"1\"} 2\na{x=\"2 3\"} 3\nab 7\n";
        let metrics = Metrics::parse(text.to_owned()).unwrap();
        assert_eq!(metrics.value("a{x=\"2 3\"}"), Some(3.0));
        assert!((metrics.sum("a") - 5.0).abs() < f64::EPSILON);
        assert!(Metrics::parse("nonsense\n".to_owned()).is_err());
    }

    #[test]
    fn status_is_read_as_agreed() {
        let text = r#"{"seal":{"state":"sealed","shares":5,"threshold":3,"progress":1,
            "seal_epoch":1},"raft":{"role":"follower","term":4,"leader_id":null,
            "last_log_index":9,"committed_index":9,"applied_index":9,"snapshot_index":null,
            "since_quorum_ack_ms":null},"audit":{"size":3,"root":"ab"},
            "state_hash":{"index":0,"hash":""},"cluster_time_ms":5}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert_eq!((status.applied(), status.seal.progress), (9, 1));
        assert!(!status.is_unsealed() && !status.is_leader());
    }
}
