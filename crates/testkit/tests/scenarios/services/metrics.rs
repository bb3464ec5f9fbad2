//! What `/metrics` says of nodes at work, sealed, and without their leader.

use std::{collections::BTreeMap, time::Duration};

use strongroom_testkit::{Cluster, Explain as _, Node, wait};

const PATIENCE: Duration = Duration::from_secs(30);
const TABLE: &str = include_str!("../../../../../docs/metrics.md");

/// Waits until the series of `node` have these values.
async fn wait_values(node: &Node, wanted: &[(&str, Option<f64>)]) {
    let what = format!("node {} shows {wanted:?}", node.id);
    wait::until(&what, PATIENCE, || async {
        let metrics = node.metrics().await?;
        for (series, value) in wanted {
            anyhow::ensure!(
                metrics.value(series) == *value,
                "{series}: {:?}",
                metrics.value(series)
            );
        }
        Ok(())
    })
    .await
    .unwrap();
}

/// Waits until a series of `node` is above `bound`.
async fn wait_above(node: &Node, series: &str, bound: f64) {
    let what = format!("node {}: {series} above {bound}", node.id);
    wait::until(&what, PATIENCE, || async {
        let value = node.metrics().await?.value(series);
        anyhow::ensure!(value.is_some_and(|value| value > bound), "{value:?}");
        Ok(())
    })
    .await
    .unwrap();
}

