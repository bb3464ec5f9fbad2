//! Configuration: a TOML file, the environment, flags; later ones win.
//!
//! Every key is checked before anything is opened. An unknown key is refused by
//! name, so that a misspelt one can't be a default in disguise.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use strongroom_base::{ClusterId, limits};
use strongroom_client::Address;

/// Prefix of environment variables: `STRONGROOM_FRONT__LISTEN__CLIENT` is
/// `listen.client`.
pub const ENVIRONMENT_PREFIX: &str = "STRONGROOM_FRONT";

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

/// Configuration of a front.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The nodes' client addresses, `host:port`. A name that has several addresses
    /// stands for as many nodes, and is resolved again from time to time.
    #[serde(deserialize_with = "list")]
    pub nodes: Vec<String>,
    /// The cluster.
    pub cluster: ClusterConfig,
    /// Addresses to listen on.
    pub listen: ListenConfig,
    /// Certificates.
    pub tls: TlsConfig,
    /// Bounds that depend on the machine, and on who calls.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// The end of a front.
    #[serde(default)]
    pub drain: DrainConfig,
    /// Log output.
    #[serde(default)]
    pub log: LogConfig,
}

/// The cluster.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterConfig {
    /// Its UUID, as in every certificate of it.
    pub id: ClusterId,
}

/// Listeners.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenConfig {
    /// gRPC for callers.
    pub client: SocketAddr,
    /// HTTP: metrics, health, status.
    pub monitor: SocketAddr,
}

/// Certificates, in PEM. Relative paths are relative to the file that names them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The front's certificate, chain included: shown to callers and to nodes.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The cluster's certificate authorities.
    pub ca: PathBuf,
}

/// Bounds that depend on the machine, and on who calls; the others stand in
/// `strongroom_base::limits`, and so do the reasons of these.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Connections of callers at a time.
    pub connections: usize,
    /// The same from one address; 0: no bound but the one above.
    pub connections_per_source: usize,
    /// Requests at a time.
    pub requests: usize,
    /// The same from one address; 0: no bound but the one above.
    pub requests_per_source: usize,
    /// Requests a second from one address; 0: no bound.
    pub rate_per_source: u32,
    /// Streams of one connection at a time.
    pub streams_per_connection: u32,
    /// Bytes of request messages held at a time.
    pub request_bytes: usize,
    /// Bytes of answers held at a time.
    pub answer_bytes: usize,
    /// A connection without a request is closed after this long, milliseconds.
    pub idle_ms: u64,
    /// A connection on which an answer is not read for this long is closed,
    /// milliseconds.
    pub stall_ms: u64,
    /// HTTP/2 connections to one node at most.
    pub connections_per_node: usize,
    /// Threads of the runtime; 0: by cores.
    pub worker_threads: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            connections: limits::FRONT_CONNECTIONS_MAX,
            connections_per_source: limits::FRONT_CONNECTIONS_PER_SOURCE,
            requests: limits::FRONT_REQUESTS_MAX,
            requests_per_source: limits::FRONT_REQUESTS_PER_SOURCE,
            rate_per_source: limits::FRONT_RATE_PER_SOURCE,
            streams_per_connection: limits::CLIENT_STREAMS_MAX,
            request_bytes: limits::FRONT_REQUEST_BYTES_MAX,
            answer_bytes: limits::FRONT_ANSWER_BYTES_MAX,
            idle_ms: limits::FRONT_IDLE_MS,
            stall_ms: limits::ANSWER_STALL_MS,
            connections_per_node: 8,
            worker_threads: 0,
        }
    }
}

/// The end of a front.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainConfig {
    /// Told to end, the front says that it is not ready and serves on for this
    /// long, milliseconds: time for balancers to notice.
    pub lead_ms: u64,
    /// Then requests under way have this long, milliseconds.
    pub patience_ms: u64,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self { lead_ms: 5000, patience_ms: 15_000 }
    }
}

impl DrainConfig {
    pub(crate) fn lead(&self) -> Duration {
        Duration::from_millis(self.lead_ms)
    }

    pub(crate) fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
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
    /// One line for each request, under the target `access`.
    pub access: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: LogFormat::Auto, access: true }
    }
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
        for path in [&mut self.tls.certificate, &mut self.tls.key, &mut self.tls.ca] {
            if path.is_relative() {
                *path = folder.join(&path);
            }
        }
    }

    /// The addresses in `nodes`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Invalid`] for a text that is none.
    pub(crate) fn addresses(&self) -> Result<Vec<Address>, ConfigError> {
        self.nodes
            .iter()
            .map(|text| {
                text.parse().map_err(|error| invalid("nodes", format!("{text:?}: {error}")))
            })
            .collect()
    }

    fn check(&self) -> Result<(), ConfigError> {
        require(!self.nodes.is_empty(), "nodes", || "must name one node at least".to_owned())?;
        self.addresses()?;
        self.check_limits()?;
        require(self.drain.lead_ms <= 300_000, "drain.lead_ms", || {
            "must be 300000 at most".to_owned()
        })?;
        require((100..=300_000).contains(&self.drain.patience_ms), "drain.patience_ms", || {
            "must be from 100 to 300000".to_owned()
        })?;
        tracing_subscriber::EnvFilter::try_new(&self.log.level)
            .map(drop)
            .map_err(|error| invalid("log.level", error.to_string()))
    }

    fn check_limits(&self) -> Result<(), ConfigError> {
        let own = &self.limits;
        let at_least = |value: usize, least: usize, key: &'static str| {
            require(value >= least, key, || format!("must be {least} at least"))
        };
        at_least(own.connections, 1, "limits.connections")?;
        at_least(own.requests, 1, "limits.requests")?;
        let message = 2 * limits::CLIENT_MESSAGE_BYTES_MAX;
        at_least(own.request_bytes, message, "limits.request_bytes")?;
        let answer = limits::FRONT_ANSWER_MESSAGE_BYTES_MAX;
        at_least(own.answer_bytes, answer, "limits.answer_bytes")?;
        let streams = 1..=limits::CLIENT_STREAMS_MAX;
        let key = "limits.streams_per_connection";
        require(streams.contains(&own.streams_per_connection), key, || {
            format!("must be from 1 to {}", limits::CLIENT_STREAMS_MAX)
        })?;
        for (key, value) in [("limits.idle_ms", own.idle_ms), ("limits.stall_ms", own.stall_ms)] {
            require((1000..=86_400_000).contains(&value), key, || {
                "must be from 1000 to 86400000".to_owned()
            })?;
        }
        let key = "limits.connections_per_node";
        require((1..=64).contains(&own.connections_per_node), key, || {
            "must be from 1 to 64".to_owned()
        })?;
        require(own.worker_threads <= 256, "limits.worker_threads", || {
            "must be from 0 (by cores) to 256".to_owned()
        })
    }
}

/// A list, or, from environment and flags, one text with commas.
fn list<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        Text(String),
        List(Vec<String>),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::List(list) => list,
        Either::Text(text) => text
            .split(',')
            .map(|part| part.trim().to_owned())
            .filter(|part| !part.is_empty())
            .collect(),
    })
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
