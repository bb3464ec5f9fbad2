//! Metrics (crate prometheus). Labels come from fixed lists only.

use std::time::Duration;

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};
use tonic::Code;

/// Operations that are labels of metrics: the methods of `strongroom.v1`.
pub(crate) const OPERATIONS: &[&str] = &[
    "CreateKey",
    "DescribeKey",
    "ListKeys",
    "EnableKey",
    "DisableKey",
    "GenerateDataKey",
    "GenerateDataKeyWithoutPlaintext",
    "GenerateDataKeys",
    "Encrypt",
    "Decrypt",
    "DecryptBatch",
    "ReEncrypt",
    "GenerateRandom",
    "Init",
    "SubmitShare",
    "ResetUnseal",
    "SealNode",
    "SealStatus",
    "ListMembers",
    "NodeStatus",
    "RotateBarrier",
    "DropEpoch",
    "ListEpochs",
    "TransferLeader",
    "TakeSnapshot",
    "ListEvents",
    "TailEvents",
    "CreateToken",
    "ListTokens",
    "RevokeToken",
    "AttachRole",
    "DetachRole",
    "WhoAmI",
    "Check",
    "Watch",
    "List",
    "ServerReflectionInfo",
];

/// Upper bounds of latency buckets, seconds: 0.1 ms to 10 s.
const BUCKETS: &[f64] = &[
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];

/// The metrics of a node.
pub(crate) struct Metrics {
    registry: Registry,
    calls: IntCounterVec,
    call_seconds: HistogramVec,
    /// Attempts that were decided again because they were superseded.
    pub(crate) superseded: IntCounter,
    /// Calls refused for want of a valid token; never committed one by one.
    pub(crate) unauthenticated: IntCounter,
    /// Calls refused because their principal was denied too often.
    pub(crate) denials_limited: IntCounter,
    /// Reads of metadata, by operation.
    pub(crate) metadata_reads: IntCounterVec,
    /// Shares refused, by reason.
    pub(crate) shares_refused: IntCounterVec,
    /// Numbers that are read when metrics are asked for.
    pub(crate) gauges: Gauges,
}

/// Gauges that [`crate::monitor`] fills in before each scrape.
pub(crate) struct Gauges {
    /// 0 uninitialised, 1 sealed, 2 verifying, 3 unsealed.
    pub(crate) seal_state: IntGauge,
    /// Shares given so far.
    pub(crate) share_progress: IntGauge,
    /// Raft: 1 in the label of the present role.
    pub(crate) raft_role: IntGaugeVec,
    /// Raft term.
    pub(crate) raft_term: IntGauge,
    /// Raft log indexes: last, committed, applied, snapshot.
    pub(crate) raft_index: IntGaugeVec,
    /// Milliseconds since a quorum last acknowledged this leader; -1: no leader.
    pub(crate) quorum_ack_ms: IntGauge,
    /// Entries that a follower lags, by node id of the configured members.
    pub(crate) follower_lag: IntGaugeVec,
    /// Attempts that wait in the ledger.
    pub(crate) ledger_queue: IntGauge,
    /// Their bytes.
    pub(crate) ledger_queue_bytes: IntGauge,
    /// Times that a batch was sent again.
    pub(crate) batch_resends: IntGauge,
    /// Look-ups of opened rows, by result.
    pub(crate) row_cache: IntGaugeVec,
    /// Batches that the ledger resolved.
    pub(crate) ledger_batches: IntGauge,
    /// Attempts that the ledger resolved.
    pub(crate) ledger_attempts: IntGauge,
    /// Records in the audit log.
    pub(crate) audit_size: IntGauge,
    /// Free bytes of the data disk.
    pub(crate) disk_free_bytes: IntGauge,
    /// 1 while uses are refused for want of disk.
    pub(crate) disk_low: IntGauge,
    /// End of validity of the node's certificate, Unix seconds.
    pub(crate) certificate_not_after_seconds: IntGauge,
    /// This node's clock less the median of the members', milliseconds.
    pub(crate) clock_offset_ms: IntGauge,
    /// Calls under way.
    pub(crate) calls_in_flight: IntGauge,
    /// Bytes of request bodies held.
    pub(crate) request_bytes: IntGauge,
    /// Connections open, by listener.
    pub(crate) connections: IntGaugeVec,
    /// Connections refused over the bound, by listener.
    pub(crate) connections_refused: IntGaugeVec,
    /// Milliseconds of the last sync of the Raft log.
    pub(crate) log_sync_ms: IntGauge,
    /// Bytes in the arena of secrets.
    pub(crate) secret_bytes: IntGauge,
    /// 1 where the arena of secrets is locked in memory.
    pub(crate) secret_memory_locked: IntGauge,
    /// 1 where the whole state was checked and compared with a quorum.
    pub(crate) state_verified: IntGauge,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Panics
    ///
    /// Never: names are constants, and each is registered once.
    #[must_use]
    pub(crate) fn new(version: &str) -> Self {
        let registry = Registry::new();
        let register = Register(&registry);
        let call_seconds = HistogramVec::new(
            HistogramOpts::new(
                "strongroom_call_duration_seconds",
                "Time from a call's headers to its answer, by operation",
            )
            .buckets(BUCKETS.to_vec()),
            &["operation"],
        )
        .expect("constant and valid");
        registry.register(Box::new(call_seconds.clone())).expect("registered once");
        register
            .gauges("strongroom_build_info", "1; the version is the label", &["version"])
            .with_label_values(&[version])
            .set(1);
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("registered once");
        Self {
            calls: register.counters(
                "strongroom_calls_total",
                "Calls answered, by operation and gRPC code",
                &["operation", "code"],
            ),
            call_seconds,
            superseded: register.counter(
                "strongroom_attempts_superseded_total",
                "Attempts decided again because what they rest on had changed",
            ),
            unauthenticated: register.counter(
                "strongroom_unauthenticated_total",
                "Calls refused for want of a valid token",
            ),
            denials_limited: register.counter(
                "strongroom_denials_limited_total",
                "Calls refused because their principal was denied too often",
            ),
            metadata_reads: register.counters(
                "strongroom_metadata_reads_total",
                "Reads of metadata, by operation",
                &["operation"],
            ),
            shares_refused: register.counters(
                "strongroom_shares_refused_total",
                "Shares refused, by reason",
                &["reason"],
            ),
            gauges: Gauges::new(&register),
            registry,
        }
    }

