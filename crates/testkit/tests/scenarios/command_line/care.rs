//! The audit log, and care of the cluster.

use std::time::Duration;

use serde_json::Value;
use strongroom_testkit::wait;

use super::{ADMINISTRATOR, ANN, ORDERS, call::field, site::Site, uses::Keys};

const PATIENCE: Duration = Duration::from_secs(30);

async fn events(site: &Site, arguments: &[&str]) -> Vec<Value> {
    let list = [&["audit", "list"], arguments].concat();
    let page = site.call(&list).with_token(ANN).prints().await;
    page["events"].as_array().unwrap().clone()
}

pub(super) async fn audit(site: &Site, keys: &Keys) {
    site.call(&["audit", "list"]).with_token(ORDERS).refused("ACCESS_DENIED: ").await;
    let uses = events(site, &["--kind", "use", "--all"]).await;
    let made = uses.iter().find(|event| {
        event["operation"] == "GenerateDataKey"
            && event["outcome"] == "success"
            && event["principal_name"] == "orders"
            && event["key_id"] == keys.first
            && event["encryption_context"]["table"] == "orders"
    });
    assert!(made.is_some(), "{uses:#?}");
    let refused = events(site, &["--outcome", "refused", "--key-id", &keys.first]).await;
    for reason in ["INVALID_CIPHERTEXT", "KEY_DISABLED"] {
        assert!(refused.iter().any(|event| event["reason"] == reason), "{reason}: {refused:#?}");
    }
    assert!(refused.iter().all(|event| event["outcome"] == "refused"), "{refused:#?}");
    let shown = site.call(&["audit", "list", "--kind", "use"]).with_token(ANN).succeeds().await;
    assert!(shown.text().contains("context[table=orders]"), "{}", shown.text());

    // A page, and the next one by its token.
    let page = ["audit", "list", "--principal", "orders", "--operation", "Decrypt", "--limit", "1"];
    let first = site.call(&page).with_token(ANN).prints().await;
    let next = ["--page-token", field(&first, "next_page_token")];
    let second = site.call(&[&page[..], &next].concat()).with_token(ANN).prints().await;
    let sequence = |page: &Value| page["events"][0]["sequence"].as_u64().unwrap();
    assert!(sequence(&first) > sequence(&second), "newest first");

    let all = tail(site, &[]).await;
    for (event, expected) in all.iter().zip(0_u64..) {
        assert_eq!(event["sequence"], expected, "a gap or a repeat");
    }
    let rest = tail(site, &["--from", "7"]).await;
    assert_eq!(rest[0]["sequence"], 7);
    assert!(rest.len() + 7 >= all.len() && all.len() > uses.len());
}

/// What `audit tail` prints: an event a line.
async fn tail(site: &Site, arguments: &[&str]) -> Vec<Value> {
    let tail = [&["audit", "tail", "--output", "json"], arguments].concat();
    let run = site.call(&tail).with_token(ANN).succeeds().await;
    run.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn administrate(site: &Site, arguments: &[&str]) -> Value {
    site.call(&[&["cluster"], arguments].concat()).with_token(ADMINISTRATOR).prints().await
}

pub(super) async fn cluster(site: &Site) {
    let rotate = ["cluster", "rotate-barrier"];
    site.call(&rotate).with_token(ORDERS).refused("ACCESS_DENIED: ").await;
    let rotated = administrate(site, &["rotate-barrier"]).await;
    assert_eq!(rotated, serde_json::json!({ "barrier_epoch": 2, "audit_epoch": 2 }));
    let listed = administrate(site, &["epochs"]).await;
    for kind in ["barrier", "audit"] {
        let epochs = listed["epochs"].as_array().unwrap().iter();
        let of_kind = epochs.filter(|epoch| epoch["kind"] == kind);
        let newest = of_kind.filter_map(|epoch| epoch["epoch"].as_u64()).max();
        assert_eq!(newest, Some(2), "{listed}");
    }
    let newest = site.call(&["cluster", "drop-epoch", "barrier", "2"]).with_token(ADMINISTRATOR);
    newest.refused("EPOCH_IN_USE: ").await;

    let taken = administrate(site, &["snapshot"]).await;
    let nodes = taken["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3, "{taken}");
    assert!(nodes.iter().all(|node| node["snapshot_index"].as_u64() > Some(0)), "{taken}");
    transfer_leader(site).await;
}

async fn transfer_leader(site: &Site) {
    let members = administrate(site, &["members"]).await;
    let listed = members["members"].as_array().unwrap();
    assert_eq!(listed.len(), 3, "{members}");
    assert!(listed.iter().all(|member| member["voter"] == true), "{members}");
    let leaders: Vec<_> = listed.iter().filter(|member| member["leader"] == true).collect();
    assert_eq!(leaders.len(), 1, "{members}");
    assert_eq!(leaders[0]["node_id"], members["leader_id"]);

    let successor = listed.iter().find(|member| member["leader"] == false).unwrap();
    let successor = successor["node_id"].to_string();
    let done = administrate(site, &["transfer-leader", "--node-id", &successor]).await;
    assert_eq!(done["leader_id"].to_string(), successor);
    // As the node that answers sees it: it may hear of it later.
    wait::until("the members show the new leader", PATIENCE, || async {
        let leader = administrate(site, &["members"]).await["leader_id"].to_string();
        anyhow::ensure!(leader == successor, "{leader}");
        Ok(())
    })
    .await
    .unwrap();
}
