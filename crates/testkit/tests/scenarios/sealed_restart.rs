//! A restarted node is sealed: it replicates and votes, and answers no key
//! operation until its own threshold of shares came.

use std::time::Duration;

use strongroom_base::{ClusterId, SealEpoch};
use strongroom_crypto::{RootKey, ShareScheme, split_root};
use strongroom_testkit::{
    Caller, Cluster, Explain as _, Node, StatusExt as _, evidence, load::Load,
};
use strongroom_wire::v1::{
    CreateTokenRequest, DecryptBatchRequest, DecryptRequest, EventFilter, GenerateDataKeysRequest,
    GenerateRandomRequest, ListEpochsRequest, ListEventsRequest, ListKeysRequest,
    ListTokensRequest, ReEncryptRequest, RotateBarrierRequest, WhoAmIRequest,
};
use tonic::{Code, Status};

const PATIENCE: Duration = Duration::from_secs(60);

/// Every kind of key operation, and what else needs an unsealed node.
async fn refusals(caller: &Caller, key_id: &str, blob: &[u8]) -> Vec<(&'static str, Status)> {
    let mut refusals = Vec::new();
    let mut note = |name, result: Result<(), Status>| {
        let status = result.expect_err(name);
        refusals.push((name, status));
    };
    let key = || key_id.to_owned();
    let item = || DecryptRequest { ciphertext_blob: blob.to_vec(), ..Default::default() };
    note("CreateKey", caller.create_key("none").await.map(drop));
    note("DescribeKey", caller.key_state(key_id).await.map(drop));
    note("ListKeys", caller.keys().list_keys(ListKeysRequest::default()).await.map(drop));
    note("DisableKey", caller.set_enabled(key_id, false).await);
    note("GenerateDataKey", caller.data_key(key_id, &[]).await.map(drop));
    let several = GenerateDataKeysRequest {
        key_id: key(),
        number_of_bytes: 32,
        count: 2,
        ..Default::default()
    };
    note("GenerateDataKeys", caller.crypto().generate_data_keys(several).await.map(drop));
    note("Encrypt", caller.encrypt(key_id, b"text", &[]).await.map(drop));
    note("Decrypt", caller.decrypt(blob, &[]).await.map(drop));
    let batch = DecryptBatchRequest { items: vec![item()] };
    note("DecryptBatch", caller.crypto().decrypt_batch(batch).await.map(drop));
    let re_encrypt = ReEncryptRequest {
        ciphertext_blob: blob.to_vec(),
        destination_key_id: key(),
        ..Default::default()
    };
    note("ReEncrypt", caller.crypto().re_encrypt(re_encrypt).await.map(drop));
    let random = GenerateRandomRequest { number_of_bytes: 8 };
    note("GenerateRandom", caller.crypto().generate_random(random).await.map(drop));
    let token = CreateTokenRequest { principal_name: "x".into(), role: 2, ttl_seconds: 1 };
    note("CreateToken", caller.access().create_token(token).await.map(drop));
    let tokens = ListTokensRequest::default();
    note("ListTokens", caller.access().list_tokens(tokens).await.map(drop));
    note("WhoAmI", caller.access().who_am_i(WhoAmIRequest {}).await.map(drop));
    let events = ListEventsRequest::default();
    note("ListEvents", caller.audit().list_events(events).await.map(drop));
    note("ListEpochs", caller.cluster().list_epochs(ListEpochsRequest {}).await.map(drop));
    let rotate = RotateBarrierRequest {};
    note("RotateBarrier", caller.cluster().rotate_barrier(rotate).await.map(drop));
    refusals
}

