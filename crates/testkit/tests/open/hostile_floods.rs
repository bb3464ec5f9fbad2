//! Floods of large requests: memory stays bounded, and refusals are clear.

use std::time::Duration;

use futures::future::join_all;
use prost::Message as _;
use strongroom_base::limits::CLIENT_MESSAGE_BYTES_MAX;
use strongroom_testkit::{
    Cluster,
    hostile::{all_methods, frame, raw_call},
};
use strongroom_wire::v1::InitRequest;

const MIB: usize = 1024 * 1024;
/// Growth of resident memory that hostile callers may cause.
const GROWTH_MAX: u64 = 64 * MIB as u64;

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_large_requests_leave_memory_bounded() {
    let cluster = Cluster::builder("floods").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let node = cluster.node(1);
    let user = node.caller().with_token(&tenant.user).with_deadline(Duration::from_secs(5));
    // What memory a node takes once it has worked at all.
    for _ in 0..50 {
        user.data_key(&tenant.key_id, &[]).await.unwrap();
    }
    let before = node.resident_bytes().unwrap();

    let largest = frame(&vec![0; CLIENT_MESSAGE_BYTES_MAX - 16]);
    let too_large = frame(&vec![0; 5 * MIB]);
    let init = frame(
        &InitRequest {
            init_token: vec![1; CLIENT_MESSAGE_BYTES_MAX / 4 * 3],
            ..Default::default()
        }
        .encode_to_vec(),
    );
    let callers = [node.caller(), user.clone(), cluster.administrator(node)];
    let methods: Vec<_> = all_methods().unwrap().into_iter().collect();
    let mut peak = before;
    for (position, path) in methods.iter().enumerate() {
        let caller =
            callers[position % callers.len()].clone().with_deadline(Duration::from_secs(3));
        let calls = (0..24).map(|number| {
            let body = match number % 3 {
                0 => largest.clone(),
                1 => too_large.clone(),
                _ => init.clone(),
            };
            let caller = &caller;
            async move { raw_call(caller, path, body, &[]).await }
        });
        for answer in join_all(calls).await {
            // The connection may be closed on what is far too large.
            let Ok(answer) = answer else { continue };
            assert!(answer.is_refusal(), "{path}: {answer:?}");
        }
        let resident = node.resident_bytes().unwrap();
        if resident > peak {
            println!("{path}: {:.1} MiB", resident as f64 / MIB as f64);
            peak = resident;
        }
    }
    let growth = peak - before;
    println!("at first: {:.1} MiB", before as f64 / MIB as f64);
    println!("resident memory grew by {:.1} MiB at most", growth as f64 / MIB as f64);
    assert!(growth < GROWTH_MAX, "resident memory grew by {growth} bytes");
    user.data_key(&tenant.key_id, &[]).await.unwrap();
    cluster.finish().await.unwrap();
}
