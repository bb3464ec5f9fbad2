//! Below the reserve of free disk uses stop, revoking goes on.

use std::{fs, time::Duration};

use strongroom_testkit::{Cluster, Explain as _, StatusExt as _, wait};
use toml::Table;

const PATIENCE: Duration = Duration::from_secs(30);

/// A serving cluster, after which the reserve of some nodes is set above what any
/// disk has free.
async fn cluster(name: &str, low: &[u64]) -> Cluster {
    let cluster = Cluster::builder(name).serving().await.unwrap();
    for node in low.iter().map(|node| cluster.node(*node)) {
        node.stop(PATIENCE).await.unwrap();
        let path = node.folder().join("server.toml");
        let mut config: Table = fs::read_to_string(&path).unwrap().parse().unwrap();
        let limits = config["limits"].as_table_mut().unwrap();
        limits.insert("disk_reserve_bytes".to_owned(), i64::MAX.into());
        fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
        node.start().await.unwrap();
        cluster.unseal(node).await.unwrap();
    }
    cluster
}

#[tokio::test(flavor = "multi_thread")]
async fn one_low_disk_refuses_uses_on_its_own_node_only() {
    let cluster = cluster("one-low-disk", &[2]).await;
    let tenant = cluster.tenant().await.unwrap();
    for node in cluster.nodes() {
        let used = node.caller().with_token(&tenant.user).data_key(&tenant.key_id, &[]).await;
        match node.id {
            2 => assert_eq!(used.unwrap_err().reason(), "DISK_RESERVE"),
            _ => drop(used.explain("a node with room").unwrap()),
        }
    }
    cluster.finish().await.unwrap();
}

/// Once the low ones are full there would be no quorum to record with: the rest
/// of the disk is for taking rights away.
#[tokio::test(flavor = "multi_thread")]
async fn a_majority_of_low_disks_stops_uses_everywhere_and_revoking_goes_on() {
    let cluster = cluster("low-disks", &[1, 2]).await;
    let tenant = cluster.tenant().await.unwrap();
    let user = cluster.node(3).caller().with_token(&tenant.user);
    // Members tell one another twice a second.
    wait::until("node 3 has heard of it", PATIENCE, || async {
        match user.data_key(&tenant.key_id, &[]).await {
            Ok(_) => anyhow::bail!("it serves"),
            Err(status) => {
                assert_eq!(status.reason(), "DISK_RESERVE");
                Ok(())
            }
        }
    })
    .await
    .unwrap();
    for node in cluster.nodes() {
        let administrator = cluster.administrator(node);
        administrator.set_enabled(&tenant.key_id, false).await.explain("DisableKey").unwrap();
        administrator.set_enabled(&tenant.key_id, true).await.explain("EnableKey").unwrap();
    }
    cluster.finish().await.unwrap();
}
