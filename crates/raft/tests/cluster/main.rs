//! Clusters of real nodes in one process: own directories, own RocksDBs, real
//! mutual TLS on the loopback.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests measure and draw")]

mod batch;
mod disk;
mod harness;
mod membership;
mod refusals;
mod replication;
mod restart;
