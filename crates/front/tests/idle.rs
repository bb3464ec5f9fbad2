//! What an idle connection costs. A process of its own: its memory is looked at.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "front/support/mod.rs"]
mod support;

use support::{Caller, Node, Pki, addresses, front};
use tonic::Code;

/// Connections: enough to tell what one costs.
const CONNECTIONS: usize = 500;
/// What one may cost, both of its ends together, as both are in this process: some
/// 100 KiB, and room. The front's end is the larger part.
const BYTES_MAX: usize = 150 * 1024;

/// Resident memory of this process, bytes (proc(5), `statm`, pages of 4 KiB).
fn resident_bytes() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    text.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_connection_is_cheap_whatever_was_asked_on_it() {
    let pki = Pki::new();
    let nodes = [Node::start(&pki, 1).await];
    let front = front(&pki, addresses(&nodes), |_| {}).await;
    front.ready().await;
    let first = Caller::connect(&pki, &front, None).await;
    let message = vec![7; 100_000];
    assert_eq!(first.call("Crypto/Decrypt", &message).await.code(), Code::Ok);
    let before = resident_bytes();
    let mut held = Vec::with_capacity(CONNECTIONS);
    for number in 0..CONNECTIONS {
        let caller = Caller::connect(&pki, &front, None).await;
        let size = if number % 10 == 0 { message.len() } else { 100 };
        assert_eq!(caller.call("Crypto/Decrypt", &message[..size]).await.code(), Code::Ok);
        held.push(caller);
    }
    let each = resident_bytes().saturating_sub(before) / CONNECTIONS;
    println!("{each} bytes a connection");
    assert!(each < BYTES_MAX, "{each} bytes a connection");
    assert!(held.iter().all(|caller| !caller.is_closed()));
}
