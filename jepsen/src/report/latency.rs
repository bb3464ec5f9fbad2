//! How long operations took.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::history::{History, Operation};

/// Of one operation's successes.
pub(super) struct Latency {
    pub(super) median_ms: f64,
    /// 99 of 100 are not above.
    pub(super) most_ms: f64,
    pub(super) longest_ms: f64,
}

pub(super) fn by_operation(history: &History) -> BTreeMap<&str, Latency> {
    let mut histograms: BTreeMap<&str, Histogram<u64>> = BTreeMap::new();
    for operation in history.operations().filter(Operation::is_ok) {
        let histogram = histograms
            .entry(operation.f())
            .or_insert_with(|| Histogram::new(3).expect("three digits are allowed"));
        histogram.saturating_record(operation.latency_ns().unwrap_or_default() / 1000);
    }
    let latency = |histogram: Histogram<u64>| Latency {
        median_ms: ms(histogram.value_at_quantile(0.5)),
        most_ms: ms(histogram.value_at_quantile(0.99)),
        longest_ms: ms(histogram.max()),
    };
    histograms.into_iter().map(|(f, histogram)| (f, latency(histogram))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}
