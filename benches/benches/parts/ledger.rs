//! The ledger: attempts that come together, their batch, their verdicts.
//!
//! It is the daemon's own affair and no public interface, so its source is
//! compiled here once more. The way to the leader is replaced by one that
//! answers at once: what is left is the queue, the batch's bytes and the waking.

#[path = "../../../crates/node/src"]
#[allow(dead_code, unused_imports, reason = "a part of it is measured")]
mod node {
    pub(crate) mod ledger;
}

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use node::ledger::{
    Attempt, BatchAuthority, Ledger, Proposals, Resolution, Sequences, Settled, run,
};
use prometheus::{Histogram, HistogramOpts};
use strongroom_base::{AuditSequence, BootId, LogIndex, NodeId};
use strongroom_format::store::{self, guard::Expect};
use strongroom_state::{BatchOutcome, Verdict};
use tokio::{runtime::Runtime, task::JoinSet};

use crate::apply::build;

/// Attempts at once at most.
const TOGETHER: u64 = 256;

/// Proves nothing, at no cost.
struct Unproven;

impl BatchAuthority for Unproven {
    fn mac(&self, _: &[u8]) -> Option<[u8; 32]> {
        Some([0; 32])
    }
}

/// A quorum that admits everything at once.
struct AtOnce;

impl Proposals for AtOnce {
    fn resolve(
        &self,
        _: u64,
        _: Bytes,
        _: [u8; 32],
        _: impl Fn() -> bool + Send + Sync,
        _: impl Fn(bool) + Send + Sync,
    ) -> impl Future<Output = Resolution> + Send {
        std::future::ready(Resolution::Applied(admitted()))
    }
}

pub(crate) fn measure(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime of one thread");
    let ledger = Ledger::default();
    ledger.open();
    let node = NodeId::new(1).expect("1 is an id");
    let boot = BootId { count: 1, nonce: 7 };
    let (sequences, authority) = (Arc::new(Sequences::default()), Arc::new(Unproven));
    let options = HistogramOpts::new("batch_attempts", "attempts of a batch");
    let attempts = Histogram::with_opts(options).expect("a valid name");
    let at_once = Arc::new(AtOnce);
    runtime.spawn(run(ledger.clone(), node, boot, sequences, authority, at_once, attempts));
    let mut group = criterion.benchmark_group("ledger");
    for count in [1, 64, TOGETHER] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("commit", count), |bencher| {
            bencher.iter_batched(
                || (0..count).map(attempt).collect::<Vec<_>>(),
                |attempts| commit(&runtime, &ledger, attempts),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

fn commit(runtime: &Runtime, ledger: &Ledger, attempts: Vec<Attempt>) {
    runtime.block_on(async {
        let mut waiting = JoinSet::new();
        for attempt in attempts {
            let ledger = ledger.clone();
            waiting.spawn(async move { ledger.commit(attempt).await });
        }
        while let Some(settled) = waiting.join_next().await {
            let settled = settled.expect("an attempt does not panic");
            assert!(matches!(settled, Settled::Verdict { .. }), "{settled:?}");
        }
    });
}

/// A use: five rows and the keyring are relied on, one record is written. All
/// attempts rely on the same.
fn attempt(number: u64) -> Attempt {
    let rows = (1..=5).map(|table| {
        build::expect(Expect::Row(store::RowVersion {
            table,
            row_id: vec![7; 16],
            revision: 3,
            tag: vec![9; 16],
        }))
    });
    let keyring = build::plain(store::PlainName::Keyring, 1);
    let record = build::record(number, 1, 1, 1);
    Attempt {
        transaction: store::Transaction {
            records: vec![record],
            ..build::transaction(9, 6, Vec::new())
        },
        guards: rows.chain([keyring]).collect(),
        deadline: Instant::now() + Duration::from_secs(60),
    }
}

fn admitted() -> BatchOutcome {
    BatchOutcome {
        node_id: 1,
        boot: BootId { count: 1, nonce: 7 },
        sequence: 1,
        log_index: LogIndex(9),
        repeated: false,
        verdicts: vec![Verdict::Admitted; usize::try_from(TOGETHER).expect("a small number")],
        first_sequence: AuditSequence(1),
    }
}
