//! What a checker says of a history.

use std::fmt;

use crate::history::{History, Operation};

/// What a checker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The history keeps the law.
    Valid {
        /// How many things were held against it: operations, keys, blobs.
        checked: usize,
    },
    /// The history breaks the law: at least one way, never empty.
    Invalid(Vec<Violation>),
    /// The history does not tell. Never a pass.
    Unknown(Violation),
}

/// One way in which a history breaks a law, or why it does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which law, in a few words that never change.
    pub law: &'static str,
    /// What happened, for people: names the operations.
    pub explanation: String,
    /// Indexes of the entries that show it, for the report.
    pub entries: Vec<u64>,
}

impl Violation {
    /// A violation that these operations show.
    #[must_use]
    pub fn new<'o, 'h: 'o>(
        law: &'static str,
        explanation: String,
        operations: impl IntoIterator<Item = &'o Operation<'h>>,
    ) -> Self {
        let entries = operations.into_iter().map(Operation::index).collect();
        Self { law, explanation, entries }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.law, self.explanation)
    }
}

impl Verdict {
    /// Valid unless there is a violation.
    #[must_use]
    pub fn of(checked: usize, violations: Vec<Violation>) -> Self {
        if violations.is_empty() { Self::Valid { checked } } else { Self::Invalid(violations) }
    }

    /// A history that does not tell.
    #[must_use]
    pub fn unknown(law: &'static str, explanation: String) -> Self {
        Self::Unknown(Violation { law, explanation, entries: Vec::new() })
    }

    /// Whether the law holds for certain.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        matches!(self, Self::Valid { .. })
    }

    /// What it found, none where the law holds.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::Valid { .. } => &[],
            Self::Invalid(violations) => violations,
            Self::Unknown(why) => std::slice::from_ref(why),
        }
    }

    /// `valid`, `invalid`, `unknown`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Valid { .. } => "valid",
            Self::Invalid(_) => "invalid",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// A law that histories are held against. Pure: the same history, the same verdict.
pub trait Checker {
    /// Name in reports: one word or two.
    fn name(&self) -> &'static str;

    /// The law, in one sentence.
    fn law(&self) -> &'static str;

    /// Holds the history against the law.
    fn check(&self, history: &History) -> Verdict;
}

/// An operation whose value has not the fields that its checker needs: a fault of
/// the harness.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("entry {index} ({f}) has no readable {field}")]
pub struct Malformed {
    /// `:index` of the entry.
    pub index: u64,
    /// `:f` of the entry.
    pub f: String,
    /// The field.
    pub field: &'static str,
}

impl From<Malformed> for Verdict {
    fn from(malformed: Malformed) -> Self {
        let entries = vec![malformed.index];
        let explanation = malformed.to_string();
        Self::Unknown(Violation { law: "histories are well formed", explanation, entries })
    }
}
