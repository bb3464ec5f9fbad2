//! Measurements of real clusters on the machine at hand.
//!
//! | part | does |
//! |---|---|
//! | [`echo`], [`limit`] | a bare gRPC service with the messages of `GenerateDataKey`: the limit; its process |
//! | [`lanes`] | connections to nodes or to the echo, the same way for both |
//! | [`load`] | a closed and an open loop of calls over them, one slice of time at a time |
//! | [`machine`] | what `/proc` says: stolen time, CPU of processes and threads, memory |
//! | [`rounds`] | pairs slices, throws spoiled ones away |
//! | [`draw`] | draws rounds of several comparisons in turn |
//! | [`stats`] | medians, and how far they can be trusted |
//! | [`origin`] | machine, commit and build that figures belong to |
//! | [`plot`] | pictures |
//!
//! The programs are `strongroom-echo` and `strongroom-bench`. Nothing here is a
//! test of speed: figures depend on the machine, ratios less so.

#![allow(clippy::disallowed_methods, reason = "measures time")]

pub mod draw;
pub mod echo;
pub mod lanes;
pub mod limit;
pub mod load;
pub mod machine;
pub mod origin;
pub mod plot;
pub mod rounds;
pub mod stats;
