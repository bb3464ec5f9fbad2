//! What a front takes, and from whom.

use bytes::Bytes;
use http::StatusCode;
use strongroom_base::limits;
use tokio::io::AsyncReadExt as _;
use tonic::Code;

use crate::support::{
    Caller, Does, LONG, Node, Pki, addresses, cluster, framed, front, monitor, tls, until,
};

async fn bounded(
    change: impl FnOnce(&mut strongroom_front::config::Config),
) -> (Pki, Vec<Node>, strongroom_front::Front) {
    let pki = Pki::new();
    let nodes = vec![Node::start(&pki, 1).await];
    let front = front(&pki, addresses(&nodes), change).await;
    front.ready().await;
    (pki, nodes, front)
}

#[tokio::test]
async fn an_oversized_or_malformed_message_is_refused_before_any_node_sees_it() {
    let (_pki, nodes, _front, caller) = cluster(1).await;
    let large = vec![0; limits::CLIENT_MESSAGE_BYTES_MAX + 1];
    let announced = Bytes::from_static(&[0, 0xff, 0xff, 0xff, 0xff]);
    for (body, reason) in [
        (framed(&large), "MESSAGE_TOO_LARGE"),
        (announced, "MESSAGE_TOO_LARGE"),
        (Bytes::from_static(&[0, 0, 0, 0, 9, 1]), "MALFORMED_MESSAGE"),
        (Bytes::new(), "MALFORMED_MESSAGE"),
        (Bytes::from([framed(b"a"), framed(b"b")].concat()), "MALFORMED_MESSAGE"),
    ] {
        let reply = caller.try_call("Crypto/Decrypt", &[], body).await.unwrap();
        assert_eq!((reply.code(), reply.reason().as_str()), (Code::InvalidArgument, reason));
    }
    assert_eq!(nodes[0].count(), 0);
    let largest = vec![0; limits::CLIENT_MESSAGE_BYTES_MAX];
    assert_eq!(caller.call("Crypto/Decrypt", &largest).await.payload().len(), largest.len());
}

