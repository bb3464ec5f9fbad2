//! The end of a token holds on every node, though nothing happens in the cluster.

use std::time::Duration;

use strongroom_testkit::{Cluster, Node, StatusExt as _, wait};
use strongroom_wire::v1::{CreateTokenRequest, ListKeysRequest, Role};

const PATIENCE: Duration = Duration::from_secs(30);

/// Nothing is committed between the making of the token and its end: cluster time
/// goes on all the same, because each read asks the leader for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_on_every_node_of_an_idle_cluster() {
    let cluster = Cluster::builder("token-ends").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    // Steps of the ceremony are recorded when their node gets round to it.
    wait::until("nothing happens any more", PATIENCE, || async {
        let before = cluster.caught_up().await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        anyhow::ensure!(cluster.caught_up().await? == before, "entries are appended");
        Ok(())
    })
    .await
    .unwrap();
    let request = CreateTokenRequest {
        principal_name: "guest".to_owned(),
        role: Role::Auditor.into(),
        ttl_seconds: 4,
    };
    let administrator = cluster.administrator(cluster.node(1));
    let made = administrator.access().create_token(request).await.unwrap().into_inner();
    let before = cluster.caught_up().await.unwrap();
    let guest = |node: &Node| node.caller().with_token(&made.token);
    for node in cluster.nodes() {
        guest(node).keys().list_keys(ListKeysRequest::default()).await.unwrap();
    }
    let first = guest(cluster.node(2));
    wait::until("the token ends", PATIENCE, || async {
        match first.keys().list_keys(ListKeysRequest::default()).await {
            Ok(_) => anyhow::bail!("it is valid"),
            Err(status) => {
                assert_eq!(status.reason(), "UNAUTHENTICATED");
                Ok(())
            }
        }
    })
    .await
    .unwrap();
    assert_eq!(cluster.caught_up().await.unwrap(), before, "something was committed meanwhile");
    // Ended on one node is ended on all.
    for node in cluster.nodes() {
        let status = guest(node).keys().list_keys(ListKeysRequest::default()).await.unwrap_err();
        assert_eq!(status.reason(), "UNAUTHENTICATED", "node {}", node.id);
        let status = guest(node).data_key(&tenant.key_id, &[]).await.unwrap_err();
        assert_eq!(status.reason(), "UNAUTHENTICATED", "node {}", node.id);
    }
    cluster.finish().await.unwrap();
}
