//! The cache of data keys in front of a real client.

#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::{collections::BTreeMap, time::Duration};

use strongroom_client::{CacheLimits, Client, Config, DataKeyCache, proto::DataKeySpec};
use support::{Answer, CLUSTER, Ca, Server};

const AES: DataKeySpec = DataKeySpec::Aes256;

fn context(value: &str) -> BTreeMap<String, String> {
    [("purpose".to_owned(), value.to_owned())].into()
}

async fn cache(ca: &Ca, limits: CacheLimits) -> (Server, DataKeyCache) {
    let server = Server::node(ca, CLUSTER, vec![]).await;
    let client = Client::new(&Config::new([&server.address], ca.pem()).unwrap()).unwrap();
    (server, DataKeyCache::new(client, limits).unwrap())
}

fn hour() -> CacheLimits {
    CacheLimits::new(Duration::from_secs(3600))
}

#[tokio::test]
async fn a_failed_call_leaves_nothing_and_the_next_one_asks_again() {
    let ca = Ca::new();
    let (server, cache) = cache(&ca, hour()).await;
    server.push_answer(Answer::Refuse(strongroom_client::Code::NotFound, "KEY_NOT_FOUND", None));
    cache.data_key("k", &context("a"), AES, 1).await.err().unwrap();
    assert!(cache.is_empty());
    cache.data_key("k", &context("a"), AES, 1).await.unwrap();
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn one_data_key_serves_until_its_uses_are_spent() {
    let ca = Ca::new();
    let (server, cache) = cache(&ca, hour().with_uses(3)).await;
    for _ in 0..7 {
        cache.data_key("k", &context("a"), AES, 1).await.unwrap();
    }
    assert_eq!(server.calls(), 3);
}

#[tokio::test]
async fn another_key_or_context_is_another_data_key() {
    let ca = Ca::new();
    let (server, cache) = cache(&ca, hour()).await;
    for (key, value) in [("k", "a"), ("k", "b"), ("l", "a"), ("k", "a")] {
        cache.data_key(key, &context(value), AES, 1).await.unwrap();
    }
    assert_eq!((server.calls(), cache.len()), (3, 3));
    cache.clear();
    assert!(cache.is_empty());
}

#[tokio::test]
async fn a_message_above_the_bound_gets_a_key_of_its_own() {
    let ca = Ca::new();
    let (server, cache) = cache(&ca, hour().with_bytes(100)).await;
    for _ in 0..2 {
        cache.data_key("k", &context("a"), AES, 101).await.unwrap();
    }
    assert_eq!((server.calls(), cache.len()), (2, 0));
}

#[tokio::test]
async fn many_callers_at_once_share_one_call() {
    let ca = Ca::new();
    let (server, cache) = cache(&ca, hour()).await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let cache = cache.clone();
        tasks.spawn(async move {
            cache.unwrap(b"blob", &context("a")).await.unwrap();
            cache.data_key("k", &context("a"), AES, 1).await.unwrap();
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!((server.calls(), cache.len()), (2, 2));
}
