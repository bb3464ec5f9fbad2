//! A front between callers and nodes, over real TLS, in one process.

#![allow(clippy::unwrap_used, reason = "tests")]

mod balance;
mod bounds;
mod drain;
mod requests;
mod streams;
mod support;
