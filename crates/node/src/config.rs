//! Configuration: a TOML file, the environment, flags; later ones win.
//!
//! Every key is checked before anything is opened. An unknown key is refused by
//! name, so that a misspelt one can't be a default in disguise.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use strongroom_base::{AccountId, ClusterId, NodeId, limits};

/// Prefix of environment variables: `STRONGROOM_SERVER__LISTEN__CLIENT` is
/// `listen.client`.
pub const ENVIRONMENT_PREFIX: &str = "STRONGROOM_SERVER";

/// Why a configuration can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file, an environment variable or a flag can't be read as what it is.
    #[error("{0}")]
    Unreadable(#[from] config::ConfigError),
    /// A value is out of its bounds.
    #[error("{key}: {problem}")]
    Invalid {
        /// The key, with dots.
        key: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
}

/// Where the configuration comes from.
#[derive(Debug, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// Keys given as flags, with their values: `("listen.client", "…")`.
    pub overrides: Vec<(String, String)>,
}

/// Configuration of a node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Directory that holds all that the node stores.
    pub data_dir: PathBuf,
    /// This node.
    pub node: NodeConfig,
    /// The cluster that it belongs to.
    pub cluster: ClusterConfig,
    /// Addresses to listen on.
    pub listen: ListenConfig,
    /// Certificates.
    pub tls: TlsConfig,
    /// Timing of Raft.
    #[serde(default)]
    pub raft: RaftConfig,
    /// Bounds that depend on the machine.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Log output.
    #[serde(default)]
    pub log: LogConfig,
}

/// This node.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Its id, as in its certificate.
    pub id: NodeId,
    /// Its name, for people.
    #[serde(default)]
    pub name: String,
}

/// The cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Its UUID, as in every certificate of it.
    pub id: ClusterId,
    /// Account of its keys: twelve digits.
    #[serde(default = "default_account")]
    pub account: AccountId,
    /// Region, as in ARNs.
    #[serde(default = "default_region")]
    pub region: String,
    /// The first membership; the same on every node.
    pub members: Vec<MemberConfig>,
}

/// One member.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberConfig {
    /// Its node id.
    pub id: NodeId,
    /// Its name, for people.
    #[serde(default)]
    pub name: String,
    /// Peer address as this node dials it: host:port.
    pub address: String,
}

/// Listeners.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// gRPC for callers.
    pub client: SocketAddr,
    /// gRPC between members.
    pub peer: SocketAddr,
    /// HTTP: metrics, health, status.
    pub monitor: SocketAddr,
}

/// Certificates, in PEM. Relative paths are relative to the file that names them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The node's certificate, chain included.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The cluster's certificate authorities.
    pub ca: PathBuf,
}

/// Timing of Raft, as multiples of the append latency (Raft paper, section 5.6).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftConfig {
    /// Between heartbeats, milliseconds.
    pub heartbeat_ms: u64,
    /// Least election timeout, milliseconds.
    pub election_min_ms: u64,
    /// Largest election timeout, milliseconds.
    pub election_max_ms: u64,
    /// Entries between snapshots.
    pub snapshot_every: u64,
    /// Entries kept behind a snapshot for followers that lag.
    pub keep_after_snapshot: u64,
    /// A leader whose own log sync takes longer hands over, milliseconds.
    pub flush_lag_max_ms: u64,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self {
            heartbeat_ms: 150,
            election_min_ms: 750,
            election_max_ms: 1500,
            snapshot_every: 10_000,
            keep_after_snapshot: 1000,
            flush_lag_max_ms: 3000,
        }
    }
}

/// Bounds that depend on the machine.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Below this many free bytes on the data disk, uses are refused.
    pub disk_reserve_bytes: u64,
    /// Threads of the runtime; 0: by cores.
    pub worker_threads: usize,
    /// A shutdown takes at most this long, milliseconds.
    pub shutdown_ms: u64,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self { disk_reserve_bytes: 256 * 1024 * 1024, worker_threads: 0, shutdown_ms: 10_000 }
    }
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

/// Log output.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Filter in the syntax of `tracing-subscriber`'s `EnvFilter`.
    pub level: String,
    /// Form.
    pub format: LogFormat,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Auto }
    }
}

fn default_account() -> AccountId {
    "000000000000".parse().expect("twelve digits")
}

fn default_region() -> String {
    "local".to_owned()
}

