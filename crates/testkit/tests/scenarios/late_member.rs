//! A member that was away while the log was purged catches up by snapshot.

use std::time::Duration;

use strongroom_testkit::{Cluster, Disk, Explain as _, Node, load::Load, rounds::rounds};
use strongroom_wire::v1::TakeSnapshotRequest;

const PATIENCE: Duration = Duration::from_secs(120);

/// `STRONGROOM_ROUNDS` times 300 results are made while it is away.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_behind_the_purged_log_catches_up_by_snapshot_and_serves() {
    let cluster = Cluster::builder("late-member").snapshot_every(50, 20).start().await.unwrap();
    // It is there for `init` and for nothing after it.
    cluster.init().await.unwrap();
    let late = cluster.node(3);
    late.kill().unwrap();
    let last = Disk::open(late, cluster.pki()).unwrap().log().unwrap().last_index().unwrap_or(0);
    catches_up(&cluster, late, last).await;
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_first_started_behind_the_purged_log_catches_up_and_serves() {
    let builder = Cluster::builder("first-started").snapshot_every(50, 20);
    let cluster = builder.prepare().await.unwrap();
    for node in [1, 2] {
        cluster.node(node).start().await.unwrap();
    }
    cluster.init_without_absent(cluster.node(2)).await.unwrap();
    catches_up(&cluster, cluster.node(3), 0).await;
    cluster.finish().await.unwrap();
}

/// `late` is down, its log ends at `last`; the other two are sealed.
async fn catches_up(cluster: &Cluster, late: &Node, last: u64) {
    cluster.unseal_all().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let load = Load::start(cluster, &tenant, 16);
    for _ in 0..rounds(2) {
        load.progress(300, PATIENCE).await.unwrap();
    }
    for node in cluster.running() {
        let administrator = cluster.administrator(&node);
        let taken = administrator.cluster().take_snapshot(TakeSnapshotRequest {}).await;
        assert!(taken.explain("TakeSnapshot").unwrap().into_inner().snapshot_index > 0);
        // What it lacks is in no log any more: only a snapshot can bring it.
        let what = format!("node {} purges beyond entry {last}", node.id);
        let purged = node
            .wait_status(&what, PATIENCE, |status| status.raft.purged_index.unwrap_or(0) > last);
        purged.await.unwrap();
    }

    // Under load, too: the log that it needs after the snapshot is not purged
    // before it has it.
    late.start().await.unwrap();
    let leader = cluster.leader().await.unwrap();
    let goal = leader.status().await.unwrap().applied();
    // By a snapshot: that it has one shows a moment later than what was in it.
    let caught_up = late.wait_status("the late member catches up", PATIENCE, |status| {
        status.applied() >= goal && status.raft.snapshot_index.unwrap_or(0) > last
    });
    caught_up.await.unwrap();
    let log = late.log().unwrap();
    cluster.unseal(late).await.unwrap();
    let history = load.stop().await.unwrap();
    cluster.caught_up().await.unwrap();
    cluster.equal_hashes().await.unwrap();
    let user = late.caller().with_token(&tenant.user);
    assert!(history.all_decrypts(&user).await.unwrap() > 100);
    user.data_key(&tenant.key_id, &[]).await.unwrap();
    // It also leads, once the others are gone in turn.
    let leader = cluster.leader().await.unwrap();
    if leader.id != late.id {
        leader.kill().unwrap();
        cluster.leader().await.unwrap();
        user.data_key(&tenant.key_id, &[]).await.explain(&log).unwrap();
    }
}
