//! No secret of any kind stands in data directories, snapshots, logs, metrics,
//! core files, or the memory of a node that was sealed. The scanner first finds
//! a planted canary in each kind of file and page that is there.

mod copies;
mod places;
mod planted;
mod secrets;

use std::time::Duration;

use futures::future::try_join_all;
use strongroom_testkit::{
    Cluster, Disk, Explain as _, StatusExt as _,
    load::Load,
    scan::{Canary, Finding, Layer, Scanner},
};
use strongroom_wire::v1::{
    CreateKeyRequest, GenerateRandomRequest, ReEncryptRequest, Role, RotateBarrierRequest,
    TakeSnapshotRequest,
};

use self::places::Place;

const PATIENCE: Duration = Duration::from_secs(60);
const CONTEXT: [(&str, &str); 1] = [("canary context key", "canary context value")];

fn show(found: &[Finding]) -> String {
    found.iter().take(20).map(|finding| format!("\n  {finding}")).collect()
}

/// Makes use of everything that has a secret, and gives all of them.
async fn work(cluster: &Cluster) -> Vec<Canary> {
    let tenant = cluster.tenant().await.unwrap();
    let administrator = cluster.administrator(cluster.node(1));
    let user = cluster.node(2).caller().with_token(&tenant.user);
    let mut canaries = secrets::of_ceremony(cluster);
    for (name, text) in [("a user's token", &tenant.user), ("an auditor's token", &tenant.auditor)]
    {
        canaries.push(Canary::new(name, text.as_bytes()));
        canaries.push(Canary::new(name, &secrets::token_bytes(text)));
    }
    let request = CreateKeyRequest {
        description: "canary description of a key".to_owned(),
        client_token: "canary client token".to_owned(),
        ..CreateKeyRequest::default()
    };
    let response = administrator.keys().create_key(request).await.explain("CreateKey").unwrap();
    let key_id = response.into_inner().key_metadata.unwrap().key_id;
    let revoked = administrator.create_token("canary.principal.name", Role::User).await.unwrap();
    administrator.revoke_token(&revoked.metadata.unwrap().token_id).await.unwrap();
    for (name, text) in [
        ("a revoked token", revoked.token.as_str()),
        ("a key's description", "canary description of a key"),
        ("a client token", "canary client token"),
        ("a principal's name", "canary.principal.name"),
        ("a context's key", CONTEXT[0].0),
        ("a context's value", CONTEXT[0].1),
        ("a plaintext", "canary plaintext to encrypt"),
    ] {
        canaries.push(Canary::new(name, text.as_bytes()));
    }
    for _ in 0..20 {
        let (_, data_key) = user.data_key(&key_id, &CONTEXT).await.explain("a data key").unwrap();
        canaries.push(Canary::new("a data key", &data_key));
    }
    let blob = user.encrypt(&key_id, b"canary plaintext to encrypt", &CONTEXT).await.unwrap();
    user.decrypt(&blob, &CONTEXT).await.unwrap();
    let request = ReEncryptRequest {
        ciphertext_blob: blob.clone(),
        source_encryption_context: [(CONTEXT[0].0.to_owned(), CONTEXT[0].1.to_owned())].into(),
        destination_key_id: tenant.key_id.clone(),
        ..ReEncryptRequest::default()
    };
    user.crypto().re_encrypt(request).await.explain("ReEncrypt").unwrap();
    let random = GenerateRandomRequest { number_of_bytes: 32 };
    let random = user.crypto().generate_random(random).await.unwrap().into_inner().plaintext;
    canaries.push(Canary::new("random bytes", &random));
    // Refusals say something too, in answers and logs.
    let refused = user.decrypt(&blob, &[("other", "context")]).await.unwrap_err();
    assert_eq!(refused.reason(), "INVALID_CIPHERTEXT");
    let nobody = cluster.node(3).caller().with_token(&revoked.token);
    assert_eq!(nobody.data_key(&key_id, &CONTEXT).await.unwrap_err().reason(), "UNAUTHENTICATED");
    let mistyped = secrets::mistyped(&cluster.ceremony().shares[4]);
    assert!(cluster.node(3).submit_share(&mistyped).await.is_err());
    administrator.cluster().rotate_barrier(RotateBarrierRequest {}).await.unwrap();
    canaries
}

