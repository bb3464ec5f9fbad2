//! Text form of a share, made to be read out, written down and typed.
//!
//! ```text
//! strongroom-share-xxxxxx-xxxxxx-…     40 groups of 6 symbols
//! ```
//!
//! The symbols are base32 (5 bits each, most significant first) of
//!
//! | bytes | field |
//! |---|---|
//! | 141 | binary form |
//! | 9 | checksum: the first bytes of SHA-256(label SHARE_CHECKSUM ‖ 0x00 ‖ binary form) |
//!
//! in the alphabet `0123456789abcdefghjkmnpqrstvwxyz`. Reading ignores case,
//! white space, line breaks and hyphens, and takes `i` and `l` for `1` and `o`
//! for `0`. A mistake of typing passes the checksum once in 2^72.
//!
//! Every format, present and later, ends with that checksum over all that
//! stands before it, so that a newer share is told from a mistyped one.
//!
//! Encoding and decoding look symbols up in tables; a share is handled a few
//! times in its life, by its holder, and not at an attacker's wish.

use std::sync::LazyLock;

use data_encoding::{Encoding, Specification};
use strongroom_secmem::{SecretBytes, SecretText, scrubbed};

use super::{BINARY_BYTES, FORMAT, Share};
use crate::{digest, labels};

const PREFIX: &str = "strongroom-share-";
/// The prefix as it is left by [`squeeze`].
const PREFIX_SQUEEZED: &[u8] = b"strongroomshare";
const ALPHABET: &str = "0123456789abcdefghjkmnpqrstvwxyz";
const CHECKSUM_BYTES: usize = 9;
const GROUP_CHARS: usize = 6;
const SYMBOLS: usize = (BINARY_BYTES + CHECKSUM_BYTES) * 8 / 5;
const TEXT_CHARS: usize = PREFIX.len() + SYMBOLS + SYMBOLS / GROUP_CHARS - 1;
/// Longest text that is looked at: room for spaces, quotes of line breaks, and
/// the shares of a later format.
const TEXT_CHARS_MAX: usize = 4 * TEXT_CHARS;

const _: () = assert!(SYMBOLS.is_multiple_of(GROUP_CHARS));
const _: () = assert!(((BINARY_BYTES + CHECKSUM_BYTES) * 8).is_multiple_of(5));

static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str(ALPHABET);
    specification.translate.from.push_str("ilo");
    specification.translate.to.push_str("110");
    specification.encoding().expect("32 distinct symbols, and translations into them")
});

/// Why a text is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareTextError {
    /// Does not begin as a share does, or is far too long.
    #[error("this is not a share: a share begins with {PREFIX:?}")]
    NotAShare,
    /// Begins as a share does, but its checksum does not fit: something is
    /// mistyped or missing.
    #[error("the share is mistyped: please compare it with the original")]
    Mistyped,
    /// A share of a format that this program does not know.
    #[error("the share has the unknown format {format:#04x}: use a newer program")]
    UnsupportedFormat {
        /// The format byte.
        format: u8,
    },
    /// Typed as it was made, but what it says of itself contradicts itself.
    #[error("the share contradicts itself: it was not made by this program")]
    Inconsistent,
}

impl Share {
    /// Reads the text form.
    ///
    /// # Errors
    ///
    /// [`ShareTextError`].
    pub fn parse(text: &str) -> Result<Self, ShareTextError> {
        scrubbed(|| {
            let squeezed = squeeze(text)?;
            let symbols = squeezed.expose();
            let symbols = symbols.strip_prefix(PREFIX_SQUEEZED).ok_or(ShareTextError::NotAShare)?;
            let decoded = decode(symbols)?;
            let (binary, checksum) =
                decoded.expose().split_last_chunk().ok_or(ShareTextError::Mistyped)?;
            if checksum_of(binary) != *checksum {
                return Err(ShareTextError::Mistyped);
            }
            match *binary {
                [FORMAT, ..] => binary.try_into().ok().and_then(Self::from_binary),
                [format, ..] => return Err(ShareTextError::UnsupportedFormat { format }),
                [] => None,
            }
            .ok_or(ShareTextError::Inconsistent)
        })
    }

    /// The text form, to be shown once and to its holder only.
    #[must_use]
    pub fn expose_text(&self) -> SecretText {
        let binary = self.binary();
        encode(binary.expose())
    }
}

fn checksum_of(binary: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let digest = digest::sha256(labels::SHARE_CHECKSUM, &[binary]);
    *digest.first_chunk().expect("a digest has more than nine bytes")
}

/// Text form of `binary`, whose length with the checksum must be a multiple of
/// 15 bytes, so that no group is cut short.
pub(super) fn encode(binary: &[u8]) -> SecretText {
    let payload = SecretBytes::init_with(binary.len() + CHECKSUM_BYTES, |payload| {
        payload[..binary.len()].copy_from_slice(binary);
        payload[binary.len()..].copy_from_slice(&checksum_of(binary));
    });
    let symbols = SecretBytes::init_with(BASE32.encode_len(payload.len()), |symbols| {
        BASE32.encode_mut(payload.expose(), symbols);
    });
    let groups = symbols.len() / GROUP_CHARS;
    let text = SecretBytes::init_with(PREFIX.len() + symbols.len() + groups - 1, |text| {
        text.fill(b'-');
        let (prefix, rest) = text.split_at_mut(PREFIX.len());
        prefix.copy_from_slice(PREFIX.as_bytes());
        let places = rest.chunks_mut(GROUP_CHARS + 1);
        for (place, group) in places.zip(symbols.expose().chunks(GROUP_CHARS)) {
            place[..group.len()].copy_from_slice(group);
        }
    });
    SecretText::from_utf8(text).expect("prefix, symbols and hyphens are ASCII")
}

/// The text in lower case without white space and hyphens.
fn squeeze(text: &str) -> Result<SecretBytes, ShareTextError> {
    if text.len() > TEXT_CHARS_MAX {
        return Err(ShareTextError::NotAShare);
    }
    let mut len = 0;
    let mut squeezed = SecretBytes::init_with(text.len(), |squeezed| {
        let kept = text.bytes().filter(|byte| !byte.is_ascii_whitespace() && *byte != b'-');
        for (place, byte) in squeezed.iter_mut().zip(kept) {
            *place = byte.to_ascii_lowercase();
            len += 1;
        }
    });
    squeezed.truncate(len);
    Ok(squeezed)
}

fn decode(symbols: &[u8]) -> Result<SecretBytes, ShareTextError> {
    let bytes = BASE32.decode_len(symbols.len()).map_err(|_| ShareTextError::Mistyped)?;
    SecretBytes::try_init_with(bytes, |place| {
        let decoded = BASE32.decode_mut(symbols, place);
        decoded.map(|_| ()).map_err(|_| ShareTextError::Mistyped)
    })
}
