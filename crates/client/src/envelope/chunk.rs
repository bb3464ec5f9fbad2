//! Chunks: their order, their bytes, and what is refused of either.
//!
//! Does no I/O. [`Outgoing`] and [`Incoming`] give each chunk its place in the
//! message; [`Frame`] is the memory of one chunk and encrypts or decrypts it there,
//! on any thread.

use std::ops::Range;

use strongroom_base::limits::ENVELOPE_CHUNKS_MAX;
use strongroom_crypto::{ChunkKey, ChunkPlace, TAG_BYTES};
use zeroize::Zeroizing;

const HEAD_BYTES: usize = 4;
/// Bytes that a chunk adds to its text.
const OVERHEAD_BYTES: usize = HEAD_BYTES + TAG_BYTES;
const LAST: u32 = 1 << 31;

/// What is wrong with a chunk. Chunks are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// It was changed, or is not the chunk that belongs here.
    #[error("chunk {chunk} of the envelope is damaged or doesn't belong there")]
    NotAuthentic {
        /// Its number.
        chunk: u64,
    },
    /// The stream ends before the last chunk does.
    #[error("the envelope is cut off at chunk {chunk}")]
    Truncated {
        /// The chunk that isn't there, or not whole.
        chunk: u64,
    },
    /// Something follows the last chunk.
    #[error("something follows the end of the envelope")]
    TrailingBytes,
    /// A chunk that is not the last, and shorter than a full one.
    #[error("chunk {chunk} of the envelope is short, and not the last")]
    ShortChunk {
        /// Its number.
        chunk: u64,
    },
    /// A chunk longer than a full one.
    #[error("chunk {chunk} of the envelope is longer than its header allows")]
    LongChunk {
        /// Its number.
        chunk: u64,
    },
    /// A last chunk without text behind others.
    #[error("the last chunk of the envelope is empty")]
    EmptyLastChunk,
    /// More than [`ENVELOPE_CHUNKS_MAX`].
    #[error("an envelope has at most {ENVELOPE_CHUNKS_MAX} chunks: take longer ones")]
    TooManyChunks,
}

/// The places of a message that is being encrypted. Invariant: it gives each
/// number once, and nothing after the last.
pub(super) struct Outgoing {
    number: u64,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self { number: 0 }
    }

    /// The place of a full chunk that others follow.
    ///
    /// # Errors
    ///
    /// [`ChunkError::TooManyChunks`] where no other could follow.
    pub(super) fn next(&mut self) -> Result<ChunkPlace, ChunkError> {
        let number = self.number;
        if number + 1 >= ENVELOPE_CHUNKS_MAX {
            return Err(ChunkError::TooManyChunks);
        }
        self.number += 1;
        Ok(ChunkPlace { number, last: false })
    }

    /// The place of the chunk that ends the message.
    pub(super) fn last(self) -> ChunkPlace {
        ChunkPlace { number: self.number, last: true }
    }
}

/// The places of a message that is being decrypted.
pub(super) struct Incoming {
    chunk_bytes: usize,
    number: u64,
}

/// What the bytes of one chunk are, by its head. Nothing of it is authentic.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    pub(super) place: ChunkPlace,
    /// Bytes of its text.
    pub(super) len: usize,
    /// Whether more bytes were read than belong to it.
    pub(super) surplus: bool,
}

impl Incoming {
    pub(super) fn new(chunk_bytes: usize) -> Self {
        Self { chunk_bytes, number: 0 }
    }

    /// The next chunk: `frame` is as long as a full one, or shorter where the
    /// stream ends in it. Nothing may be asked after the last.
    ///
    /// # Errors
    ///
    /// [`ChunkError`] for everything but what the tag tells.
    pub(super) fn next(&mut self, frame: &[u8]) -> Result<Arrival, ChunkError> {
        let chunk = self.number;
        if chunk >= ENVELOPE_CHUNKS_MAX {
            return Err(ChunkError::TooManyChunks);
        }
        let head = frame.first_chunk().ok_or(ChunkError::Truncated { chunk })?;
        let head = u32::from_be_bytes(*head);
        let (last, len) = (head & LAST != 0, (head & !LAST) as usize);
        if len > self.chunk_bytes {
            return Err(ChunkError::LongChunk { chunk });
        }
        if !last && len < self.chunk_bytes {
            return Err(ChunkError::ShortChunk { chunk });
        }
        if last && len == 0 && chunk > 0 {
            return Err(ChunkError::EmptyLastChunk);
        }
        if frame.len() < OVERHEAD_BYTES + len {
            return Err(ChunkError::Truncated { chunk });
        }
        self.number += 1;
        let surplus = frame.len() > OVERHEAD_BYTES + len;
        Ok(Arrival { place: ChunkPlace { number: chunk, last }, len, surplus })
    }
}

/// Memory for one chunk: head, text, tag. Wiped when dropped.
pub(super) struct Frame(Zeroizing<Vec<u8>>);

