//! Bearer tokens: 256 random bits and their text form.
//!
//! Text: `srt_` and 48 characters of base64url (RFC 4648, section 5, without
//! padding) for
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 32 | secret |
//! | 32 | 4 | checksum: the first bytes of SHA-256(label TOKEN_CHECKSUM ‖ 0x00 ‖ secret) |
//!
//! The checksum keeps garbage away from the database and lets scanners of
//! source code tell a token from a look-alike. It protects nothing.

use data_encoding::BASE64URL_NOPAD;
use strongroom_secmem::{Secret, SecretBytes, SecretText};

use crate::{Entropy, digest, labels};

const PREFIX: &str = "srt_";
const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;
const BINARY_BYTES: usize = SECRET_BYTES + CHECKSUM_BYTES;
const TEXT_CHARS: usize = PREFIX.len() + BINARY_BYTES * 4 / 3;

/// The text is no token; no further detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token")]
pub struct NotAToken;

/// The secret part of a bearer token.
pub struct TokenSecret(Secret<SECRET_BYTES>);

impl TokenSecret {
    /// Draws a new token.
    pub fn generate(entropy: &mut impl Entropy) -> Self {
        Self(Secret::init_with(|secret| entropy.fill(secret)))
    }

    /// Reads the text form. Costs one short hash; asks no database.
    ///
    /// # Errors
    ///
    /// [`NotAToken`] for anything but the exact text of some token.
    pub fn parse(text: &str) -> Result<Self, NotAToken> {
        let encoded = text.strip_prefix(PREFIX).ok_or(NotAToken)?;
        if text.len() != TEXT_CHARS {
            return Err(NotAToken);
        }
        let binary = SecretBytes::try_init_with(BINARY_BYTES, |binary| {
            let decoded = BASE64URL_NOPAD.decode_mut(encoded.as_bytes(), binary);
            decoded.map(|_| ()).map_err(|_| NotAToken)
        })?;
        let (secret, checksum) =
            binary.expose().split_first_chunk::<SECRET_BYTES>().ok_or(NotAToken)?;
        let token = Self(Secret::copy_from(secret));
        if token.checksum() == checksum { Ok(token) } else { Err(NotAToken) }
    }

    /// The text form, to be shown once.
    #[must_use]
    pub fn expose_text(&self) -> SecretText {
        let binary = SecretBytes::init_with(BINARY_BYTES, |binary| {
            binary[..SECRET_BYTES].copy_from_slice(self.expose());
            binary[SECRET_BYTES..].copy_from_slice(&self.checksum());
        });
        let text = SecretBytes::init_with(TEXT_CHARS, |text| {
            let (prefix, encoded) = text.split_at_mut(PREFIX.len());
            prefix.copy_from_slice(PREFIX.as_bytes());
            BASE64URL_NOPAD.encode_mut(binary.expose(), encoded);
        });
        SecretText::from_utf8(text).expect("base64url is ASCII")
    }

    /// Lends the raw secret, for the hash by which it is found.
    #[must_use]
    pub fn expose(&self) -> &[u8; SECRET_BYTES] {
        self.0.expose()
    }

    fn checksum(&self) -> [u8; CHECKSUM_BYTES] {
        let digest = digest::sha256(labels::TOKEN_CHECKSUM, &[self.expose()]);
        *digest.first_chunk().expect("a digest has more than four bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> TokenSecret {
        TokenSecret(Secret::init_with(|secret| secret.fill(0xab)))
    }

    #[test]
    fn any_other_text_is_refused() {
        let text = token().expose_text();
        let text = text.expose();
        assert_eq!(text.len(), TEXT_CHARS);
        for bad in ["", "srt_", "srt_é", &text[..51], &text[4..], &text.to_uppercase()] {
            assert!(TokenSecret::parse(bad).is_err(), "{bad:?}");
        }
        assert!(TokenSecret::parse(&format!("{text}A")).is_err());
        assert!(TokenSecret::parse(&format!(" {text}")).is_err());
        for at in 0..text.len() {
            let mut other = text.as_bytes().to_vec();
            other[at] = if other[at] == b'x' { b'y' } else { b'x' };
            let other = String::from_utf8(other).unwrap();
            assert!(TokenSecret::parse(&other).is_err(), "character {at}");
        }
    }

    #[test]
    fn a_token_survives_its_text_form() {
        let text = token().expose_text();
        let parsed = TokenSecret::parse(text.expose()).ok().unwrap();
        assert_eq!(parsed.expose(), token().expose());
    }
}
