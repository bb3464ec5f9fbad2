//! Where callers, nemesis and monitor write what happens, while it happens.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use parking_lot::Mutex;

use super::{Entry, History, HistoryError, Kind, Process};
use crate::value::Value;

/// A history in the making. Clones write to the same one.
///
/// Index and time are taken under one lock, so that order, index and time agree.
/// A caller records the invocation before it sends anything and the completion
/// after the answer is here: what ended before another began was before it.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    started: Instant,
    entries: Mutex<Vec<Entry>>,
}

/// An operation that was invoked. Dropped without a completion, its outcome is
/// not known.
#[must_use = "an operation without completion may happen for ever"]
pub struct Call {
    recorder: Recorder,
    process: u64,
    f: String,
    value: Value,
}

impl Recorder {
    /// Begins a history at time 0.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the clock of a run, for people to read")]
    pub fn start() -> Self {
        let shared = Shared { started: Instant::now(), entries: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Nanoseconds since the start.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the clock of a run, for people to read")]
    pub fn elapsed_ns(&self) -> u64 {
        u64::try_from(self.shared.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Records that `process` asks for `f`. `more` has what stands beside the
    /// value, such as `node` and `request`.
    pub fn invoke<'a>(
        &self,
        process: u64,
        f: &str,
        value: Value,
        more: impl IntoIterator<Item = (&'a str, Value)>,
    ) -> Call {
        let kept = value.clone();
        self.push(Process::Client(process), Kind::Invoke, f.to_owned(), value, fields(more));
        Call { recorder: self.clone(), process, f: f.to_owned(), value: kept }
    }

    /// Records a note of `name` (`nemesis`, `monitor`, `cluster`).
    pub fn note(&self, name: &str, f: &str, value: Value) {
        let process = Process::Named(name.to_owned());
        self.push(process, Kind::Info, f.to_owned(), value, BTreeMap::new());
    }

    /// What was recorded so far; calls that run have no completion in it.
    ///
    /// # Errors
    ///
    /// When a process was used for two calls at a time.
    pub fn history(&self) -> Result<History, HistoryError> {
        History::new(self.shared.entries.lock().clone())
    }

    fn push(
        &self,
        process: Process,
        kind: Kind,
        f: String,
        value: Value,
        more: BTreeMap<String, Value>,
    ) {
        let mut entries = self.shared.entries.lock();
        let (index, time_ns) = (entries.len() as u64, self.elapsed_ns());
        entries.push(Entry { index, time_ns, process, kind, f, value, more });
    }
}

impl Call {
    /// It happened, with this answer.
    pub fn ok(self, value: Value) {
        self.complete(Kind::Ok, value, BTreeMap::new());
    }

    /// It did not happen: refused for `reason`.
    pub fn fail(self, reason: &str) {
        self.end(Kind::Fail, "error", reason);
    }

    /// It may have happened: `reason` says why that is not known.
    pub fn unknown(self, reason: &str) {
        self.end(Kind::Info, "error", reason);
    }

    /// The harness itself broke: says nothing of the cluster, counts as nothing.
    pub fn harness_fault(self, what: &str) {
        self.end(Kind::Info, "harness", what);
    }

    fn end(mut self, kind: Kind, field: &str, text: &str) {
        let value = std::mem::take(&mut self.value);
        self.complete(kind, value, fields([(field, text.into())]));
    }

    fn complete(self, kind: Kind, value: Value, more: BTreeMap<String, Value>) {
        let Self { recorder, process, f, .. } = self;
        recorder.push(Process::Client(process), kind, f, value, more);
    }
}

fn fields<'a>(more: impl IntoIterator<Item = (&'a str, Value)>) -> BTreeMap<String, Value> {
    more.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::Outcome;

    #[test]
    fn a_process_that_is_used_twice_at_a_time_is_found_out() {
        let recorder = Recorder::start();
        let _first = recorder.invoke(1, "read", Value::Nil, []);
        let _second = recorder.invoke(1, "read", Value::Nil, []);
        assert_eq!(recorder.history().unwrap_err(), HistoryError::TwoAtOnce { index: 1 });
    }

    #[test]
    fn each_end_of_a_call_is_told_apart_and_a_dropped_call_is_not_known() {
        let recorder = Recorder::start();
        recorder.invoke(1, "read", Value::Nil, [("node", 2_u64.into())]).ok(7_i64.into());
        recorder.invoke(1, "read", Value::Nil, []).fail("KEY_DISABLED");
        recorder.invoke(1, "read", Value::Nil, []).unknown("NO_ANSWER");
        recorder.invoke(2, "read", Value::Nil, []).harness_fault("no file descriptors");
        drop(recorder.invoke(3, "read", Value::Nil, []));
        recorder.note("nemesis", "kill", Value::Nil);
        let history = recorder.history().unwrap();
        let seen: Vec<_> = history.operations().map(|op| (op.outcome, op.error())).collect();
        assert_eq!(
            seen,
            [
                (Outcome::Ok, None),
                (Outcome::Fail, Some("KEY_DISABLED")),
                (Outcome::Unknown, Some("NO_ANSWER")),
                (Outcome::Harness, None),
                (Outcome::Unknown, None)
            ]
        );
        assert_eq!(history.operations().next().and_then(|op| op.node()), Some(2));
        assert_eq!(history.notes("nemesis").count(), 1);
    }

    #[test]
    fn threads_write_one_history_in_order() {
        let recorder = Recorder::start();
        std::thread::scope(|scope| {
            for process in 0..4 {
                let recorder = recorder.clone();
                scope.spawn(move || {
                    for _ in 0..100 {
                        recorder.invoke(process, "read", Value::Nil, []).ok(Value::Nil);
                    }
                });
            }
        });
        // Building the history checks that index and time ascend.
        assert_eq!(recorder.history().unwrap().operations().count(), 400);
    }
}
