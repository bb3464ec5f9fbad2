//! openraft's own suite for storage, on the real RocksDB.

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "tests measure and draw")]

use std::sync::Arc;

use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use strongroom_base::{ClusterId, LogIndex, NodeId};
use strongroom_raft::{
    ApplyObserver,
    conformance::{LogStore, NoGate, StateMachine, TypeConfig},
};
use strongroom_state::Applied;
use strongroom_storage::{DataDir, FatalHook, LogOptions, RaftLog, StateDb, StateOptions};
use tempfile::TempDir;

struct Nobody;

impl ApplyObserver for Nobody {
    fn applied(&self, _index: LogIndex, _applied: &Applied) {}

    fn installed(&self) {}
}

/// Makes an empty data directory for each test of the suite.
struct Directories;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, TempDir> for Directories {
    async fn build(&self) -> Result<(TempDir, LogStore, StateMachine), StorageError<TypeConfig>> {
        let temporary = tempfile::tempdir().unwrap();
        let cluster = ClusterId::from_bytes([1; 16]);
        let node = NodeId::new(1).unwrap();
        let directory =
            DataDir::open(&temporary.path().join("node"), cluster, node, [2; 16]).unwrap();
        let fatal: FatalHook = Arc::new(|error| panic!("storage failed: {error}"));
        let log = RaftLog::open(&directory, LogOptions::default(), Arc::clone(&fatal)).unwrap();
        let state = StateDb::open(&directory, StateOptions::default(), fatal).unwrap();
        let machine = StateMachine::open(state.clone(), NoGate, Arc::new(Nobody)).unwrap();
        Ok((temporary, LogStore::new(log, state), machine))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_keeps_every_promise_of_openrafts_own_suite() {
    Suite::test_all(Directories).await.unwrap();
}
