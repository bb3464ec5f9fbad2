//! A history: what was asked of a cluster and what it answered, in the order in
//! which it happened.
//!
//! Jepsen's form: an operation is two entries of one process, an invocation and a
//! completion. `ok`: it happened. `fail`: it did not happen. `info`, or no
//! completion at all: it may have happened, or happen later. Entries stand in the
//! order of the [`Recorder`]'s lock, so that an entry before another one was
//! before it in time; checkers compare positions and never clocks.
//!
//! Entries of processes with a name (`:nemesis`, `:monitor`, `:cluster`) are notes
//! beside the operations and have no partner.

mod entry;
mod operation;
mod recorder;
mod text;

pub use entry::{Entry, Kind, Process};
pub use operation::{Operation, Outcome};
pub use recorder::{Call, Recorder};
pub use text::{ReadError, read_edn, read_json_lines, write_edn, write_json_lines};

use std::collections::HashMap;

/// Entries in order, each completion matched with its invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    entries: Vec<Entry>,
    /// Of each invocation, by ascending position: position of its completion.
    pairs: Vec<(usize, Option<usize>)>,
}

/// Entries that are no history: a fault of the program that wrote them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// A process invokes while an operation of its own runs.
    #[error("entry {index}: the process invokes before its last operation ended")]
    TwoAtOnce {
        /// Its `:index`.
        index: u64,
    },
    /// A completion without an invocation.
    #[error("entry {index}: a completion without an invocation")]
    NotInvoked {
        /// Its `:index`.
        index: u64,
    },
    /// A completion of another operation than the process invoked.
    #[error("entry {index}: completes another operation than the process invoked")]
    Another {
        /// Its `:index`.
        index: u64,
    },
    /// Indexes that do not ascend.
    #[error("entry {index}: its index is not above that of the entry before")]
    Descends {
        /// Its `:index`.
        index: u64,
    },
}

impl History {
    /// Matches completions with invocations.
    ///
    /// # Errors
    ///
    /// When the entries are no history: the first that does not fit.
    pub fn new(entries: Vec<Entry>) -> Result<Self, HistoryError> {
        let mut pairs: Vec<(usize, Option<usize>)> = Vec::new();
        let mut running: HashMap<u64, usize> = HashMap::new();
        for (position, entry) in entries.iter().enumerate() {
            let index = entry.index;
            if let Some(before) = position.checked_sub(1).map(|before| &entries[before])
                && before.index >= index
            {
                return Err(HistoryError::Descends { index });
            }
            let Process::Client(process) = entry.process else { continue };
            if entry.kind == Kind::Invoke {
                if running.insert(process, pairs.len()).is_some() {
                    return Err(HistoryError::TwoAtOnce { index });
                }
                pairs.push((position, None));
            } else {
                let pair = running.remove(&process).ok_or(HistoryError::NotInvoked { index })?;
                if entries[pairs[pair].0].f != entry.f {
                    return Err(HistoryError::Another { index });
                }
                pairs[pair].1 = Some(position);
            }
        }
        Ok(Self { entries, pairs })
    }

    /// All entries.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All operations, by ascending invocation.
    pub fn operations(&self) -> impl DoubleEndedIterator<Item = Operation<'_>> + Clone {
        self.pairs
            .iter()
            .map(|(invoked, completed)| Operation::new(&self.entries, *invoked, *completed))
    }

    /// Notes of the process `name`, with their positions.
    pub fn notes<'h>(&'h self, name: &'h str) -> impl Iterator<Item = (usize, &'h Entry)> {
        let of = move |entry: &Entry| matches!(&entry.process, Process::Named(own) if own == name);
        self.entries.iter().enumerate().filter(move |(_, entry)| of(entry))
    }

    /// Time of the latest entry, in nanoseconds; 0 without any.
    #[must_use]
    pub fn end_ns(&self) -> u64 {
        self.entries.iter().map(|entry| entry.time_ns).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> ReadError {
        read_edn(text).unwrap_err()
    }

    fn refused(text: &str) -> HistoryError {
        match error(text) {
            ReadError::History(error) => error,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn entries_that_do_not_fit_together_are_refused_by_name() {
        let invoke = "{:process 1, :type :invoke, :f :read}";
        assert_eq!(refused(&format!("[{invoke}{invoke}]")), HistoryError::TwoAtOnce { index: 1 });
        assert_eq!(
            refused("[{:process 1, :type :ok, :f :read}]"),
            HistoryError::NotInvoked { index: 0 }
        );
        assert_eq!(
            refused(&format!("[{invoke}{{:process 1, :type :ok, :f :write}}]")),
            HistoryError::Another { index: 1 }
        );
        let named = "{:process :nemesis, :type :info, :f :kill, :index 1}";
        assert_eq!(refused(&format!("[{named}{named}]")), HistoryError::Descends { index: 1 });
    }

    #[test]
    fn an_operation_without_completion_or_with_info_may_happen_for_ever() {
        let text = "[{:process 1, :type :invoke, :f :read} {:process 2, :type :invoke, :f :read}
                     {:process 2, :type :info, :f :read}]";
        let history = read_edn(text).unwrap();
        for operation in history.operations() {
            assert_eq!((operation.outcome, operation.ended), (Outcome::Unknown, usize::MAX));
        }
    }
}
