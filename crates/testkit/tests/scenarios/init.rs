//! `init`: a lost reply loses nothing, and no loser shows shares.

use strongroom_testkit::{Cluster, Explain as _, StatusExt as _, Who};
use strongroom_wire::v1::InitRequest;
use tonic::Code;

fn token() -> Vec<u8> {
    rand::random::<[u8; 32]>().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_reply_is_survived_by_a_repeat_under_the_same_token() {
    let cluster = Cluster::builder("lost-reply").start().await.unwrap();
    let init_token = token();
    // The reply to this one is lost: the caller knows its token and no more.
    let lost = cluster.call_init(cluster.node(1), &init_token).await.unwrap();

    let other = cluster.call_init(cluster.node(1), &token()).await.unwrap_err();
    assert_eq!(other.reason(), "INIT_TOKEN_MISMATCH");
    let again = cluster.call_init(cluster.node(3), &init_token).await;
    let again = cluster.adopt(init_token.clone(), again.explain("the repeat").unwrap());
    assert!(again.seal_epoch > lost.seal_epoch);
    assert!(again.shares.iter().all(|share| !lost.shares.contains(share)));

    let old = cluster.node(1).submit_share(&lost.shares[0]).await.unwrap_err();
    assert_eq!(old.reason(), "SHARE_OLD_EPOCH");
    cluster.unseal_all().await.unwrap();
    // The lost reply's administrator is gone with its root key.
    let stale = cluster.node(2).caller().with_token(&lost.administrator_token);
    assert_eq!(stale.create_key("none").await.unwrap_err().reason(), "UNAUTHENTICATED");
    cluster.administrator(cluster.node(2)).create_key("first").await.unwrap();

    let late = cluster.call_init(cluster.node(1), &init_token).await.unwrap_err();
    assert_eq!(late.reason(), "ALREADY_INITIALISED");
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_concurrent_inits_only_the_one_that_holds_shows_shares() {
    let cluster = Cluster::builder("concurrent-init").start().await.unwrap();
    let tokens = [token(), token(), token()];
    let calls = cluster.nodes().iter().zip(&tokens);
    let results =
        futures::future::join_all(calls.map(|(node, token)| cluster.call_init(node, token))).await;
    let mut shown = Vec::new();
    for (result, token) in results.into_iter().zip(&tokens) {
        match result {
            Ok(response) => shown.push((token.clone(), response)),
            Err(status) => {
                assert!(!status.reason().is_empty(), "a refusal has a reason: {status:?}");
            }
        }
    }
    // All may lose to one another at first; the operator then tries again.
    if shown.is_empty() {
        let response = cluster.call_init(cluster.node(1), &tokens[0]).await;
        shown.push((tokens[0].clone(), response.explain("init, alone").unwrap()));
    }
    assert_eq!(shown.len(), 1, "shares were shown that unseal nothing");
    let (token, response) = shown.remove(0);
    cluster.adopt(token, response);
    cluster.unseal_all().await.unwrap();
    cluster.equal_hashes().await.unwrap();
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_an_operators_certificate_there_is_no_init() {
    let cluster = Cluster::builder("init-certificate").start().await.unwrap();
    for who in [Who::Client, Who::Node(2)] {
        let request =
            InitRequest { shares: 5, threshold: 3, init_token: token(), ..InitRequest::default() };
        let caller = cluster.node(1).caller_as(who).unwrap();
        let status = caller.seal().init(request).await.unwrap_err();
        assert_eq!(status.code(), Code::PermissionDenied, "{who:?}");
    }
    // Shares and thresholds that make no scheme.
    let operator = cluster.node(1).caller_as(Who::Operator).unwrap();
    for (shares, threshold) in [(0, 0), (5, 0), (5, 1), (5, 6), (256, 3), (2, 3)] {
        let request =
            InitRequest { shares, threshold, init_token: token(), ..InitRequest::default() };
        let status = operator.seal().init(request).await.unwrap_err();
        assert_eq!(status.reason(), "INVALID_ARGUMENT", "{threshold} of {shares}");
    }
    for node in cluster.nodes() {
        assert_eq!(node.status().await.unwrap().seal.state, "uninitialised");
    }
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn init_waits_for_every_member_unless_it_is_told_otherwise() {
    let cluster = Cluster::builder("absent-members").nodes(5).prepare().await.unwrap();
    cluster.node(1).start().await.unwrap();
    cluster.node(2).start().await.unwrap();
    // A minority forms nothing, whatever it is told.
    let refused = cluster.init_without_absent(cluster.node(1)).await.err().unwrap();
    assert!(format!("{refused:#}").contains("MEMBER_UNREACHABLE"), "{refused:#}");
    cluster.node(4).start().await.unwrap();
    let refused = cluster.call_init(cluster.node(4), &token()).await.unwrap_err();
    assert_eq!(refused.reason(), "MEMBER_UNREACHABLE");
    assert!(refused.message().contains("--allow-absent"), "{refused:?}");
    for node in cluster.running() {
        assert_eq!(node.status().await.unwrap().seal.state, "uninitialised");
    }

    cluster.init_without_absent(cluster.node(4)).await.unwrap();
    cluster.unseal_all().await.unwrap();
    cluster.administrator(cluster.node(2)).create_key("three of five").await.unwrap();
    // The absent ones take their places, whoever leads by then.
    let leader = cluster.leader().await.unwrap();
    cluster.node(3).start().await.unwrap();
    cluster.caught_up().await.unwrap();
    leader.kill().unwrap();
    cluster.node(5).start().await.unwrap();
    cluster.caught_up().await.unwrap();
    for node in [3, 5] {
        cluster.unseal(cluster.node(node)).await.unwrap();
    }
    cluster.equal_hashes().await.unwrap();
    cluster.administrator(cluster.node(5)).create_key("four of five").await.unwrap();
    cluster.finish().await.unwrap();
}
