//! What a leader sends is checked before anything comes of it, and what is
//! wrong ends the call, not the node.

use std::sync::{Arc, atomic::Ordering};

use prost::Message as _;
use strongroom_raft::PeerChannel;
use strongroom_storage::{
    DataDir, FatalHook, SnapshotDir, SnapshotManifest, StateDb, StateOptions, StorageError,
};
use strongroom_wire::peer::{
    RaftRequest, SnapshotChunk, SnapshotHeader, SnapshotPart, raft_client::RaftClient,
    snapshot_part::Part,
};
use tonic::Code;

use crate::harness::{Cluster, id};

/// What a leader calls a follower with.
struct Call {
    term: u8,
    leader: u8,
    follower: u64,
    client: RaftClient<PeerChannel>,
}

impl Call {
    async fn from_leader(cluster: &Cluster) -> Self {
        let leader = cluster.leader().await;
        let follower = cluster.follower().await;
        let term = cluster.raft(leader).status().term;
        let to = cluster.members()[usize::try_from(follower).unwrap() - 1].clone();
        let peers = cluster.raft(leader).peers();
        let channel = peers.channel_to(id(follower), to.incarnation, &to.address).unwrap();
        Self {
            term: u8::try_from(term.0).unwrap(),
            leader: u8::try_from(leader).unwrap(),
            follower,
            client: RaftClient::new(channel),
        }
    }

    /// The leader's vote.
    fn vote(&self) -> [u8; 3] {
        [self.term, self.leader, 1]
    }

    /// Describes a state that ends with entry 100, of a term, and has no members.
    fn description(&self, term: u8) -> Vec<u8> {
        vec![1, 1, term, self.leader, 100, 0, 0, 0, 0]
    }

    fn header(&self, manifest: &SnapshotManifest) -> SnapshotPart {
        let vote = self.vote().to_vec().into();
        let manifest = manifest.encode_to_vec().into();
        SnapshotPart { part: Some(Part::Header(SnapshotHeader { format: 1, vote, manifest })) }
    }
}

fn chunks(snapshot: &SnapshotDir) -> Vec<SnapshotPart> {
    let mut parts = Vec::new();
    for (file, description) in (0..).zip(&snapshot.manifest().files) {
        let mut offset = 0;
        while offset < description.length {
            let data = snapshot.read_chunk(&description.name, offset).unwrap();
            let next = offset + data.len() as u64;
            let chunk = SnapshotChunk { file, offset, data: data.into() };
            parts.push(SnapshotPart { part: Some(Part::Chunk(chunk)) });
            offset = next;
        }
    }
    parts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn entries_that_leave_a_hole_are_refused_and_the_node_goes_on() {
    let cluster = Cluster::formed(3).await;
    cluster.create_many(3).await;
    let mut call = Call::from_leader(&cluster).await;
    // After nothing, one blank entry at index 5; nothing committed.
    let append = [&call.vote()[..], &[0, 1], &[call.term, call.leader, 5, 0], &[0]].concat();
    let request = RaftRequest { format: 1, payload: append.into() };

    let refused = call.client.append_entries(request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
    let answers = call.client.stream_append(tokio_stream::iter([request])).await;
    let refused = match answers {
        Ok(answers) => answers.into_inner().message().await.unwrap_err(),
        Err(refused) => refused,
    };
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");

    let index = cluster.create(0).await;
    cluster.agree_at(index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_is_not_what_it_says_is_refused_and_the_node_goes_on() {
    let cluster = Cluster::formed(3).await;
    cluster.create_many(3).await;
    let mut call = Call::from_leader(&cluster).await;
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("data");
    let directory = DataDir::open(&path, cluster.id, id(9), [9; 16]).unwrap();
    let fatal: FatalHook = Arc::new(|error: &StorageError| panic!("storage failed: {error}"));
    let empty = StateDb::open(&directory, StateOptions::default(), fatal).unwrap();
    let snapshot = empty.checkpoint(call.description(call.term)).unwrap();

    let mut beyond = snapshot.manifest().clone();
    beyond.raft_meta = call.description(call.term + 1);
    let parts = tokio_stream::iter([call.header(&beyond)]);
    let refused = call.client.install_snapshot(parts).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");

    let mut parts = vec![call.header(snapshot.manifest())];
    parts.extend(chunks(&snapshot));
    let refused = call.client.install_snapshot(tokio_stream::iter(parts)).await.unwrap_err();
    assert!(refused.message().contains("not what its description says"), "{refused:?}");

    let index = cluster.create(0).await;
    cluster.agree_at(index).await;
    let heard = &cluster.running(call.follower).heard;
    assert_eq!(heard.installed.load(Ordering::SeqCst), 0);
    let follower = &cluster.nodes[usize::try_from(call.follower).unwrap() - 1];
    assert_eq!(*follower.exit.lock(), None);
}
