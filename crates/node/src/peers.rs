//! Clients of the other members' node service.

use strongroom_base::{NodeId, limits};
use strongroom_raft::{PeerChannel, PeerPool};
use strongroom_wire::peer::node_client::NodeClient;
use tonic::Status;

/// A client of `node`.
///
/// # Errors
///
/// `UNAVAILABLE` where no address of it is known.
pub(crate) fn node_client(
    pool: &PeerPool,
    node: NodeId,
) -> Result<NodeClient<PeerChannel>, Status> {
    let channel = pool
        .channel(node)
        .ok_or_else(|| Status::unavailable(format!("no address of node {node} is known")))?;
    Ok(NodeClient::new(channel)
        .max_decoding_message_size(limits::PEER_MESSAGE_BYTES_MAX)
        .max_encoding_message_size(limits::PEER_MESSAGE_BYTES_MAX))
}