async fn answers_nothing(node: &Node, tokens: [&str; 3], key_id: &str, blob: &[u8]) {
    for token in tokens {
        let caller = node.caller().with_token(token);
        for (operation, status) in refusals(&caller, key_id, blob).await {
            assert_eq!(status.code(), Code::FailedPrecondition, "{operation}: {status:?}");
            assert_eq!(status.reason(), "SEALED", "{operation}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_node_answers_nothing_until_its_own_threshold_of_shares_came() {
    let cluster = Cluster::builder("sealed-restart").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let tokens = [tenant.administrator.as_str(), &tenant.user, &tenant.auditor];
    let user = cluster.node(1).caller().with_token(&tenant.user);
    let (blob, plaintext) = user.data_key(&tenant.key_id, &[]).await.unwrap();

    let restarted = cluster.node(3);
    restarted.restart().await.unwrap();
    restarted.wait_seal("sealed").await.unwrap();
    let shares = cluster.ceremony().shares;
    for (given, share) in shares[..3].iter().enumerate() {
        let status = restarted.status().await.unwrap();
        assert_eq!(status.seal.state, "sealed");
        assert_eq!(status.seal.progress as usize, given);
        answers_nothing(restarted, tokens, &tenant.key_id, &blob).await;
        let (ready, _) = restarted.fetch("/readyz").await.unwrap();
        assert_eq!(ready, 503);
        restarted.submit_share(share).await.explain("a good share").unwrap();
    }
    restarted.wait_seal("unsealed").await.unwrap();
    let caller = restarted.caller().with_token(&tenant.user);
    assert_eq!(caller.decrypt(&blob, &[]).await.unwrap(), plaintext);
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_node_replicates_and_its_vote_counts() {
    let cluster = Cluster::builder("sealed-votes").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let leader = cluster.leader().await.unwrap();
    let sealed = cluster.follower().await.unwrap();
    let third =
        cluster.nodes().iter().find(|node| node.id != leader.id && node.id != sealed.id).unwrap();
    sealed.restart().await.unwrap();
    let load = Load::start(&cluster, &tenant, 4);
    load.progress(50, PATIENCE).await.unwrap();
    let index = leader.status().await.unwrap().applied();
    sealed
        .wait_status("a sealed node applies", PATIENCE, |status| status.applied() >= index)
        .await
        .unwrap();

    // Without the sealed node's vote and acknowledgements the third is alone.
    leader.kill().unwrap();
    load.progress(50, PATIENCE).await.unwrap();
    assert_eq!(cluster.leader().await.unwrap().id, third.id, "the unsealed node leads");
    assert_eq!(sealed.status().await.unwrap().seal.state, "sealed");
    load.stop().await.unwrap();
    cluster.equal_hashes().await.unwrap();
    cluster.finish().await.unwrap();
}

fn text_of(share: &strongroom_crypto::Share) -> String {
    share.expose_text().expose().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_bad_share_is_refused_by_name_and_progress_is_kept() {
    let cluster = Cluster::builder("bad-shares").start().await.unwrap();
    let first = cluster.init().await.unwrap();
    // Shares of a root key that a repeated `init` replaced.
    let again = cluster.call_init(cluster.node(2), &first.init_token).await;
    let ceremony = cluster.adopt(first.init_token, again.explain("a repeated init").unwrap());
    let good = &ceremony.shares;
    let node = cluster.node(1);
    node.submit_share(&good[0]).await.explain("a good share").unwrap();

    let own = strongroom_crypto::Share::parse(&good[1]).unwrap();
    let forged = |cluster, epoch| {
        let root = RootKey::init_with(|bytes| bytes.copy_from_slice(&rand::random::<[u8; 32]>()));
        let scheme = ShareScheme::new(5, 3).unwrap();
        text_of(&split_root(&root, cluster, epoch, scheme)[1])
    };
    let mut mistyped = good[1].clone().into_bytes();
    let last = mistyped.len() - 1;
    mistyped[last] = if mistyped[last] == b'7' { b'8' } else { b'7' };
    let foreign = forged(ClusterId::from_random(rand::random()), own.seal_epoch());
    let future = forged(own.cluster(), SealEpoch(own.seal_epoch().0 + 1));
    let bad = [
        ("no share at all", "SHARE_MALFORMED", "correct horse battery staple".to_owned()),
        ("mistyped", "SHARE_MISTYPED", String::from_utf8(mistyped).unwrap()),
        ("cut short", "SHARE_MISTYPED", good[1][..good[1].len() - 8].to_owned()),
        ("repeated", "SHARE_REPEATED", good[0].clone()),
        ("of another cluster", "SHARE_FOREIGN_CLUSTER", foreign),
        ("of the replaced root key", "SHARE_OLD_EPOCH", first.shares[1].clone()),
        ("of a root key to come", "SHARE_UNKNOWN", future),
        ("forged", "SHARE_UNKNOWN", forged(own.cluster(), own.seal_epoch())),
    ];
    for (kind, reason, share) in &bad {
        let status = node.submit_share(share).await.expect_err(kind);
        assert_eq!(status.code(), Code::InvalidArgument, "{kind}");
        assert_eq!(status.reason(), *reason, "{kind}");
        assert!(!status.message().contains(share.as_str()), "{kind}: the share is repeated");
        assert_eq!(node.status().await.unwrap().seal.progress, 1, "{kind}");
    }
    // Two more good ones, and it serves: nothing of the bad ones stayed.
    node.unseal(&good[1..3]).await.unwrap();
    cluster.unseal_all_but(&[1]).await.unwrap();

    // Each refusal is an event, by its reason.
    let administrator = cluster.administrator(node);
    let filter = EventFilter { kind: "ceremony".into(), ..EventFilter::default() };
    let events = evidence::events(&administrator, filter).await.unwrap();
    for (kind, reason, _) in &bad {
        assert!(events.iter().any(|event| event.reason == *reason), "{kind}: no event");
    }
    cluster.finish().await.unwrap();
}
