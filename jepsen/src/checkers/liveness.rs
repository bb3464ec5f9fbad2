//! Liveness: the cluster recovers within a bound once everything is healed, and
//! with one node dead or paused the others answer within a bound.
//!
//! The only checker that compares times.

use crate::{
    history::{History, Operation},
    kms::{UNAVAILABLE, USES},
    schedule::{Span, spans},
    verdict::{Checker, Malformed, Verdict, Violation},
};

/// Bounds on time.
#[derive(Clone, Copy, Debug)]
pub struct Liveness {
    /// From the healing of the last fault to the answer of some use invoked after
    /// it, in milliseconds.
    pub recovery_ms: u64,
    /// Latency of each use of a node that is well while one other is dead or
    /// paused, in milliseconds.
    pub latency_ms: u64,
    /// After a fault was installed, time for an election, in milliseconds.
    pub grace_ms: u64,
}

const RECOVERS: &str = "the cluster recovers within its bound after healing";
const ANSWERS: &str = "with one node dead or paused the others answer within their bound";
const TESTED: &str = "callers were at work after a healing";

/// Faults that take one node away and leave a majority.
const ONE_NODE: [&str; 2] = ["kill", "pause"];

impl Checker for Liveness {
    fn name(&self) -> &'static str {
        "liveness"
    }

    fn law(&self) -> &'static str {
        "After healing the cluster serves within a bound; with one node dead or paused the others \
         answer within a bound."
    }

    fn check(&self, history: &History) -> Verdict {
        self.judge(history).unwrap_or_else(Verdict::from)
    }
}

impl Liveness {
    fn judge(&self, history: &History) -> Result<Verdict, Malformed> {
        let spans: Vec<_> = spans(history)?.into_iter().filter(Span::may_be_installed).collect();
        let uses: Vec<_> =
            history.operations().filter(|operation| USES.contains(&operation.f())).collect();
        let mut violations = Vec::new();
        let mut checked = 0;
        for span in &spans {
            checked += self.recovery(history, span, &spans, &uses, &mut violations);
            checked += self.latency(history, span, &spans, &uses, &mut violations);
        }
        if checked == 0 {
            let explanation = "no fault was healed with callers at work and time to recover";
            return Ok(Verdict::unknown(TESTED, explanation.to_owned()));
        }
        Ok(Verdict::of(checked, violations))
    }

    /// Gives how many healings were judged: this one, or none.
    fn recovery(
        &self,
        history: &History,
        span: &Span,
        spans: &[Span],
        uses: &[Operation<'_>],
        violations: &mut Vec<Violation>,
    ) -> usize {
        let Some(healed) = span.healed else { return 0 };
        let active = |other: &&Span| {
            other.installed.position < healed.position
                && other.healed.is_none_or(|at| at.position > healed.position)
        };
        if spans.iter().any(|other| active(&other)) {
            return 0;
        }
        let next = spans.iter().map(|other| other.installed).filter(|at| at.ns > healed.ns);
        let quiet_until = next.map(|at| at.ns).min().unwrap_or(history.end_ns());
        let deadline = healed.ns.saturating_add(ns(self.recovery_ms));
        let after = || uses.iter().filter(|operation| operation.invoked > healed.position);
        let served = |operation: &&Operation<'_>| {
            operation.is_ok() && ended_ns(operation).is_some_and(|at| at <= deadline)
        };
        if after().any(|operation| served(&operation)) {
            return 1;
        }
        // Without time or callers the bound was not put to the test.
        let asked = |operation: &&Operation<'_>| operation.invoke.time_ns <= deadline;
        if quiet_until < deadline || !after().any(|operation| asked(&operation)) {
            return 0;
        }
        let asked: Vec<_> = after().filter(asked).take(3).collect();
        let shown: Vec<_> = asked.iter().map(ToString::to_string).collect();
        let explanation = format!(
            "no use was answered within {} ms after {} was healed at {} ms; asked were {}",
            self.recovery_ms,
            span,
            healed.ns / 1_000_000,
            shown.join(", ")
        );
        violations.push(Violation::new(RECOVERS, explanation, asked));
        1
    }

    /// Gives how many uses were judged.
    fn latency(
        &self,
        history: &History,
        span: &Span,
        spans: &[Span],
        uses: &[Operation<'_>],
        violations: &mut Vec<Violation>,
    ) -> usize {
        let alone = |other: &Span| {
            other.fault == span.fault
                || other.healed.is_some_and(|at| at.ns <= span.installed.ns)
                || span.healed.is_some_and(|at| other.installed.ns >= at.ns)
        };
        let one = ONE_NODE.contains(&span.kind.as_str()) && span.nodes.len() == 1;
        if !one || !span.is_installed() || !spans.iter().all(alone) {
            return 0;
        }
        let from = span.installed.ns.saturating_add(ns(self.grace_ms));
        let until = span.healed.map_or(history.end_ns(), |at| at.ns);
        let (bound, mut checked) = (ns(self.latency_ms), 0);
        let judged = uses.iter().filter(|operation| {
            let other_node = operation.node().is_some_and(|node| !span.nodes.contains(&node));
            let invoked = operation.invoke.time_ns;
            other_node && invoked >= from && invoked.saturating_add(bound) <= until
        });
        for operation in judged {
            checked += 1;
            let latency = operation.latency_ns();
            let refused = operation.error().is_some_and(|error| UNAVAILABLE.contains(&error));
            if refused || latency.is_none_or(|latency| latency > bound) {
                let took = latency.map_or("no answer".to_owned(), |ns| {
                    format!("answered after {} ms", ns / 1_000_000)
                });
                let explanation =
                    format!("{operation}: {took}, while {span} (bound {} ms)", self.latency_ms);
                violations.push(Violation::new(ANSWERS, explanation, [operation]));
            }
        }
        checked
    }
}

fn ns(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}

fn ended_ns(operation: &Operation<'_>) -> Option<u64> {
    operation.completion.map(|entry| entry.time_ns)
}
