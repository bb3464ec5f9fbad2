//! Keys of an envelope: what the client library encrypts a stream with.
//!
//! ```text
//! header key  = KBKDF(data key, label ENVELOPE_HEADER, suite(2) ‖ message id(32))
//! content key = KBKDF(data key, label ENVELOPE_CONTENT, suite(2) ‖ message id(32))
//! commitment  = HMAC-SHA256(header key, label ENVELOPE_COMMITMENT ‖ 0x00 ‖ header)
//! chunk       = AES-256-GCM(content key, nonce, plaintext), no AAD
//! nonce       = 0(3) ‖ chunk number(8) ‖ 1 for the last chunk, else 0
//! ```
//!
//! The chunks are those of STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, 2015):
//! number and end are in the nonce, so that no chunk is taken for another.
//!
//! Nonce rule: the content key belongs to one message, whose id is drawn at
//! random; each number is used once under it ([`ChunkPlace`]). Limit: 2^32 chunks
//! of at most 1 MiB (SP 800-38D, section 8.3), 2^48 blocks in all.
//!
//! The commitment is the header's MAC and the commitment to the data key at once:
//! for two data keys to give the same one, two inputs of HMAC-SHA256 with keys of
//! equal length would have to collide, which is a collision of SHA-256. AES-GCM
//! alone commits to nothing: a ciphertext can be made that opens under two keys.
//!
//! Chunks are bulk, so they go through `aws-lc-rs`, which is several times as fast
//! as `aes-gcm` here; its expanded key lies on the ordinary heap while the message
//! lasts.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use strongroom_secmem::Secret;
use subtle::ConstantTimeEq;

use crate::{EnvelopeDataKey, TAG_BYTES, digest, kbkdf, labels};

/// Bytes of a message id.
pub const MESSAGE_ID_BYTES: usize = 32;
/// Bytes of the commitment that ends a header.
pub const ENVELOPE_COMMITMENT_BYTES: usize = 32;

/// How an envelope is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
#[non_exhaustive]
pub enum EnvelopeSuite {
    /// Chunks in AES-256-GCM, keys by KBKDF-CTR-HMAC-SHA256, commitment by
    /// HMAC-SHA256.
    Aes256GcmKbkdfSha256 = 1,
}

impl EnvelopeSuite {
    /// The suite of this number, where there is one.
    #[must_use]
    pub fn from_number(number: u16) -> Option<Self> {
        (number == Self::Aes256GcmKbkdfSha256.number()).then_some(Self::Aes256GcmKbkdfSha256)
    }

    /// Its number, as stored.
    #[must_use]
    pub const fn number(self) -> u16 {
        self as u16
    }
}

/// The header was changed, or belongs to another data key; no further detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the envelope's header does not belong to its data key")]
pub struct NotCommitted;

/// The chunk was not encrypted under this key at this place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not authentic")]
pub struct NotAuthenticChunk;

/// The keys of one message.
///
/// The key of its chunks comes out only with the header committed to or checked.
pub struct EnvelopeKeys {
    header: Secret<32>,
    content: Secret<32>,
}

impl EnvelopeKeys {
    /// Derives both. `message_id` was drawn at random for this message.
    #[must_use]
    pub fn derive(
        data_key: &EnvelopeDataKey,
        suite: EnvelopeSuite,
        message_id: &[u8; MESSAGE_ID_BYTES],
    ) -> Self {
        let suite = suite.number().to_be_bytes();
        let derive =
            |label| kbkdf::derive(data_key.expose(), label, &[&suite[..], &message_id[..]]);
        Self { header: derive(labels::ENVELOPE_HEADER), content: derive(labels::ENVELOPE_CONTENT) }
    }

    /// Commits to `header`, for encryption.
    #[must_use]
    pub fn commit(self, header: &[u8]) -> ([u8; ENVELOPE_COMMITMENT_BYTES], ChunkKey) {
        (self.commitment(header), ChunkKey::new(&self.content))
    }

    /// Checks in constant time that `commitment` is the one of `header`, for
    /// decryption.
    ///
    /// # Errors
    ///
    /// [`NotCommitted`].
    pub fn check(
        self,
        header: &[u8],
        commitment: &[u8; ENVELOPE_COMMITMENT_BYTES],
    ) -> Result<ChunkKey, NotCommitted> {
        let same: bool = self.commitment(header).ct_eq(commitment).into();
        if same { Ok(ChunkKey::new(&self.content)) } else { Err(NotCommitted) }
    }

