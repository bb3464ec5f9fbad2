//! Links are cut, stalled and healed; processes are paused.

use std::time::Duration;

use strongroom_testkit::{Cluster, Link, StatusExt as _, evidence, load::Load, rounds::rounds};

const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_cut_off_releases_nothing_and_the_others_go_on() {
    let cluster = Cluster::builder("partition").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let load = Load::start(&cluster, &tenant, 8);
    for round in 0..rounds(2) {
        load.progress(50, PATIENCE).await.unwrap();
        let old = cluster.leader().await.unwrap();
        let link = if round % 2 == 0 { Link::Cut } else { Link::Stalled };
        cluster.set_links(old.id, link);
        let others: Vec<_> =
            cluster.nodes().iter().filter(|node| node.id != old.id).cloned().collect();
        let new = others[0].wait_status("the others elect", PATIENCE, |status| {
            status.raft.leader_id.is_some_and(|leader| leader != old.id)
        });
        new.await.unwrap();
        // What is invoked at the old leader after the new one was elected finds no
        // quorum.
        let caller = old.caller().with_token(&tenant.user).with_deadline(Duration::from_secs(2));
        let status = caller.data_key(&tenant.key_id, &[]).await.unwrap_err();
        let reason = status.reason();
        let expected = ["NO_QUORUM", "DEADLINE_EXCEEDED", "OUTCOME_UNKNOWN"];
        assert!(expected.contains(&reason.as_str()), "{link:?}: {status:?}");
        load.progress(50, PATIENCE).await.unwrap();
        cluster.heal();
        cluster.leader().await.unwrap();
        let index = others[0].status().await.unwrap().applied();
        cluster.applied_everywhere(index).await.unwrap();
    }
    let history = load.stop().await.unwrap();
    cluster.equal_hashes().await.unwrap();
    let auditor = cluster.node(1).caller().with_token(&tenant.auditor);
    history.audited_once(&evidence::all_events(&auditor).await.unwrap()).unwrap();
    history.all_decrypts(&cluster.node(2).caller().with_token(&tenant.user)).await.unwrap();
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_paused_and_wakes_up_neither_forks_nor_double_records() {
    let cluster = Cluster::builder("pause").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let load = Load::start(&cluster, &tenant, 8);
    for _ in 0..rounds(2) {
        load.progress(50, PATIENCE).await.unwrap();
        let old = cluster.leader().await.unwrap();
        old.pause().unwrap();
        load.progress(50, PATIENCE).await.unwrap();
        old.resume().unwrap();
        cluster.leader().await.unwrap();
    }
    load.progress(50, PATIENCE).await.unwrap();
    let history = load.stop().await.unwrap();
    cluster.caught_up().await.unwrap();
    cluster.equal_hashes().await.unwrap();
    let auditor = cluster.node(1).caller().with_token(&tenant.auditor);
    history.audited_once(&evidence::all_events(&auditor).await.unwrap()).unwrap();
    history.all_decrypts(&cluster.node(3).caller().with_token(&tenant.user)).await.unwrap();
    cluster.finish().await.unwrap();
}
