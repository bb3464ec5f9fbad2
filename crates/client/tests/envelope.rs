//! Envelopes and those around them: keys that open them, readers and writers.
#![allow(clippy::unwrap_used, reason = "tests")]

mod vault;

use std::{
    io,
    pin::Pin,
    sync::atomic::Ordering,
    task::{Context as Poller, Poll},
};

use strongroom_client::envelope::{ChunkError, Decryption, Encryption, EnvelopeError, HeaderError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf, duplex};
use vault::{CHUNK, Vault, context, decrypt, encrypt, encryption, plaintext};

#[tokio::test]
async fn an_envelope_that_lacks_an_expected_pair_is_refused_before_a_key_is_used() {
    let vault = Vault::new();
    let envelope = encrypt(&vault, &encryption(), b"text").await;
    for pairs in [&[("tenant", "43")][..], &[("tenant", "42"), ("owner", "ann")]] {
        let decryption = Decryption::new().with_context(context(pairs));
        let (released, outcome) = decrypt(&vault, &decryption, &envelope).await;
        assert!(matches!(outcome, Err(EnvelopeError::UnexpectedContext)));
        assert!(released.is_empty() && vault.asked.lock().unwrap().is_empty());
    }
    let decryption = Decryption::new().with_context(context(&[("tenant", "42")]));
    assert_eq!(decrypt(&vault, &decryption, &envelope).await.0, b"text");
}

#[tokio::test]
async fn only_expected_keys_are_used() {
    let vault = Vault::new();
    let envelope = encrypt(&vault, &encryption(), b"text").await;
    let (_, outcome) = decrypt(&vault, &Decryption::new().with_key_id("three"), &envelope).await;
    assert!(matches!(outcome, Err(EnvelopeError::UnexpectedKey)));
    assert!(vault.asked.lock().unwrap().is_empty());
    let decryption = Decryption::new().with_key_id("three").with_key_id("two");
    assert_eq!(decrypt(&vault, &decryption, &envelope).await.1.unwrap().key_id, "two");
    assert_eq!(*vault.asked.lock().unwrap(), ["two"]);
}

#[tokio::test]
async fn a_forged_key_id_in_the_header_does_not_pass_for_the_expected_key() {
    let vault = Vault::new();
    let encryption = Encryption::new("one");
    let mut envelope = encrypt(&vault, &encryption, b"text").await;
    let at = envelope.windows(7).position(|bytes| bytes == b"key/one").unwrap();
    envelope[at + 4..at + 7].copy_from_slice(b"two");
    let (released, outcome) =
        decrypt(&vault, &Decryption::new().with_key_id("two"), &envelope).await;
    assert!(matches!(outcome, Err(EnvelopeError::NotUnwrapped(_))));
    assert!(released.is_empty());
}

#[tokio::test]
async fn each_key_of_the_list_opens_the_envelope_alone() {
    let mut vault = Vault::new();
    let envelope = encrypt(&vault, &encryption(), b"text").await;
    vault.disabled = vec!["one"];
    let (released, outcome) = decrypt(&vault, &Decryption::new(), &envelope).await;
    assert_eq!((outcome.unwrap().key_id, &*released), ("two".to_owned(), &b"text"[..]));
    vault.disabled = vec!["one", "two"];
    let (_, outcome) = decrypt(&vault, &Decryption::new(), &envelope).await;
    assert!(matches!(outcome, Err(EnvelopeError::NotUnwrapped(_))));
}

#[tokio::test]
async fn no_further_key_is_tried_where_the_source_does_not_answer() {
    let vault = Vault::new();
    let envelope = encrypt(&vault, &encryption(), b"text").await;
    vault.unreachable.store(true, Ordering::Relaxed);
    let (_, outcome) = decrypt(&vault, &Decryption::new(), &envelope).await;
    assert!(matches!(outcome, Err(EnvelopeError::NotUnwrapped(_))));
    assert_eq!(vault.asked.lock().unwrap().len(), 1);
}

/// Gives one byte, says that it is interrupted, gives the next.
struct Trickle<'a> {
    bytes: &'a [u8],
    interrupt: bool,
}

