//! The seal of one node, and what its health says of it.

use std::time::Duration;

use strongroom_testkit::{Caller, Cluster, Explain as _, Node, StatusExt as _, evidence, wait};
use strongroom_wire::v1::{EventFilter, ResetUnsealRequest, SealNodeRequest};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Services whose health is told; the empty name is the node as a whole.
const WITH_HEALTH: [&str; 3] = ["", "strongroom.v1.Keys", "strongroom.v1.Crypto"];

/// Waits until all of `node` is as healthy as that, which it says without a
/// token.
async fn wait_health(node: &Node, wanted: ServingStatus) {
    let caller = node.caller();
    for service in WITH_HEALTH {
        let what = format!("'{service}' on node {} is {wanted:?}", node.id);
        wait::until(&what, PATIENCE, || async {
            let request = HealthCheckRequest { service: service.to_owned() };
            let response = HealthClient::new(caller.channel()).check(request).await;
            let status = response.explain("Check")?.into_inner().status();
            anyhow::ensure!(status == wanted, "{status:?}");
            Ok(())
        })
        .await
        .unwrap();
    }
}

async fn wait_serves(user: &Caller, key_id: &str) {
    let what = format!("node {} gives a data key", user.node);
    wait::until(&what, PATIENCE, || async {
        user.data_key(key_id, &[]).await.explain("a data key").map(drop)
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_node_refuses_uses_while_the_others_serve_and_is_unsealed_again() {
    let cluster = Cluster::builder("seal-one").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let sealed = cluster.leader().await.unwrap();
    let user = sealed.caller().with_token(&tenant.user);
    let (blob, plaintext) = user.data_key(&tenant.key_id, &[]).await.unwrap();
    for caller in [&sealed.caller(), &user] {
        let status = caller.seal().seal_node(SealNodeRequest {}).await.unwrap_err();
        assert_eq!(status.reason(), "ACCESS_DENIED", "{status:?}");
    }
    for node in cluster.nodes() {
        wait_health(node, ServingStatus::Serving).await;
    }

    sealed.seal().await.unwrap();
    wait_health(&sealed, ServingStatus::NotServing).await;
    let status = user.data_key(&tenant.key_id, &[]).await.unwrap_err();
    assert_eq!(status.reason(), "SEALED");
    assert_eq!(user.decrypt(&blob, &[]).await.unwrap_err().reason(), "SEALED");
    assert_eq!(sealed.status().await.unwrap().seal.progress, 0);
    for other in cluster.nodes().iter().filter(|node| node.id != sealed.id) {
        let user = other.caller().with_token(&tenant.user);
        // It led: the others may still be electing.
        wait_serves(&user, &tenant.key_id).await;
        assert_eq!(user.decrypt(&blob, &[]).await.explain("Decrypt").unwrap(), plaintext);
        wait_health(other, ServingStatus::Serving).await;
    }

    cluster.unseal(&sealed).await.unwrap();
    wait_health(&sealed, ServingStatus::Serving).await;
    assert_eq!(user.decrypt(&blob, &[]).await.explain("Decrypt").unwrap(), plaintext);
    cluster.equal_hashes().await.unwrap();
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_forgets_the_shares_given_so_far() {
    let cluster = Cluster::builder("reset").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let node = cluster.node(2);
    node.seal().await.unwrap();
    let shares = cluster.ceremony().shares;
    let progress = async || {
        let seal = node.status().await.unwrap().seal;
        (seal.state, seal.progress)
    };
    for share in &shares[..2] {
        node.submit_share(share).await.explain("a share").unwrap();
    }
    let status = node.caller().seal().reset_unseal(ResetUnsealRequest {}).await.unwrap_err();
    assert_eq!(status.reason(), "ACCESS_DENIED");
    assert_eq!(progress().await, ("sealed".to_owned(), 2));
    node.reset_unseal().await.unwrap();
    assert_eq!(progress().await, ("sealed".to_owned(), 0));

    // The same two shares are two again, and a third one is the last.
    for share in &shares[..2] {
        node.submit_share(share).await.explain("a share").unwrap();
    }
    assert_eq!(progress().await, ("sealed".to_owned(), 2));
    node.submit_share(&shares[4]).await.explain("the last share").unwrap();
    node.wait_seal("unsealed").await.unwrap();
    wait_serves(&node.caller().with_token(&tenant.user), &tenant.key_id).await;

    let auditor = cluster.node(1).caller().with_token(&tenant.auditor);
    wait::until("seal and reset are recorded", PATIENCE, || async {
        for operation in ["Seal", "ResetUnseal"] {
            let operations = vec![operation.to_owned()];
            let filter = EventFilter { operations, ..EventFilter::default() };
            let events = evidence::events(&auditor, filter).await?;
            anyhow::ensure!(events.iter().any(|event| event.node_id == 2), "no {operation}");
        }
        Ok(())
    })
    .await
    .unwrap();
    cluster.finish().await.unwrap();
}
