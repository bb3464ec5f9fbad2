//! Two of three nodes are gone: nothing is released, every call ends in time,
//! and service resumes by itself.

use std::time::{Duration, Instant};

use strongroom_testkit::{
    Caller, Cluster, Explain as _, StatusExt as _, evidence, load::Load, request_with_id, wait,
};
use strongroom_wire::v1::{DataKeySpec, DecryptRequest, GenerateDataKeyRequest};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(60);
/// What a call may end with.
const REASONS: [&str; 2] = ["NO_QUORUM", "OUTCOME_UNKNOWN"];

async fn tried(
    caller: &Caller,
    key_id: &str,
    blob: &[u8],
) -> Vec<(&'static str, Duration, String)> {
    let mut ends = Vec::new();
    for operation in ["GenerateDataKey", "Decrypt", "CreateKey", "DisableKey", "DescribeKey"] {
        let began = Instant::now();
        let result = match operation {
            "GenerateDataKey" => caller.data_key(key_id, &[]).await.map(drop),
            "Decrypt" => caller.decrypt(blob, &[]).await.map(drop),
            "CreateKey" => caller.create_key("none").await.map(drop),
            "DisableKey" => caller.set_enabled(key_id, true).await,
            _ => caller.key_state(key_id).await.map(drop),
        };
        let status = result.expect_err(operation);
        ends.push((operation, began.elapsed(), status.reason()));
    }
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_of_three_gone_nothing_is_released_and_service_resumes_by_itself() {
    let cluster = Cluster::builder("no-quorum").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let user = cluster.node(1).caller().with_token(&tenant.user);
    let (blob, plaintext) = user.data_key(&tenant.key_id, &[]).await.unwrap();
    let load = Load::start(&cluster, &tenant, 8);
    load.progress(50, PATIENCE).await.unwrap();

    // Both that stay away: once the leader with a follower, so that the survivor
    // follows nobody.
    let leader = cluster.leader().await.unwrap();
    let follower = cluster.follower().await.unwrap();
    let survivor =
        cluster.nodes().iter().find(|node| node.id != leader.id && node.id != follower.id).unwrap();
    leader.kill().unwrap();
    follower.kill().unwrap();
    let gone = Instant::now();
    // Calls that were invoked before may still be answered; none after.
    wait::until("the survivor knows that it is alone", PATIENCE, || async {
        let status = survivor.status().await?;
        anyhow::ensure!(status.raft.leader_id.is_none() || gone.elapsed() > Duration::from_secs(5));
        Ok(())
    })
    .await
    .unwrap();
    let released = load.released();
    let roles = [
        survivor.caller().with_token(&tenant.user),
        survivor.caller().with_token(&tenant.administrator),
    ];
    for caller in roles {
        for (operation, took, reason) in
            tried(&caller.with_deadline(DEADLINE), &tenant.key_id, &blob).await
        {
            assert!(REASONS.contains(&reason.as_str()), "{operation}: {reason}");
            assert!(took < DEADLINE, "{operation} took {took:?}");
        }
    }
    assert_eq!(load.released(), released, "released without a quorum");
    wait::until("the survivor is not ready", PATIENCE, || async {
        let (ready, page) = survivor.fetch("/readyz").await?;
        anyhow::ensure!(ready == 503, "{ready}: {page}");
        Ok(())
    })
    .await
    .unwrap();
    let (live, _) = survivor.fetch("/livez").await.unwrap();
    assert_eq!(live, 200);

    // One of them back makes a quorum; nobody touches the survivor.
    cluster.revive(&follower).await.unwrap();
    load.progress(50, PATIENCE).await.unwrap();
    let caller = survivor.caller().with_token(&tenant.user);
    assert_eq!(caller.decrypt(&blob, &[]).await.explain("on the survivor").unwrap(), plaintext);
    cluster.revive(&leader).await.unwrap();
    let history = load.stop().await.unwrap();
    let auditor = survivor.caller().with_token(&tenant.auditor);
    history.audited_once(&evidence::all_events(&auditor).await.unwrap()).unwrap();
    history.all_decrypts(&caller).await.unwrap();
    cluster.equal_hashes().await.unwrap();
    cluster.finish().await.unwrap();
}

/// An attempt that a caller gave up, or whose node was cut off, is recorded once
/// at most, whatever becomes of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_given_up_by_its_caller_is_recorded_once_at_most() {
    let cluster = Cluster::builder("given-up").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let mut requests = Vec::new();
    for (round, node) in cluster.nodes().iter().cycle().take(30).enumerate() {
        let caller = node.caller().with_token(&tenant.user);
        let id = Uuid::from_bytes(rand::random());
        requests.push(id);
        let message = GenerateDataKeyRequest {
            key_id: tenant.key_id.clone(),
            key_spec: DataKeySpec::Aes256.into(),
            ..Default::default()
        };
        let patience = Duration::from_micros(200 * round as u64);
        let mut crypto = caller.crypto();
        let call = crypto.generate_data_key(request_with_id(id, message));
        // Too late for some, in time for others.
        let _given_up = tokio::time::timeout(patience, call).await;
    }
    let mut events = Vec::new();
    let auditor = cluster.node(1).caller().with_token(&tenant.auditor);
    for _ in 0..2 {
        cluster.caught_up().await.unwrap();
        events = evidence::all_events(&auditor).await.unwrap();
    }
    for id in requests {
        let records = events.iter().filter(|event| event.request_id == id.to_string()).count();
        assert!(records <= 1, "request {id} has {records} records");
    }
    let bad = DecryptRequest { ciphertext_blob: vec![1; 100], ..Default::default() };
    let user = cluster.node(1).caller().with_token(&tenant.user);
    let status = user.crypto().decrypt(bad).await.unwrap_err();
    assert_eq!(status.reason(), "INVALID_CIPHERTEXT");
    cluster.finish().await.unwrap();
}