#[tokio::test]
async fn an_oversized_header_list_is_refused_and_the_largest_one_reaches_a_node() {
    let (_pki, nodes, _front, caller) = cluster(1).await;
    let large = "x".repeat(limits::FRONT_HEADER_LIST_BYTES_MAX as usize);
    let response = caller.send("Crypto/Decrypt", &[("big", &large)], framed(b"x")).await;
    assert_eq!(response.unwrap().status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(nodes[0].count(), 0);
    let fits = "x".repeat(limits::FRONT_HEADER_LIST_BYTES_MAX as usize - 512);
    let reply = caller.call_with("Crypto/Decrypt", &[("big", &fits)], b"x").await;
    assert_eq!(reply.code(), Code::Ok);
}

#[tokio::test]
async fn requests_over_a_bound_are_refused_at_once_and_probes_are_not() {
    for key in ["requests", "requests_per_source"] {
        let (pki, nodes, front) = bounded(|config| match key {
            "requests" => config.limits.requests = 2,
            _ => config.limits.requests_per_source = 3,
        })
        .await;
        let caller = Caller::connect(&pki, &front, None).await;
        nodes[0].does(Does::Hangs);
        let held: Vec<_> = (0..2)
            .map(|_| {
                let caller = caller.clone();
                tokio::spawn(async move { caller.call("Crypto/Decrypt", b"x").await })
            })
            .collect();
        until("two are under way", || nodes[0].under_way() == 2).await;
        if key == "requests" {
            let reply = caller.call("Crypto/Decrypt", b"x").await;
            assert_eq!(
                (reply.code(), reply.reason().as_str()),
                (Code::ResourceExhausted, "OVERLOADED")
            );
            assert!(reply.info().unwrap().metadata.contains_key("bound"));
        }
        let reply = caller.call("/grpc.health.v1.Health/Check", b"").await;
        assert_eq!(reply.code(), Code::Ok);
        held.iter().for_each(tokio::task::JoinHandle::abort);
        until("none is under way", || nodes[0].under_way() == 0).await;
        nodes[0].does(Does::Echoes(std::time::Duration::ZERO));
        let again = tokio::time::timeout(LONG, async {
            while caller.call("Crypto/Decrypt", b"x").await.code() != Code::Ok {}
        });
        again.await.expect("there is room again");
    }
}

#[tokio::test]
async fn an_address_that_asks_too_fast_is_refused() {
    let (pki, nodes, front) = bounded(|config| config.limits.rate_per_source = 1).await;
    let caller = Caller::connect(&pki, &front, None).await;
    let mut refused = 0;
    for _ in 0..20 {
        let reply = caller.call("Crypto/Decrypt", b"x").await;
        if reply.code() == Code::ResourceExhausted {
            assert_eq!(reply.reason(), "OVERLOADED");
            refused += 1;
        }
    }
    assert!(refused > 0);
    assert_eq!(nodes[0].count(), 20 - refused);
}

#[tokio::test]
async fn connections_of_one_address_are_bounded_before_their_handshake() {
    let (pki, _nodes, front) = bounded(|config| config.limits.connections_per_source = 2).await;
    let first = Caller::connect(&pki, &front, None).await;
    let held = [tls(&pki, &front, None).await.unwrap()];
    assert!(tls(&pki, &front, None).await.is_err());
    assert_eq!(first.call("Crypto/Decrypt", b"x").await.code(), Code::Ok);
    drop(held);
    let again =
        tokio::time::timeout(LONG, async { while tls(&pki, &front, None).await.is_err() {} });
    again.await.expect("there is room again");
    let (_, metrics) = monitor(&front, "/metrics").await;
    assert!(metrics.contains("strongroom_front_connections_refused_total"), "{metrics}");
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed_and_one_at_work_is_not() {
    let (pki, nodes, front) = bounded(|config| config.limits.idle_ms = 1000).await;
    // Not even the preface of HTTP/2.
    let mut half_open = tls(&pki, &front, None).await.unwrap();
    let idle = Caller::connect(&pki, &front, None).await;
    assert_eq!(idle.call("Crypto/Decrypt", b"x").await.code(), Code::Ok);
    nodes[0].does(Does::Hangs);
    let busy = Caller::connect(&pki, &front, None).await;
    let at_work = busy.clone();
    let call = tokio::spawn(async move { at_work.call("Crypto/Decrypt", b"x").await });
    until("a call is under way", || nodes[0].under_way() == 1).await;
    until("the idle connection is closed", || idle.is_closed()).await;
    let closed = tokio::time::timeout(LONG, async {
        let mut rest = Vec::new();
        let _ = half_open.read_to_end(&mut rest).await;
    });
    closed.await.expect("the half-open connection is closed");
    assert!(!busy.is_closed());
    call.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_not_read_are_bounded_and_their_connection_is_closed() {
    let (pki, nodes, front) = bounded(|config| {
        config.limits.answer_bytes = limits::FRONT_ANSWER_MESSAGE_BYTES_MAX;
        config.limits.stall_ms = 2000;
    })
    .await;
    nodes[0].does(Does::Answers(3_000_000));
    let slow = Caller::connect(&pki, &front, None).await;
    let mut unread = Vec::new();
    let mut lost = 0;
    for _ in 0..4 {
        let response = slow.send("Audit/ListEvents", &[], framed(b"x")).await.unwrap();
        lost += usize::from(response.headers().contains_key("grpc-status"));
        unread.push(response);
    }
    assert_eq!(lost, 2, "two answers of 3 MB fit 8 MiB");
    nodes[0].does(Does::Answers(1000));
    let fast = Caller::connect(&pki, &front, None).await;
    assert_eq!(fast.call("Audit/ListEvents", b"x").await.code(), Code::Ok);
    until("the connection that isn't read is closed", || slow.is_closed()).await;
    nodes[0].does(Does::Answers(3_000_000));
    let again = tokio::time::timeout(LONG, async {
        while fast.call("Audit/ListEvents", b"x").await.code() != Code::Ok {}
    });
    again.await.expect("the room is given back");
}
