//! The public services on real nodes: keys and uses of keys across nodes, and
//! what the interface says of itself.

mod audit;
mod metrics;
mod seal;

use std::collections::{BTreeMap, BTreeSet};

use futures::{future::join_all, stream};
use strongroom_testkit::{Cluster, Explain as _, StatusExt as _, Tenant, hostile::all_methods};
use strongroom_wire::v1::{
    DataKeySpec, DecryptBatchRequest, DecryptRequest, GenerateDataKeyWithoutPlaintextRequest,
    GenerateDataKeysRequest, ListKeysRequest, ReEncryptRequest,
    decrypt_batch_result::Result as Opened,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

const PLAINTEXT: &[u8] = b"a plaintext of the services' tests";
/// Keys in a page, and pages that hold five of them.
const PAGE: u32 = 2;
const PAGES: [usize; 3] = [2, 2, 1];

fn context(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Makes `each` data keys on every node, on all of them at once.
async fn use_key(cluster: &Cluster, tenant: &Tenant, each: usize) {
    let users = cluster.callers(&tenant.user);
    let uses = users.iter().map(|user| async move {
        for _ in 0..each {
            user.data_key(&tenant.key_id, &[]).await.explain("a data key").unwrap();
        }
    });
    join_all(uses).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_keys_of_every_form_open_on_other_nodes() {
    let cluster = Cluster::builder("data-keys").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let users = cluster.callers(&tenant.user);
    let pairs = [("table", "orders")];
    let request = GenerateDataKeyWithoutPlaintextRequest {
        key_id: tenant.key_id.clone(),
        encryption_context: context(&pairs),
        key_spec: DataKeySpec::Aes128.into(),
        number_of_bytes: 0,
    };
    let wrapped = users[0].crypto().generate_data_key_without_plaintext(request).await;
    let wrapped = wrapped.explain("GenerateDataKeyWithoutPlaintext").unwrap().into_inner();
    let opened = users[1].decrypt(&wrapped.ciphertext_blob, &pairs).await.unwrap();
    assert_eq!(opened.len(), 16);
    assert_eq!(users[2].decrypt(&wrapped.ciphertext_blob, &pairs).await.unwrap(), opened);

    let request = GenerateDataKeysRequest {
        key_id: tenant.key_id.clone(),
        encryption_context: context(&pairs),
        key_spec: DataKeySpec::Unspecified.into(),
        number_of_bytes: 24,
        count: 5,
    };
    let made = users[1].crypto().generate_data_keys(request).await;
    let made = made.explain("GenerateDataKeys").unwrap().into_inner().data_keys;
    let distinct: BTreeSet<_> = made.iter().map(|pair| &pair.plaintext).collect();
    assert_eq!(distinct.len(), 5);
    // One item comes with a context that is not its own.
    let wrong = 2;
    let item = |(position, blob): (usize, &Vec<u8>)| DecryptRequest {
        ciphertext_blob: blob.clone(),
        encryption_context: context(if position == wrong { &[] } else { &pairs }),
        key_id: String::new(),
    };
    let items = made.iter().map(|pair| &pair.ciphertext_blob).enumerate().map(item).collect();
    let results = users[2].crypto().decrypt_batch(DecryptBatchRequest { items }).await;
    let results = results.explain("DecryptBatch").unwrap().into_inner().results;
    assert_eq!(results.len(), made.len());
    for (position, (pair, result)) in made.iter().zip(results).enumerate() {
        match result.result.unwrap() {
            Opened::Success(opened) => {
                assert_ne!(position, wrong);
                assert_eq!(opened.plaintext, pair.plaintext);
                assert_eq!(opened.plaintext.len(), 24);
            }
            Opened::Error(error) => {
                assert_eq!((position, error.reason.as_str()), (wrong, "INVALID_CIPHERTEXT"));
            }
        }
    }
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_encrypted_again_opens_under_the_new_key_and_context_alone() {
    let cluster = Cluster::builder("re-encrypt").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let users = cluster.callers(&tenant.user);
    let (old, new) = ([("table", "orders")], [("table", "archive")]);
    let new_key = cluster.administrator(cluster.node(3)).create_key("the new key").await.unwrap();
    let blob = users[0].encrypt(&tenant.key_id, PLAINTEXT, &old).await.unwrap();
    let request = |source: &[(&str, &str)]| ReEncryptRequest {
        ciphertext_blob: blob.clone(),
        source_encryption_context: context(source),
        source_key_id: String::new(),
        destination_key_id: new_key.clone(),
        destination_encryption_context: context(&new),
    };
    let status = users[1].crypto().re_encrypt(request(&new)).await.unwrap_err();
    assert_eq!(status.reason(), "INVALID_CIPHERTEXT");
    let response = users[1].crypto().re_encrypt(request(&old)).await;
    let response = response.explain("ReEncrypt").unwrap().into_inner();
    assert!(response.source_key_id.ends_with(&tenant.key_id), "{}", response.source_key_id);
    assert!(response.key_id.ends_with(&new_key), "{}", response.key_id);

    let again = response.ciphertext_blob;
    let status = users[2].decrypt(&again, &old).await.unwrap_err();
    assert_eq!(status.reason(), "INVALID_CIPHERTEXT");
    assert_eq!(users[2].decrypt(&again, &new).await.unwrap(), PLAINTEXT);
    // The old one is as good as before.
    assert_eq!(users[2].decrypt(&blob, &old).await.unwrap(), PLAINTEXT);
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_keys_hold_each_key_once() {
    let cluster = Cluster::builder("list-keys").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let administrator = cluster.administrator(cluster.node(1));
    let mut made = BTreeSet::from([tenant.key_id.clone()]);
    for number in 2..=5 {
        made.insert(administrator.create_key(&format!("key {number}")).await.unwrap());
    }
    for auditor in cluster.callers(&tenant.auditor) {
        let (mut listed, mut sizes, mut marker) = (Vec::new(), Vec::new(), String::new());
        loop {
            let request = ListKeysRequest { limit: PAGE, marker };
            let page = auditor.keys().list_keys(request).await;
            let page = page.explain("ListKeys").unwrap().into_inner();
            assert_eq!(page.truncated, !page.next_marker.is_empty());
            sizes.push(page.keys.len());
            assert!(sizes.len() <= PAGES.len(), "pages without end: {sizes:?}");
            listed.extend(page.keys.into_iter().map(|key| key.key_id));
            marker = page.next_marker;
            if marker.is_empty() {
                break;
            }
        }
        assert_eq!(sizes, PAGES);
        assert!(listed.is_sorted(), "{listed:?}");
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), made);
    }
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_every_service_of_the_interface() {
    let cluster = Cluster::builder("reflection").start().await.unwrap();
    let mut client = ServerReflectionClient::new(cluster.node(1).caller().channel());
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answers = client.server_reflection_info(stream::iter([request])).await;
    let mut answers = answers.explain("ServerReflectionInfo").unwrap().into_inner();
    let answer = answers.message().await.explain("ListServices").unwrap().unwrap();
    let listed = match answer.message_response {
        Some(MessageResponse::ListServicesResponse(listed)) => listed.service,
        other => panic!("no list of services: {other:?}"),
    };
    let listed: BTreeSet<String> = listed.into_iter().map(|service| service.name).collect();
    let own: BTreeSet<String> = all_methods()
        .unwrap()
        .iter()
        .map(|path| path.split('/').nth(1).unwrap().to_owned())
        .collect();
    assert_eq!(own.len(), 6, "{own:?}");
    let others = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];
    for service in own.iter().map(String::as_str).chain(others) {
        assert!(listed.contains(service), "{service} is not in {listed:?}");
    }
    cluster.finish().await.unwrap();
}
