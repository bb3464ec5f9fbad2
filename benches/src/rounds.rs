//! Pairs of slices, what spoils them, and what they come to.
//!
//! Slices alternate: echo, cluster, echo, cluster, …, echo. Each slice of the
//! cluster is held against the mean of the two of the echo around it, so that a
//! machine that gets slower or faster changes both alike. A round is thrown
//! away when any of its three slices was spoiled.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::{
    load::{self, Slice},
    stats::Sample,
};

/// What spoils a slice.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Largest share of CPU time given to others by the hypervisor, 0 to 1.
    pub stolen_max: f64,
    /// Largest share of CPU time taken by other processes here, 0 to 1. Work of
    /// the kernel that it charges to nobody counts too.
    pub foreign_max: f64,
}

impl Default for Tolerance {
    /// A fiftieth stolen, a fifth foreign.
    fn default() -> Self {
        Self { stolen_max: 0.02, foreign_max: 0.20 }
    }
}

/// Who spoiled a slice; of several, the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spoiler {
    /// Other processes of this machine.
    Foreign,
    /// The hypervisor.
    Stolen,
}

impl Tolerance {
    /// Why a slice can't be used; `None` where it can.
    #[must_use]
    pub fn spoiler(&self, slice: &Slice) -> Option<Spoiler> {
        if slice.stolen > self.stolen_max {
            return Some(Spoiler::Stolen);
        }
        (slice.foreign > self.foreign_max).then_some(Spoiler::Foreign)
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
    /// Why it must be thrown away; `None` where it counts.
    #[must_use]
    pub fn spoiler(&self, tolerance: &Tolerance) -> Option<Spoiler> {
        let slices = [&self.before, &self.cluster, &self.after].into_iter();
        slices.filter_map(|slice| tolerance.spoiler(slice)).max()
    }

    /// Rate of the cluster of the echo's.
    #[must_use]
    pub fn ratio(&self) -> f64 {
        self.of_echo(Slice::rate)
    }

    /// Something of the cluster of the same of the echo.
    #[must_use]
    pub fn of_echo(&self, what: impl Fn(&Slice) -> f64) -> f64 {
        what(&self.cluster) / self.echo(&what)
    }

    /// Something of the echo: the mean of before and after.
    #[must_use]
    pub fn echo(&self, what: impl Fn(&Slice) -> f64) -> f64 {
        f64::midpoint(what(&self.before), what(&self.after))
    }
}

/// Rounds that were thrown away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thrown {
    /// Because CPU time was stolen.
    pub stolen: usize,
    /// Because other processes took too much.
    pub foreign: usize,
}

impl Thrown {
    /// Counts one more.
    pub fn count(&mut self, spoiler: Spoiler) {
        match spoiler {
            Spoiler::Stolen => self.stolen += 1,
            Spoiler::Foreign => self.foreign += 1,
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(self) -> usize {
        self.stolen + self.foreign
    }
}

/// Slices of one kind, put together.
#[derive(Clone, Debug)]
pub struct Total {
    /// Calls a second in each slice.
    pub rates: Sample,
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
        let per_call = |cpu: Duration| {
            let calls = u32::try_from(answered).unwrap_or(u32::MAX);
            cpu.checked_div(calls).unwrap_or_default()
        };
        Self {
            rates: Sample::new(rates),
            latency_us,
            server_cpu_per_call: per_call(server),
            client_cpu_per_call: per_call(client),
            refused,
        }
    }
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
        let good = slice(1, 0.02, 0.2);
        let bad = [(slice(1, 0.03, 0.0), Spoiler::Stolen), (slice(1, 0.0, 0.3), Spoiler::Foreign)];
        let mut thrown = Thrown::default();
        for (bad, spoiler) in &bad {
            for place in 0..3 {
                let mut of = [&good, &good, &good];
                of[place] = bad;
                let [before, cluster, after] = of.map(Clone::clone);
                let round = Round { before, cluster, after };
                assert_eq!(round.spoiler(&tolerance), Some(*spoiler));
                thrown.count(*spoiler);
            }
        }
        assert_eq!((thrown, thrown.all()), (Thrown { stolen: 3, foreign: 3 }, 6));
        let round = Round { before: good.clone(), cluster: good.clone(), after: good };
        assert_eq!(round.spoiler(&tolerance), None);
    }

    #[test]
    fn a_round_is_held_against_the_mean_of_the_echo_around_it() {
        let round = Round {
            before: slice(100, 0.0, 0.0),
            cluster: slice(100, 0.0, 0.0),
            after: slice(300, 0.0, 0.0),
        };
        assert!((round.ratio() - 0.5).abs() < 1e-9);
        assert!((round.of_echo(Slice::server_cpu_us) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_total_of_nothing_is_nothing_and_totals_add_up() {
        let none = Total::of([]);
        assert!(none.rates.is_empty() && none.server_cpu_per_call.is_zero());
        let total = Total::of([&slice(30, 0.0, 0.0), &slice(10, 0.0, 0.0)]);
        assert!((total.rates.quantile(0.0) - 10.0).abs() < 1e-9);
        assert_eq!(total.latency_us.len(), 40);
        assert_eq!(total.server_cpu_per_call, Duration::from_millis(1));
        assert_eq!(total.refused, 2);
    }
}
