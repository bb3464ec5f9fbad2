//! One entry of a history.

use std::{collections::BTreeMap, fmt};

use crate::value::Value;

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Process {
    /// A caller: one operation at a time.
    Client(u64),
    /// Who takes notes: `nemesis`, `monitor`, `cluster`.
    Named(String),
}

impl fmt::Display for Process {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(number) => write!(out, "process {number}"),
            Self::Named(name) => write!(out, "{name}"),
        }
    }
}

/// `:type` of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// The call begins.
    Invoke,
    /// It happened.
    Ok,
    /// It did not happen and never will.
    Fail,
    /// Not known; or a note.
    Info,
}

impl Kind {
    pub(super) const ALL: [(Self, &'static str); 4] =
        [(Self::Invoke, "invoke"), (Self::Ok, "ok"), (Self::Fail, "fail"), (Self::Info, "info")];

    /// Jepsen's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invoke => "invoke",
            Self::Ok => "ok",
            Self::Fail => "fail",
            Self::Info => "info",
        }
    }
}

/// An invocation, a completion or a note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `:index`: ascends.
    pub index: u64,
    /// `:time`: nanoseconds since the start of the run, by a monotonic clock.
    pub time_ns: u64,
    /// `:process`.
    pub process: Process,
    /// `:type`.
    pub kind: Kind,
    /// `:f`: what was asked for.
    pub f: String,
    /// `:value`.
    pub value: Value,
    /// Every other field, by name: `:node`, `:error`, `:request`, `:harness`, ….
    pub more: BTreeMap<String, Value>,
}
