//! Histories of calls and faults, and the checkers that judge them.
#![allow(missing_docs)]
pub mod edn;
pub mod history;
pub mod json;
pub mod models;
pub mod value;
pub mod verdict;
pub mod wgl;
