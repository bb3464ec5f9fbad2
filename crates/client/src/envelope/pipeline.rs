//! Chunks on their way from a reader to a writer.
//!
//! One side reads into a frame and hands it to a thread; the other awaits the
//! threads in order and writes. So reading, cryptography and writing overlap, in
//! the memory of [`FRAMES`] chunks. A fault takes its place in the queue: what is
//! before it is written, what is behind it never.

use std::{io, ops::Range, panic::resume_unwind, sync::Arc};

use strongroom_crypto::ChunkKey;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::mpsc,
    task::{JoinHandle, spawn_blocking},
    try_join,
};

use super::{
    chunk::{Arrival, ChunkError, Frame, Incoming, Outgoing},
    error::EnvelopeError,
};

/// Chunks in memory: two at the reader, which must know whether another follows,
/// two on threads, two at the writer.
const FRAMES: usize = 6;

/// A chunk after its cryptography, and what of it is to be written.
type Done = (Frame, Range<usize>);

enum Item {
    Chunk(JoinHandle<Result<Done, ChunkError>>),
    Fault(EnvelopeError),
}

/// The reader's side.
struct Feed {
    free: mpsc::Receiver<Frame>,
    items: mpsc::Sender<Item>,
    key: Arc<ChunkKey>,
    chunk_bytes: usize,
}

/// The writer's side.
struct Drain {
    items: mpsc::Receiver<Item>,
    free: mpsc::Sender<Frame>,
}

fn pipeline(key: ChunkKey, chunk_bytes: usize) -> (Feed, Drain) {
    let (give, free) = mpsc::channel(FRAMES);
    let (send, items) = mpsc::channel(FRAMES);
    for _ in 0..FRAMES {
        give.try_send(Frame::new(chunk_bytes)).expect("the queue has room for all frames");
    }
    (Feed { free, items: send, key: Arc::new(key), chunk_bytes }, Drain { items, free: give })
}

/// Writes the chunks of all that `reader` gives; returns their bytes and those of
/// the text.
///
/// # Errors
///
/// [`EnvelopeError`], the first in the order of the stream.
pub(super) async fn encrypt(
    key: ChunkKey,
    chunk_bytes: usize,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> Result<Encrypted, EnvelopeError> {
    let (mut feed, drain) = pipeline(key, chunk_bytes);
    let read = async move {
        let text_bytes = match feed.encrypt(reader).await {
            Ok(text_bytes) => text_bytes,
            Err(fault) => {
                feed.send(Item::Fault(fault)).await;
                0
            }
        };
        Ok(text_bytes)
    };
    let (text_bytes, chunks_bytes) = try_join!(read, drain.write(writer))?;
    Ok(Encrypted { text_bytes, chunks_bytes })
}

/// What [`encrypt`] did.
pub(super) struct Encrypted {
    pub(super) text_bytes: u64,
    pub(super) chunks_bytes: u64,
}

/// Writes the text of all chunks that `reader` gives; returns its bytes.
///
/// # Errors
///
/// [`EnvelopeError`], the first in the order of the stream. What was written until
/// then is authentic, and not the whole.
pub(super) async fn decrypt(
    key: ChunkKey,
    chunk_bytes: usize,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> Result<u64, EnvelopeError> {
    let (mut feed, drain) = pipeline(key, chunk_bytes);
    let read = async move {
        if let Err(fault) = feed.decrypt(reader).await {
            feed.send(Item::Fault(fault)).await;
        }
        Ok(())
    };
    let ((), text_bytes) = try_join!(read, drain.write(writer))?;
    Ok(text_bytes)
}

impl Feed {
    /// Returns only after the last chunk was handed over, or with a fault.
    async fn encrypt(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> Result<u64, EnvelopeError> {
        let mut outgoing = Outgoing::new();
        let mut text_bytes = 0;
        let mut frame = self.frame().await;
        let mut len = fill(reader, frame.text_mut()).await?;
        while len == self.chunk_bytes {
            let mut next = self.frame().await;
            let next_len = fill(reader, next.text_mut()).await?;
            if next_len == 0 {
                break;
            }
            let place = outgoing.next()?;
            text_bytes += len as u64;
            self.work(frame, move |frame, key| Ok(frame.encrypt(key, place, len))).await;
            (frame, len) = (next, next_len);
        }
        let place = outgoing.last();
        self.work(frame, move |frame, key| Ok(frame.encrypt(key, place, len))).await;
        Ok(text_bytes + len as u64)
    }

    /// Returns only after the last chunk was handed over and the stream has ended,
    /// or with a fault.
    async fn decrypt(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
    ) -> Result<(), EnvelopeError> {
        let mut incoming = Incoming::new(self.chunk_bytes);
        loop {
            let mut frame = self.frame().await;
            let full = frame.bytes_mut().len();
            let read = fill(reader, frame.bytes_mut()).await?;
            let Arrival { place, len, surplus } = incoming.next(frame.bytes(0..read))?;
            self.work(frame, move |frame, key| frame.decrypt(key, place, len)).await;
            if place.last {
                // A short read was the end of the stream already.
                let more = surplus || (read == full && fill(reader, &mut [0]).await? > 0);
                return if more { Err(ChunkError::TrailingBytes.into()) } else { Ok(()) };
            }
        }
    }

    async fn frame(&mut self) -> Frame {
        match self.free.recv().await {
            Some(frame) => frame,
            // The drain has failed and is flushing: it ends all of this.
            None => std::future::pending().await,
        }
    }

    /// Hands a frame to a thread, and its outcome to the writer.
    async fn work(
        &self,
        mut frame: Frame,
        work: impl FnOnce(&mut Frame, &ChunkKey) -> Result<Range<usize>, ChunkError> + Send + 'static,
    ) {
        let key = Arc::clone(&self.key);
        let outcome = spawn_blocking(move || {
            let range = work(&mut frame, &key)?;
            Ok((frame, range))
        });
        self.send(Item::Chunk(outcome)).await;
    }

    async fn send(&self, item: Item) {
        // Where the drain has failed, this future is dropped before the next poll.
        let _ = self.items.send(item).await;
    }
}

impl Drain {
    /// Writes and flushes; returns how many bytes. Writes nothing of or behind a
    /// chunk with a fault, and flushes what is before it.
    async fn write(self, writer: &mut (impl AsyncWrite + Unpin)) -> Result<u64, EnvelopeError> {
        let written = self.write_chunks(writer).await;
        let flushed = writer.flush().await;
        let written = written?;
        flushed.map_err(EnvelopeError::Write)?;
        Ok(written)
    }

    async fn write_chunks(
        mut self,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Result<u64, EnvelopeError> {
        let mut written = 0;
        while let Some(item) = self.items.recv().await {
            let (frame, range) = match item {
                Item::Chunk(outcome) => match outcome.await {
                    Ok(done) => done?,
                    // Cancelled it is only with the runtime, and this with it.
                    Err(error) => resume_unwind(error.into_panic()),
                },
                Item::Fault(fault) => return Err(fault),
            };
            written += range.len() as u64;
            writer.write_all(frame.bytes(range)).await.map_err(EnvelopeError::Write)?;
            // The feed may have ended: the frame is wiped then.
            let _ = self.free.try_send(frame);
        }
        Ok(written)
    }
}

/// Reads until `buffer` is full or the stream ends; returns how many bytes.
///
/// # Errors
///
/// [`EnvelopeError::Read`].
pub(super) async fn fill(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut [u8],
) -> Result<usize, EnvelopeError> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]).await {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(EnvelopeError::Read(error)),
        }
    }
    Ok(filled)
}
