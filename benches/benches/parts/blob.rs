//! Ciphertext blobs: a derivation of the message key and AES-GCM each.

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use strongroom_base::{KeyId, KeyVersion, limits::PLAINTEXT_BYTES_MAX};
use strongroom_crypto::{
    BlobKey, Context, IV_BYTES, MaterialKey, N_BYTES, Nonces, decrypt_blob, encrypt_blob,
};

/// A data key, and the largest plaintext.
const SIZES: [usize; 2] = [32, PLAINTEXT_BYTES_MAX];
const KEY: BlobKey = BlobKey { key_id: KeyId::from_bytes([7; 16]), version: KeyVersion(1) };

pub(crate) fn measure(criterion: &mut Criterion) {
    let material = MaterialKey::init_with(|key| key.fill(0x5a));
    let context = Context::new([("table".to_owned(), "customers".to_owned())])
        .expect("one short pair is a context");
    // The same nonces each time: nothing of this leaves the measurement.
    let nonces = || Nonces { n: [1; N_BYTES], iv: [2; IV_BYTES] };
    let mut group = criterion.benchmark_group("blob");
    for size in SIZES {
        let plaintext = vec![3; size];
        let encrypt = |nonces| encrypt_blob(&material, KEY, nonces, &context, &plaintext);
        let blob = encrypt(nonces()).expect("no longer than a plaintext may be");
        group.throughput(Throughput::Bytes(size as u64));
        group.bench_function(BenchmarkId::new("encrypt", size), |bencher| {
            bencher.iter_batched(nonces, encrypt, BatchSize::SmallInput);
        });
        group.bench_function(BenchmarkId::new("decrypt", size), |bencher| {
            // Not kept: plaintexts lie in the arena of locked memory, which is small.
            bencher.iter(|| decrypt_blob(&material, &context, black_box(&blob)));
        });
    }
    group.finish();
}
