//! Raft's calls from the other members.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Instant,
};

use futures::{Stream, StreamExt as _, stream};
use openraft::{
    errors::Fatal,
    raft::{TransferLeaderRequest, VoteRequest},
};
use parking_lot::{Mutex, RwLock};
use serde::de::DeserializeOwned;
use strongroom_wire::peer::{RaftRequest, RaftResponse, SnapshotPart, raft_server};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    codec,
    entry_guard::{self, EntryGuard},
    errors::node_id,
    identity::PeerOrigin,
    memory::PeerMemory,
    node::Library,
    snapshot_receive::Receiver,
    types::{AppendRequest, TypeConfig, Vote},
    validate,
};

/// When a leader was last heard of.
pub(crate) type Heard = Arc<Mutex<Option<Instant>>>;

/// Serves `strongroom.peer.v1.Raft`.
#[derive(Clone)]
pub struct RaftService {
    /// None once stopped: the log and the state behind it can then be closed,
    /// whoever still holds the service.
    serving: Arc<RwLock<Option<Serving>>>,
    guard: Arc<dyn EntryGuard>,
    memory: Arc<PeerMemory>,
    heard: Heard,
    /// Whether Raft's calls are answered yet.
    silent: Arc<AtomicBool>,
}

#[derive(Clone)]
struct Serving {
    raft: Library,
    snapshots: Arc<Receiver>,
}

impl RaftService {
    pub(crate) fn new(
        raft: Library,
        snapshots: Receiver,
        guard: Arc<dyn EntryGuard>,
        memory: Arc<PeerMemory>,
        heard: Heard,
        silent: bool,
    ) -> Self {
        let serving = Serving { raft, snapshots: Arc::new(snapshots) };
        Self {
            serving: Arc::new(RwLock::new(Some(serving))),
            guard,
            memory,
            heard,
            silent: Arc::new(AtomicBool::new(silent)),
        }
    }

    /// Answers Raft's calls from now on.
    pub(crate) fn take_part(&self) {
        self.silent.store(false, Ordering::Release);
    }

    /// Whether Raft's calls are answered.
    pub(crate) fn takes_part(&self) -> bool {
        !self.silent.load(Ordering::Acquire)
    }

    /// Refuses every call from now on.
    pub(crate) fn stop(&self) {
        self.serving.write().take();
    }

    fn serving(&self) -> Result<Serving, Status> {
        if self.silent.load(Ordering::Acquire) {
            return Err(Status::unavailable(
                "this node has just started, and has not heard yet what its peers remember of it",
            ));
        }
        self.serving.read().clone().ok_or_else(unavailable)
    }

    /// Lets the request of a leader in.
    fn admit(&self, origin: Option<&PeerOrigin>, append: &AppendRequest) -> Result<(), Status> {
        require_own(origin, &append.vote)?;
        entry_guard::check(self.guard.as_ref(), append)?;
        self.note_term(origin, append.vote.leader_id.term);
        *self.heard.lock() = Some(Instant::now());
        Ok(())
    }

    /// A peer that leads or campaigns in `term` has voted for itself in it.
    fn note_term(&self, origin: Option<&PeerOrigin>, term: u64) {
        if let Some(origin) = origin {
            self.memory.heard(origin.node, origin.incarnation, term);
        }
    }
}

/// A vote comes from the node that it is for: a member can't lead, or have
/// votes cast, in another's name.
pub(crate) fn require_own(origin: Option<&PeerOrigin>, vote: &Vote) -> Result<(), Status> {
    match origin {
        Some(origin) if node_id(vote.leader_id.node_id) == Some(origin.node) => Ok(()),
        Some(_) => Err(Status::permission_denied("the vote is in another node's name")),
        None => Err(Status::internal("a call reached raft unchecked")),
    }
}

fn decode<T: DeserializeOwned>(request: &RaftRequest) -> Result<T, Status> {
    codec::from_peer(request.format, &request.payload)
        .map_err(|error| Status::invalid_argument(format!("the request is {error}")))
}

/// An AppendEntries that keeps the rules of Raft.
fn decode_append(request: &RaftRequest) -> Result<AppendRequest, Status> {
    let append: AppendRequest = decode(request)?;
    validate::append(&append)?;
    Ok(append)
}

