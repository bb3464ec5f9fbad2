//! Which node gets a request, and what becomes of one whose node is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use strongroom_wire::v1::NodeState;
use tokio::task::JoinSet;
use tonic::Code;

use crate::support::{Caller, Does, LONG, Node, Pki, addresses, cluster, front, monitor, until};

/// Calls from `tasks` tasks until `stop`; gives those that failed.
fn load(
    caller: &Caller,
    tasks: usize,
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
) -> JoinSet<Vec<String>> {
    let mut running = JoinSet::new();
    for _ in 0..tasks {
        let (caller, stop, done) = (caller.clone(), Arc::clone(&stop), Arc::clone(&done));
        running.spawn(async move {
            let mut failed = Vec::new();
            while !stop.load(SeqCst) {
                let reply = caller.call("Crypto/GenerateDataKey", b"key").await;
                if reply.code() == Code::Ok {
                    done.fetch_add(1, SeqCst);
                } else {
                    failed.push(format!("{:?}: {}", reply.code(), reply.message()));
                }
            }
            failed
        });
    }
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_on_one_connection_are_spread_over_all_nodes_within_a_tenth() {
    let (_pki, nodes, _front, caller) = cluster(3).await;
    for node in &nodes {
        node.does(Does::Echoes(Duration::from_millis(3)));
    }
    let mut running = JoinSet::new();
    for _ in 0..12 {
        let caller = caller.clone();
        running.spawn(async move {
            for _ in 0..150 {
                assert_eq!(caller.call("Crypto/Encrypt", b"x").await.code(), Code::Ok);
            }
        });
    }
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    let counts: Vec<usize> = nodes.iter().map(Node::count).collect();
    assert_eq!(counts.iter().sum::<usize>(), 1800);
    assert!(counts.iter().all(|count| (540..=660).contains(count)), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_fails_no_call() {
    let (_pki, mut nodes, _front, caller) = cluster(3).await;
    let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
    let mut running = load(&caller, 8, Arc::clone(&stop), Arc::clone(&done));
    until("every node is called", || nodes.iter().all(|node| node.count() > 20)).await;
    drop(nodes.remove(0));
    let killed = done.load(SeqCst);
    until("calls go on", || done.load(SeqCst) > killed + 200).await;
    stop.store(true, SeqCst);
    while let Some(failed) = running.join_next().await {
        assert_eq!(failed.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_sealed_node_is_left_and_taken_again_when_it_serves() {
    let (_pki, nodes, front, caller) = cluster(2).await;
    nodes[0].does(Does::Is(NodeState::Sealed));
    // Found out by a call or by a probe: neither costs a caller anything.
    for _ in 0..50 {
        assert_eq!(caller.call("Crypto/Decrypt", b"x").await.code(), Code::Ok);
    }
    let status = async || monitor(&front, "/status").await.1;
    let seen = tokio::time::timeout(LONG, async {
        while !status().await.contains("\"sealed\"") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    seen.await.expect("the state of the sealed node is shown");
    let refused = nodes[0].count();
    for _ in 0..50 {
        assert_eq!(caller.call("Crypto/Decrypt", b"x").await.code(), Code::Ok);
    }
    assert_eq!(nodes[0].count(), refused);
    nodes[0].does(Does::Echoes(Duration::ZERO));
    let again = tokio::time::timeout(LONG, async {
        while nodes[0].count() == refused {
            assert_eq!(caller.call("Crypto/Decrypt", b"x").await.code(), Code::Ok);
        }
    });
    again.await.expect("the node is taken again");
}

#[tokio::test]
async fn a_front_that_reaches_no_serving_node_says_in_which_state_each_is() {
    let pki = Pki::new();
    let nodes =
        [Node::start(&pki, 1).await, Node::start(&pki, 2).await, Node::start(&pki, 3).await];
    nodes[0].does(Does::Is(NodeState::Sealed));
    nodes[1].does(Does::Is(NodeState::Verifying));
    let [_, _, gone] = &nodes;
    gone.kill();
    let front = front(&pki, addresses(&nodes), |_| {}).await;
    let caller = Caller::connect(&pki, &front, None).await;
    let expected = [(0, "sealed"), (1, "verifying"), (2, "unreachable")];
    let told = tokio::time::timeout(LONG, async {
        loop {
            // A node that verifies will serve soon: a call waits for it, but not for
            // longer than it may.
            let reply = caller.call_with("Crypto/Decrypt", &[("grpc-timeout", "500m")], b"x").await;
            assert_ne!(reply.code(), Code::Ok);
            let info = reply.info().unwrap();
            let state = |index: usize| info.metadata.get(&nodes[index].address());
            let all = expected
                .iter()
                .all(|(index, words)| state(*index).is_some_and(|state| state == words));
            if all {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let reply = told.await.expect("each node's state is named");
    assert_eq!((reply.code(), reply.reason().as_str()), (Code::Unavailable, "NO_SERVING_NODE"));
    for (index, words) in expected {
        let said = format!("{} is {words}", nodes[index].address());
        assert!(reply.message().contains(&said), "{}", reply.message());
    }
    assert_eq!(monitor(&front, "/readyz").await.0, 503);
    nodes[0].does(Does::Echoes(Duration::ZERO));
    tokio::time::timeout(LONG, front.ready()).await.unwrap();
    assert_eq!(monitor(&front, "/readyz").await.0, 200);
}

#[tokio::test]
async fn a_change_whose_node_is_lost_is_not_sent_again_and_a_use_is() {
    let (_pki, nodes, _front, caller) = cluster(2).await;
    for (path, is_sent_again) in [("Access/CreateToken", false), ("Crypto/Decrypt", true)] {
        let before: usize = nodes.iter().map(Node::count).sum();
        nodes.iter().for_each(|node| node.does(Does::Hangs));
        let (sender, path) = (caller.clone(), path.to_owned());
        let call = tokio::spawn(async move { sender.call(&path, b"x").await });
        until("a node has it", || nodes.iter().any(|node| node.under_way() == 1)).await;
        // Only the connection breaks: both nodes are there for what comes.
        let lost = nodes.iter().find(|node| node.under_way() == 1).unwrap();
        nodes.iter().for_each(|node| node.does(Does::Echoes(Duration::ZERO)));
        lost.disconnect();
        let reply = call.await.unwrap();
        let sent = nodes.iter().map(Node::count).sum::<usize>() - before;
        if is_sent_again {
            assert_eq!((reply.code(), sent), (Code::Ok, 2));
        } else {
            assert_eq!((reply.reason().as_str(), sent), ("OUTCOME_UNKNOWN", 1));
        }
    }
}
