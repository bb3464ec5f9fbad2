//! Scenarios on real nodes that are not in the default run yet: they hold, but
//! were not seen to hold often enough, or need a machine that may mount file
//! systems.
//!
//! Run them with `cargo test --workspace --test open -- --test-threads=1`. One
//! that has held for long moves to `tests/scenarios/`.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "what a machine can't do is said, not hidden")]
#![allow(clippy::disallowed_methods, reason = "tests measure and draw")]

mod canaries;
mod disk_faults;
mod hostile_floods;