impl Frame {
    pub(super) fn new(chunk_bytes: usize) -> Self {
        Self(Zeroizing::new(vec![0; chunk_bytes + OVERHEAD_BYTES]))
    }

    /// All of it.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// The first bytes of it.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.0[range]
    }

    /// Room for the text of a full chunk.
    pub(super) fn text_mut(&mut self) -> &mut [u8] {
        let end = self.0.len() - TAG_BYTES;
        &mut self.0[HEAD_BYTES..end]
    }

    /// Encrypts the first `len` bytes of the text; says where the chunk is.
    pub(super) fn encrypt(
        &mut self,
        key: &ChunkKey,
        place: ChunkPlace,
        len: usize,
    ) -> Range<usize> {
        let length = u32::try_from(len).expect("bounded by ENVELOPE_CHUNK_BYTES_MAX");
        let head = if place.last { length | LAST } else { length };
        let (front, rest) = self.0.split_at_mut(HEAD_BYTES);
        front.copy_from_slice(&head.to_be_bytes());
        let (text, rest) = rest.split_at_mut(len);
        rest[..TAG_BYTES].copy_from_slice(&key.encrypt(place, text));
        0..OVERHEAD_BYTES + len
    }

    /// Decrypts the chunk that [`Incoming::next`] found here; says where its text
    /// is.
    ///
    /// # Errors
    ///
    /// [`ChunkError::NotAuthentic`]; the frame then holds nothing to look at.
    pub(super) fn decrypt(
        &mut self,
        key: &ChunkKey,
        place: ChunkPlace,
        len: usize,
    ) -> Result<Range<usize>, ChunkError> {
        let (text, rest) = self.0[HEAD_BYTES..].split_at_mut(len);
        let tag = rest.first_chunk().expect("a chunk that arrived whole has its tag");
        key.decrypt(place, text, tag)
            .map_err(|_| ChunkError::NotAuthentic { chunk: place.number })?;
        Ok(HEAD_BYTES..HEAD_BYTES + len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: usize = 1024;

    /// A frame of `bytes` bytes whose head says `last` and `len`.
    fn frame(last: bool, len: usize, bytes: usize) -> Vec<u8> {
        let mut frame = vec![0; bytes];
        let head = u32::try_from(len).unwrap() | if last { LAST } else { 0 };
        frame[..4].copy_from_slice(&head.to_be_bytes());
        frame
    }

    fn arrive(number: u64, frame: &[u8]) -> Result<Arrival, ChunkError> {
        Incoming { chunk_bytes: FULL, number }.next(frame)
    }

    #[test]
    fn a_missing_last_chunk_and_a_cut_one_are_truncation() {
        for bytes in [0, 3] {
            assert_eq!(arrive(5, &vec![0; bytes]), Err(ChunkError::Truncated { chunk: 5 }));
        }
        for (last, len) in [(false, FULL), (true, FULL), (true, 1)] {
            let cut = frame(last, len, len + 19);
            assert_eq!(arrive(5, &cut), Err(ChunkError::Truncated { chunk: 5 }));
        }
    }

    #[test]
    fn short_long_and_empty_chunks_are_refused_where_they_may_not_be() {
        let whole = FULL + OVERHEAD_BYTES;
        for len in [0, FULL - 1] {
            assert_eq!(
                arrive(0, &frame(false, len, whole)),
                Err(ChunkError::ShortChunk { chunk: 0 })
            );
        }
        for (last, len) in [(false, FULL + 1), (true, FULL + 1), (true, LAST as usize - 1)] {
            let error = ChunkError::LongChunk { chunk: 2 };
            assert_eq!(arrive(2, &frame(last, len, whole)), Err(error));
        }
        assert_eq!(arrive(1, &frame(true, 0, OVERHEAD_BYTES)), Err(ChunkError::EmptyLastChunk));
        let empty = arrive(0, &frame(true, 0, OVERHEAD_BYTES)).unwrap();
        assert_eq!((empty.len, empty.surplus), (0, false));
    }

    #[test]
    fn bytes_beyond_the_last_chunk_are_noticed() {
        let arrival = arrive(3, &frame(true, 10, 10 + OVERHEAD_BYTES + 1)).unwrap();
        assert!(arrival.surplus);
    }

    #[test]
    fn there_are_no_more_chunks_than_the_bound() {
        let mut outgoing = Outgoing { number: ENVELOPE_CHUNKS_MAX - 2 };
        assert!(outgoing.next().is_ok());
        assert_eq!(outgoing.next(), Err(ChunkError::TooManyChunks));
        assert_eq!(outgoing.last(), ChunkPlace { number: ENVELOPE_CHUNKS_MAX - 1, last: true });
        let last = frame(true, 1, 1 + OVERHEAD_BYTES);
        assert!(arrive(ENVELOPE_CHUNKS_MAX - 1, &last).is_ok());
        assert_eq!(arrive(ENVELOPE_CHUNKS_MAX, &last), Err(ChunkError::TooManyChunks));
    }
}
