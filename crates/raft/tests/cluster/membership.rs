//! Forming a cluster, moving leadership, and who is let in.

use std::time::Duration;

use strongroom_base::Incarnation;
use strongroom_raft::{RaftError, RaftRole};
use strongroom_wire::peer::{RaftRequest, raft_client::RaftClient};
use tonic::Code;

use crate::harness::{Cluster, eventually, id};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_can_form_no_cluster_are_refused() {
    let cluster = Cluster::start(2).await;
    let members = cluster.members();
    let node = cluster.raft(1);
    let mut twice = members.clone();
    twice.push(members[1].clone());
    let mut unreachable = members.clone();
    unreachable[1].address.clear();
    let mut wiped = members.clone();
    wiped[0].incarnation = Some(Incarnation::from_bytes([9; 16]));
    for refused in [Vec::new(), members[1..].to_vec(), twice, unreachable, wiped] {
        let result = node.form(refused).await;
        assert!(matches!(result, Err(RaftError::Members { .. })), "{result:?}");
    }
    assert!(!node.is_initialised());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forming_may_be_repeated_anywhere_with_the_same_members_only() {
    let cluster = Cluster::start(3).await;
    let members = cluster.members();
    let (one, two) =
        tokio::join!(cluster.raft(1).form(members.clone()), cluster.raft(2).form(members.clone()));
    one.unwrap();
    two.unwrap();
    cluster.leader().await;
    eventually("node 3 to be a member", || cluster.raft(3).is_initialised().then_some(())).await;
    for node in 1..=3 {
        let mut members = members.clone();
        members.reverse();
        cluster.raft(node).form(members).await.unwrap();
        let refused = cluster.raft(node).form(cluster.members()[node as usize - 1..].to_vec());
        if node > 1 {
            assert!(matches!(refused.await, Err(RaftError::AlreadyFormed)));
        }
    }
    let status = cluster.raft(1).status();
    assert_eq!(status.members.len(), 3);
    assert!(status.members.iter().all(|member| member.voter));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_moves_to_the_voter_that_is_named() {
    let cluster = Cluster::formed(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let refused = cluster.raft(follower).transfer_leader(id(leader)).await;
    assert!(matches!(refused, Err(RaftError::NotLeader { .. })), "{refused:?}");
    for to in [leader, 9] {
        let refused = cluster.raft(leader).transfer_leader(id(to)).await;
        assert!(matches!(refused, Err(RaftError::NotVoter { .. })), "{refused:?}");
    }

    let before = cluster.create_many(3).await;
    let successor = eventually("a successor", || cluster.raft(leader).best_successor()).await;
    cluster.raft(leader).transfer_leader(successor).await.unwrap();
    let now = eventually("the successor to lead", || {
        let status = cluster.raft(successor.value()).status();
        (status.role == RaftRole::Leader).then_some(status)
    })
    .await;
    assert_eq!(now.leader, Some(successor));
    assert!(cluster.create(0).await > before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_directory_takes_part_in_nothing() {
    let mut cluster = Cluster::formed(3).await;
    cluster.create_many(3).await;
    let victim = cluster.follower().await;
    cluster.wipe(victim).await;
    cluster.run(victim).await;

    // It asks for a vote under its old id, from its new directory.
    let peer = (1..=3).find(|node| *node != victim).unwrap();
    let address = cluster.nodes[usize::try_from(peer).unwrap() - 1].address.to_string();
    let incarnation = cluster.members()[usize::try_from(peer).unwrap() - 1].incarnation;
    let channel = cluster.raft(victim).peers().channel_to(id(peer), incarnation, &address).unwrap();
    let vote = RaftRequest { format: 1, payload: vec![0; 4].into() };
    let status = RaftClient::new(channel).vote(vote).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(status.message().contains("lost its directory"), "{status:?}");

    // And nobody tells it anything: the others mean its old directory.
    let index = cluster.create_many(3).await;
    let others = (1..=3).filter(|node| *node != victim);
    for node in others {
        cluster.raft(node).wait_applied(index).await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let status = cluster.raft(victim).status();
    assert!(!status.initialised);
    assert_eq!(status.last_log, None);
    assert_eq!(status.applied, None);
}

/// The membership names no directory of node 3: it was not there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_member_is_bound_to_the_directory_with_which_it_comes() {
    let mut cluster = Cluster::start(3).await;
    let mut members = cluster.members();
    members[2].incarnation = None;
    cluster.wipe(3).await;
    cluster.raft(1).form(members.clone()).await.unwrap();
    let leader = cluster.leader().await;
    let before = cluster.create_many(3).await;
    for node in 1..=2 {
        cluster.raft(node).wait_applied(before).await.unwrap();
        cluster.raft(node).snapshot_now().await.unwrap();
        cluster.raft(node).purge_now().await.unwrap();
    }

    // Until it is bound nobody tells it anything, nor lets it vote.
    cluster.run(3).await;
    let peer = &members[0];
    let channel = cluster.raft(3).peers().channel_to(id(1), peer.incarnation, &peer.address);
    let vote = RaftRequest { format: 1, payload: vec![0; 4].into() };
    let status = RaftClient::new(channel.unwrap()).vote(vote).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition, "{status:?}");
    assert!(!cluster.raft(3).is_initialised());

    let came = cluster.members()[2].incarnation.unwrap();
    let follower = cluster.follower().await;
    let refused = cluster.raft(follower).bind(id(3), came).await;
    assert!(matches!(refused, Err(RaftError::NotLeader { .. })), "{refused:?}");
    cluster.raft(leader).bind(id(3), came).await.unwrap();
    let index = cluster.create_many(3).await;
    cluster.agree_at(index).await;
    // Bound for ever, as every other member is.
    for (node, directory) in [(3, Incarnation::from_bytes([9; 16])), (2, came), (9, came)] {
        let refused = cluster.raft(leader).bind(id(node), directory).await;
        assert!(matches!(refused, Err(RaftError::NotBindable { .. })), "{refused:?}");
    }
    let bound = cluster.raft(3).status().members;
    assert_eq!(bound[2].member.incarnation, Some(came));

    // It counts: with it the cluster survives the loss of another.
    cluster.stop(follower).await;
    let index = cluster.create_many(3).await;
    cluster.agree_at(index).await;
}
