//! Laws of envelopes: what was put in comes out, and nothing else ever does.
#![allow(clippy::unwrap_used, reason = "tests")]

mod vault;

use std::sync::LazyLock;

use proptest::{prelude::*, sample::Index};
use strongroom_client::{
    envelope::{ChunkError, Decryption, EnvelopeError, HeaderError},
    limits,
};
use tokio::runtime::Runtime;
use vault::{CHUNK, Vault, context, decrypt, encrypt, encryption, plaintext};

/// Bytes that a chunk adds.
const OVERHEAD: usize = 20;
/// Three full chunks and a short one.
const LEN: usize = 3 * CHUNK + 100;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap()
});

fn block_on<T>(law: impl Future<Output = T>) -> T {
    RUNTIME.block_on(law)
}

/// Decrypts what must be refused: nothing but whole chunks from the beginning of
/// `text` may have been released. Returns the refusal and how many chunks.
async fn refused(vault: &Vault, text: &[u8], envelope: &[u8]) -> (EnvelopeError, usize) {
    let (released, outcome) = decrypt(vault, &Decryption::new(), envelope).await;
    let error = outcome.expect_err("a changed envelope is refused");
    assert!(text.starts_with(&released), "released what was never encrypted: {error}");
    assert!(released.len().is_multiple_of(CHUNK) || released == text, "a part of a chunk");
    (error, released.len().div_ceil(CHUNK))
}

/// An envelope in pieces.
#[derive(Clone)]
struct Pieces {
    header: Vec<u8>,
    chunks: Vec<Vec<u8>>,
}

impl Pieces {
    fn of(envelope: &[u8]) -> Self {
        let length = u32::from_be_bytes(*envelope[8..].first_chunk().unwrap());
        let (header, chunks) = envelope.split_at(length as usize);
        let chunks = chunks.chunks(CHUNK + OVERHEAD).map(<[u8]>::to_vec).collect();
        Self { header: header.to_vec(), chunks }
    }

    fn join(&self) -> Vec<u8> {
        [&self.header[..], &self.chunks.concat()].concat()
    }
}

/// Sizes near the edges of chunks, and others.
fn sizes() -> impl Strategy<Value = usize> {
    let near = (0..6_usize, 0..5_usize).prop_map(|(n, near)| (n * CHUNK + near).saturating_sub(2));
    prop_oneof![near, 0..5 * CHUNK]
}

#[test]
fn any_flipped_bit_is_refused_and_no_byte_of_its_chunk_released() {
    block_on(async {
        let (vault, text) = (Vault::new(), plaintext(2 * CHUNK + 30));
        let envelope = encrypt(&vault, &encryption(), &text).await;
        let header_bytes = Pieces::of(&envelope).header.len();
        for bit in 0..envelope.len() * 8 {
            let mut changed = envelope.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let (error, released) = refused(&vault, &text, &changed).await;
            let chunk = (bit / 8).checked_sub(header_bytes).map_or(0, |at| at / (CHUNK + OVERHEAD));
            assert!(released <= chunk, "bit {bit}: {released} chunks released: {error}");
        }
    });
}

#[test]
fn a_stream_cut_at_any_byte_is_named_truncated() {
    block_on(async {
        let (vault, text) = (Vault::new(), plaintext(2 * CHUNK));
        let envelope = encrypt(&vault, &encryption(), &text).await;
        let header_bytes = Pieces::of(&envelope).header.len();
        for len in 1..envelope.len() {
            let (error, released) = refused(&vault, &text, &envelope[..len]).await;
            match error {
                EnvelopeError::Header(HeaderError::Truncated) => assert!(len < header_bytes),
                EnvelopeError::Chunk(ChunkError::Truncated { chunk }) => {
                    assert_eq!((len - header_bytes) as u64 / (CHUNK + OVERHEAD) as u64, chunk);
                    assert_eq!(released as u64, chunk);
                }
                other => panic!("{len} bytes: {other:?}"),
            }
        }
        let (error, _) = refused(&vault, &text, b"").await;
        assert!(matches!(error, EnvelopeError::Header(HeaderError::NotEnvelope)));
    });
}

#[test]
fn chunks_and_header_of_another_message_under_the_same_data_key_are_refused() {
    block_on(async {
        let (vault, text) = (Vault::new(), plaintext(LEN));
        let one = Pieces::of(&encrypt(&vault, &encryption(), &text).await);
        let other = Pieces::of(&encrypt(&vault, &encryption(), &text).await);
        let spliced = Pieces { header: other.header.clone(), chunks: one.chunks.clone() };
        let (error, released) = refused(&vault, &text, &spliced.join()).await;
        assert!(matches!(error, EnvelopeError::Chunk(ChunkError::NotAuthentic { chunk: 0 })));
        assert_eq!(released, 0);
        for at in 0..one.chunks.len() {
            let mut spliced = one.clone();
            spliced.chunks[at].clone_from(&other.chunks[at]);
            let (error, released) = refused(&vault, &text, &spliced.join()).await;
            let expected = ChunkError::NotAuthentic { chunk: at as u64 };
            assert!(matches!(error, EnvelopeError::Chunk(error) if error == expected), "{error}");
            assert_eq!(released, at);
        }
    });
}

