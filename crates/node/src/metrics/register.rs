//! Registers metrics, each once, and remembers for tests what was registered.

use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, core::Collector, proto::MetricFamily,
};

/// A metric as its reader sees it.
#[cfg(test)]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Description {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) labels: Vec<String>,
}

/// Where metrics are registered.
///
/// # Panics
///
/// None of its methods: names and labels are constants that
/// `what_is_exported_is_what_the_table_says` has seen, and each is registered
/// once.
#[derive(Default)]
pub(super) struct Register {
    registry: Registry,
    #[cfg(test)]
    described: parking_lot::Mutex<Vec<Description>>,
}

impl Register {
    /// A number that only grows.
    pub(super) fn counter(&self, name: &'static str, help: &str) -> IntCounter {
        let counter = IntCounter::new(name, help).expect("constant and valid");
        self.add("counter", counter)
    }

    /// As [`Register::counter`], by labels.
    pub(super) fn counters(
        &self,
        name: &'static str,
        help: &str,
        labels: &[&str],
    ) -> IntCounterVec {
        let counters = IntCounterVec::new(Opts::new(name, help), labels);
        self.add("counter", counters.expect("constant and valid"))
    }

    /// A whole number.
    pub(super) fn gauge(&self, name: &'static str, help: &str) -> IntGauge {
        self.add("gauge", IntGauge::new(name, help).expect("constant and valid"))
    }

    /// As [`Register::gauge`], by labels.
    pub(super) fn gauges(&self, name: &'static str, help: &str, labels: &[&str]) -> IntGaugeVec {
        let gauges = IntGaugeVec::new(Opts::new(name, help), labels);
        self.add("gauge", gauges.expect("constant and valid"))
    }

    /// A time, in seconds.
    pub(super) fn seconds(&self, name: &'static str, help: &str) -> Gauge {
        self.add("gauge", Gauge::new(name, help).expect("constant and valid"))
    }

    /// As [`Register::seconds`], by labels.
    pub(super) fn seconds_by(&self, name: &'static str, help: &str, labels: &[&str]) -> GaugeVec {
        let gauges = GaugeVec::new(Opts::new(name, help), labels);
        self.add("gauge", gauges.expect("constant and valid"))
    }

    /// What is observed, counted by upper bound.
    pub(super) fn histogram(&self, name: &'static str, help: &str, buckets: &[f64]) -> Histogram {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add("histogram", Histogram::with_opts(options).expect("constant and valid"))
    }

    /// As [`Register::histogram`], by labels.
    pub(super) fn histograms(
        &self,
        name: &'static str,
        help: &str,
        labels: &[&str],
        buckets: &[f64],
    ) -> HistogramVec {
        let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
        self.add("histogram", HistogramVec::new(options, labels).expect("constant and valid"))
    }

    /// What the library tells of the process.
    #[cfg(target_os = "linux")]
    pub(super) fn process(&self) {
        let process = prometheus::process_collector::ProcessCollector::for_self();
        self.registry.register(Box::new(process)).expect("registered once");
    }

    /// All of them, as they are now.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// What was registered, but for the process's.
    #[cfg(test)]
    pub(super) fn described(&self) -> Vec<Description> {
        self.described.lock().clone()
    }

    #[cfg_attr(not(test), expect(unused_variables, reason = "the registry knows no kinds"))]
    fn add<C: Collector + Clone + 'static>(&self, kind: &'static str, metric: C) -> C {
        #[cfg(test)]
        self.described.lock().extend(metric.desc().into_iter().map(|desc| Description {
            name: desc.fq_name.clone(),
            kind,
            labels: desc.variable_labels.clone(),
        }));
        self.registry.register(Box::new(metric.clone())).expect("registered once");
        metric
    }
}
