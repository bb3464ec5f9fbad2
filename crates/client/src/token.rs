//! Bearer tokens, as the caller holds them.

use zeroize::Zeroizing;

/// What every token begins with.
const PREFIX: &str = "srt_";
/// Longest text that is taken for a token.
const BYTES_MAX: usize = 256;

/// Why a text is no token. Never says what the text was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Nothing but white space.
    #[error("the token is empty")]
    Empty,
    /// It doesn't begin with `srt_`, or holds a character that no token has.
    #[error(
        "this is no Strongroom token: tokens begin with srt_ and hold letters, digits, - and _"
    )]
    NotToken,
}

/// A bearer token. Wiped when dropped; never printed.
pub struct Token(Zeroizing<String>);

impl Token {
    /// Takes a token's text; white space around it is dropped. Whether the
    /// token is valid is the cluster's to say.
    ///
    /// # Errors
    ///
    /// [`TokenError`] for what can be no token.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if !text.starts_with(PREFIX) || text.len() > BYTES_MAX || !text.bytes().all(allowed) {
            return Err(TokenError::NotToken);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// Lends the text: for the `authorization` header, and for whoever must
    /// hand a new token to its user.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_token_is_refused_without_being_repeated() {
        assert_eq!(Token::new(" \n").err(), Some(TokenError::Empty));
        assert_eq!(Token::new("hvs.AAAA").err(), Some(TokenError::NotToken));
        assert_eq!(Token::new("srt_a\r\nx-evil: 1").err(), Some(TokenError::NotToken));
        assert!(!TokenError::NotToken.to_string().contains("hvs"));
    }

    #[test]
    fn white_space_around_a_token_is_dropped() {
        assert_eq!(Token::new("\tsrt_Ab-_9\n").unwrap().expose(), "srt_Ab-_9");
    }
}