impl Config {
    /// Loads and checks a configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the key and what would be right.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut builder = config::Config::builder();
        if let Some(file) = &sources.file {
            builder = builder
                .add_source(config::File::from(file.as_path()).format(config::FileFormat::Toml));
        }
        builder = builder.add_source(
            config::Environment::with_prefix(ENVIRONMENT_PREFIX)
                .prefix_separator("__")
                .separator("__"),
        );
        for (key, value) in &sources.overrides {
            builder = builder.set_override(key, value.as_str())?;
        }
        let mut config: Self = builder.build()?.try_deserialize()?;
        if let Some(folder) = sources.file.as_deref().and_then(Path::parent) {
            config.anchor(folder);
        }
        config.check()?;
        Ok(config)
    }

    /// Makes relative paths relative to `folder`.
    fn anchor(&mut self, folder: &Path) {
        for path in
            [&mut self.data_dir, &mut self.tls.certificate, &mut self.tls.key, &mut self.tls.ca]
        {
            if path.is_relative() {
                *path = folder.join(&path);
            }
        }
    }

    /// This node's own entry among the members.
    #[must_use]
    pub fn own_member(&self) -> &MemberConfig {
        self.cluster
            .members
            .iter()
            .find(|member| member.id == self.node.id)
            .expect("checked on loading: the node is among the members")
    }

    /// The node's name; its number where it has none.
    #[must_use]
    pub fn node_name(&self) -> String {
        if self.node.name.is_empty() {
            format!("node-{}", self.node.id)
        } else {
            self.node.name.clone()
        }
    }

    fn check(&self) -> Result<(), ConfigError> {
        self.check_members()?;
        self.check_raft()?;
        let region = &self.cluster.region;
        let fits = (1..=32).contains(&region.len())
            && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        require(fits, "cluster.region", || {
            "must be 1 to 32 characters of a-z, 0-9 and '-', as it stands in ARNs".to_owned()
        })?;
        require(self.node.name.len() <= 64, "node.name", || "at most 64 bytes".to_owned())?;
        require((1000..=300_000).contains(&self.limits.shutdown_ms), "limits.shutdown_ms", || {
            "must be from 1000 to 300000".to_owned()
        })?;
        require(self.limits.worker_threads <= 256, "limits.worker_threads", || {
            "must be from 0 (by cores) to 256".to_owned()
        })?;
        tracing_subscriber::EnvFilter::try_new(&self.log.level)
            .map(drop)
            .map_err(|error| invalid("log.level", error.to_string()))
    }

    fn check_members(&self) -> Result<(), ConfigError> {
        let members = &self.cluster.members;
        require((1..=limits::MEMBERS_MAX).contains(&members.len()), "cluster.members", || {
            format!("must name 1 to {} members, names {}", limits::MEMBERS_MAX, members.len())
        })?;
        let ids: BTreeSet<_> = members.iter().map(|member| member.id).collect();
        require(ids.len() == members.len(), "cluster.members", || {
            "two members have the same id".to_owned()
        })?;
        require(ids.contains(&self.node.id), "cluster.members", || {
            format!("node.id {} is not among the members", self.node.id)
        })?;
        for member in members {
            let port = member.address.rsplit_once(':').and_then(|(host, port)| {
                (!host.is_empty()).then(|| port.parse::<u16>().ok()).flatten()
            });
            require(port.is_some_and(|port| port > 0), "cluster.members.address", || {
                format!("'{}' is not host:port", member.address)
            })?;
        }
        Ok(())
    }

    fn check_raft(&self) -> Result<(), ConfigError> {
        let raft = &self.raft;
        require((10..=10_000).contains(&raft.heartbeat_ms), "raft.heartbeat_ms", || {
            "must be from 10 to 10000".to_owned()
        })?;
        require(raft.election_min_ms >= 3 * raft.heartbeat_ms, "raft.election_min_ms", || {
            format!("must be at least three heartbeats ({} ms)", 3 * raft.heartbeat_ms)
        })?;
        require(
            raft.election_max_ms >= raft.election_min_ms + raft.heartbeat_ms
                && raft.election_max_ms <= 60_000,
            "raft.election_max_ms",
            || "must exceed election_min_ms by a heartbeat at least, and be 60000 at most".into(),
        )?;
        require((20..=10_000_000).contains(&raft.snapshot_every), "raft.snapshot_every", || {
            "must be from 20 to 10000000".to_owned()
        })?;
        require(raft.keep_after_snapshot <= 10_000_000, "raft.keep_after_snapshot", || {
            "must be 10000000 at most".to_owned()
        })?;
        let flush_lag = raft.election_max_ms..=600_000;
        require(flush_lag.contains(&raft.flush_lag_max_ms), "raft.flush_lag_max_ms", || {
            format!("must be from election_max_ms ({}) to 600000", raft.election_max_ms)
        })
    }
}

fn invalid(key: &'static str, problem: String) -> ConfigError {
    ConfigError::Invalid { key, problem }
}

fn require(
    holds: bool,
    key: &'static str,
    problem: impl FnOnce() -> String,
) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(invalid(key, problem())) }
}

#[cfg(test)]
mod tests;
