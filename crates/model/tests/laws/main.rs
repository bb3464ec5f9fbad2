//! Laws of the decisions, checked through the replicated state's own `apply`
//! and real seals.
#![allow(clippy::unwrap_used, reason = "tests")]

mod access;
mod audit;
mod ceremony;
mod guards;
mod keys;
mod lock_out;
mod usage;
mod world;
