//! What of a request reaches a node, and what of an answer its caller.

use std::time::Duration;

use strongroom_net::{PeerIdentity, Role};
use strongroom_wire::v1::NodeState;
use tonic::Code;

use crate::support::{Caller, Does, Node, cluster, framed, until};

const ID: &str = "0195f3a0-0000-4000-8000-000000000001";

#[tokio::test]
async fn credentials_and_metadata_travel_and_the_answer_comes_back_as_it_was() {
    let (_pki, nodes, _front, caller) = cluster(1).await;
    let headers =
        [("authorization", "Bearer srt_secret"), ("x-request-id", ID), ("traceparent", "00-ab")];
    let reply = caller.call_with("Crypto/Encrypt", &headers, b"message").await;
    assert_eq!((reply.code(), reply.payload()), (Code::Ok, &b"message"[..]));
    assert_eq!(reply.headers["x-of-the-node"], "yes");
    assert_eq!(reply.request_id(), ID);
    let seen = nodes[0].seen().remove(0);
    assert_eq!(seen.path, "/strongroom.v1.Crypto/Encrypt");
    for (name, value) in headers {
        assert_eq!(seen.header(name), Some(value));
    }
    assert!(matches!(seen.identity.unwrap().role, Role::Front(name) if name == "edge"));
}

#[tokio::test]
async fn a_refusal_of_a_node_passes_with_its_details() {
    let (_pki, nodes, _front, caller) = cluster(2).await;
    for node in &nodes {
        node.does(Does::Refuses(Code::PermissionDenied, "ACCESS_DENIED"));
    }
    let reply = caller.call("Crypto/Encrypt", b"x").await;
    assert_eq!((reply.code(), reply.message()), (Code::PermissionDenied, "no, says the node"));
    let info = reply.info().unwrap();
    assert_eq!(info.reason, "ACCESS_DENIED");
    assert_eq!(info.metadata["told"], "by the node");
    assert_eq!(nodes.iter().map(Node::count).sum::<usize>(), 1, "nobody else is asked");
}