    /// Counts a call.
    pub(crate) fn call_ended(&self, operation: &'static str, code: Code, elapsed: Duration) {
        self.calls.with_label_values(&[operation, code_name(code)]).inc();
        self.call_seconds.with_label_values(&[operation]).observe(elapsed.as_secs_f64());
    }

    /// The text form (Prometheus exposition format 0.0.4).
    ///
    /// # Errors
    ///
    /// What the encoder reports.
    pub(crate) fn text(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

struct Register<'a>(&'a Registry);

impl Register<'_> {
    fn counter(&self, name: &str, help: &str) -> IntCounter {
        let counter = IntCounter::new(name, help).expect("constant and valid");
        self.0.register(Box::new(counter.clone())).expect("registered once");
        counter
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
        let counters =
            IntCounterVec::new(Opts::new(name, help), labels).expect("constant and valid");
        self.0.register(Box::new(counters.clone())).expect("registered once");
        counters
    }

    fn gauge(&self, name: &str, help: &str) -> IntGauge {
        let gauge = IntGauge::new(name, help).expect("constant and valid");
        self.0.register(Box::new(gauge.clone())).expect("registered once");
        gauge
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let gauges = IntGaugeVec::new(Opts::new(name, help), labels).expect("constant and valid");
        self.0.register(Box::new(gauges.clone())).expect("registered once");
        gauges
    }
}

impl Gauges {
    fn new(r: &Register<'_>) -> Self {
        Self {
            seal_state: r.gauge(
                "strongroom_seal_state",
                "0 uninitialised, 1 sealed, 2 verifying, 3 unsealed",
            ),
            share_progress: r.gauge("strongroom_share_progress", "Shares given so far"),
            raft_role: r.gauges("strongroom_raft_role", "1 for the present role", &["role"]),
            raft_term: r.gauge("strongroom_raft_term", "Raft term"),
            raft_index: r.gauges("strongroom_raft_log_index", "Raft log indexes", &["kind"]),
            quorum_ack_ms: r.gauge(
                "strongroom_raft_quorum_ack_ms",
                "Milliseconds since a quorum acknowledged this leader; -1 on others",
            ),
            follower_lag: r.gauges(
                "strongroom_raft_follower_lag_entries",
                "Entries that a follower lags behind this leader",
                &["node_id"],
            ),
            ledger_queue: r.gauge("strongroom_ledger_queue", "Attempts that wait in the ledger"),
            ledger_queue_bytes: r.gauge(
                "strongroom_ledger_queue_bytes",
                "Bytes of attempts that wait in the ledger",
            ),
            batch_resends: r
                .gauge("strongroom_batch_resends", "Times that a batch was sent to a leader again"),
            row_cache: r.gauges(
                "strongroom_row_cache_lookups",
                "Look-ups of opened rows, by result",
                &["result"],
            ),
            ledger_batches: r
                .gauge("strongroom_ledger_batches", "Batches that the ledger resolved"),
            ledger_attempts: r
                .gauge("strongroom_ledger_attempts", "Attempts that the ledger resolved"),
            audit_size: r.gauge("strongroom_audit_records", "Records in the audit log"),
            disk_free_bytes: r.gauge("strongroom_disk_free_bytes", "Free bytes of the data disk"),
            disk_low: r.gauge("strongroom_disk_low", "1 while the disk is below its reserve"),
            certificate_not_after_seconds: r.gauge(
                "strongroom_certificate_not_after_seconds",
                "End of validity of the node's certificate, Unix time",
            ),
            clock_offset_ms: r.gauge(
                "strongroom_clock_offset_ms",
                "This node's wall clock less the median of the members'",
            ),
            calls_in_flight: r.gauge("strongroom_calls_in_flight", "Calls under way"),
            request_bytes: r.gauge("strongroom_request_bytes", "Bytes of request bodies held"),
            connections: r.gauges(
                "strongroom_connections",
                "Connections open, by listener",
                &["listener"],
            ),
            connections_refused: r.gauges(
                "strongroom_connections_refused",
                "Connections refused over the bound, by listener",
                &["listener"],
            ),
            log_sync_ms: r
                .gauge("strongroom_log_sync_ms", "Milliseconds of the last sync of the Raft log"),
            secret_bytes: r.gauge("strongroom_secret_bytes", "Bytes in the arena of secrets"),
            secret_memory_locked: r.gauge(
                "strongroom_secret_memory_locked",
                "1 where the arena of secrets is locked in memory",
            ),
            state_verified: r.gauge(
                "strongroom_state_verified",
                "1 where the whole state was checked and compared with a quorum",
            ),
        }
    }
}

/// The name of a code as the gRPC specification writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
