//! Receiving a snapshot: one at a time, checked to the last byte, and against
//! its description, before it replaces anything. The library takes no refusal
//! from an install: what it is handed must be right.
//!
//! A newer stream takes the place of one that is still under way: its sender
//! gave up, or leads no more.

use std::time::Duration;

use openraft::{async_runtime::WatchReceiver as _, raft::SnapshotResponse};
use parking_lot::Mutex;
use prost::Message as _;
use strongroom_base::limits::{PEER_MESSAGE_BYTES_MAX, SNAPSHOT_CHUNK_BYTES};
use strongroom_storage::{SnapshotDir, SnapshotManifest, SnapshotWriter, StateDb};
use strongroom_wire::peer::{SnapshotHeader, SnapshotPart, snapshot_part::Part};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

use crate::{
    codec,
    identity::PeerOrigin,
    log_store::blocking,
    node::Library,
    service::require_own,
    state_machine::Snapshot,
    state_thread::is_described_by,
    types::{LogId, SnapshotMeta, TypeConfig, Vote},
    validate,
};

/// The next part comes within this time.
const PART_TIMEOUT: Duration = Duration::from_secs(30);

/// Receives snapshots.
pub(crate) struct Receiver {
    state: StateDb,
    /// Cancels the one under way.
    under_way: Mutex<CancellationToken>,
    /// Held by the one under way.
    turn: tokio::sync::Mutex<()>,
}

impl Receiver {
    pub(crate) fn new(state: StateDb) -> Self {
        Self { state, under_way: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Takes a snapshot in and installs it. Answers with this node's vote, by
    /// which a sender that leads no more learns of it.
    pub(crate) async fn receive(
        &self,
        raft: &Library,
        origin: Option<PeerOrigin>,
        parts: Streaming<SnapshotPart>,
    ) -> Result<SnapshotResponse<TypeConfig>, Status> {
        let cancel = CancellationToken::new();
        std::mem::replace(&mut *self.under_way.lock(), cancel.clone()).cancel();
        let _turn = self.turn.lock().await;
        tokio::select! {
            () = cancel.cancelled() => Err(Status::aborted("another snapshot stream took over")),
            result = self.receive_alone(raft, origin, parts) => result,
        }
    }

    async fn receive_alone(
        &self,
        raft: &Library,
        origin: Option<PeerOrigin>,
        mut parts: Streaming<SnapshotPart>,
    ) -> Result<SnapshotResponse<TypeConfig>, Status> {
        let Some(Part::Header(header)) = next(&mut parts).await? else {
            return Err(Status::invalid_argument("a snapshot begins with its header"));
        };
        let (vote, meta, manifest) = decode_header(&header)?;
        require_own(origin.as_ref(), &vote)?;
        let (vote_here, committed) = known_here(raft);
        validate::snapshot(&vote, &meta, committed)?;
        if vote_here > vote {
            return Ok(SnapshotResponse::new(vote_here));
        }
        tracing::info!(
            applied_index = manifest.applied_index,
            files = manifest.files.len(),
            "receiving a snapshot"
        );
        let dir = self.write(manifest, &mut parts).await?;
        let dir = self.verify(dir, meta.clone()).await?;
        // What became known since the first part came.
        validate::snapshot(&vote, &meta, known_here(raft).1)?;
        raft.install_full_snapshot(vote, Snapshot { meta, snapshot: dir })
            .await
            .map_err(|error| Status::unavailable(error.to_string()))
    }

    async fn write(
        &self,
        manifest: SnapshotManifest,
        parts: &mut Streaming<SnapshotPart>,
    ) -> Result<SnapshotDir, Status> {
        let names: Vec<String> = manifest.files.iter().map(|file| file.name.clone()).collect();
        let state = self.state.clone();
        let begin = move || state.receive(manifest);
        let mut writer: SnapshotWriter = blocking(begin).await.map_err(refused)?;
        while let Some(part) = next(parts).await? {
            let Part::Chunk(chunk) = part else {
                return Err(Status::invalid_argument("a snapshot has one header"));
            };
            if chunk.data.is_empty() || chunk.data.len() > SNAPSHOT_CHUNK_BYTES {
                return Err(Status::invalid_argument("a chunk has 1 to 262144 bytes"));
            }
            let name = usize::try_from(chunk.file).ok().and_then(|file| names.get(file)).cloned();
            let name = name.ok_or_else(|| Status::invalid_argument("a chunk of no file"))?;
            let write = move || writer.chunk(&name, chunk.offset, &chunk.data).map(|()| writer);
            writer = blocking(write).await.map_err(refused)?;
        }
        blocking(move || writer.finish()).await.map_err(refused)
    }

    /// Refuses a snapshot whose state `meta` doesn't describe.
    async fn verify(&self, dir: SnapshotDir, meta: SnapshotMeta) -> Result<SnapshotDir, Status> {
        let state = self.state.clone();
        let verify = move || state.verify(&dir, |view| is_described_by(view, &meta)).map(|()| dir);
        blocking(verify).await.map_err(refused)
    }
}

/// This node's vote, and the newest entry that it knows to be committed.
fn known_here(raft: &Library) -> (Vote, Option<LogId>) {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    (metrics.vote, metrics.local_committed)
}

fn decode_header(
    header: &SnapshotHeader,
) -> Result<(Vote, SnapshotMeta, SnapshotManifest), Status> {
    let malformed = |_| Status::invalid_argument("the snapshot's header is malformed");
    let vote = codec::from_peer(header.format, &header.vote).map_err(malformed)?;
    let manifest = SnapshotManifest::decode(header.manifest.as_ref())
        .map_err(|_| Status::invalid_argument("the snapshot's manifest is malformed"))?;
    let meta = codec::decode(&manifest.raft_meta).map_err(malformed)?;
    Ok((vote, meta, manifest))
}

fn refused(error: std::io::Error) -> Status {
    // The chain's text: it names file and cause, and goes to a peer only.
    tracing::warn!(%error, "a snapshot can't be taken in");
    Status::internal(error.to_string())
}

/// The next part; none at the end.
async fn next(parts: &mut Streaming<SnapshotPart>) -> Result<Option<Part>, Status> {
    let part = tokio::time::timeout(PART_TIMEOUT, parts.message())
        .await
        .map_err(|_| Status::deadline_exceeded("the next part of the snapshot did not come"))??;
    match part {
        None => Ok(None),
        Some(SnapshotPart { part: Some(part) }) => Ok(Some(part)),
        Some(SnapshotPart { part: None }) => {
            Err(Status::invalid_argument("a part is a header or a chunk"))
        }
    }
}

const _: () = assert!(SNAPSHOT_CHUNK_BYTES * 2 < PEER_MESSAGE_BYTES_MAX, "a chunk fits a message");
