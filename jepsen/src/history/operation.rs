//! One operation: an invocation and what became of it.

use std::fmt;

use super::{Entry, Kind};
use crate::value::Value;

/// What became of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It happened.
    Ok,
    /// It did not happen.
    Fail,
    /// It may have happened, or happen later.
    Unknown,
    /// The harness broke while it ran: it says nothing of the cluster. Checkers
    /// take it as [`Outcome::Unknown`], counts as none of the others.
    Harness,
}

/// An invocation and its completion.
#[derive(Clone, Copy, Debug)]
pub struct Operation<'h> {
    /// The invocation.
    pub invoke: &'h Entry,
    /// The completion, if there was one.
    pub completion: Option<&'h Entry>,
    /// What became of it.
    pub outcome: Outcome,
    /// Position of the invocation in the history.
    pub invoked: usize,
    /// Position of the completion; `usize::MAX` where the outcome is not known:
    /// such an operation may take effect at any time later.
    pub ended: usize,
}

impl<'h> Operation<'h> {
    pub(super) fn new(entries: &'h [Entry], invoked: usize, completed: Option<usize>) -> Self {
        let completion = completed.map(|position| &entries[position]);
        let outcome = match completion {
            Some(entry) if entry.more.contains_key("harness") => Outcome::Harness,
            Some(entry) => match entry.kind {
                Kind::Ok => Outcome::Ok,
                Kind::Fail => Outcome::Fail,
                Kind::Info | Kind::Invoke => Outcome::Unknown,
            },
            None => Outcome::Unknown,
        };
        let ended = match outcome {
            Outcome::Ok | Outcome::Fail => completed.unwrap_or(usize::MAX),
            Outcome::Unknown | Outcome::Harness => usize::MAX,
        };
        Self { invoke: &entries[invoked], completion, outcome, invoked, ended }
    }

    /// What was asked for.
    #[must_use]
    pub fn f(&self) -> &'h str {
        &self.invoke.f
    }

    /// Index of the invocation: the operation's name in explanations.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.invoke.index
    }

    /// Whether it happened.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.outcome == Outcome::Ok
    }

    /// Whether it is certain that it did not happen.
    #[must_use]
    pub fn is_fail(&self) -> bool {
        self.outcome == Outcome::Fail
    }

    /// Whether it ended before `other` began.
    #[must_use]
    pub fn is_before(&self, other: &Self) -> bool {
        self.ended < other.invoked
    }

    /// Value of the completion, or of the invocation where there is none.
    #[must_use]
    pub fn value(&self) -> &'h Value {
        match self.completion {
            Some(entry) if self.outcome == Outcome::Ok => &entry.value,
            _ => &self.invoke.value,
        }
    }

    /// A field of the answer's value; where that has none, of the question's.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'h Value> {
        self.value().field(name).or_else(|| self.invoke.value.field(name))
    }

    /// A field beside the value, of the completion or the invocation.
    #[must_use]
    pub fn beside(&self, name: &str) -> Option<&'h Value> {
        let own = self.completion.and_then(|entry| entry.more.get(name));
        own.or_else(|| self.invoke.more.get(name))
    }

    /// The node that was called.
    #[must_use]
    pub fn node(&self) -> Option<u64> {
        self.beside("node").and_then(Value::unsigned)
    }

    /// Why it failed, or why its outcome is not known: a reason of the product.
    #[must_use]
    pub fn error(&self) -> Option<&'h str> {
        let error = self.completion?.more.get("error")?;
        // Jepsen writes a name, or a vector that begins with one.
        error.name().or_else(|| error.items()?.first()?.name())
    }

    /// Nanoseconds from invocation to completion; none without completion.
    #[must_use]
    pub fn latency_ns(&self) -> Option<u64> {
        self.completion.map(|entry| entry.time_ns.saturating_sub(self.invoke.time_ns))
    }
}

impl fmt::Display for Operation<'_> {
    /// Who asked for what, and what came: for explanations.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "op {} ({} {}", self.invoke.index, self.invoke.process, self.invoke.f)?;
        if let Some(node) = self.node() {
            write!(out, " on node {node}")?;
        }
        if self.invoke.value != Value::Nil {
            write!(out, " {}", Short(&self.invoke.value))?;
        }
        match (self.outcome, self.error()) {
            (Outcome::Ok, _) if self.value() == &self.invoke.value => write!(out, ": ok)"),
            (Outcome::Ok, _) => write!(out, ": ok {})", Short(self.value())),
            (Outcome::Fail, Some(error)) => write!(out, ": refused, {error})"),
            (Outcome::Fail, None) => write!(out, ": failed)"),
            (Outcome::Unknown, Some(error)) => write!(out, ": outcome not known, {error})"),
            (Outcome::Unknown, None) => write!(out, ": outcome not known)"),
            (Outcome::Harness, _) => write!(out, ": the harness failed)"),
        }
    }
}

/// A value, cut where it is long.
struct Short<'v>(&'v Value);

impl fmt::Display for Short<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARACTERS_MAX: usize = 120;
        let text = self.0.to_string();
        match text.char_indices().nth(CHARACTERS_MAX) {
            Some((end, _)) => write!(out, "{}…", &text[..end]),
            None => write!(out, "{text}"),
        }
    }
}
