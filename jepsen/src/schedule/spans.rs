//! What became of faults, as the history tells it.

use std::{collections::BTreeMap, fmt};

use super::Planned;
use crate::{
    history::{Entry, History, Recorder},
    value::Value,
    verdict::Malformed,
};

/// Which end of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It begins.
    Install,
    /// It ends.
    Heal,
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Installed {
    /// It was seen to take hold.
    Installed,
    /// It could not be: nobody leads, say. The cluster felt nothing.
    Skipped,
    /// It may have taken hold, wholly or in part.
    Indeterminate,
}

/// A place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Position of the entry.
    pub position: usize,
    /// Its time.
    pub ns: u64,
}

/// A fault from its installation to its healing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its number in the schedule.
    pub fault: u64,
    /// Its kind, by name.
    pub kind: String,
    /// Whom it struck.
    pub nodes: Vec<u64>,
    /// Whether it took hold.
    pub outcome: Installed,
    /// When it began.
    pub installed: Moment,
    /// When it was healed; none where that was not seen.
    pub healed: Option<Moment>,
}

impl Installed {
    const ALL: [Self; 3] = [Self::Installed, Self::Skipped, Self::Indeterminate];

    /// Its word in histories.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Skipped => "skipped",
            Self::Indeterminate => "indeterminate",
        }
    }
}

impl Span {
    /// Whether it took hold for certain.
    #[must_use]
    pub fn is_installed(&self) -> bool {
        self.outcome == Installed::Installed
    }

    /// Whether it may have taken hold.
    #[must_use]
    pub fn may_be_installed(&self) -> bool {
        self.outcome != Installed::Skipped
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "fault {} ({}", self.fault, self.kind)?;
        if !self.nodes.is_empty() {
            let nodes: Vec<_> = self.nodes.iter().map(ToString::to_string).collect();
            write!(out, " of node {}", nodes.join(", "))?;
        }
        write!(out, ", {})", self.outcome.name())
    }
}

/// Writes down one end of a fault: its installation just before it is tried
/// or after it took hold, its healing after all is well again.
pub fn note(
    recorder: &Recorder,
    planned: &Planned,
    phase: Phase,
    outcome: Installed,
    nodes: &[u64],
) {
    let phase = match phase {
        Phase::Install => "install",
        Phase::Heal => "heal",
    };
    let value = Value::map([
        ("fault", planned.fault.into()),
        ("phase", Value::keyword(phase)),
        ("outcome", Value::keyword(outcome.name())),
        ("nodes", nodes.to_vec().into()),
    ]);
    recorder.note("nemesis", planned.kind.name(), value);
}

/// All faults of a history, by ascending installation.
///
/// A healing that did not certainly succeed leaves the fault unhealed.
///
/// # Errors
///
/// When a note of the nemesis lacks a field.
pub fn spans(history: &History) -> Result<Vec<Span>, Malformed> {
    let mut spans: Vec<Span> = Vec::new();
    let mut numbers: BTreeMap<u64, usize> = BTreeMap::new();
    for (position, note) in history.notes("nemesis") {
        let moment = Moment { position, ns: note.time_ns };
        let fault = field(note, "fault", Value::unsigned)?;
        let outcome = field(note, "outcome", Value::name)?;
        let outcome = Installed::ALL.into_iter().find(|known| known.name() == outcome);
        let outcome = outcome.ok_or_else(|| malformed(note, "outcome"))?;
        match field(note, "phase", Value::name)? {
            "install" => {
                let nodes = field(note, "nodes", Value::items)?;
                let nodes: Option<Vec<_>> = nodes.iter().map(Value::unsigned).collect();
                numbers.insert(fault, spans.len());
                spans.push(Span {
                    fault,
                    kind: note.f.clone(),
                    nodes: nodes.ok_or_else(|| malformed(note, "nodes"))?,
                    outcome,
                    installed: moment,
                    healed: (outcome == Installed::Skipped).then_some(moment),
                });
            }
            "heal" => {
                let span = numbers.get(&fault).map(|number| &mut spans[*number]);
                let span = span.ok_or_else(|| malformed(note, "fault"))?;
                if outcome == Installed::Installed && span.may_be_installed() {
                    span.healed = Some(moment);
                }
            }
            _ => return Err(malformed(note, "phase")),
        }
    }
    Ok(spans)
}

fn field<'h, T>(
    note: &'h Entry,
    name: &'static str,
    read: impl FnOnce(&'h Value) -> Option<T>,
) -> Result<T, Malformed> {
    note.value.field(name).and_then(read).ok_or_else(|| malformed(note, name))
}

fn malformed(note: &Entry, field: &'static str) -> Malformed {
    Malformed { index: note.index, f: note.f.clone(), field }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::{Fault, Target};

    #[test]
    fn notes_are_read_back_as_spans_and_a_doubtful_healing_is_none() {
        let recorder = Recorder::start();
        let planned = |fault| Planned {
            fault,
            kind: Fault::Kill,
            target: Target::Leader,
            at_ms: 0,
            until_ms: 1,
        };
        note(&recorder, &planned(0), Phase::Install, Installed::Installed, &[2]);
        note(&recorder, &planned(0), Phase::Heal, Installed::Installed, &[2]);
        note(&recorder, &planned(1), Phase::Install, Installed::Skipped, &[]);
        note(&recorder, &planned(2), Phase::Install, Installed::Indeterminate, &[1]);
        note(&recorder, &planned(2), Phase::Heal, Installed::Indeterminate, &[1]);
        let spans = spans(&recorder.history().unwrap()).unwrap();
        let seen: Vec<_> = spans
            .iter()
            .map(|span| (span.fault, span.outcome, span.healed.map(|at| at.position)))
            .collect();
        assert_eq!(
            seen,
            [
                (0, Installed::Installed, Some(1)),
                (1, Installed::Skipped, Some(2)),
                (2, Installed::Indeterminate, None)
            ]
        );
        assert_eq!(spans[0].to_string(), "fault 0 (kill of node 2, installed)");
    }

    #[test]
    fn a_note_that_lacks_a_field_is_named() {
        let recorder = Recorder::start();
        recorder.note("nemesis", "kill", Value::map([("fault", 1_u64.into())]));
        let error = spans(&recorder.history().unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "entry 0 (kill) has no readable outcome");
    }
}
