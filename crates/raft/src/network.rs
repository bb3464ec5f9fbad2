//! Raft's calls to the other members.

use std::{future::Future, sync::Arc, time::Duration};

use futures::Stream;
use openraft::{
    OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse,
        VoteRequest, VoteResponse,
    },
};
use serde::de::DeserializeOwned;
use strongroom_base::{Incarnation, LogIndex, NodeId, limits::PEER_MESSAGE_BYTES_MAX};
use strongroom_storage::SnapshotDir;
use strongroom_wire::peer::{RaftRequest, RaftResponse, raft_client::RaftClient};
use tonic::{Response, Status};

use crate::{
    codec,
    errors::node_id,
    memory::PeerMemory,
    peers::{Lane, PeerChannel, PeerPool},
    pipeline,
    retention::Transfers,
    snapshot_send,
    state_machine::Snapshot,
    types::{AppendRequest, AppendResult, LogId, PeerNode, TypeConfig, Vote},
};

pub(crate) type CallError = RPCError<TypeConfig>;
pub(crate) type Client = RaftClient<PeerChannel>;

/// Makes a client for each peer and kind of traffic.
#[derive(Clone)]
pub(crate) struct Network {
    pool: PeerPool,
    memory: Arc<PeerMemory>,
    transfers: Transfers,
    node: u64,
    patience: Duration,
}

impl Network {
    /// `patience`: how long an append may stay unanswered before the stream is
    /// given up. An answer waits for the peer's disk.
    pub(crate) fn new(
        pool: PeerPool,
        memory: Arc<PeerMemory>,
        transfers: Transfers,
        node: u64,
        patience: Duration,
    ) -> Self {
        Self { pool, memory, transfers, node, patience }
    }

    fn peer(&self, target: u64, node: &PeerNode, lane: Lane) -> Peer {
        Peer {
            pool: self.pool.clone(),
            memory: Arc::clone(&self.memory),
            transfers: self.transfers.clone(),
            id: node_id(target),
            address: node.address.clone(),
            incarnation: node.incarnation(),
            client: None,
            node: self.node,
            target,
            lane,
            patience: self.patience,
        }
    }
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &PeerNode) -> Peer {
        self.peer(target, node, Lane::Replication)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &PeerNode) -> Peer {
        self.peer(target, node, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &PeerNode) -> Peer {
        self.peer(target, node, Lane::Snapshot)
    }
}

/// Notes what one peer says of itself.
#[derive(Clone)]
pub(crate) struct Remember {
    memory: Arc<PeerMemory>,
    peer: NodeId,
    incarnation: Incarnation,
}

impl Remember {
    /// See [`PeerMemory::acknowledged`].
    pub(crate) fn acknowledged(&self, term: u64, last: Option<LogId>) {
        if let Some(last) = last {
            self.memory.acknowledged(self.peer, self.incarnation, term, last);
        }
    }

    /// See [`PeerMemory::heard`].
    fn heard(&self, term: u64) {
        self.memory.heard(self.peer, self.incarnation, term);
    }
}

/// A peer, over one connection.
pub(crate) struct Peer {
    pool: PeerPool,
    memory: Arc<PeerMemory>,
    transfers: Transfers,
    /// None: no node has such an id.
    id: Option<NodeId>,
    address: String,
    /// None: the member was not there when the cluster was formed. The
    /// membership may name its directory while this lives.
    incarnation: Option<Incarnation>,
    /// Made with the first call.
    client: Option<Client>,
    node: u64,
    target: u64,
    lane: Lane,
    patience: Duration,
}

impl Peer {
    /// Who is called, where it is known which of its directories is meant.
    fn remember(&mut self) -> Result<Remember, CallError> {
        let peer = self.id.ok_or_else(|| unreachable("no node has such an id"))?;
        self.incarnation = self.incarnation.or_else(|| self.pool.incarnation(peer));
        let incarnation =
            self.incarnation.ok_or_else(|| unreachable("the member was never started"))?;
        Ok(Remember { memory: Arc::clone(&self.memory), peer, incarnation })
    }

