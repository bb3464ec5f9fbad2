//! Locked, zeroized, undumpable memory for secrets; process hardening.
//!
//! Secrets live in [`Secret`], [`SecretBytes`] and [`SecretText`]: types with
//! no `Clone`, `Debug`, `Serialize` or `PartialEq`, whose bytes stay in one
//! place from creation to drop and are wiped there. The place is a slot of the
//! process-wide arena: pages that are locked into RAM as far as the system
//! allows, left out of core dumps, emptied in forked children, and fenced by
//! guard pages.
//!
//! [`harden_process`] switches core dumps and debuggers off. [`scrubbed`] runs
//! foreign code that handles secrets carelessly, and wipes what it leaves on
//! stack and heap; [`scrubbed_thread`] what it leaves in its thread, too.
//!
//! This is the one crate of the workspace with `unsafe`. It decides nothing
//! about keys and logs nothing: callers report what [`HardeningReport`] and
//! [`ArenaStatus`] say.
//!
//! What it does not protect against: a debugger or kernel with the right to
//! read this process, copies that callers make from `expose`, and registers or
//! stack slots spilled by code that works on an exposed secret.

mod arena;
mod exit;
mod harden;
mod pages;
mod scrub;
mod secret;
mod slot;

pub use arena::{ArenaStatus, LOCKED_BYTES_MAX};
pub use exit::exit_now;
pub use harden::{Errno, HardeningReport, Measure, harden_process};
pub use scrub::{WipingAllocator, scrubbed, scrubbed_thread};
pub use secret::{Secret, SecretBytes, SecretText};
pub use slot::arena_status;

/// Compiled anew when another checkout is built in the same build directory
/// (`.cargo/config.toml`). None without that file: a vendored copy of the crate.
const _: Option<&str> = option_env!("STRONGROOM_CHECKOUT");
