//! The leader is killed under load, again and again.

use std::time::Duration;

use strongroom_testkit::{Cluster, Explain as _, evidence, load::Load, rounds::rounds, wait};

const CALLERS: usize = 16;
const RECOVERY: Duration = Duration::from_secs(60);

/// Every data key ever handed out decrypts, each released result has exactly one
/// audit record, state hashes are equal, callers recover; snapshots and purges
/// go on meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kills_of_the_leader() {
    let cluster = Cluster::builder("leader-kills").snapshot_every(100, 20).serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let mut keys = vec![tenant.key_id.clone()];
    let load = Load::start(&cluster, &tenant, CALLERS);

    for round in 0..rounds(4) {
        load.progress(100, RECOVERY).await.unwrap();
        let leader = cluster.leader().await.unwrap();
        let key = cluster.administrator(&leader).create_key(&format!("round {round}")).await;
        keys.push(key.explain("a key before the kill").unwrap());
        leader.kill().unwrap();
        load.progress(50, RECOVERY).await.unwrap();
        cluster.revive(&leader).await.unwrap();
    }
    load.progress(100, RECOVERY).await.unwrap();
    // The load goes on until every node has purged its log behind a snapshot.
    for node in cluster.nodes() {
        let what = format!("node {} purges its log", node.id);
        let purged =
            node.wait_status(&what, RECOVERY, |status| status.raft.purged_index.unwrap_or(0) > 0);
        let raft = purged.await.unwrap().raft;
        assert!(raft.purged_index <= raft.snapshot_index, "node {}: {raft:?}", node.id);
    }
    let history = load.stop().await.unwrap();

    cluster.caught_up().await.unwrap();
    cluster.equal_hashes().await.unwrap();
    let auditor = cluster.node(1).caller().with_token(&tenant.auditor);
    let events = evidence::all_events(&auditor).await.unwrap();
    history.audited_once(&events).unwrap();
    for node in cluster.nodes() {
        let made = history.all_decrypts(&node.caller().with_token(&tenant.user)).await.unwrap();
        assert!(made > 0);
        let status = node.status().await.unwrap();
        assert!(status.raft.snapshot_index.unwrap_or(0) > 0, "node {} has no snapshot", node.id);
        for key in &keys {
            let state = node.caller().with_token(&tenant.auditor).key_state(key).await;
            state.explain("an acknowledged key").unwrap();
        }
    }
    println!(
        "{} results, failures {:?}, longest pause {:?}",
        history.released(),
        history.failures(),
        history.longest_pause()
    );
    cluster.finish().await.unwrap();
}

/// The tree over the events that callers see has the root that each node says.
#[tokio::test(flavor = "multi_thread")]
async fn the_audit_root_of_every_node_is_that_of_the_events_it_shows() {
    let cluster = Cluster::builder("audit-root").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let load = Load::start(&cluster, &tenant, 4);
    load.progress(100, RECOVERY).await.unwrap();
    load.stop().await.unwrap();
    cluster.caught_up().await.unwrap();
    for node in cluster.nodes() {
        let auditor = node.caller().with_token(&tenant.auditor);
        // Steps of the ceremony are recorded when their node gets round to it: a
        // log that grew while it was read is read again.
        let (events, audit) = wait::until("the audit log is read at rest", RECOVERY, || async {
            let before = node.status().await?.audit;
            let events = evidence::all_events(&auditor).await?;
            let audit = node.status().await?.audit;
            anyhow::ensure!(before.size == audit.size, "{} of {}", before.size, audit.size);
            Ok((events, audit))
        })
        .await
        .unwrap();
        assert_eq!(audit.size, events.len() as u64);
        assert_eq!(audit.root, evidence::audit_root(&events).unwrap());
    }
    cluster.finish().await.unwrap();
}
