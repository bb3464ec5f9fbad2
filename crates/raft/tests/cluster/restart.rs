//! Nodes that come back: from their log, or by a snapshot.

use std::sync::atomic::Ordering;

use strongroom_base::LogIndex;
use strongroom_raft::RaftConfig;
use strongroom_storage::LogEntry;

use crate::harness::{Cluster, eventually};

fn purge_early(config: &mut RaftConfig) {
    config.snapshot_every = 50;
    config.keep_after_snapshot = 5;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_restarts_catches_up_from_the_log() {
    let mut cluster = Cluster::formed(3).await;
    cluster.create_many(10).await;
    let follower = cluster.follower().await;
    cluster.stop(follower).await;
    cluster.create_many(10).await;
    cluster.run(follower).await;
    let index = cluster.create(0).await;
    cluster.agree_at(index).await;
    assert_eq!(cluster.rows(follower), 21);
    assert_eq!(cluster.running(follower).heard.installed.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_far_behind_catches_up_on_large_entries() {
    let mut cluster = Cluster::formed(3).await;
    let follower = cluster.follower().await;
    cluster.stop(follower).await;
    for _ in 0..60 {
        cluster.create(60_000).await;
    }
    cluster.run(follower).await;
    let index = cluster.create(0).await;
    cluster.agree_at(index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_restart_and_everything_acknowledged_is_there() {
    let mut cluster = Cluster::formed(3).await;
    let acknowledged = cluster.create_many(20).await;
    for node in 1..=3 {
        cluster.stop(node).await;
    }
    for node in 1..=3 {
        cluster.run(node).await;
    }
    let index = cluster.create(0).await;
    assert!(index > acknowledged);
    cluster.agree_at(index).await;
    assert_eq!(cluster.rows(1), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_whose_log_was_purged_elsewhere_gets_a_snapshot() {
    let mut cluster = Cluster::formed(3).await;
    let kept = cluster.create_many(5).await;
    let late = cluster.follower().await;
    cluster.stop(late).await;
    let mut covered = cluster.create_many(30).await;
    for node in (1..=3).filter(|node| *node != late) {
        cluster.raft(node).wait_applied(covered).await.unwrap();
        covered = covered.min(cluster.raft(node).snapshot_now().await.unwrap());
        cluster.raft(node).purge_now().await.unwrap();
        assert!(cluster.running(node).log.first_index().is_none_or(|first| first > 30));
    }
    cluster.run(late).await;
    let index = cluster.create(0).await;
    cluster.agree_at(index).await;
    let heard = &cluster.running(late).heard;
    assert_eq!(heard.installed.load(Ordering::SeqCst), 1);
    // Its own log it may apply before the snapshot comes; nothing in between.
    let own_or_later = |applied: &LogIndex| *applied <= kept || *applied > covered;
    assert!(heard.applied.lock().iter().all(own_or_later));
    assert_eq!(cluster.rows(late), 36);

    // What it got it keeps, and it can give it on.
    cluster.stop(late).await;
    cluster.run(late).await;
    assert_eq!(cluster.running(late).heard.installed.load(Ordering::SeqCst), 0);
    let index = cluster.create(0).await;
    cluster.agree_at(index).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_and_purges_come_by_themselves_and_restarts_go_on_from_them() {
    let mut cluster = Cluster::formed_with(3, purge_early).await;
    for _ in 0..3 {
        cluster.create_many(60).await;
        let late = cluster.follower().await;
        cluster.stop(late).await;
        let index = cluster.create_many(60).await;
        let leader = cluster.raft(cluster.leader().await).clone();
        eventually("a purge", || leader.status().purged.filter(|purged| purged.0 > index.0 / 2))
            .await;
        cluster.run(late).await;
        let index = cluster.create(0).await;
        cluster.agree_at(index).await;
    }
    assert_eq!(cluster.rows(1), 363);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_cut_short_under_its_state_is_refused_at_start() {
    let mut cluster = Cluster::formed(1).await;
    cluster.create_many(10).await;
    cluster.running(1).state.flush().unwrap();
    // What an operator's hand, not a crash, does to a log.
    let (done, cut) = tokio::sync::oneshot::channel();
    let last: LogEntry = cluster.running(1).log.last().unwrap().unwrap();
    cluster.running(1).log.truncate_from(
        last.index - 3,
        Box::new(|result| {
            done.send(result).unwrap();
        }),
    );
    cut.await.unwrap().unwrap();
    cluster.stop(1).await;
    let refused = cluster.try_run(1).await.unwrap_err();
    assert!(refused.contains("LostWrites"), "{refused}");
}
