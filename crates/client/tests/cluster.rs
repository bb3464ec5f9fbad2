//! The client against real servers over real TLS, with scripted answers.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "deadlines are measured")]

mod support;

use std::time::{Duration, Instant};

use strongroom_client::{
    Client, Code, Config, ErrorKind, Token,
    proto::{CreateKeyRequest, DescribeKeyRequest, EventFilter},
    reason,
};
use support::{Answer, CLUSTER, Ca, Server, closed_port};

const OTHER_CLUSTER: &str = "00000000-0000-4000-8000-000000000000";

fn config(ca: &Ca, addresses: &[&str]) -> Config {
    Config::new(addresses, ca.pem()).unwrap().with_timeout(Duration::from_secs(5))
}

fn describe() -> DescribeKeyRequest {
    DescribeKeyRequest { key_id: "k".to_owned() }
}

fn create(client_token: &str) -> CreateKeyRequest {
    CreateKeyRequest { client_token: client_token.to_owned(), ..Default::default() }
}

#[tokio::test]
async fn a_server_that_is_no_node_of_the_cluster_gets_no_byte() {
    let ca = Ca::new();
    let foreign = Ca::new();
    let uris = |kind: &str| vec![format!("strongroom://cluster/{CLUSTER}/{kind}")];
    let servers = [
        Server::start(&foreign, &uris("node/1"), vec![]).await,
        Server::start(&ca, &uris("operator/ann"), vec![]).await,
        Server::start(&ca, &["https://kms.example".to_owned()], vec![]).await,
        Server::start(&ca, &[uris("node/1"), uris("node/2")].concat(), vec![]).await,
    ];
    for server in servers {
        let token = Token::new("srt_secret").unwrap();
        let client = Client::new(&config(&ca, &[&server.address]).with_token(token)).unwrap();
        let error = client.describe_key(describe()).await.unwrap_err();
        assert_eq!(error.reason(), reason::UNTRUSTED_SERVER, "{error}");
        assert!(error.is_surely_not_executed());
        assert_eq!(server.calls(), 0);
    }
}

#[tokio::test]
async fn a_front_gets_calls_and_no_share() {
    let ca = Ca::new();
    let uris = [format!("strongroom://cluster/{CLUSTER}/front/edge")];
    let front = Server::start(&ca, &uris, vec![]).await;
    let client = Client::new(&config(&ca, &[&front.address])).unwrap();
    client.describe_key(describe()).await.unwrap();
    let error = client.nodes()[0].submit_share("a share").await.unwrap_err();
    assert_eq!(error.reason(), reason::UNTRUSTED_SERVER, "{error}");
    assert_eq!(front.calls(), 1);
}

#[tokio::test]
async fn nodes_of_two_clusters_are_never_mixed() {
    let ca = Ca::new();
    let first = Server::node(&ca, CLUSTER, vec![]).await;
    let uri = format!("strongroom://cluster/{OTHER_CLUSTER}/node/1");
    let second = Server::start(&ca, &[uri], vec![]).await;
    let client = Client::new(&config(&ca, &[&first.address, &second.address])).unwrap();
    for _ in 0..8 {
        client.describe_key(describe()).await.unwrap();
    }
    // Whoever was dialled first proved which cluster it is.
    let calls = [first.calls(), second.calls()];
    assert!(calls.contains(&0) && calls.contains(&8), "{calls:?}");
}

