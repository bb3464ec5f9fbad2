//! What `/metrics` says (crate prometheus). `docs/metrics.md` is its table, and
//! a test holds the one against the other.
//!
//! What happens is counted where it happens; what is so is read when metrics
//! are asked for ([`Metrics::text`]), from memory alone: a disk that hangs or a
//! node that is sealed keeps nobody from reading them. Labels come from fixed
//! lists and from the membership; none tells of a caller, a key or a token.

mod bound;
mod elections;
mod fill;
mod gauges;
mod names;
mod register;
#[cfg(test)]
mod tests;

use std::time::Duration;

use parking_lot::Mutex;
use prometheus::{Encoder as _, Histogram, HistogramVec, IntCounter, IntCounterVec, TextEncoder};
use strongroom_audit::{Operation, Reason};
use tonic::Code;

pub(crate) use self::{
    bound::Bound, elections::watch as watch_elections, fill::fill, names::operation_of,
};

use self::{
    gauges::Gauges,
    names::{SHARE_REASONS, code_name},
    register::Register,
};

/// Upper bounds of buckets of times, in seconds: 0.1 ms to 10 s.
const SECONDS: &[f64] = &[
    0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0,
    10.0,
];

/// Upper bounds of buckets of attempts in a batch, up to the most there may be.
const ATTEMPTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// The metrics of a node.
pub(crate) struct Metrics {
    register: Register,
    calls: IntCounterVec,
    call_seconds: HistogramVec,
    bound_hits: IntCounterVec,
    metadata_reads: IntCounterVec,
    shares_refused: IntCounterVec,
    proposed_seconds: HistogramVec,
    /// Attempts that were decided again because they were superseded.
    pub(crate) superseded: IntCounter,
    /// Calls refused for want of a valid token; never committed one by one.
    pub(crate) unauthenticated: IntCounter,
    /// Attempts of each batch of the ledger.
    pub(crate) batch_attempts: Histogram,
    /// From a batch that this node proposes as leader until it is committed.
    pub(crate) commit_seconds: Histogram,
    /// From there until it is applied here.
    pub(crate) apply_seconds: Histogram,
    /// Synced writes of the Raft log.
    pub(crate) log_sync_seconds: Histogram,
    /// Terms that came since the start.
    term_changes: IntCounter,
    /// Leaders that came since the start, other than the one before.
    leader_changes: IntCounter,
    /// Read when metrics are asked for, by one reader at a time.
    gauges: Mutex<Gauges>,
}

/// Sets a counter to a number that is counted elsewhere.
fn count(counter: &IntCounter, number: u64) {
    counter.reset();
    counter.inc_by(number);
}

impl Metrics {
    /// Registers everything.
    #[must_use]
    pub(crate) fn new(version: &str) -> Self {
        let register = Register::default();
        #[cfg(target_os = "linux")]
        register.process();
        register
            .gauges(
                "strongroom_build_info",
                "1; the labels say which program",
                &["version", "arch", "os", "profile"],
            )
            .with_label_values(&[
                version,
                std::env::consts::ARCH,
                std::env::consts::OS,
                if cfg!(debug_assertions) { "debug" } else { "release" },
            ])
            .set(1);
        let metrics = Self {
            calls: register.counters(
                "strongroom_calls_total",
                "Calls answered, by operation and gRPC code",
                &["operation", "code"],
            ),
            call_seconds: register.histograms(
                "strongroom_call_duration_seconds",
                "Time from a call's headers to its answer, by operation",
                &["operation"],
                SECONDS,
            ),
            bound_hits: register.counters(
                "strongroom_bound_hits_total",
                "Times that a bound of this node was hit, by bound",
                &["bound"],
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
            proposed_seconds: register.histograms(
                "strongroom_batch_propose_duration_seconds",
                "Time from the first sending of a batch to the leader until its end, by outcome",
                &["outcome"],
                SECONDS,
            ),
            superseded: register.counter(
                "strongroom_attempts_superseded_total",
                "Attempts decided again because what they rest on had changed",
            ),
            unauthenticated: register.counter(
                "strongroom_unauthenticated_total",
                "Calls refused for want of a valid token",
            ),
            batch_attempts: register.histogram(
                "strongroom_ledger_batch_attempts",
                "Attempts in each batch of the ledger",
                ATTEMPTS,
            ),
            commit_seconds: register.histogram(
                "strongroom_raft_commit_duration_seconds",
                "On the leader: time from the proposal of an entry until a quorum had it",
                SECONDS,
            ),
            apply_seconds: register.histogram(
                "strongroom_raft_apply_duration_seconds",
                "Time from committed entries until they were applied here",
                SECONDS,
            ),
            log_sync_seconds: register.histogram(
                "strongroom_raft_log_sync_duration_seconds",
                "Synced writes of this node's Raft log",
                SECONDS,
            ),
            term_changes: register.counter(
                "strongroom_raft_term_changes_total",
                "Raft terms begun since the start of this node, as far as it saw them",
            ),
            leader_changes: register.counter(
                "strongroom_raft_leader_changes_total",
                "Times since the start of this node that it saw another leader than before",
            ),
            gauges: Mutex::new(Gauges::new(&register)),
            register,
        };
        // A series that begins with its first refusal shows no rise of it.
        for bound in Bound::ALL {
            metrics.bound_hits.with_label_values(&[bound.name()]);
        }
        for reason in SHARE_REASONS {
            metrics.shares_refused.with_label_values(&[reason.text()]);
        }
        metrics
    }

    /// Counts a call.
    pub(crate) fn call_ended(&self, operation: &'static str, code: Code, elapsed: Duration) {
        self.calls.with_label_values(&[operation, code_name(code)]).inc();
        self.call_seconds.with_label_values(&[operation]).observe(elapsed.as_secs_f64());
    }

    /// Counts a hit of a bound.
    pub(crate) fn hit(&self, bound: Bound) {
        self.bound_hits.with_label_values(&[bound.name()]).inc();
    }

    /// Sets the hits of a bound that are counted elsewhere.
    fn set_hits(&self, bound: Bound, hits: u64) {
        count(&self.bound_hits.with_label_values(&[bound.name()]), hits);
    }

    /// Counts a read of metadata.
    pub(crate) fn metadata_read(&self, operation: Operation) {
        self.metadata_reads.with_label_values(&[operation.name()]).inc();
    }

    /// Counts a share that was refused.
    pub(crate) fn share_refused(&self, reason: Reason) {
        self.shares_refused.with_label_values(&[reason.text()]).inc();
    }

    /// Counts a batch whose end is known: a word for it.
    pub(crate) fn proposed(&self, outcome: &'static str, elapsed: Duration) {
        self.proposed_seconds.with_label_values(&[outcome]).observe(elapsed.as_secs_f64());
    }

    /// The text form (Prometheus exposition format 0.0.4), after `fill` has
    /// filled in what is only read.
    ///
    /// # Errors
    ///
    /// What the encoder reports.
    pub(crate) fn text(
        &self,
        fill: impl FnOnce(&Self, &Gauges),
    ) -> Result<Vec<u8>, prometheus::Error> {
        // Members that left must not be gone and there again within one reading.
        let families = {
            let gauges = self.gauges.lock();
            fill(self, &gauges);
            self.register.gather()
        };
        let mut text = Vec::new();
        TextEncoder::new().encode(&families, &mut text)?;
        Ok(text)
    }
}