/// Type of each metric of the table, by name.
fn documented() -> BTreeMap<&'static str, &'static str> {
    let lines = TABLE.lines().filter(|line| line.starts_with("| `"));
    let cells = lines.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let metrics = cells.map(|cells| (cells[1].trim_matches('`'), cells[2]));
    // The document has a table of bounds, too.
    metrics.filter(|(_, kind)| ["counter", "gauge", "histogram"].contains(kind)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_exports_what_the_table_says_and_names_no_key_caller_or_secret() {
    let cluster = Cluster::builder("metrics-table").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    super::use_key(&cluster, &tenant, 3).await;
    cluster.node(3).seal().await.unwrap();
    let documented = documented();
    let mut secrets = vec![tenant.key_id, tenant.user, tenant.auditor, tenant.administrator];
    secrets.extend(["application", "auditor", "127.0.0.1", "the tests'"].map(str::to_owned));
    for node in cluster.nodes() {
        let text = node.metrics().await.unwrap().text;
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let mut seen = 0;
        for (name, kind) in types.filter_map(|line| line.split_once(' ')) {
            assert_eq!(documented.get(name), Some(&kind), "{name} of node {}", node.id);
            seen += 1;
        }
        // All but keys by state, what only a leader has, and what never happened.
        assert!(seen + 8 > documented.len(), "node {} exports {seen} metrics", node.id);
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "node {} tells {secret}", node.id);
        }
    }
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_show_the_seal_and_the_size_of_the_audit_log() {
    let cluster = Cluster::builder("metrics").serving().await.unwrap();
    let sealed = cluster.node(3);
    sealed.seal().await.unwrap();
    for node in cluster.nodes() {
        let state = if node.id == sealed.id { "sealed" } else { "unsealed" };
        let series = format!("strongroom_seal_state{{state=\"{state}\"}}");
        let what = format!("node {} shows that it is {state}, and its audit records", node.id);
        wait::until(&what, PATIENCE, || async {
            let metrics = node.metrics().await?;
            anyhow::ensure!(metrics.value(&series) == Some(1.0), "{:?}", metrics.value(&series));
            anyhow::ensure!(metrics.sum("strongroom_seal_state") == 1.0, "several states");
            let size = node.status().await?.audit.size;
            let records = metrics.value("strongroom_audit_records_total");
            // Steps of the ceremony may come in between the two looks.
            anyhow::ensure!(size > 0 && records == Some(size as f64), "{records:?}, {size}");
            Ok(())
        })
        .await
        .unwrap();
    }
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_counted_by_state_as_they_change_and_only_while_unsealed() {
    let cluster = Cluster::builder("metrics-keys").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let (enabled, disabled) =
        ("strongroom_keys{state=\"Enabled\"}", "strongroom_keys{state=\"Disabled\"}");
    for node in cluster.nodes() {
        wait_values(node, &[(enabled, Some(1.0)), (disabled, Some(0.0))]).await;
    }
    let administrator = cluster.administrator(cluster.node(2));
    // More than one page of a count.
    for number in 0..200 {
        administrator.create_key(&format!("key {number}")).await.explain("a key").unwrap();
    }
    administrator.set_enabled(&tenant.key_id, false).await.explain("DisableKey").unwrap();
    for node in cluster.nodes() {
        wait_values(node, &[(enabled, Some(200.0)), (disabled, Some(1.0))]).await;
    }
    let sealed = cluster.node(3);
    sealed.seal().await.unwrap();
    wait_values(sealed, &[(enabled, None), ("strongroom_keys_counted", Some(0.0))]).await;
    administrator.set_enabled(&tenant.key_id, true).await.explain("EnableKey").unwrap();
    cluster.unseal(sealed).await.unwrap();
    for node in cluster.nodes() {
        wait_values(node, &[(enabled, Some(201.0)), (disabled, Some(0.0))]).await;
    }
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_shows_from_its_batch_to_the_sync_of_the_log() {
    let cluster = Cluster::builder("metrics-use").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    super::use_key(&cluster, &tenant, 5).await;
    let leader = cluster.leader().await.unwrap();
    wait_above(&leader, "strongroom_raft_commit_duration_seconds_count", 0.0).await;
    for node in cluster.nodes() {
        let calls = "strongroom_calls_total{code=\"OK\",operation=\"GenerateDataKey\"}";
        let proposed = "strongroom_batch_propose_duration_seconds_count{outcome=\"applied\"}";
        let once = [
            proposed,
            "strongroom_ledger_batch_attempts_count",
            "strongroom_raft_apply_duration_seconds_count",
            "strongroom_raft_log_sync_duration_seconds_count",
            "strongroom_audit_last_record_timestamp_seconds",
            "strongroom_storage_bytes{part=\"log\"}",
            "strongroom_storage_bytes{part=\"state\"}",
            "strongroom_certificate_not_after_timestamp_seconds",
        ];
        wait_above(node, calls, 4.0).await;
        for series in once {
            wait_above(node, series, 0.0).await;
        }
        let leads = f64::from(u8::from(node.id == leader.id));
        let wanted = [
            ("strongroom_ready", Some(1.0)),
            ("strongroom_raft_role{role=\"leader\"}", Some(leads)),
            ("strongroom_raft_leader_id", Some(leader.id as f64)),
            ("strongroom_ledger_oldest_attempt_age_seconds", Some(0.0)),
            ("strongroom_bound_hits_total{bound=\"ledger\"}", Some(0.0)),
        ];
        wait_values(node, &wanted).await;
    }
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_dies_shows_as_an_election_and_as_a_silent_follower() {
    let cluster = Cluster::builder("metrics-election").serving().await.unwrap();
    let dead = cluster.leader().await.unwrap();
    dead.kill().unwrap();
    let leader = cluster.leader().await.unwrap();
    assert_ne!(leader.id, dead.id);
    wait_above(&leader, "strongroom_raft_term_changes_total", 0.0).await;
    wait_above(&leader, "strongroom_raft_leader_changes_total", 0.0).await;
    wait_above(&leader, "strongroom_raft_quorum_ack_age_seconds", -0.5).await;
    let other = cluster.running().into_iter().find(|node| node.id != leader.id).unwrap();
    let heard = format!("strongroom_raft_follower_ack_age_seconds{{node_id=\"{}\"}}", other.id);
    let silent = format!("strongroom_raft_follower_ack_age_seconds{{node_id=\"{}\"}}", dead.id);
    wait_values(&other, &[("strongroom_raft_quorum_ack_age_seconds", Some(-1.0))]).await;
    wait_above(&leader, &heard, -0.5).await;
    // -1: nothing yet to this leader.
    let metrics = leader.metrics().await.unwrap();
    assert!(metrics.value(&silent).is_some(), "{silent}");
    cluster.revive(&dead).await.unwrap();
    wait_above(&leader, &silent, -0.5).await;
    cluster.finish().await.unwrap();
}
