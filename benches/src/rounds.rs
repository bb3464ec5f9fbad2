//! Pairs of slices, and what they come to.
//!
//! Slices alternate: echo, cluster, echo, cluster, …, echo. Each slice of the
//! cluster is held against the mean of the two of the echo around it, so that a
//! machine that gets slower or faster changes both alike. A round is thrown
//! away when any of its three slices was spoiled.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::load::{self, Slice};

/// What spoils a slice.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Largest share of CPU time given to others by the hypervisor, 0 to 1.
    pub stolen_max: f64,
    /// Largest share of CPU time taken by other processes here, 0 to 1. Work of
    /// the kernel that it charges to nobody counts too.
    pub foreign_max: f64,
}

impl Tolerance {
    /// Whether a slice can't be used.
    #[must_use]
    pub fn spoils(&self, slice: &Slice) -> bool {
        slice.stolen > self.stolen_max || slice.foreign > self.foreign_max
    }
}

/// One slice of the cluster between two of the echo.
#[derive(Clone, Debug)]
pub struct Round {
    /// The echo right before.
    pub before: Slice,
    /// The cluster.
    pub cluster: Slice,
    /// The echo right after.
    pub after: Slice,
}

impl Round {
    /// Whether it must be thrown away.
    #[must_use]
    pub fn is_spoiled(&self, tolerance: &Tolerance) -> bool {
        [&self.before, &self.cluster, &self.after].into_iter().any(|slice| tolerance.spoils(slice))
    }

    /// Rate of the cluster of the echo's.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.cluster.rate() / f64::midpoint(self.before.rate(), self.after.rate())
    }
}

/// Slices of one kind, put together.
#[derive(Clone, Debug)]
pub struct Total {
    /// Calls a second in each slice, ascending.
    pub rates: Vec<f64>,
    /// Latencies of all calls, microseconds.
    pub latency_us: Histogram<u64>,
    /// CPU time of the servers for one call.
    pub server_cpu_per_call: Duration,
    /// CPU time of the client for one call.
    pub client_cpu_per_call: Duration,
    /// Calls refused.
    pub refused: u64,
}

impl Total {
    /// Of some slices.
    #[must_use]
    pub fn of<'a>(slices: impl IntoIterator<Item = &'a Slice>) -> Self {
        let mut rates = Vec::new();
        let mut latency_us = load::histogram();
        let (mut answered, mut refused) = (0, 0);
        let (mut server, mut client) = (Duration::ZERO, Duration::ZERO);
        for slice in slices {
            rates.push(slice.rate());
            latency_us.add(&slice.latency_us).expect("all histograms have the same bounds");
            answered += slice.answered;
            refused += slice.refused.values().sum::<u64>();
            server += slice.server_cpu;
            client += slice.client_cpu;
        }
        rates.sort_by(f64::total_cmp);
        let per_call = |cpu: Duration| {
            let calls = u32::try_from(answered).unwrap_or(u32::MAX);
            cpu.checked_div(calls).unwrap_or_default()
        };
        Self {
            rates,
            latency_us,
            server_cpu_per_call: per_call(server),
            client_cpu_per_call: per_call(client),
            refused,
        }
    }
}

/// The value below which `share` of the ascending `values` lie; 0 of none.
#[must_use]
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a position within a short list"
)]
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let last = values.len().saturating_sub(1);
    let position = (last as f64 * share.clamp(0.0, 1.0)).round() as usize;
    values.get(position).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn slice(answered: u64, stolen: f64, foreign: f64) -> Slice {
        let mut latency_us = load::histogram();
        latency_us.record_n(100, answered).unwrap();
        Slice {
            elapsed: Duration::from_secs(1),
            answered,
            latency_us,
            refused: BTreeMap::from([("Aborted: again".to_owned(), 1)]),
            server_cpu: Duration::from_millis(answered),
            client_cpu: Duration::ZERO,
            stolen,
            foreign,
        }
    }

    #[test]
    fn one_spoiled_slice_of_three_spoils_the_round() {
        let tolerance = Tolerance { stolen_max: 0.02, foreign_max: 0.2 };
        let (good, stolen, foreign) =
            (slice(1, 0.02, 0.2), slice(1, 0.03, 0.0), slice(1, 0.0, 0.3));
        for bad in [&stolen, &foreign] {
            for place in 0..3 {
                let mut of = [&good, &good, &good];
                of[place] = bad;
                let [before, cluster, after] = of.map(Clone::clone);
                assert!(Round { before, cluster, after }.is_spoiled(&tolerance));
            }
        }
        let round = Round { before: good.clone(), cluster: good.clone(), after: good };
        assert!(!round.is_spoiled(&tolerance));
    }

    #[test]
    fn a_round_is_held_against_the_mean_of_the_echo_around_it() {
        let round = Round {
            before: slice(100, 0.0, 0.0),
            cluster: slice(100, 0.0, 0.0),
            after: slice(300, 0.0, 0.0),
        };
        assert!((round.ratio() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_total_of_nothing_is_nothing_and_totals_add_up() {
        let none = Total::of([]);
        assert!(none.rates.is_empty() && none.server_cpu_per_call.is_zero());
        let total = Total::of([&slice(30, 0.0, 0.0), &slice(10, 0.0, 0.0)]);
        assert!((quantile(&total.rates, 0.0) - 10.0).abs() < 1e-9);
        assert_eq!(total.latency_us.len(), 40);
        assert_eq!(total.server_cpu_per_call, Duration::from_millis(1));
        assert_eq!(total.refused, 2);
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let none: [f64; 0] = [];
        assert!(quantile(&none, 0.5).abs() < 1e-9);
        let values = [1.0, 2.0, 30.0];
        for (share, value) in [(0.0, 1.0), (0.5, 2.0), (1.0, 30.0), (7.0, 30.0)] {
            assert!((quantile(&values, share) - value).abs() < 1e-9, "{share}");
        }
    }
}
