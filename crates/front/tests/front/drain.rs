//! The end of a front.

use std::time::Duration;

use prost::Message as _;
use tonic::Code;
use tonic_health::pb::HealthCheckResponse;

use crate::support::{Caller, Does, Node, Pki, Then, addresses, framed, front, monitor, until};

async fn cluster(lead_ms: u64) -> (Pki, Vec<Node>, strongroom_front::Front, Caller) {
    let pki = Pki::new();
    let nodes = vec![Node::start(&pki, 1).await];
    let front = front(&pki, addresses(&nodes), |config| config.drain.lead_ms = lead_ms).await;
    front.ready().await;
    let caller = Caller::connect(&pki, &front, None).await;
    (pki, nodes, front, caller)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_fails_no_request_and_ends_streams_and_connections() {
    let (_pki, nodes, front, caller) = cluster(0).await;
    nodes[0].does(Does::Streams { messages: 0, then: Then::Waits });
    let tail = caller.clone();
    let tail = tokio::spawn(async move { tail.call("Audit/TailEvents", b"").await });
    until("the stream is open", || nodes[0].streams() == 1).await;
    nodes[0].does(Does::Echoes(Duration::from_millis(300)));
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move { caller.call("Crypto/Decrypt", b"x").await.code() })
        })
        .collect();
    until("all are under way", || nodes[0].under_way() == 50).await;
    front.drain().await;
    for call in calls {
        assert_eq!(call.await.unwrap(), Code::Ok);
    }
    let ended = tail.await.unwrap();
    assert_eq!((ended.code(), ended.reason().as_str()), (Code::Unavailable, "SHUTTING_DOWN"));
    until("the connection is closed", || caller.is_closed()).await;
    assert!(caller.try_call("Crypto/Decrypt", &[], framed(b"x")).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_front_about_to_end_says_so_and_serves_on_for_a_while() {
    let (_pki, _nodes, front, caller) = cluster(3000).await;
    let monitored = front.monitor_address();
    assert_eq!(monitor(&front, "/readyz").await.0, 200);
    let draining = tokio::spawn(front.drain());
    let health = async || {
        let reply = caller.call("/grpc.health.v1.Health/Check", b"").await;
        HealthCheckResponse::decode(reply.payload()).unwrap().status
    };
    while health().await != 2 {
        assert!(!draining.is_finished());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(caller.call("Crypto/Decrypt", b"x").await.code(), Code::Ok);
    assert_eq!(crate::support::monitor_at(monitored, "/readyz").await.0, 503);
    draining.await.unwrap();
    until("the connection is closed", || caller.is_closed()).await;
}
