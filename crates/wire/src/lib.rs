//! Generated code of `strongroom/v1` and `strongroom/peer/v1`.
//!
//! Messages, clients and servers, as the files under `proto/` describe them;
//! nothing is decided here. What carries plaintext, shares, tokens or an
//! encryption context prints as its name alone (`Debug`).

mod redacted;

/// The public interface, `strongroom.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated; comments stand in the .proto files"
)]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/strongroom.v1.rs"));
}

/// What nodes say to one another, `strongroom.peer.v1`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::too_many_lines,
    reason = "generated; comments stand in the .proto files"
)]
pub mod peer {
    include!(concat!(env!("OUT_DIR"), "/strongroom.peer.v1.rs"));
}

/// Serialised `google.protobuf.FileDescriptorSet` of `strongroom.v1`, for gRPC
/// reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
