//! Metrics (crate prometheus). Labels come from fixed lists, and from the nodes
//! that are known at the moment.

use std::time::Duration;

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};
use tonic::Code;

/// Upper bounds of latency buckets, seconds: 0.1 ms to 10 s.
const BUCKETS: &[f64] = &[
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];

/// The metrics of a front.
pub(crate) struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    attempts: IntCounter,
    retries: IntCounter,
    /// Numbers that are read when metrics are asked for.
    pub(crate) read: Read,
}

/// Numbers that [`crate::monitor`] fills in before each scrape.
pub(crate) struct Read {
    /// 1 by node and health.
    pub(crate) node_health: IntGaugeVec,
    /// Attempts under way, by node.
    pub(crate) node_attempts: IntGaugeVec,
    /// Latency as calls are balanced by, by node.
    pub(crate) node_latency_us: IntGaugeVec,
    /// 1 while this front says that it serves.
    pub(crate) ready: IntGauge,
    /// Requests under way.
    pub(crate) requests_in_flight: IntGauge,
    /// Streams open.
    pub(crate) streams: IntGauge,
    /// Bytes of requests held.
    pub(crate) request_bytes: IntGauge,
    /// Bytes of answers held.
    pub(crate) answer_bytes: IntGauge,
    /// Addresses known.
    pub(crate) sources: IntGauge,
    /// Connections open.
    pub(crate) connections: IntGauge,
    /// Connections accepted.
    pub(crate) accepted: IntCounter,
    /// Connections refused over a bound.
    pub(crate) refused: IntCounter,
    /// Handshakes that failed or took too long.
    pub(crate) handshakes_failed: IntCounter,
    /// End of the certificate's validity.
    pub(crate) certificate_not_after: IntGauge,
    /// Reloads of certificate files, by result.
    pub(crate) reloads: IntCounterVec,
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
        let r = Register(&registry);
        let request_seconds = HistogramVec::new(
            HistogramOpts::new(
                "strongroom_front_request_duration_seconds",
                "Time from a request's headers to its answer, by method",
            )
            .buckets(BUCKETS.to_vec()),
            &["method"],
        )
        .expect("constant and valid");
        registry.register(Box::new(request_seconds.clone())).expect("registered once");
        r.gauges("strongroom_front_build_info", "1; the version is the label", &["version"])
            .with_label_values(&[version])
            .set(1);
        #[cfg(target_os = "linux")]
        registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
            .expect("registered once");
        Self {
            requests: r.counters(
                "strongroom_front_requests_total",
                "Requests ended, by method and gRPC code",
                &["method", "code"],
            ),
            request_seconds,
            attempts: r.counter(
                "strongroom_front_attempts_total",
                "Requests sent to nodes, each attempt of one",
            ),
            retries: r.counter(
                "strongroom_front_retries_total",
                "Attempts beyond the first of their request",
            ),
            read: Read::new(&r),
            registry,
        }
    }

    /// Counts a request that ended after `attempts`.
    pub(crate) fn ended(&self, method: &'static str, code: Code, attempts: u32, took: Duration) {
        self.requests.with_label_values(&[method, code_name(code)]).inc();
        self.request_seconds.with_label_values(&[method]).observe(took.as_secs_f64());
        self.attempts.inc_by(attempts.into());
        self.retries.inc_by(attempts.saturating_sub(1).into());
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

/// Sets a counter that somebody else counts.
pub(crate) fn set(counter: &IntCounter, count: u64) {
    counter.reset();
    counter.inc_by(count);
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

impl Read {
    fn new(r: &Register<'_>) -> Self {
        Self {
            node_health: r.gauges(
                "strongroom_front_node_health",
                "1 for the present state of a node as this front sees it",
                &["node", "health"],
            ),
            node_attempts: r.gauges(
                "strongroom_front_node_attempts_in_flight",
                "Attempts under way, by node",
                &["node"],
            ),
            node_latency_us: r.gauges(
                "strongroom_front_node_latency_microseconds",
                "Latency that requests are balanced by (peak-EWMA), by node",
                &["node"],
            ),
            ready: r.gauge("strongroom_front_ready", "1 while this front says that it serves"),
            requests_in_flight: r
                .gauge("strongroom_front_requests_in_flight", "Requests under way, but streams"),
            streams: r.gauge("strongroom_front_streams", "Streams open"),
            request_bytes: r.gauge("strongroom_front_request_bytes", "Bytes of requests held"),
            answer_bytes: r.gauge("strongroom_front_answer_bytes", "Bytes of answers held"),
            sources: r.gauge("strongroom_front_sources", "Addresses of callers remembered"),
            connections: r.gauge("strongroom_front_connections", "Connections of callers open"),
            accepted: r.counter(
                "strongroom_front_connections_accepted_total",
                "Connections of callers accepted",
            ),
            refused: r.counter(
                "strongroom_front_connections_refused_total",
                "Connections of callers refused over a bound",
            ),
            handshakes_failed: r.counter(
                "strongroom_front_handshakes_failed_total",
                "TLS handshakes of callers that failed or took too long",
            ),
            certificate_not_after: r.gauge(
                "strongroom_front_certificate_not_after_seconds",
                "End of validity of this front's certificate, Unix time",
            ),
            reloads: r.counters(
                "strongroom_front_certificate_reloads_total",
                "Times that certificate files were read again, by result",
                &["result"],
            ),
        }
    }
}

/// The name of a code as the gRPC specification writes it.
pub(crate) fn code_name(code: Code) -> &'static str {
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
