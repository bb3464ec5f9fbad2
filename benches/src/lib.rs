//! Measurements of real clusters on the machine at hand.
//!
//! | part | does |
//! |---|---|
//! | [`echo`] | a bare gRPC service with the messages of `GenerateDataKey`: the limit |
//! | [`lanes`] | connections to nodes or to the echo, the same way for both |
//! | [`load`] | a closed loop of calls over them, one slice of time at a time |
//! | [`machine`] | what `/proc` says: stolen time, CPU of processes and threads, memory |
//! | [`rounds`] | pairs slices, throws spoiled ones away, gives ratios |
//!
//! The programs are `strongroom-echo` and `strongroom-load`. Nothing here is a
//! test of speed: figures depend on the machine, ratios less so.

#![allow(clippy::disallowed_methods, reason = "measures time")]

pub mod echo;
pub mod lanes;
pub mod load;
pub mod machine;
pub mod rounds;
