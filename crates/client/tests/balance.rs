//! Balancing, health and repeats against real servers that are slow, dead,
//! sealed or stopped.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a wait is bounded")]

mod support;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use strongroom_client::{
    Client, Code, Config, Error,
    balance::{Health, NodeView, Pool, Resolver},
    proto::{CreateKeyRequest, DecryptRequest, DescribeKeyRequest, EncryptRequest, EventFilter},
    reason,
};
use support::{Answer, CLUSTER, Ca, Server, load::Load};

async fn servers(ca: &Ca, count: usize) -> Vec<Server> {
    let mut servers = Vec::new();
    for _ in 0..count {
        servers.push(Server::node(ca, CLUSTER, vec![]).await);
    }
    servers
}

fn config(ca: &Ca, servers: &[Server]) -> Config {
    Config::new(servers.iter().map(|server| &server.address), ca.pem()).unwrap()
}

fn client(ca: &Ca, servers: &[Server]) -> Client {
    Client::new(&config(ca, servers)).unwrap()
}

fn calls(servers: &[Server]) -> Vec<usize> {
    servers.iter().map(Server::calls).collect()
}

async fn encrypt(client: &Client) -> Result<(), Error> {
    client.encrypt(EncryptRequest::default()).await.map(drop)
}

/// Waits until the pool sees the node at `address` so.
async fn until(pool: &Pool, address: &str, seen: impl Fn(&NodeView) -> bool) {
    loop {
        let nodes = pool.nodes();
        if nodes.iter().any(|node| node.address.to_string() == address && seen(node)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Each of them has its part, give or take a fifth.
fn assert_even(calls: &[usize]) {
    let part = calls.iter().sum::<usize>() / calls.len();
    let near = |calls: &usize| (part * 4 / 5..=part * 6 / 5).contains(calls);
    assert!(calls.iter().all(near), "{calls:?}");
}

#[tokio::test]
async fn equal_nodes_get_the_same_share_from_ten_lasting_callers() {
    let ca = Ca::new();
    let servers = servers(&ca, 3).await;
    let clients: Vec<_> = (0..10).map(|_| client(&ca, &servers)).collect();
    let loads: Vec<_> = clients.iter().map(|client| Load::start(client, 1)).collect();
    for mut load in loads {
        load.succeed(90).await;
        load.end().await;
    }
    assert_even(&calls(&servers));
}

#[tokio::test]
async fn equal_nodes_get_the_same_share_from_many_short_callers() {
    let ca = Ca::new();
    let servers = servers(&ca, 3).await;
    for _ in 0..300 {
        encrypt(&client(&ca, &servers)).await.unwrap();
    }
    let calls = calls(&servers);
    assert!(calls.iter().all(|calls| (60..=140).contains(calls)), "{calls:?}");
}

#[tokio::test]
async fn a_slow_node_gets_less() {
    let ca = Ca::new();
    let servers = servers(&ca, 3).await;
    servers[0].set_delay(Duration::from_millis(80));
    for server in &servers[1..] {
        server.set_delay(Duration::from_millis(2));
    }
    let mut load = Load::start(&client(&ca, &servers), 8);
    load.succeed(1500).await;
    load.end().await;
    let calls = calls(&servers);
    assert!(calls[0] > 0 && calls[0] * 2 < calls[1] && calls[0] * 2 < calls[2], "{calls:?}");
}

#[tokio::test]
async fn no_call_fails_while_nodes_are_killed_and_restarted_one_by_one() {
    let ca = Ca::new();
    let mut servers = servers(&ca, 3).await;
    let client = client(&ca, &servers);
    let mut load = Load::start(&client, 16);
    load.succeed(300).await;
    for server in &mut servers {
        server.kill().await;
        until(client.pool(), &server.address, |node| !node.is_healthy).await;
        load.succeed(300).await;
        *server = Server::at(server.listens_at(), &ca).await;
        until(client.pool(), &server.address, |node| node.is_healthy).await;
        load.succeed(300).await;
    }
    load.end().await;
    assert!(servers[2].calls() > 0, "a node that came back is used again");
}

#[tokio::test]
async fn no_call_fails_while_a_node_is_stopped_and_the_others_go_on() {
    let ca = Ca::new();
    let servers = servers(&ca, 3).await;
    let client = client(&ca, &servers);
    let mut load = Load::start(&client, 16);
    load.succeed(300).await;
    servers[1].pause();
    until(client.pool(), &servers[1].address, |node| node.health == Health::Silent).await;
    let seen = servers[1].calls();
    load.succeed(600).await;
    assert_eq!(servers[1].calls(), seen);
    servers[1].resume();
    until(client.pool(), &servers[1].address, |node| node.is_healthy).await;
    load.succeed(600).await;
    load.end().await;
    assert!(servers[1].calls() > seen);
}

#[tokio::test]
async fn no_call_fails_while_nodes_are_sealed_and_unsealed_one_by_one() {
    let ca = Ca::new();
    let servers = servers(&ca, 3).await;
    let client = client(&ca, &servers);
    let mut load = Load::start(&client, 16);
    for server in &servers {
        server.set_serving(false).await;
        server.set_answer(Some(Answer::sealed()));
        until(client.pool(), &server.address, |node| node.health == Health::NotServing).await;
        load.succeed(300).await;
        server.set_answer(None);
        server.set_serving(true).await;
        until(client.pool(), &server.address, |node| node.is_healthy).await;
        load.succeed(300).await;
    }
    load.end().await;
}

#[tokio::test]
async fn a_call_under_way_at_a_node_that_stops_moves_under_the_same_request_id() {
    let ca = Ca::new();
    let servers = servers(&ca, 2).await;
    let client = client(&ca, &servers).with_timeout(Duration::from_secs(60));
    // Known to both, so that nothing is left to a first dial.
    encrypt(&client).await.unwrap();
    encrypt(&client).await.unwrap();
    let before = calls(&servers);
    servers.iter().for_each(|server| server.push_answer(Answer::Silence));
    let call = tokio::spawn({
        let client = client.clone();
        async move { encrypt(&client).await }
    });
    let taken = loop {
        match (0..2).find(|&index| servers[index].calls() > before[index]) {
            Some(index) => break index,
            None => tokio::task::yield_now().await,
        }
    };
    servers[taken].pause();
    servers[1 - taken].forget_answers();
    let begun = Instant::now();
    call.await.unwrap().unwrap();
    // The attempt had half a minute.
    assert!(begun.elapsed() < Duration::from_secs(20));
    let ids = |index: usize| servers[index].request_ids().pop().unwrap();
    assert_eq!(ids(0), ids(1));
}

#[tokio::test]
async fn a_call_that_must_not_repeat_is_not_moved() {
    let ca = Ca::new();
    let servers = servers(&ca, 2).await;
    let client = client(&ca, &servers);
    servers.iter().for_each(|server| server.push_answer(Answer::Silence));
    let short = client.with_timeout(Duration::from_secs(2));
    let call = tokio::spawn(async move { short.create_key(CreateKeyRequest::default()).await });
    let taken = loop {
        match (0..2).find(|&index| servers[index].calls() > 0) {
            Some(index) => break index,
            None => tokio::task::yield_now().await,
        }
    };
    servers[taken].pause();
    until(client.pool(), &servers[taken].address, |node| node.health == Health::Silent).await;
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(error.reason(), reason::DEADLINE_EXCEEDED);
    assert!(!error.is_surely_not_executed());
    assert_eq!(servers[1 - taken].calls(), 0);
}

#[tokio::test]
async fn a_tail_leaves_a_node_that_stops() {
    let ca = Ca::new();
    let servers = servers(&ca, 2).await;
    let client = client(&ca, &servers);
    let mut tail = client.tail_events(EventFilter::default(), 1);
    tail.next().await.unwrap();
    servers[0].pause();
    let mut last = 2;
    while last < 20 {
        last = tail.next().await.unwrap().next_sequence;
    }
}

#[tokio::test]
async fn a_hedged_decrypt_is_answered_by_the_faster_node_under_one_request_id() {
    let ca = Ca::new();
    let servers = servers(&ca, 2).await;
    let config = config(&ca, &servers).with_hedged_decrypt(Duration::from_millis(20));
    let client = Client::new(&config).unwrap();
    encrypt(&client).await.unwrap();
    encrypt(&client).await.unwrap();
    let before = servers[0].calls();
    servers[0].set_answer(Some(Answer::Silence));
    while servers[0].calls() == before {
        client.decrypt(DecryptRequest::default()).await.unwrap();
    }
    let id = servers[0].request_ids().pop().unwrap();
    assert!(servers[1].request_ids().contains(&id));
}

#[tokio::test]
async fn nothing_is_hedged_without_being_asked_for() {
    let ca = Ca::new();
    let servers = servers(&ca, 2).await;
    let client = client(&ca, &servers);
    servers.iter().for_each(|server| server.set_delay(Duration::from_millis(100)));
    for _ in 0..4 {
        client.decrypt(DecryptRequest::default()).await.unwrap();
    }
    assert_eq!(calls(&servers).iter().sum::<usize>(), 4);
}

#[tokio::test]
async fn a_cluster_in_trouble_gets_no_multiple_of_the_calls() {
    let ca = Ca::new();
    let servers = servers(&ca, 2).await;
    let busy = Answer::Refuse(Code::ResourceExhausted, reason::OVERLOADED, None);
    servers.iter().for_each(|server| server.set_answer(Some(busy.clone())));
    let client = client(&ca, &servers).with_timeout(Duration::from_secs(2));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let client = client.clone();
        tasks.spawn(async move { encrypt(&client).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap_err();
    }
    let attempts = calls(&servers).iter().sum::<usize>();
    assert!(attempts <= 1000 + 200 + 200, "{attempts}");
}

#[tokio::test]
async fn a_node_that_says_it_does_not_serve_gets_no_call_while_another_does() {
    let ca = Ca::new();
    let servers = servers(&ca, 2).await;
    let client = client(&ca, &servers);
    servers[0].set_serving(false).await;
    encrypt(&client).await.unwrap();
    until(client.pool(), &servers[0].address, |node| node.health == Health::NotServing).await;
    let before = servers[0].calls();
    for _ in 0..20 {
        encrypt(&client).await.unwrap();
    }
    assert_eq!(servers[0].calls(), before);
    // Where nobody says that it serves, all are tried.
    servers[1].set_serving(false).await;
    until(client.pool(), &servers[1].address, |node| node.health == Health::NotServing).await;
    encrypt(&client).await.unwrap();
}

#[tokio::test]
async fn a_name_is_resolved_again_and_stands_for_all_its_addresses() {
    let ca = Ca::new();
    let mut servers = servers(&ca, 3).await;
    let listens: Vec<SocketAddr> = servers.iter().map(Server::listens_at).collect();
    let answer = Arc::new(Mutex::new(listens[..2].to_vec()));
    let mut config = Config::new(["dns:///kms.example:7400"], ca.pem()).unwrap();
    config.resolver = Resolver::new({
        let answer = Arc::clone(&answer);
        move |name, port| {
            assert_eq!((name.as_str(), port), ("kms.example", 7400));
            let answer = answer.lock().unwrap().clone();
            async move { Ok(answer) }
        }
    });
    let client = Client::new(&config).unwrap();
    let mut load = Load::start(&client, 4);
    load.succeed(100).await;
    assert!(servers[0].calls() > 0 && servers[1].calls() > 0);
    *answer.lock().unwrap() = listens[1..].to_vec();
    // A failure is why names are looked up sooner than after half a minute.
    servers[0].kill().await;
    while servers[2].calls() == 0 {
        tokio::task::yield_now().await;
    }
    load.succeed(100).await;
    load.end().await;
    let left = client.pool().nodes();
    assert!(left.iter().all(|node| node.address.to_string() != servers[0].address), "{left:?}");
}

#[tokio::test]
async fn more_connections_to_a_node_are_opened_only_for_many_calls_at_a_time() {
    let ca = Ca::new();
    let servers = servers(&ca, 1).await;
    let client = client(&ca, &servers);
    for _ in 0..50 {
        encrypt(&client).await.unwrap();
    }
    assert_eq!(servers[0].connections(), 1);
    servers[0].set_delay(Duration::from_millis(50));
    let calls = (0..500).map(|_| encrypt(&client));
    futures::future::try_join_all(calls).await.unwrap();
    assert_eq!(servers[0].connections(), 4);
}

#[tokio::test]
async fn calls_of_one_client_share_connections_and_probes_dial_the_rest() {
    let ca = Ca::new();
    let servers = servers(&ca, 3).await;
    let client = client(&ca, &servers);
    client.describe_key(DescribeKeyRequest::default()).await.unwrap();
    for server in &servers {
        until(client.pool(), &server.address, |node| node.health == Health::Serving).await;
    }
}
