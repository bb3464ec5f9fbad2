//! What Strongroom must show, each as a scenario on real nodes.
//!
//! One file per claim; one cluster at a time. Rounds are few by default, so that
//! all of it takes minutes; `STRONGROOM_ROUNDS` raises them. A scenario that
//! fails keeps its logs and data and says where.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "what a machine can't do is said, not hidden")]
#![allow(clippy::disallowed_methods, reason = "tests measure and draw")]

mod administrators;
mod authorise_at_commit;
mod barrier_rotation;
mod command_line;
mod disk_reserve;
mod disk_tampering;
mod hostile_requests;
mod init;
mod late_member;
mod leader_kills;
mod no_failed_calls;
mod no_quorum;
mod partitions;
mod sealed_restart;
mod services;
mod stolen_certificate;
mod token_ends;
