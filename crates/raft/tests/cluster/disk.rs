//! Disks that are slow, hang or fail.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use strongroom_raft::{FatalReason, RaftConfig};
use strongroom_storage::{BeforeSync, StorageError};

use crate::harness::{Cluster, eventually};

/// A disk that can be made to hang.
#[derive(Clone, Default)]
struct Brake(Arc<AtomicBool>);

impl Brake {
    fn hook(&self) -> BeforeSync {
        let Self(pulled) = self.clone();
        Arc::new(move || {
            while pulled.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            Ok(())
        })
    }

    fn pull(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn release(&self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

async fn with_brakes(tweak: fn(&mut RaftConfig)) -> (Cluster, Vec<Brake>) {
    let mut cluster = Cluster::start_with(3, tweak).await;
    let brakes: Vec<Brake> = (0..3).map(|_| Brake::default()).collect();
    for (node, brake) in (1..=3).zip(&brakes) {
        cluster.stop(node).await;
        cluster.node(node).before_sync = Some(brake.hook());
        cluster.run(node).await;
    }
    cluster.raft(1).form(cluster.members()).await.unwrap();
    cluster.leader().await;
    (cluster, brakes)
}

fn impatient(config: &mut RaftConfig) {
    config.flush_lag_max_ms = 1500;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_with_a_hung_disk_applies_nothing_ahead_of_it_hands_over_and_exits() {
    let (cluster, brakes) = with_brakes(impatient).await;
    cluster.create_many(5).await;
    let hung = cluster.leader().await;
    let brake = &brakes[usize::try_from(hung).unwrap() - 1];
    brake.pull();
    let node = cluster.running(hung);
    // Committed by the two others, and not applied where it is not durable.
    let applied = node.raft.applied();
    let pending = tokio::spawn({
        let raft = node.raft.clone();
        let command = crate::batch::create_row(8, 1, applied.0, 0);
        async move { raft.propose(command).await }
    });
    let leads =
        |other: &u64| cluster.raft(*other).status().leads_within(Duration::from_millis(500));
    let successor = eventually("another leader", || {
        assert!(node.raft.applied().0 <= node.log.durable_index().unwrap_or(0));
        (1..=3).filter(|other| *other != hung).find(leads)
    })
    .await;
    let raft = cluster.raft(successor);
    let command = crate::batch::create_row(8, 2, raft.applied().0, 0);
    let index = raft.propose(command).await.unwrap().index;
    let exit = &cluster.nodes[usize::try_from(hung).unwrap() - 1].exit;
    let reason = eventually("the exit", || exit.lock().clone()).await;
    assert!(matches!(reason, FatalReason::FlushLag { .. }), "{reason:?}");
    assert!(node.raft.applied().0 <= node.log.durable_index().unwrap_or(0));
    brake.release();
    // Once the disk works again, the node has what the others have.
    cluster.agree_at(index).await;
    pending.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_with_a_hung_disk_holds_nobody_up() {
    let (cluster, brakes) = with_brakes(impatient).await;
    let leader = cluster.leader().await;
    let hung = cluster.follower().await;
    let brake = &brakes[usize::try_from(hung).unwrap() - 1];
    brake.pull();
    for _ in 0..20 {
        cluster.create(0).await;
        let node = cluster.running(hung);
        assert!(node.raft.applied().0 <= node.log.durable_index().unwrap_or(0));
    }
    assert_eq!(cluster.leader().await, leader);
    brake.release();
    let index = cluster.create(0).await;
    cluster.agree_at(index).await;
    assert_eq!(*cluster.nodes[usize::try_from(hung).unwrap() - 1].exit.lock(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_is_told_of_ends_raft_on_its_node_and_holds_nobody_up() {
    let mut cluster = Cluster::formed(3).await;
    let node = cluster.follower().await;
    cluster.stop(node).await;
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&broken);
    let before_sync: BeforeSync = Arc::new(move || {
        if breaks.load(Ordering::SeqCst) {
            return Err(StorageError::Full { path: "/disk".into(), operation: "writing the log" });
        }
        Ok(())
    });
    cluster.node(node).before_sync = Some(before_sync);
    cluster.run(node).await;
    let index = cluster.create(0).await;
    cluster.agree_at(index).await;

    broken.store(true, Ordering::SeqCst);
    cluster.create_many(3).await;
    let failure = cluster.failure(node).await;
    assert!(matches!(failure, StorageError::Full { .. }), "{failure}");
    let exit = &cluster.nodes[usize::try_from(node).unwrap() - 1].exit;
    let reason = eventually("the exit", || exit.lock().clone()).await;
    assert!(matches!(reason, FatalReason::Stopped { .. }), "{reason:?}");
    cluster.stop(node).await;
    cluster.create(0).await;
}
