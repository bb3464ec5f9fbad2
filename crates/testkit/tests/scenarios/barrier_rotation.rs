//! The barrier is rotated while keys are made and used.

use std::time::Duration;

use futures::future::join_all;
use strongroom_testkit::{Cluster, Explain as _, StatusExt as _, load::Load, rounds::rounds, wait};
use strongroom_wire::v1::{
    DropEpochRequest, EpochKind, ListEpochsRequest, ListEpochsResponse, RotateBarrierRequest,
};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(60);

async fn epochs(cluster: &Cluster) -> ListEpochsResponse {
    let administrator = cluster.administrator(cluster.node(2));
    let response = administrator.cluster().list_epochs(ListEpochsRequest {}).await;
    response.explain("ListEpochs").unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn rotation_racing_with_creation_and_use_loses_nothing() {
    let cluster = Cluster::builder("rotation").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let load = Load::start(&cluster, &tenant, 8);
    let mut creators = JoinSet::new();
    for caller in cluster.callers(&tenant.administrator) {
        creators.spawn(async move {
            let mut made = Vec::new();
            for number in 0..20 {
                // Refused under contention means not made, and is no loss.
                if let Ok(key) = caller.create_key(&format!("key {number}")).await {
                    made.push(key);
                }
            }
            made
        });
    }
    let mut newest = 0;
    for round in 0..rounds(4) {
        // Two at once: each makes an epoch of its own, or is told that it lost.
        let administrators = cluster.callers(&tenant.administrator);
        let rotations = (0..2).map(|step| {
            let caller = &administrators[(round + step) % 3];
            async move { caller.cluster().rotate_barrier(RotateBarrierRequest {}).await }
        });
        for rotated in join_all(rotations).await {
            match rotated {
                Ok(response) => newest = newest.max(response.into_inner().barrier_epoch),
                Err(status) => assert_eq!(status.reason(), "CONTENTION", "{status:?}"),
            }
        }
        load.progress(50, PATIENCE).await.unwrap();
    }
    assert!(newest > 1, "no rotation came through");
    let made = creators.join_all().await.concat();
    assert!(!made.is_empty());
    let history = load.stop().await.unwrap();

    // Everything is readable now, and after every node was sealed and unsealed.
    for restarted in [false, true] {
        if restarted {
            for node in cluster.nodes() {
                node.kill().unwrap();
            }
            for node in cluster.nodes() {
                node.start().await.unwrap();
            }
            cluster.unseal_all().await.unwrap();
        }
        cluster.equal_hashes().await.unwrap();
        for node in cluster.nodes() {
            let user = node.caller().with_token(&tenant.user);
            history.all_decrypts(&user).await.unwrap();
            for key in &made {
                let auditor = node.caller().with_token(&tenant.auditor);
                auditor.key_state(key).await.explain("a key that was made").unwrap();
                user.data_key(key, &[]).await.explain("its material").unwrap();
            }
        }
    }
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_in_use_is_not_dropped_and_an_empty_one_is() {
    let cluster = Cluster::builder("drop-epoch").serving().await.unwrap();
    let administrator = cluster.administrator(cluster.node(1));
    let drop_epoch = async |kind: EpochKind, epoch| {
        let request = DropEpochRequest { kind: kind.into(), epoch };
        administrator.cluster().drop_epoch(request).await
    };
    // The newest, and one that rows stand under.
    for _ in 0..2 {
        let status = drop_epoch(EpochKind::Barrier, 1).await.unwrap_err();
        assert_eq!(status.reason(), "EPOCH_IN_USE");
        let status = drop_epoch(EpochKind::Audit, 1).await.unwrap_err();
        assert_eq!(status.reason(), "EPOCH_IN_USE");
        administrator.cluster().rotate_barrier(RotateBarrierRequest {}).await.unwrap();
    }
    let status = drop_epoch(EpochKind::Barrier, 99).await.unwrap_err();
    assert_eq!(status.reason(), "EPOCH_NOT_FOUND");
    // Epoch 2 was the newest for no longer than a rotation takes: nothing but
    // that rotation's own records may stand under it.
    let unused = wait::until("an epoch without rows", PATIENCE, || async {
        let epochs = epochs(&cluster).await.epochs;
        let empty = epochs.iter().find(|epoch| {
            epoch.kind() == EpochKind::Barrier && epoch.epoch == 2 && epoch.count == 0
        });
        empty.map(|epoch| epoch.epoch).ok_or_else(|| anyhow::anyhow!("{epochs:?}"))
    })
    .await
    .unwrap();
    drop_epoch(EpochKind::Barrier, unused).await.explain("an empty epoch").unwrap();
    let left = epochs(&cluster).await.epochs;
    let still =
        left.iter().any(|epoch| epoch.kind() == EpochKind::Barrier && epoch.epoch == unused);
    assert!(!still, "{left:?}");
    cluster.finish().await.unwrap();
}