#[tokio::test]
async fn a_caller_that_does_not_wait_is_told_at_once_that_nobody_is_there() {
    let ca = Ca::new();
    let ports = [closed_port().await, closed_port().await];
    let config = config(&ca, &[&ports[0], &ports[1]]).with_fail_fast(true);
    let client = Client::new(&config.with_timeout(Duration::from_secs(60))).unwrap();
    let begun = Instant::now();
    let error = client.describe_key(describe()).await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Code::Unavailable, reason::UNREACHABLE));
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.others().len(), 1);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_call_waits_for_a_node_that_comes_back() {
    let ca = Ca::new();
    let mut server = Server::node(&ca, CLUSTER, vec![]).await;
    let client = Client::new(&config(&ca, &[&server.address])).unwrap();
    client.describe_key(describe()).await.unwrap();
    server.kill().await;
    let call = tokio::spawn({
        let client = client.clone();
        async move { client.create_key(create("")).await }
    });
    while client.pool().nodes()[0].is_healthy {
        tokio::task::yield_now().await;
    }
    let _server = Server::at(server.listens_at(), &ca).await;
    call.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_dead_and_a_sealed_node_are_passed_over_even_by_a_call_that_must_not_repeat() {
    let ca = Ca::new();
    let dead = closed_port().await;
    let sealed = Server::node(&ca, CLUSTER, vec![]).await;
    sealed.set_answer(Some(Answer::sealed()));
    let good = Server::node(&ca, CLUSTER, vec![]).await;
    let addresses = [dead.as_str(), &sealed.address, &good.address];
    while sealed.calls() == 0 {
        // Each knows nothing of the nodes when it begins.
        let client = Client::new(&config(&ca, &addresses)).unwrap();
        let before = good.calls();
        client.create_key(create("")).await.unwrap();
        assert_eq!(good.calls(), before + 1);
    }
}

#[tokio::test]
async fn nodes_that_are_all_sealed_are_told_at_once() {
    let ca = Ca::new();
    let (first, second) =
        (Server::node(&ca, CLUSTER, vec![]).await, Server::node(&ca, CLUSTER, vec![]).await);
    first.set_answer(Some(Answer::sealed()));
    second.set_answer(Some(Answer::sealed()));
    let config = config(&ca, &[&first.address, &second.address]);
    let client = Client::new(&config.with_timeout(Duration::from_secs(60))).unwrap();
    let error = client.describe_key(describe()).await.unwrap_err();
    assert_eq!((error.reason(), error.kind()), (reason::SEALED, ErrorKind::Unavailable));
    assert_eq!((error.others().len(), first.calls(), second.calls()), (1, 1, 1));
}

#[tokio::test]
async fn an_unknown_outcome_is_repeated_under_the_same_request_id_or_not_at_all() {
    let ca = Ca::new();
    let unknown = || Answer::Refuse(Code::Unavailable, reason::OUTCOME_UNKNOWN, None);
    let server = Server::node(&ca, CLUSTER, vec![unknown(), unknown()]).await;
    let client = Client::new(&config(&ca, &[&server.address])).unwrap();

    let error = client.create_key(create("")).await.unwrap_err();
    assert_eq!(error.reason(), reason::OUTCOME_UNKNOWN);
    assert!(!error.is_surely_not_executed());
    assert_eq!(server.calls(), 1);

    client.create_key(create("token")).await.unwrap();
    let ids = server.request_ids();
    assert_eq!(ids.len(), 3);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[1], ids[2]);
    assert_eq!(error.request_id().unwrap().to_string(), ids[0]);
}

#[tokio::test]
async fn an_unknown_outcome_is_never_hidden_behind_another_refusal() {
    let ca = Ca::new();
    let unknown = Answer::Refuse(Code::Unavailable, reason::OUTCOME_UNKNOWN, None);
    let first = Server::node(&ca, CLUSTER, vec![unknown]).await;
    let second = Server::node(&ca, CLUSTER, vec![Answer::sealed(); 64]).await;
    let third = Server::node(&ca, CLUSTER, vec![Answer::sealed(); 64]).await;
    let config = config(&ca, &[&first.address, &second.address, &third.address]);
    let client = Client::new(&config.with_timeout(Duration::from_millis(50))).unwrap();
    let error = client.create_key(create("token")).await;
    // Either the repeat reached the first node again in time, or the outcome
    // is told as unknown.
    if let Err(error) = error {
        assert!(!error.is_surely_not_executed(), "{error}");
    }
}

