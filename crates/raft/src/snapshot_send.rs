//! Sending a snapshot: its description, then its files in chunks.
//!
//! Each chunk has a time of its own; the whole may take as long as it needs.
//! The receiver checks every byte against the description, so nothing is
//! resumed: what broke is sent again from the start.

use std::time::Duration;

use openraft::{
    errors::{NetworkError, StreamingError, Timeout},
    raft::SnapshotResponse,
};
use prost::Message as _;
use strongroom_storage::SnapshotDir;
use strongroom_wire::peer::{SnapshotChunk, SnapshotHeader, SnapshotPart, snapshot_part::Part};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::{
    codec,
    log_store::blocking,
    network::{Client, decode, refused},
    types::{TypeConfig, Vote},
};

/// The peer takes a chunk within this time.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(10);
/// The peer checks and installs what it got within this time.
const INSTALL_TIMEOUT: Duration = Duration::from_secs(120);
/// Chunks read ahead of the connection.
const CHUNKS_AHEAD: usize = 2;

type SendError = StreamingError<TypeConfig>;

/// Sends `snapshot` and waits until the peer has installed or refused it.
pub(crate) async fn send(
    mut client: Client,
    vote: Vote,
    snapshot: SnapshotDir,
    timeout: impl Fn(Duration) -> Timeout<TypeConfig>,
) -> Result<SnapshotResponse<TypeConfig>, SendError> {
    let (parts, outgoing) = mpsc::channel(CHUNKS_AHEAD);
    let answer = async {
        match client.install_snapshot(ReceiverStream::new(outgoing)).await {
            Ok(response) => decode(&response.into_inner()).map_err(SendError::from),
            Err(status) => Err(refused(&status).into()),
        }
    };
    tokio::pin!(answer);
    let feed = feed(&vote, &snapshot, parts);
    // An answer before the last chunk is a refusal.
    tokio::select! {
        fed = feed => match fed {
            Ok(()) | Err(FeedError::Closed) => {}
            Err(FeedError::Slow) => return Err(timeout(CHUNK_TIMEOUT).into()),
            Err(FeedError::Read(error)) => return Err(unreadable(&error)),
        },
        answer = &mut answer => return answer,
    }
    match tokio::time::timeout(INSTALL_TIMEOUT, answer).await {
        Ok(answer) => answer,
        Err(_) => Err(timeout(INSTALL_TIMEOUT).into()),
    }
}

fn unreadable(error: &std::io::Error) -> SendError {
    // Of this node's own making, and not the log's or the state's fault: the
    // next snapshot replaces it, so Raft goes on.
    tracing::error!(%error, "can't read the snapshot that is to be sent");
    SendError::Network(NetworkError::new(error))
}

enum FeedError {
    /// The stream to the peer is gone; the answer says why.
    Closed,
    /// The peer takes nothing.
    Slow,
    /// Reading a file failed.
    Read(std::io::Error),
}

async fn feed(
    vote: &Vote,
    snapshot: &SnapshotDir,
    parts: mpsc::Sender<SnapshotPart>,
) -> Result<(), FeedError> {
    let manifest = snapshot.manifest();
    let header = SnapshotHeader {
        format: codec::FORMAT.into(),
        vote: codec::body(vote),
        manifest: manifest.encode_to_vec().into(),
    };
    put(&parts, Part::Header(header)).await?;
    for (file, description) in (0..).zip(&manifest.files) {
        let mut offset = 0;
        while offset < description.length {
            let data = read(snapshot, &description.name, offset).await?;
            let next = offset + data.len() as u64;
            put(&parts, Part::Chunk(SnapshotChunk { file, offset, data: data.into() })).await?;
            offset = next;
        }
    }
    Ok(())
}

async fn read(snapshot: &SnapshotDir, name: &str, offset: u64) -> Result<Vec<u8>, FeedError> {
    let (snapshot, name) = (snapshot.clone(), name.to_owned());
    match blocking(move || snapshot.read_chunk(&name, offset)).await {
        Ok(data) if data.is_empty() => {
            Err(FeedError::Read(std::io::ErrorKind::UnexpectedEof.into()))
        }
        Ok(data) => Ok(data),
        Err(error) => Err(FeedError::Read(error)),
    }
}

async fn put(parts: &mpsc::Sender<SnapshotPart>, part: Part) -> Result<(), FeedError> {
    match tokio::time::timeout(CHUNK_TIMEOUT, parts.send(SnapshotPart { part: Some(part) })).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(FeedError::Closed),
        Err(_) => Err(FeedError::Slow),
    }
}
