//! Stored bytes: the prost types of `strongroom/store/v1` and format versions.
//!
//! What nodes write into the Raft log, into rows before they are sealed, and
//! into snapshots. Nothing is decided here. A stored format only ever grows:
//! no field is renumbered or reused, and [`decode`] refuses what the message
//! type does not know instead of dropping it.

mod decode;
mod ids;
mod redacted;

pub use decode::{FormatError, decode, encode, version};
pub use ids::{cluster_id, history_id, key_id, principal_id, request_id, token_id};

/// The stored messages, as the files under `proto/strongroom/store/v1` describe
/// them.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated; comments stand in the .proto files"
)]
pub mod store {
    include!(concat!(env!("OUT_DIR"), "/strongroom.store.v1.rs"));
}

/// Format of [`store::Command`], the content of a Raft log entry.
pub const COMMAND_FORMAT: u32 = 1;
/// Format of the state database: its tables, keys and values.
pub const STATE_FORMAT: u32 = 1;
/// Format of the Raft log database: its tables, keys and values.
pub const LOG_FORMAT: u32 = 1;
/// Format of [`store::SnapshotManifest`] and of what it describes.
pub const SNAPSHOT_FORMAT: u32 = 1;
/// Format of a data directory: its files and subdirectories.
pub const DIRECTORY_FORMAT: u32 = 1;