#[tokio::test]
async fn a_retry_delay_is_waited_for() {
    let ca = Ca::new();
    let delay = Duration::from_millis(300);
    let contention = Answer::Refuse(Code::Aborted, reason::CONTENTION, Some(delay));
    let server = Server::node(&ca, CLUSTER, vec![contention]).await;
    let client = Client::new(&config(&ca, &[&server.address])).unwrap();
    let begun = Instant::now();
    client.describe_key(describe()).await.unwrap();
    assert!(begun.elapsed() >= delay);
    assert_eq!(server.calls(), 2);
}

#[tokio::test]
async fn a_call_ends_within_its_deadline_when_a_node_is_silent() {
    let ca = Ca::new();
    let server = Server::node(&ca, CLUSTER, vec![Answer::Silence; 8]).await;
    let config = config(&ca, &[&server.address]).with_timeout(Duration::from_millis(700));
    let client = Client::new(&config).unwrap();
    let begun = Instant::now();
    let error = client.create_key(create("")).await.unwrap_err();
    assert_eq!(error.reason(), reason::DEADLINE_EXCEEDED, "{error}");
    assert!(!error.is_surely_not_executed());
    assert!(begun.elapsed() < Duration::from_secs(3));
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_call_that_a_node_does_not_answer_leaves_time_for_the_next() {
    let ca = Ca::new();
    let silent = Server::node(&ca, CLUSTER, vec![Answer::Silence; 8]).await;
    let good = Server::node(&ca, CLUSTER, vec![]).await;
    let client = Client::new(&config(&ca, &[&silent.address, &good.address])).unwrap();
    while silent.calls() == 0 {
        client.describe_key(describe()).await.unwrap();
    }
    assert!(good.calls() > 0);
}

#[tokio::test]
async fn token_and_deadline_travel_with_the_call() {
    let ca = Ca::new();
    let server = Server::node(&ca, CLUSTER, vec![]).await;
    let token = Token::new("srt_abc").unwrap();
    let client = Client::connect(&config(&ca, &[&server.address]).with_token(token)).await.unwrap();
    client.describe_key(describe()).await.unwrap();
    let metadata = server.last_metadata();
    assert_eq!(metadata.get("authorization").unwrap(), "Bearer srt_abc");
    assert!(metadata.get("grpc-timeout").is_some());
}

#[tokio::test]
async fn a_connection_that_broke_is_made_again() {
    let ca = Ca::new();
    let server = Server::node(&ca, CLUSTER, vec![]).await;
    let client = Client::new(&config(&ca, &[&server.address])).unwrap();
    client.describe_key(describe()).await.unwrap();
    let server = server.restart(&ca).await;
    client.describe_key(describe()).await.unwrap();
    assert_eq!(server.calls(), 1);
}

#[tokio::test]
async fn a_tail_goes_on_where_it_was_after_a_break() {
    let ca = Ca::new();
    let server = Server::node(&ca, CLUSTER, vec![]).await;
    let client = Client::new(&config(&ca, &[&server.address])).unwrap();
    let mut tail = client.tail_events(EventFilter::default(), 7);
    // The scripted server sends two events and ends the stream.
    let mut seen = Vec::new();
    while seen.len() < 6 {
        seen.extend(tail.next().await.unwrap().events.into_iter().map(|event| event.sequence));
    }
    assert_eq!(seen, [7, 8, 9, 10, 11, 12]);
}

#[tokio::test]
async fn calls_from_many_tasks_share_one_client() {
    let ca = Ca::new();
    let server = Server::node(&ca, CLUSTER, vec![]).await;
    let client = Client::new(&config(&ca, &[&server.address])).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let client = client.clone();
        tasks.spawn(async move {
            client.create_key(create("")).await?;
            client.nodes()[0].seal_status().await?;
            let mut tail = client.tail_events(EventFilter::default(), 0);
            tail.next().await
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
}
