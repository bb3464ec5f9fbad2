//! Encryption contexts: bounds, order and canonical bytes.

use criterion::{BatchSize, BenchmarkId, Criterion};
use strongroom_crypto::Context;

pub(crate) fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("context");
    for count in [1, 8] {
        // In an order that is not the canonical one.
        let pairs: Vec<_> = (0..count)
            .rev()
            .map(|number| (format!("name-of-pair-{number}"), format!("value {number}")))
            .collect();
        group.bench_function(BenchmarkId::new("canonical bytes", count), |bencher| {
            bencher.iter_batched(
                || pairs.clone(),
                |pairs| {
                    let context = Context::new(pairs).expect("a few short pairs are a context");
                    context.canonical_bytes()
                },
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}
