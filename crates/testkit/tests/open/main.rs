//! Scenarios that the product must show and does not yet, on real nodes.
//!
//! Not part of `cargo xtask test`: each has failed when it was last run, or has
//! never been seen to pass. One that passes moves to `tests/scenarios/`. Run them
//! with `cargo test --workspace --test open -- --test-threads=1`.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "what a machine can't do is said, not hidden")]
#![allow(clippy::disallowed_methods, reason = "tests measure and draw")]

mod canaries;
mod disk_faults;
mod disk_tampering;
mod hostile_floods;