impl AsyncRead for Trickle<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Poller<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.interrupt = !self.interrupt;
        if self.interrupt {
            return Poll::Ready(Err(io::ErrorKind::Interrupted.into()));
        }
        if let Some((first, rest)) = self.bytes.split_first() {
            buffer.put_slice(&[*first]);
            self.bytes = rest;
        }
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_reader_that_gives_single_bytes_is_read_to_its_end() {
    let (vault, text) = (Vault::new(), plaintext(2 * CHUNK));
    let mut envelope = Vec::new();
    let mut reader = Trickle { bytes: &text, interrupt: false };
    encryption().run(&vault, &mut reader, &mut envelope).await.unwrap();
    let mut reader = Trickle { bytes: &envelope, interrupt: false };
    let mut released = Vec::new();
    Decryption::new().run(&vault, &mut reader, &mut released).await.unwrap();
    assert_eq!(released, text);
}

#[tokio::test]
async fn a_reader_that_fails_leaves_an_envelope_that_is_refused() {
    struct Broken;
    impl AsyncRead for Broken {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Poller<'_>,
            _: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
        }
    }
    let (vault, text) = (Vault::new(), plaintext(3 * CHUNK));
    let mut envelope = Vec::new();
    let outcome = encryption().run(&vault, &mut text.chain(Broken), &mut envelope).await;
    assert!(matches!(outcome, Err(EnvelopeError::Read(_))));
    let (released, outcome) = decrypt(&vault, &Decryption::new(), &envelope).await;
    assert!(matches!(outcome, Err(EnvelopeError::Chunk(ChunkError::Truncated { chunk: 2 }))));
    assert_eq!(released, text[..2 * CHUNK]);
}

#[tokio::test]
async fn a_writer_that_stalls_stalls_the_reader() {
    let vault = Vault::new();
    let (mut feeder, mut source) = duplex(CHUNK);
    let (mut sink, _held) = duplex(CHUNK);
    let mut run =
        std::pin::pin!(async { encryption().run(&vault, &mut source, &mut sink).await.map(drop) });
    let mut fed = 0;
    let feed = async {
        loop {
            fed += feeder.write(&[0; CHUNK]).await.unwrap();
        }
    };
    let stalled = tokio::time::timeout(std::time::Duration::from_millis(500), async {
        tokio::select! {
            outcome = &mut run => panic!("ended before its stream: {outcome:?}"),
            () = feed => {}
        }
    });
    assert!(stalled.await.is_err());
    assert!(fed <= 12 * CHUNK, "{fed} bytes were taken ahead of the writer");
}

#[tokio::test]
async fn a_writer_that_is_gone_ends_the_work_though_the_reader_waits() {
    let vault = Vault::new();
    let (mut feeder, mut source) = duplex(CHUNK);
    let (mut sink, gone) = duplex(CHUNK);
    drop(gone);
    let encryption = encryption();
    let run = encryption.run(&vault, &mut source, &mut sink);
    let feed = async {
        feeder.write_all(&plaintext(4 * CHUNK)).await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        outcome = run => assert!(matches!(outcome, Err(EnvelopeError::Write(_)))),
        () = feed => {}
    }
}

#[tokio::test]
async fn what_is_no_envelope_is_refused_before_a_key_is_used() {
    let vault = Vault::new();
    let (_, outcome) = decrypt(&vault, &Decryption::new(), b"age-encryption.org/v1\n").await;
    assert!(matches!(outcome, Err(EnvelopeError::Header(HeaderError::NotEnvelope))));
    assert!(vault.asked.lock().unwrap().is_empty());
}

#[test]
fn a_run_may_be_given_to_another_thread() {
    fn send<T: Send>(_: &T) {}
    let (vault, encryption, decryption) = (Vault::new(), encryption(), Decryption::new());
    let (mut reader, mut writer) = (tokio::io::empty(), tokio::io::sink());
    send(&encryption.run(&vault, &mut reader, &mut writer));
    send(&decryption.run(&vault, &mut reader, &mut writer));
}
