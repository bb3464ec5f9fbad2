//! Streams through a front.

use http_body_util::BodyExt as _;
use strongroom_wire::v1::NodeState;
use tonic::Code;

use crate::support::{Caller, Does, Node, Pki, Then, addresses, cluster, framed, front, until};

const TAIL: &str = "Audit/TailEvents";

#[tokio::test]
async fn a_stream_comes_message_by_message_and_whole() {
    let (_pki, nodes, _front, caller) = cluster(1).await;
    nodes[0].does(Does::Streams { messages: 300, then: Then::Ends });
    let reply = caller.call(TAIL, b"filter").await;
    assert_eq!(reply.code(), Code::Ok);
    assert_eq!(reply.body.len(), 300 * 6);
    assert_eq!(reply.headers["x-of-the-node"], "yes");
    assert!(nodes[0].seen()[0].header("grpc-timeout").is_none(), "it may last");

    nodes[0].does(Does::Streams { messages: 1, then: Then::Waits });
    let mut stream = caller.send(TAIL, &[], framed(b"")).await.unwrap().into_body();
    let first = stream.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, framed(&[0]));
    assert_eq!(nodes[0].streams(), 1);
    drop(stream);
    until("the node's stream ends with its caller", || nodes[0].streams() == 0).await;
}

#[tokio::test]
async fn a_stream_without_a_message_is_opened_elsewhere_and_one_with_a_message_is_not() {
    let (_pki, nodes, _front, caller) = cluster(2).await;
    let holder = |path_count: [usize; 2]| {
        nodes.iter().zip(path_count).find(|(node, before)| node.count() > *before).unwrap().0
    };
    for (messages, goes_on) in [(0, true), (1, false)] {
        let before = [nodes[0].count(), nodes[1].count()];
        for node in &nodes {
            node.does(Does::Streams { messages, then: Then::Waits });
        }
        let mut stream = caller.send(TAIL, &[], framed(b"")).await.unwrap().into_body();
        for _ in 0..messages {
            stream.frame().await.unwrap().unwrap();
        }
        for node in &nodes {
            node.does(Does::Streams { messages: 1, then: Then::Ends });
        }
        holder(before).disconnect();
        let rest = stream.collect().await.unwrap();
        let trailers = rest.trailers().unwrap();
        let status = tonic::Status::from_header_map(trailers).unwrap();
        if goes_on {
            assert_eq!(status.code(), Code::Ok, "{status:?}");
            assert_eq!(rest.to_bytes(), framed(&[0]));
        } else {
            assert_eq!(status.code(), Code::Unavailable);
            assert!(rest.to_bytes().is_empty());
        }
    }
}

#[tokio::test]
async fn a_stream_that_no_node_grants_is_refused() {
    let (_pki, nodes, _front, caller) = cluster(1).await;
    nodes[0].does(Does::Refuses(Code::PermissionDenied, "ACCESS_DENIED"));
    assert_eq!(caller.call(TAIL, b"").await.reason(), "ACCESS_DENIED");
    nodes[0].does(Does::Is(NodeState::Sealed));
    assert_eq!(caller.call(TAIL, b"").await.reason(), "NO_SERVING_NODE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_not_read_stops_nobody_elses_and_is_closed() {
    let pki = Pki::new();
    let nodes = [Node::start(&pki, 1).await];
    let front = front(&pki, addresses(&nodes), |config| config.limits.stall_ms = 6000).await;
    front.ready().await;
    nodes[0].does(Does::Streams { messages: 0, then: Then::Floods });
    let slow = Caller::connect(&pki, &front, None).await;
    let mut unread = Vec::new();
    for _ in 0..20 {
        unread.push(slow.send(TAIL, &[], framed(b"")).await.unwrap());
    }
    // More than one connection between front and node would take unread.
    until("the streams are full", || nodes[0].streamed_bytes() > 5_500_000).await;
    nodes[0].does(Does::Streams { messages: 200, then: Then::Ends });
    let fast = Caller::connect(&pki, &front, None).await;
    let reply = fast.call(TAIL, b"").await;
    assert_eq!((reply.code(), reply.body.len()), (Code::Ok, 1200));
    assert!(!slow.is_closed(), "nobody had to go for that");
    until("the connection that isn't read is closed", || slow.is_closed()).await;
    until("the node's streams are, too", || nodes[0].streams() == 0).await;
    assert!(!fast.is_closed());
}