#[test]
fn wrapped_keys_of_another_envelope_in_the_list_are_refused() {
    block_on(async {
        let text = plaintext(LEN);
        let (vault, mut foreign) = (Vault::new(), Vault::new());
        foreign.data_key = [8; 32];
        let pieces = Pieces::of(&encrypt(&vault, &encryption(), &text).await);
        let other = Pieces::of(&encrypt(&foreign, &encryption(), &text).await);
        // All but the message id and the commitment is the other's, and unwraps.
        let mut mixed = pieces.clone();
        let end = mixed.header.len() - 32;
        mixed.header[48..end].copy_from_slice(&other.header[48..end]);
        let (error, released) = refused(&vault, &text, &mixed.join()).await;
        assert!(matches!(error, EnvelopeError::NotCommitted), "{error}");
        assert_eq!(released, 0);
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_stream_of_any_size_comes_back(len in sizes()) {
        block_on(async {
            let (vault, text) = (Vault::new(), plaintext(len));
            let envelope = encrypt(&vault, &encryption(), &text).await;
            let (released, outcome) = decrypt(&vault, &Decryption::new(), &envelope).await;
            let done = outcome.unwrap();
            assert_eq!(done.plaintext_bytes, len as u64);
            assert_eq!((&*done.key_id, released), ("one", text));
            assert_eq!(done.context, context(&[("tenant", "42"), ("table", "orders")]));
            let chunks = Pieces::of(&envelope).chunks.len();
            assert_eq!(chunks, len.div_ceil(CHUNK).max(1));
        });
    }

    #[test]
    fn bytes_after_the_end_are_refused_whatever_they_are(
        len in sizes(),
        trailing in proptest::collection::vec(any::<u8>(), 1..2 * CHUNK),
    ) {
        block_on(async {
            let (vault, text) = (Vault::new(), plaintext(len));
            let envelope = encrypt(&vault, &encryption(), &text).await;
            let (error, _) = refused(&vault, &text, &[envelope, trailing].concat()).await;
            assert!(matches!(error, EnvelopeError::Chunk(ChunkError::TrailingBytes)), "{error}");
        });
    }

    #[test]
    fn chunks_that_are_swapped_left_out_or_repeated_are_refused(
        order in proptest::collection::vec(any::<Index>(), 0..8),
    ) {
        block_on(async {
            let (vault, text) = (Vault::new(), plaintext(LEN));
            let pieces = Pieces::of(&encrypt(&vault, &encryption(), &text).await);
            let count = pieces.chunks.len();
            let order: Vec<usize> = order.iter().map(|at| at.index(count)).collect();
            if order.iter().copied().eq(0..count) {
                return;
            }
            let chunks = order.iter().map(|&at| pieces.chunks[at].clone()).collect();
            let (_, released) =
                refused(&vault, &text, &Pieces { chunks, ..pieces }.join()).await;
            let right = order.iter().zip(0..count).take_while(|(at, place)| *at == place);
            assert_eq!(released, right.count());
        });
    }

    #[test]
    fn any_bytes_are_refused_or_decrypted_but_never_a_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        at in any::<Index>(),
    ) {
        block_on(async {
            let (vault, text) = (Vault::new(), plaintext(10));
            let mut envelope = encrypt(&vault, &encryption(), &text).await;
            let at = at.index(envelope.len());
            let end = envelope.len().min(at + bytes.len());
            envelope[at..end].copy_from_slice(&bytes[..end - at]);
            let (released, outcome) = decrypt(&vault, &Decryption::new(), &envelope).await;
            assert!(outcome.is_err() && released.is_empty() || released == text);
            assert!(decrypt(&vault, &Decryption::new(), &bytes).await.1.is_err());
        });
    }
}

#[test]
fn an_envelope_has_no_more_keys_and_no_longer_chunks_than_the_bounds() {
    block_on(async {
        let vault = Vault::new();
        let run = async |encryption: strongroom_client::envelope::Encryption| {
            let mut out = Vec::new();
            let outcome = encryption.run(&vault, &mut &b"x"[..], &mut out).await;
            assert!(outcome.is_ok() || out.is_empty());
            outcome.map(|done| done.key_ids.len())
        };
        let mut full = encryption();
        for _ in 2..limits::ENVELOPE_KEYS_MAX {
            full = full.with_key_id("more");
        }
        assert_eq!(run(full.clone()).await.unwrap(), limits::ENVELOPE_KEYS_MAX);
        let error = run(full.with_key_id("too many")).await.unwrap_err();
        assert!(matches!(error, EnvelopeError::Header(HeaderError::KeyCount { count: 17 })));
        for bytes in [0, CHUNK - 1, limits::ENVELOPE_CHUNK_BYTES_MAX + 1] {
            let error = run(encryption().with_chunk_bytes(bytes)).await.unwrap_err();
            assert!(matches!(error, EnvelopeError::Header(HeaderError::ChunkBytes { .. })));
        }
    });
}
