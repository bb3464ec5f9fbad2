//! Linearizability: whether operations that overlap could have happened one after
//! another, each at one moment between its invocation and its completion.
//!
//! The search of Wing and Gong (*Testing and verifying concurrent objects*, 1993)
//! with the memory of Lowe (*Testing for linearizability*, 2017): depth first, and
//! a configuration (which operations happened, and the state after them) that led
//! nowhere once is not entered again. Three things on top, none of which changes a
//! verdict:
//!
//! - Operations whose outcome is not known are tried after all others, and not at
//!   all where they would leave the state as it is: they need not happen.
//! - Of such operations with the same input the one invoked first goes first: it
//!   may stand wherever a later one may.
//! - A configuration names only the window between the first operation that did
//!   not happen yet and the last that did.
//!
//! A bound on the work gives [`Search::GaveUp`], never a wrong verdict.

mod configuration;
mod parts;
mod search;

pub use parts::{Part, PartsVerdict, search_parts};
pub use search::{Search, Stuck, search};

use std::{fmt::Debug, hash::Hash};

/// A sequential object: what each operation does to a state.
pub trait Model {
    /// What is kept between operations.
    type State: Clone + Eq + Hash + Debug;
    /// What is asked.
    type Input: Eq + Debug;
    /// What is answered.
    type Output: Debug;

    /// The state before the first operation.
    fn initial(&self) -> Self::State;

    /// The state after an operation, or none where this answer is impossible in
    /// that state. Without `output` nobody knows the answer: then any will do.
    fn step(
        &self,
        state: &Self::State,
        input: &Self::Input,
        output: Option<&Self::Output>,
    ) -> Option<Self::State>;
}

/// An operation of a history, as a model takes it.
#[derive(Clone, Debug)]
pub struct Event<I, O> {
    /// What was asked.
    pub input: I,
    /// What was answered; none where the outcome is not known.
    pub output: Option<O>,
    /// Position of the invocation in the history.
    pub invoked: usize,
    /// Position of the completion; ignored where the outcome is not known.
    pub ended: usize,
    /// Name of the operation in explanations.
    pub index: u64,
}
