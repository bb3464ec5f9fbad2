//! What is acknowledged is on every node, the same on every node.

use std::time::Duration;

use bytes::Bytes;
use strongroom_base::LogIndex;
use strongroom_raft::{ProposeError, ReadError};
use strongroom_state::Outcome;

use crate::{
    batch,
    harness::{Cluster, eventually, id},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_proposals_leave_equal_states_and_are_heard_of_once_and_in_order() {
    let cluster = Cluster::formed(3).await;
    let leader = cluster.raft(cluster.leader().await).clone();
    let callers = (1..=16).map(|caller| {
        let leader = leader.clone();
        tokio::spawn(async move {
            let mut indexes = Vec::new();
            for sequence in 1..=20 {
                let decided_at = leader.applied().0;
                let command = batch::create_row(caller, sequence, decided_at, 100);
                let proposed = leader.propose(command).await.unwrap();
                assert!(batch::is_admitted(&proposed.outcome));
                assert!(leader.applied() >= proposed.index, "answered before it was applied");
                indexes.push(proposed.index);
            }
            indexes
        })
    });
    let mut indexes: Vec<LogIndex> = Vec::new();
    for caller in callers {
        indexes.extend(caller.await.unwrap());
    }
    indexes.sort_unstable();
    cluster.agree_at(*indexes.last().unwrap()).await;
    for node in 1..=3 {
        assert_eq!(cluster.rows(node), 320);
        assert_eq!(*cluster.running(node).heard.applied.lock(), indexes, "node {node}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_propose_nothing_and_name_the_leader() {
    let cluster = Cluster::formed(3).await;
    let leader = cluster.leader().await;
    let follower = cluster.raft(cluster.follower().await).clone();
    eventually("the follower to know the leader", || follower.status().leader).await;
    let refused = follower.propose(batch::create_row(1, 1, 0, 0)).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { leader: Some(id(leader)) }));
    let refused = follower.read_index().await;
    assert_eq!(refused, Err(ReadError::NotLeader { leader: Some(id(leader)) }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_too_large_is_never_proposed_and_the_largest_is() {
    let cluster = Cluster::formed(3).await;
    let leader = cluster.raft(cluster.leader().await).clone();
    let before = leader.status().last_log;
    let large = Bytes::from(vec![0; 2 * 1024 * 1024]);
    let refused = leader.propose(large).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
    assert_eq!(leader.status().last_log, before);

    let largest = Bytes::from(vec![0; 1024 * 1024]);
    let index = leader.propose(largest).await.unwrap().index;
    cluster.agree_at(index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_command_is_refused_the_same_way_everywhere() {
    let cluster = Cluster::formed(3).await;
    let leader = cluster.raft(cluster.leader().await).clone();
    for bytes in [&b""[..], b"\xff\xff\xff", b"not a command"] {
        let proposed = leader.propose(Bytes::copy_from_slice(bytes)).await.unwrap();
        let outcome = Outcome::decode(&proposed.outcome).unwrap();
        assert!(matches!(outcome, Outcome::Refused(_)), "{outcome:?}");
        cluster.agree_at(proposed.index).await;
    }
    cluster.create(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_index_covers_what_was_acknowledged_before_on_any_number_of_callers() {
    let cluster = Cluster::formed(3).await;
    for _ in 0..5 {
        let acknowledged = cluster.create(0).await;
        let leader = cluster.raft(cluster.leader().await).clone();
        let reads = (0..20).map(|_| {
            let leader = leader.clone();
            tokio::spawn(async move { leader.read_index().await })
        });
        for read in reads {
            let index = read.await.unwrap().unwrap();
            assert!(index >= acknowledged, "{index} < {acknowledged}");
            cluster.raft(1).wait_applied(index).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_is_acknowledged_and_service_resumes_with_it() {
    let mut cluster = Cluster::formed(3).await;
    let acknowledged = cluster.create_many(5).await;
    let leader = cluster.leader().await;
    let others: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    for node in &others {
        cluster.stop(*node).await;
    }
    let alone = cluster.raft(leader).clone();
    // The first may still be appended; its fate is open.
    let command = batch::create_row(9, 1, alone.applied().0, 0);
    let open = tokio::time::timeout(Duration::from_secs(3), alone.propose(command)).await;
    assert!(!matches!(open, Ok(Ok(_))), "acknowledged without a quorum");
    let refused = alone.propose(batch::create_row(9, 2, alone.applied().0, 0)).await;
    assert!(
        matches!(refused, Err(ProposeError::NoQuorum | ProposeError::NotLeader { .. })),
        "{refused:?}"
    );
    alone.read_index().await.unwrap_err();
    assert!(!alone.status().leads_within(Duration::from_secs(1)));

    for node in &others {
        cluster.run(*node).await;
    }
    let index = cluster.create(0).await;
    assert!(index > acknowledged);
    cluster.agree_at(index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_of_one_works_and_is_its_own_quorum() {
    let mut cluster = Cluster::formed(1).await;
    let index = cluster.create_many(3).await;
    assert!(cluster.raft(1).read_index().await.unwrap() >= index);
    assert!(cluster.raft(1).status().leads_within(Duration::ZERO));
    cluster.stop(1).await;
    cluster.run(1).await;
    let index = cluster.create(0).await;
    cluster.agree_at(index).await;
    assert_eq!(cluster.rows(1), 4);
}