fn stopped(fatal: Fatal<TypeConfig>) -> Status {
    // The cause stays here: it is in this node's own log.
    drop(fatal);
    unavailable()
}

fn unavailable() -> Status {
    Status::unavailable("raft has stopped on this node")
}

fn call_stopped(error: openraft::errors::RaftError<TypeConfig>) -> Status {
    stopped(error.unwrap_fatal())
}

#[tonic::async_trait]
impl raft_server::Raft for RaftService {
    type StreamAppendStream =
        Pin<Box<dyn Stream<Item = Result<RaftResponse, Status>> + Send + 'static>>;

    async fn stream_append(
        &self,
        request: Request<Streaming<RaftRequest>>,
    ) -> Result<Response<Self::StreamAppendStream>, Status> {
        let origin = request.extensions().get::<PeerOrigin>().copied();
        let refusal = Arc::new(Mutex::new(None));
        let refused = Arc::clone(&refusal);
        let service = self.clone();
        let appends = stream::unfold(request.into_inner(), move |mut requests| {
            let refused = Arc::clone(&refused);
            let service = service.clone();
            async move {
                let append = match requests.message().await {
                    Ok(Some(request)) => decode_append(&request),
                    Ok(None) => return None,
                    Err(status) => Err(status),
                };
                let admitted = append.and_then(|append| {
                    service.admit(origin.as_ref(), &append)?;
                    Ok(append)
                });
                match admitted {
                    Ok(append) => Some((append, requests)),
                    Err(status) => {
                        *refused.lock() = Some(status);
                        None
                    }
                }
            }
        });
        let answers = self.serving()?.raft.stream_append(appends).map(|answer| match answer {
            Ok(answer) => Ok(codec::response(&answer)),
            Err(fatal) => Err(stopped(fatal)),
        });
        let end = stream::once(async move { refusal.lock().take() });
        let end = end.filter_map(|status| async move { status.map(Err) });
        Ok(Response::new(Box::pin(answers.chain(end))))
    }

    async fn append_entries(
        &self,
        request: Request<RaftRequest>,
    ) -> Result<Response<RaftResponse>, Status> {
        let origin = request.extensions().get::<PeerOrigin>().copied();
        let append = decode_append(request.get_ref())?;
        self.admit(origin.as_ref(), &append)?;
        let answer = self.serving()?.raft.append_entries(append).await.map_err(call_stopped)?;
        Ok(Response::new(codec::response(&answer)))
    }

    async fn vote(&self, request: Request<RaftRequest>) -> Result<Response<RaftResponse>, Status> {
        let origin = request.extensions().get::<PeerOrigin>().copied();
        let vote: VoteRequest<TypeConfig> = decode(request.get_ref())?;
        require_own(origin.as_ref(), &vote.vote)?;
        self.note_term(origin.as_ref(), vote.vote.leader_id.term);
        let answer = self.serving()?.raft.vote(vote).await.map_err(call_stopped)?;
        Ok(Response::new(codec::response(&answer)))
    }

    async fn pre_vote(
        &self,
        request: Request<RaftRequest>,
    ) -> Result<Response<RaftResponse>, Status> {
        let origin = request.extensions().get::<PeerOrigin>().copied();
        let vote: VoteRequest<TypeConfig> = decode(request.get_ref())?;
        require_own(origin.as_ref(), &vote.vote)?;
        let answer = self.serving()?.raft.pre_vote(vote).await.map_err(call_stopped)?;
        Ok(Response::new(codec::response(&answer)))
    }

    async fn transfer_leader(
        &self,
        request: Request<RaftRequest>,
    ) -> Result<Response<RaftResponse>, Status> {
        let origin = request.extensions().get::<PeerOrigin>().copied();
        let transfer: TransferLeaderRequest<TypeConfig> = decode(request.get_ref())?;
        require_own(origin.as_ref(), transfer.from_leader())?;
        let answer =
            self.serving()?.raft.handle_transfer_leader(transfer).await.map_err(stopped)?;
        Ok(Response::new(codec::response(&answer)))
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<RaftResponse>, Status> {
        let origin = request.extensions().get::<PeerOrigin>().copied();
        let Serving { raft, snapshots } = self.serving()?;
        let answer = snapshots.receive(&raft, origin, request.into_inner()).await?;
        Ok(Response::new(codec::response(&answer)))
    }
}