    fn commitment(&self, header: &[u8]) -> [u8; ENVELOPE_COMMITMENT_BYTES] {
        digest::hmac_sha256(self.header.expose(), labels::ENVELOPE_COMMITMENT, &[header])
    }
}

/// Where a chunk stands in its message. Whoever encrypts makes each number once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkPlace {
    /// Its number, from 0.
    pub number: u64,
    /// Whether the message ends with it.
    pub last: bool,
}

impl ChunkPlace {
    fn nonce(self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[3..11].copy_from_slice(&self.number.to_be_bytes());
        nonce[11] = u8::from(self.last);
        Nonce::assume_unique_for_key(nonce)
    }
}

/// The key of the chunks of one message. May be used by several threads at once.
pub struct ChunkKey(LessSafeKey);

impl ChunkKey {
    fn new(content: &Secret<32>) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, content.expose())
            .expect("32 bytes are a key of AES-256-GCM");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts `text` in place; gives the tag.
    #[must_use]
    pub fn encrypt(&self, place: ChunkPlace, text: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self
            .0
            .seal_in_place_separate_tag(place.nonce(), Aad::empty(), text)
            .expect("AES-GCM refuses only messages beyond 2^36 bytes");
        tag.as_ref().try_into().expect("a tag of AES-GCM has 16 bytes")
    }

    /// Checks `tag` and decrypts `text` in place.
    ///
    /// # Errors
    ///
    /// [`NotAuthenticChunk`]; `text` must then not be looked at.
    pub fn decrypt(
        &self,
        place: ChunkPlace,
        text: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), NotAuthenticChunk> {
        let opened = self.0.open_in_place_separate_tag(place.nonce(), Aad::empty(), tag, text);
        opened.map(|_| ()).map_err(|_| NotAuthenticChunk)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::aead;

    const SUITE: EnvelopeSuite = EnvelopeSuite::Aes256GcmKbkdfSha256;

    fn keys(data_key: u8, message_id: u8) -> EnvelopeKeys {
        let data_key = EnvelopeDataKey::init_with(|key| key.fill(data_key));
        EnvelopeKeys::derive(&data_key, SUITE, &[message_id; MESSAGE_ID_BYTES])
    }

    #[test]
    fn a_commitment_of_another_header_data_key_or_message_is_refused() {
        let (commitment, _) = keys(1, 1).commit(b"header");
        let refused = |keys: EnvelopeKeys, header| keys.check(header, &commitment).is_err();
        assert!(refused(keys(1, 1), b"Header"));
        assert!(refused(keys(2, 1), b"header"));
        assert!(refused(keys(1, 2), b"header"));
        assert!(!refused(keys(1, 1), b"header"));
    }

    #[test]
    fn a_chunk_opens_at_its_own_place_only() {
        let key = keys(1, 1).commit(b"").1;
        let place = ChunkPlace { number: 7, last: false };
        let mut text = *b"text";
        let tag = key.encrypt(place, &mut text);
        for other in [
            ChunkPlace { number: 8, ..place },
            ChunkPlace { number: 7 << 8, ..place },
            ChunkPlace { last: true, ..place },
        ] {
            assert_eq!(key.decrypt(other, &mut text.clone(), &tag), Err(NotAuthenticChunk));
        }
        let foreign = keys(1, 2).commit(b"").1;
        assert_eq!(foreign.decrypt(place, &mut text.clone(), &tag), Err(NotAuthenticChunk));
        assert_eq!(key.decrypt(place, &mut text, &tag), Ok(()));
        assert_eq!(&text, b"text");
    }

    proptest! {
        /// Both libraries give the same bytes.
        #[test]
        fn a_chunk_is_what_the_other_aes_gcm_makes_of_it(
            number in any::<u64>(),
            last in any::<bool>(),
            text in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let keys = keys(3, 4);
            let mut iv = [0; 12];
            iv[3..11].copy_from_slice(&number.to_be_bytes());
            iv[11] = u8::from(last);
            let mut expected = Vec::new();
            aead::encrypt(keys.content.expose(), &iv, b"", &text, &mut expected);
            let mut made = text;
            let tag = keys.commit(b"").1.encrypt(ChunkPlace { number, last }, &mut made);
            made.extend_from_slice(&tag);
            prop_assert_eq!(made, expected);
        }
    }
}
