//! Histories of calls and faults, and the checkers that judge them.
//!
//! | module | has |
//! |---|---|
//! | [`value`], [`edn`], [`json`] | the data of an operation, and two notations for it |
//! | [`history`] | operations in Jepsen's form: recorded, read, written, paired |
//! | [`kms`] | the words that workloads and checkers share |
//! | [`wgl`], [`models`] | the search for a linearization, and what it searches |
//! | [`checkers`], [`verdict`] | the laws, and what they say of a history |
//! | [`schedule`] | faults: planned, and what became of them |
//! | [`gate`] | whether enough happened for a run to count |
//! | [`run`], [`report`] | all of it together, as files and as a page |
//!
//! Nothing here calls a cluster. A harness records with a
//! [`Recorder`](history::Recorder), acts on a [`Schedule`](schedule::Schedule), and
//! hands the history to each [`Checker`](verdict::Checker), the
//! [`Gate`](gate::Gate) in [`Run::judge`](run::Run::judge).

pub mod checkers;
pub mod edn;
pub mod gate;
pub mod history;
pub mod json;
pub mod kms;
pub mod models;
pub mod report;
pub mod run;
pub mod schedule;
pub mod value;
pub mod verdict;
pub mod wgl;
