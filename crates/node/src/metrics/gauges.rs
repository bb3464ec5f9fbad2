//! What is read when metrics are asked for: registered here, filled in by
//! [`super::fill`].

use prometheus::{Gauge, GaugeVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::register::Register;

/// Numbers that are kept elsewhere.
pub(crate) struct Gauges {
    pub(super) calls_in_flight: IntGauge,
    pub(super) streams: IntGauge,
    pub(super) request_bytes: IntGauge,
    pub(super) answer_bytes: IntGauge,
    pub(super) connections: IntGaugeVec,
    pub(super) connections_accepted: IntCounterVec,
    pub(super) handshakes_failed: IntCounterVec,

    pub(super) ready: IntGauge,
    pub(super) seal_state: IntGaugeVec,
    pub(super) shares_given: IntGauge,
    pub(super) shares_threshold: IntGauge,
    pub(super) state_verified: IntGauge,
    pub(super) keys: IntGaugeVec,
    pub(super) keys_counted: IntGauge,

    pub(super) ledger_queue: IntGauge,
    pub(super) ledger_queue_bytes: IntGauge,
    pub(super) ledger_oldest: Gauge,
    pub(super) batch_resends: IntCounter,
    pub(super) row_cache: IntCounterVec,

    pub(super) raft_role: IntGaugeVec,
    pub(super) raft_term: IntGauge,
    pub(super) raft_leader_id: IntGauge,
    pub(super) raft_index: IntGaugeVec,
    pub(super) quorum_ack_age: Gauge,
    pub(super) leader_heard_age: Gauge,
    pub(super) follower_lag: IntGaugeVec,
    pub(super) follower_ack_age: GaugeVec,
    pub(super) log_unsynced_age: Gauge,

    pub(super) audit_records: IntCounter,
    pub(super) audit_last_record: Gauge,
    pub(super) storage_bytes: IntGaugeVec,
    pub(super) disk_free_bytes: IntGauge,
    pub(super) disk_reserve_bytes: IntGauge,
    pub(super) disk_low: IntGauge,

    pub(super) certificate_not_after: Gauge,
    pub(super) certificate_reloads: IntCounterVec,
    pub(super) clock_offset: GaugeVec,
    pub(super) secret_bytes: IntGauge,
    pub(super) secret_memory_locked: IntGauge,
}

impl Gauges {
    #[expect(clippy::too_many_lines, reason = "a list")]
    pub(super) fn new(r: &Register) -> Self {
        Self {
            calls_in_flight: r.gauge("strongroom_calls_in_flight", "Calls under way"),
            streams: r.gauge("strongroom_streams", "Streams open"),
            request_bytes: r.gauge("strongroom_request_bytes", "Bytes of request bodies held"),
            answer_bytes: r
                .gauge("strongroom_answer_bytes", "Bytes of large answers that are not read yet"),
            connections: r.gauges(
                "strongroom_connections",
                "Connections open, by listener",
                &["listener"],
            ),
            connections_accepted: r.counters(
                "strongroom_connections_accepted_total",
                "Connections handed on after their handshake, by listener",
                &["listener"],
            ),
            handshakes_failed: r.counters(
                "strongroom_handshakes_failed_total",
                "Connections that ended before or in their handshake, by listener and cause",
                &["listener", "cause"],
            ),

            ready: r.gauge("strongroom_ready", "1 where /readyz answers 200"),
            seal_state: r.gauges(
                "strongroom_seal_state",
                "1 in the label of the present state",
                &["state"],
            ),
            shares_given: r.gauge(
                "strongroom_unseal_shares_given",
                "Shares given so far for the unsealing under way",
            ),
            shares_threshold: r
                .gauge("strongroom_unseal_shares_threshold", "Shares that unseal; 0 before init"),
            state_verified: r.gauge(
                "strongroom_state_verified",
                "1 where the whole state was checked and compared with a quorum",
            ),
            keys: r.gauges(
                "strongroom_keys",
                "Keys by state; none while this node is not unsealed or still counts",
                &["state"],
            ),
            keys_counted: r.gauge("strongroom_keys_counted", "1 where strongroom_keys is complete"),

            ledger_queue: r
                .gauge("strongroom_ledger_queue_attempts", "Attempts that wait in the ledger"),
            ledger_queue_bytes: r.gauge(
                "strongroom_ledger_queue_bytes",
                "Bytes of attempts that wait in the ledger",
            ),
            ledger_oldest: r.seconds(
                "strongroom_ledger_oldest_attempt_age_seconds",
                "Age of the oldest attempt without a verdict, waiting or under way; 0: none",
            ),
            batch_resends: r.counter(
                "strongroom_batch_resends_total",
                "Times that a batch was sent to a leader again",
            ),
            row_cache: r.counters(
                "strongroom_row_cache_lookups_total",
                "Look-ups of opened rows, by result",
                &["result"],
            ),

            raft_role: r.gauges("strongroom_raft_role", "1 for the present role", &["role"]),
            raft_term: r.gauge("strongroom_raft_term", "Raft term"),
            raft_leader_id: r.gauge(
                "strongroom_raft_leader_id",
                "Node id of the leader that this node knows of; 0: none",
            ),
            raft_index: r.gauges("strongroom_raft_log_index", "Raft log indexes", &["kind"]),
            quorum_ack_age: r.seconds(
                "strongroom_raft_quorum_ack_age_seconds",
                "Time since a quorum acknowledged this leader; -1 elsewhere and before",
            ),
            leader_heard_age: r.seconds(
                "strongroom_raft_leader_heard_age_seconds",
                "Time since a leader was heard of; -1 on a leader and before",
            ),
            follower_lag: r.gauges(
                "strongroom_raft_follower_lag_entries",
                "On the leader: entries that a member lacks",
                &["node_id"],
            ),
            follower_ack_age: r.seconds_by(
                "strongroom_raft_follower_ack_age_seconds",
                "On the leader: time since a member acknowledged anything; -1: not yet",
                &["node_id"],
            ),
            log_unsynced_age: r.seconds(
                "strongroom_raft_log_unsynced_age_seconds",
                "Age of the oldest write of the Raft log that is not synced; 0: none",
            ),

            audit_records: r.counter(
                "strongroom_audit_records_total",
                "Records in the audit log, as applied here: the next sequence number",
            ),
            audit_last_record: r.seconds(
                "strongroom_audit_last_record_timestamp_seconds",
                "Cluster time of the newest audit record, Unix time; 0: none",
            ),
            storage_bytes: r.gauges(
                "strongroom_storage_bytes",
                "Bytes of files below the data directory, by part",
                &["part"],
            ),
            disk_free_bytes: r.gauge("strongroom_disk_free_bytes", "Free bytes of the data disk"),
            disk_reserve_bytes: r.gauge(
                "strongroom_disk_reserve_bytes",
                "Free bytes below which uses of keys are refused",
            ),
            disk_low: r.gauge("strongroom_disk_low", "1 while the disk is below its reserve"),

            certificate_not_after: r.seconds(
                "strongroom_certificate_not_after_timestamp_seconds",
                "End of validity of the node's certificate, Unix time",
            ),
            certificate_reloads: r.counters(
                "strongroom_certificate_reloads_total",
                "Times that certificate files were read again, by result",
                &["result"],
            ),
            clock_offset: r.seconds_by(
                "strongroom_clock_offset_seconds",
                "This node's wall clock less another, where that was heard of lately",
                &["to"],
            ),
            secret_bytes: r.gauge("strongroom_secret_bytes", "Bytes in the arena of secrets"),
            secret_memory_locked: r.gauge(
                "strongroom_secret_memory_locked",
                "1 where the arena of secrets is locked in memory",
            ),
        }
    }
}
