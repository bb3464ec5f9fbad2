//! Settings of a node's part in Raft.

use std::collections::BTreeMap;

use openraft::{Config, SnapshotPolicy};
use strongroom_base::{ClusterId, Incarnation, NodeId};

/// Settings of one node. Times in milliseconds.
#[derive(Clone, Debug)]
pub struct RaftConfig {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node.
    pub node: NodeId,
    /// This node's data directory.
    pub incarnation: Incarnation,
    /// Addresses of peers (host:port) from the configuration. They take
    /// precedence over what the membership in the log says, and are all that is
    /// known before the cluster is formed.
    pub addresses: BTreeMap<NodeId, String>,
    /// A leader is silent no longer than this.
    pub heartbeat_ms: u64,
    /// Shortest silence of a leader after which a follower may campaign. At
    /// least ten times what an append takes (openraft FAQ).
    pub election_min_ms: u64,
    /// Longest such silence; also the length of a leader's lease.
    pub election_max_ms: u64,
    /// Entries after which a snapshot is taken and the log before it purged.
    pub snapshot_every: u64,
    /// Entries kept in the log behind a snapshot, so that a follower that lags
    /// a little needs no snapshot.
    pub keep_after_snapshot: u64,
    /// Bytes of log entries after which a snapshot is taken even if there are
    /// fewer than `snapshot_every`.
    pub snapshot_log_bytes: u64,
    /// A leader whose own disk takes longer than this for a write hands
    /// leadership over; after the same time again its process ends.
    pub flush_lag_max_ms: u64,
    /// Starts silent: neither answers Raft's calls nor campaigns until
    /// `RaftNode::take_part`.
    pub silent: bool,
}

/// Why settings can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Zero where a time is needed.
    #[error("{name} must not be 0")]
    Zero {
        /// Name of the setting.
        name: &'static str,
    },
    /// A single lost heartbeat would start an election.
    #[error(
        "election_min_ms ({election_min_ms}) must be at least 3 times heartbeat_ms ({heartbeat_ms})"
    )]
    ElectionTooShort {
        /// The setting.
        election_min_ms: u64,
        /// What it was compared with.
        heartbeat_ms: u64,
    },
    /// No room to draw election timeouts from, so candidates would collide.
    #[error(
        "election_max_ms ({election_max_ms}) must be greater than election_min_ms ({election_min_ms})"
    )]
    ElectionRange {
        /// Lower end.
        election_min_ms: u64,
        /// Upper end.
        election_max_ms: u64,
    },
    /// A slow disk would be noticed before its followers could take over.
    #[error(
        "flush_lag_max_ms ({flush_lag_max_ms}) must be at least election_max_ms ({election_max_ms})"
    )]
    FlushLagTooShort {
        /// The setting.
        flush_lag_max_ms: u64,
        /// What it was compared with.
        election_max_ms: u64,
    },
}

impl RaftConfig {
    /// The defaults: failover within about two seconds on disks that sync in
    /// under 75 ms.
    #[must_use]
    pub fn new(cluster: ClusterId, node: NodeId, incarnation: Incarnation) -> Self {
        Self {
            cluster,
            node,
            incarnation,
            addresses: BTreeMap::new(),
            heartbeat_ms: 150,
            election_min_ms: 750,
            election_max_ms: 1500,
            snapshot_every: 10_000,
            keep_after_snapshot: 1_000,
            snapshot_log_bytes: 256 * 1024 * 1024,
            flush_lag_max_ms: 3_000,
            silent: false,
        }
    }

    /// Checks the settings against one another.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the settings.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (name, value) in [
            ("heartbeat_ms", self.heartbeat_ms),
            ("snapshot_every", self.snapshot_every),
            ("snapshot_log_bytes", self.snapshot_log_bytes),
        ] {
            if value == 0 {
                return Err(ConfigError::Zero { name });
            }
        }
        let Self { heartbeat_ms, election_min_ms, election_max_ms, flush_lag_max_ms, .. } = *self;
        if election_min_ms < heartbeat_ms.saturating_mul(3) {
            return Err(ConfigError::ElectionTooShort { election_min_ms, heartbeat_ms });
        }
        if election_max_ms <= election_min_ms {
            return Err(ConfigError::ElectionRange { election_min_ms, election_max_ms });
        }
        if flush_lag_max_ms < election_max_ms {
            return Err(ConfigError::FlushLagTooShort { flush_lag_max_ms, election_max_ms });
        }
        Ok(())
    }

    /// The library's settings.
    pub(crate) fn library(&self) -> Config {
        Config {
            cluster_name: self.cluster.to_string(),
            heartbeat_interval: self.heartbeat_ms,
            // An acknowledged append is as good as a heartbeat.
            heartbeat_min_interval: Some(self.heartbeat_ms),
            election_timeout_min: self.election_min_ms,
            election_timeout_max: self.election_max_ms,
            // A node that can't win must not depose a leader that works.
            enable_pre_vote: Some(true),
            // A restarted leader's state may be older than what it has served.
            enable_leader_restore: Some(false),
            enable_elect: !self.silent,
            // Never: a follower that lost its log must not be believed.
            allow_log_reversion: Some(false),
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            // Never by itself: `retention` decides what may go.
            max_in_snapshot_log_to_keep: u64::MAX,
            // Batches are bounded in bytes by the log reader.
            max_payload_entries: 1024,
            max_append_entries: Some(1024),
            api_channel_size: Some(4096),
            state_machine_channel_size: Some(256),
            ..Config::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RaftConfig {
        RaftConfig::new(
            ClusterId::from_bytes([1; 16]),
            NodeId::new(1).unwrap(),
            Incarnation::from_bytes([2; 16]),
        )
    }

    #[test]
    fn settings_that_contradict_one_another_are_refused_by_name() {
        let refused = |change: fn(&mut RaftConfig)| {
            let mut config = config();
            change(&mut config);
            config.validate().unwrap_err().to_string()
        };
        assert!(refused(|c| c.heartbeat_ms = 0).contains("heartbeat_ms"));
        assert!(refused(|c| c.heartbeat_ms = 300).contains("election_min_ms"));
        assert!(refused(|c| c.election_max_ms = 750).contains("election_max_ms"));
        assert!(refused(|c| c.flush_lag_max_ms = 1000).contains("flush_lag_max_ms"));
        assert!(refused(|c| c.snapshot_every = 0).contains("snapshot_every"));
    }

    #[test]
    fn the_library_accepts_the_defaults_and_keeps_its_dangerous_switches_off() {
        config().validate().unwrap();
        let library = config().library().validate().unwrap();
        assert_eq!(library.enable_pre_vote, Some(true));
        assert_eq!(library.enable_leader_restore, Some(false));
        assert_eq!(library.allow_log_reversion, Some(false));
    }
}