/// Every kind is there, and in each that is there a planted canary is found.
fn assert_scanner_sees(places: &[Place]) {
    let kinds = places::kinds(places);
    for (kind, layer) in &kinds {
        println!("{kind} ({layer})");
    }
    for kind in places::KINDS {
        assert!(kinds.contains(&(kind.to_owned(), Layer::AsItIs)), "there is no {kind}");
    }
    let proved = copies::proved(places);
    let blind: Vec<_> = kinds.difference(&proved).collect();
    assert!(blind.is_empty(), "a planted canary is not found in {blind:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_of_any_kind_stands_in_any_file_or_page() {
    let cluster = Cluster::builder("canaries")
        .snapshot_every(50, 20)
        // More than an operator ever turns on.
        .set("log", "level", "debug")
        .serving()
        .await
        .unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let mut canaries = work(&cluster).await;
    let load = Load::start(&cluster, &tenant, 8);
    load.progress(200, PATIENCE).await.unwrap();
    load.stop().await.unwrap();
    cluster.caught_up().await.unwrap();
    for node in cluster.nodes() {
        let administrator = cluster.administrator(node);
        administrator.cluster().take_snapshot(TakeSnapshotRequest {}).await.unwrap();
    }
    let mut places = places::pages(&cluster).await;
    let cores = places::core_files(&cluster, 3).await;

    // The keys inside, as only the root key opens them.
    cluster.node(3).start().await.unwrap();
    cluster.node(2).stop(PATIENCE).await.unwrap();
    let disk = Disk::open(cluster.node(2), cluster.pki()).unwrap();
    canaries.extend(secrets::inside(&cluster, &disk));
    drop(disk);

    // Files come and go while a node runs.
    let running = cluster.running();
    try_join_all(running.iter().map(|node| node.stop(PATIENCE))).await.unwrap();
    places.extend(places::files(&cluster, &cores));
    assert_scanner_sees(&places);
    let scanner = Scanner::new(&canaries);
    let found: Vec<_> = places.iter().flat_map(|place| place.scan(&scanner)).collect();
    println!("{} canaries, {} files and pages", canaries.len(), places.len());
    assert!(found.is_empty(), "{} secrets are found:{}", found.len(), show(&found));
    cluster.finish().await.unwrap();
}

/// A sealed node's memory holds none of the keys that it worked with.
#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_nodes_memory_holds_no_key() {
    let cluster = Cluster::builder("sealed-memory").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let load = Load::start(&cluster, &tenant, 8);
    load.progress(200, PATIENCE).await.unwrap();
    load.stop().await.unwrap();
    let node = cluster.node(2);
    cluster.caught_up().await.unwrap();
    cluster.node(3).stop(PATIENCE).await.unwrap();
    let disk = Disk::open(cluster.node(3), cluster.pki()).unwrap();
    let keys = secrets::inside(&cluster, &disk);
    drop(disk);
    let scanner = Scanner::new(&keys);
    let image = cluster.folder().join("memory");
    if let Err(error) = places::memory_image(node.pid().unwrap(), &image) {
        println!("skipped: the memory of a process can't be read here: {error:#}");
        cluster.finish().await.unwrap();
        return;
    }
    // While it is unsealed they are there: the look is a real one.
    let before = scanner.file(&image).unwrap();
    assert!(!before.is_empty(), "an unsealed node's memory shows no key: the scan is blind");
    node.seal().await.unwrap();
    places::memory_image(node.pid().unwrap(), &image).unwrap();
    let found = scanner.file(&image).unwrap();
    println!("{} places before sealing, {} after", before.len(), found.len());
    assert!(found.is_empty(), "keys stay in memory:{}", show(&found));
    cluster.finish().await.unwrap();
}