    fn client(&mut self) -> Result<Client, CallError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let Remember { peer, incarnation, .. } = self.remember()?;
        let channel = self.pool.connection(peer, self.lane, Some(incarnation), Some(&self.address));
        let channel = channel.ok_or_else(|| unreachable("the peer's address can't be used"))?;
        let client = RaftClient::new(channel)
            .max_decoding_message_size(PEER_MESSAGE_BYTES_MAX)
            .max_encoding_message_size(PEER_MESSAGE_BYTES_MAX);
        Ok(self.client.insert(client).clone())
    }

    fn timeout(&self, action: RPCTypes, timeout: Duration) -> Timeout<TypeConfig> {
        Timeout { action, id: self.node, target: self.target, timeout }
    }

    /// One request, one answer, within the time that the library gives.
    async fn call<T, F>(
        &mut self,
        action: RPCTypes,
        option: &RPCOption,
        send: impl FnOnce(Client) -> F,
    ) -> Result<T, CallError>
    where
        T: DeserializeOwned,
        F: Future<Output = Result<Response<RaftResponse>, Status>>,
    {
        let limit = option.soft_ttl();
        match tokio::time::timeout(limit, send(self.client()?)).await {
            Ok(Ok(response)) => decode(&response.into_inner()),
            Ok(Err(status)) => Err(refused(&status)),
            Err(_) => Err(self.timeout(action, limit).into()),
        }
    }
}

pub(crate) fn unreachable(cause: &'static str) -> CallError {
    RPCError::Unreachable(Unreachable::from_string(cause))
}

/// Whatever a peer or the way to it says no by, the library waits before it
/// tries again.
pub(crate) fn refused(status: &Status) -> CallError {
    let text = format!("{:?}: {}", status.code(), status.message());
    RPCError::Unreachable(Unreachable::from_string(text))
}

pub(crate) fn decode<T: DeserializeOwned>(response: &RaftResponse) -> Result<T, CallError> {
    codec::from_peer(response.format, &response.payload)
        .map_err(|error| RPCError::Network(NetworkError::new(&error)))
}

/// Waits between attempts to reach a peer: short at first, for a peer that is
/// just restarting.
fn waits() -> impl Iterator<Item = Duration> {
    [50, 100, 200, 400].into_iter().chain(std::iter::repeat(800)).map(Duration::from_millis)
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotDir;

    async fn append_entries(
        &mut self,
        rpc: AppendRequest,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, CallError> {
        let request = codec::request(&rpc);
        let send = |mut client: Client| async move { client.append_entries(request).await };
        self.call(RPCTypes::AppendEntries, &option, send).await
    }

    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<BoxStream<'s, Result<AppendResult, CallError>>, CallError>>
    where
        S: Stream<Item = AppendRequest> + OptionalSend + Unpin + 'static,
    {
        if self.lane == Lane::Heartbeat {
            // One small request: no stream is set up for it.
            return openraft::network::stream_append_sequential(self, input, option);
        }
        Box::pin(async move {
            let timeout = self.timeout(RPCTypes::AppendEntries, self.patience);
            let remember = self.remember()?;
            pipeline::open(self.client()?, input, self.patience, timeout, remember).await
        })
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, CallError> {
        let request = codec::request(&rpc);
        let send = |mut client: Client| async move { client.vote(request).await };
        let answer: VoteResponse<TypeConfig> = self.call(RPCTypes::Vote, &option, send).await?;
        self.remember()?.heard(answer.vote.leader_id.term);
        Ok(answer)
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, CallError> {
        let request = codec::request(&rpc);
        let send = |mut client: Client| async move { client.pre_vote(request).await };
        self.call(RPCTypes::Vote, &option, send).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let client = self.client().map_err(StreamingError::from)?;
        let remember = self.remember().map_err(StreamingError::from)?;
        let covered = snapshot.meta.last_log_id.map_or(0, |last| last.index);
        let transfer = self.transfers.begin(remember.peer, LogIndex(covered));
        let timeout = |after| self.timeout(RPCTypes::InstallSnapshot, after);
        let (term, last) = (vote.leader_id.term, snapshot.meta.last_log_id);
        let answer = tokio::select! {
            closed = cancel => return Err(StreamingError::Closed(closed)),
            result = snapshot_send::send(client, vote, snapshot.snapshot, timeout) => result?,
        };
        // A higher vote in the answer: it was not taken.
        if answer.vote.leader_id.term == term {
            remember.acknowledged(term, last);
            transfer.arrived();
        }
        Ok(answer)
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, CallError> {
        let request: RaftRequest = codec::request(&rpc);
        let send = |mut client: Client| async move { client.transfer_leader(request).await };
        self.call(RPCTypes::TransferLeader, &option, send).await
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(waits()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_bound_and_never_end() {
        let waits: Vec<Duration> = waits().take(100).collect();
        assert!(waits.is_sorted());
        assert_eq!(waits[0], Duration::from_millis(50));
        assert_eq!(waits[99], Duration::from_millis(800));
    }
}