#[tokio::test]
async fn a_request_id_is_the_same_for_every_attempt_and_drawn_where_there_is_none() {
    let (_pki, nodes, _front, caller) = cluster(2).await;
    for node in &nodes {
        node.does(Does::Refuses(Code::FailedPrecondition, "SEALED"));
    }
    let reply = caller.call("Crypto/Encrypt", b"x").await;
    assert_eq!(reply.reason(), "NO_SERVING_NODE");
    let ids: Vec<_> = nodes
        .iter()
        .flat_map(Node::seen)
        .map(|seen| seen.header("x-request-id").unwrap().to_owned())
        .collect();
    assert_eq!(ids, [reply.request_id(), reply.request_id()]);

    let reply = caller.call_with("Crypto/Encrypt", &[("x-request-id", "mine")], b"x").await;
    assert_eq!(reply.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_caller_is_spoken_for_by_address_and_client_certificate() {
    let (pki, nodes, front, anonymous) = cluster(1).await;
    let app = Caller::connect(&pki, &front, Some(&pki.client("app"))).await;
    let alice = Caller::connect(&pki, &front, Some(&pki.operator("alice"))).await;
    for caller in [&app, &alice, &anonymous] {
        assert_eq!(caller.call("Access/WhoAmI", b"").await.code(), Code::Ok);
    }
    let seen = nodes[0].seen();
    let said: Vec<_> =
        seen.iter().map(|seen| seen.header("strongroom-forwarded-identity")).collect();
    let role = Role::Client("app".to_owned());
    let uri = PeerIdentity { cluster: pki.cluster(), role }.to_string();
    assert_eq!(said, [Some(uri.as_str()), None, None]);
    assert!(seen.iter().all(|seen| seen.header("strongroom-forwarded-for") == Some("127.0.0.1")));
}

#[tokio::test]
async fn a_caller_that_says_what_only_a_front_may_say_is_refused() {
    let (pki, nodes, front, anonymous) = cluster(1).await;
    let app = Caller::connect(&pki, &front, Some(&pki.client("app"))).await;
    for caller in [&app, &anonymous] {
        for name in ["strongroom-forwarded-for", "strongroom-forwarded-identity"] {
            let reply = caller.call_with("Access/WhoAmI", &[(name, "192.0.2.1")], b"").await;
            assert_eq!(reply.code(), Code::PermissionDenied, "{name}");
        }
    }
    assert_eq!(nodes[0].count(), 0);
}

#[tokio::test]
async fn what_acts_on_one_node_is_not_routed() {
    let (_pki, nodes, _front, caller) = cluster(1).await;
    for path in [
        "Seal/Init",
        "Seal/SubmitShare",
        "Seal/SealNode",
        "Cluster/NodeStatus",
        "Cluster/TransferLeader",
        "Cluster/TakeSnapshot",
    ] {
        let reply = caller.call(path, b"a share").await;
        assert_eq!(reply.code(), Code::FailedPrecondition, "{path}");
        assert_eq!(reply.reason(), "NOT_THROUGH_A_FRONT", "{path}");
    }
    for path in ["Crypto/Invented", "/strongroom.peer.v1.Node/Report", "/"] {
        assert_eq!(caller.call(path, b"x").await.code(), Code::Unimplemented, "{path}");
    }
    assert_eq!(nodes[0].count(), 0);
}

#[tokio::test]
async fn a_node_is_given_less_time_than_its_caller_has() {
    let (_pki, nodes, _front, caller) = cluster(1).await;
    caller.call_with("Crypto/Encrypt", &[("grpc-timeout", "4S")], b"x").await;
    caller.call("Crypto/Encrypt", b"x").await;
    let micros = |seen: &crate::support::Seen| {
        let given = seen.header("grpc-timeout").unwrap().strip_suffix('u').unwrap().to_owned();
        given.parse::<u64>().unwrap()
    };
    let given: Vec<_> = nodes[0].seen().iter().map(micros).collect();
    assert!(given[0] < 4_000_000 && given[0] > 1_000_000, "{given:?}");
    assert!(given[1] < 10_000_000 && given[1] > 5_000_000, "{given:?}");
}

#[tokio::test]
async fn a_deadline_ends_a_call_and_the_node_is_told() {
    let (_pki, nodes, _front, caller) = cluster(1).await;
    nodes[0].does(Does::Hangs);
    for path in ["Crypto/Encrypt", "Access/CreateToken"] {
        let reply = caller.call_with(path, &[("grpc-timeout", "400m")], b"x").await;
        assert_eq!(reply.code(), Code::DeadlineExceeded, "{path}");
        assert_eq!(reply.reason(), "DEADLINE_EXCEEDED");
    }
    until("the node's calls are cancelled", || nodes[0].under_way() == 0).await;
}

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_call_from_the_node() {
    let (_pki, nodes, _front, caller) = cluster(1).await;
    nodes[0].does(Does::Hangs);
    let call = tokio::spawn(async move { caller.call("Crypto/Encrypt", b"x").await });
    until("the node has it", || nodes[0].under_way() == 1).await;
    call.abort();
    until("the node's call is cancelled", || nodes[0].under_way() == 0).await;
}

#[tokio::test]
async fn a_key_is_created_once_unless_it_has_a_client_token() {
    use prost::Message as _;
    use strongroom_wire::v1::CreateKeyRequest;

    let (_pki, nodes, _front, caller) = cluster(2).await;
    for (client_token, attempts) in [("", 1), ("once", 2)] {
        let before: usize = nodes.iter().map(Node::count).sum();
        for node in &nodes {
            node.does(Does::Refuses(Code::Unavailable, "OUTCOME_UNKNOWN"));
        }
        let request =
            CreateKeyRequest { client_token: client_token.to_owned(), ..Default::default() };
        let headers = [("grpc-timeout", "300m")];
        let reply = caller.call_with("Keys/CreateKey", &headers, &request.encode_to_vec()).await;
        assert_eq!(reply.reason(), "OUTCOME_UNKNOWN");
        let sent = nodes.iter().map(Node::count).sum::<usize>() - before;
        assert!(sent >= attempts && (attempts > 1 || sent == 1), "{sent}");
    }
}

#[tokio::test]
async fn health_and_reflection_are_the_fronts_own() {
    use prost::Message as _;
    use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

    let (_pki, nodes, _front, caller) = cluster(1).await;
    let check = async |service: &str| {
        let request = HealthCheckRequest { service: service.to_owned() }.encode_to_vec();
        let reply = caller.call("/grpc.health.v1.Health/Check", &request).await;
        HealthCheckResponse::decode(reply.payload()).unwrap().status
    };
    assert_eq!((check("").await, check("strongroom.v1.Crypto").await), (1, 1));
    nodes[0].does(Does::Is(NodeState::Sealed));
    while check("").await != 2 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // list_services = 7, ""
    let reflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    let reply = caller.try_call(reflection, &[], framed(&[0x3a, 0])).await.unwrap();
    assert_eq!(reply.code(), Code::Ok);
    assert!(String::from_utf8_lossy(&reply.body).contains("strongroom.v1.Crypto"));
    assert_eq!(nodes[0].count(), 0);
}

#[tokio::test]
async fn what_is_no_grpc_is_told_so() {
    let (_pki, nodes, _front, caller) = cluster(1).await;
    let headers = [("content-type", "application/json")];
    let response = caller.send("Crypto/Encrypt", &headers, framed(b"x")).await.unwrap();
    assert_eq!(response.status(), http::StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert_eq!(nodes[0].count(), 0);
}
