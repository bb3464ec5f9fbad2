//! What the laws of `apply` share: builders, a simulated cluster of proposers,
//! a write-batch layer, and the naive reference.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod build;
pub mod overlay;
pub mod reference;
pub mod simulation;
