//! Encryption context: the pairs that a caller binds to a ciphertext.
//!
//! Canonical bytes, which are authenticated and nowhere stored with the blob:
//!
//! | bytes | field |
//! |---|---|
//! | 4 | number of pairs |
//! | | then for each pair, ascending bytewise by key: |
//! | 4 | length of the key |
//! | * | key, UTF-8 as given |
//! | 4 | length of the value |
//! | * | value, UTF-8 as given |
//!
//! No normalisation: two texts that look alike and differ in bytes are two
//! texts. No context and an empty one are the same (as in AWS KMS).

use std::fmt;

use strongroom_base::limits::{CONTEXT_BYTES_MAX, CONTEXT_PAIRS_MAX};

use crate::sealed::put_prefixed;

/// Why pairs are no encryption context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// More than [`CONTEXT_PAIRS_MAX`] pairs.
    #[error("an encryption context has at most {CONTEXT_PAIRS_MAX} pairs")]
    TooManyPairs,
    /// Canonical bytes beyond [`CONTEXT_BYTES_MAX`].
    #[error("an encryption context has at most {CONTEXT_BYTES_MAX} bytes")]
    TooLong,
    /// One key twice.
    #[error("an encryption context names each key once")]
    RepeatedKey,
    /// Bytes that are not the canonical ones of any context.
    #[error("these bytes are not the canonical form of an encryption context")]
    NotCanonical,
}

/// An encryption context within its bounds, sorted by key.
///
/// No `Debug` of keys or values: traces must not carry them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Context {
    pairs: Vec<(String, String)>,
}

impl Context {
    /// Checks bounds and sorts. The order of `pairs` does not matter. Stops at
    /// the first pair beyond a bound, so memory stays bounded.
    ///
    /// # Errors
    ///
    /// [`ContextError`].
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, ContextError> {
        let mut sorted: Vec<(String, String)> = Vec::new();
        let mut bytes = 4;
        for pair in pairs {
            if sorted.len() == CONTEXT_PAIRS_MAX {
                return Err(ContextError::TooManyPairs);
            }
            bytes += 8 + pair.0.len() + pair.1.len();
            if bytes > CONTEXT_BYTES_MAX {
                return Err(ContextError::TooLong);
            }
            sorted.push(pair);
        }
        sorted.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        if sorted.windows(2).any(|two| two[0].0 == two[1].0) {
            return Err(ContextError::RepeatedKey);
        }
        Ok(Self { pairs: sorted })
    }

    /// Reads canonical bytes. Lengths are checked before anything is kept.
    ///
    /// # Errors
    ///
    /// [`ContextError`]: beyond a bound, or not exactly what
    /// [`Context::canonical_bytes`] gives.
    pub fn from_canonical(bytes: &[u8]) -> Result<Self, ContextError> {
        if bytes.len() > CONTEXT_BYTES_MAX {
            return Err(ContextError::TooLong);
        }
        let (count, mut rest) = bytes.split_first_chunk().ok_or(ContextError::NotCanonical)?;
        let count = u32::from_be_bytes(*count) as usize;
        if count > CONTEXT_PAIRS_MAX {
            return Err(ContextError::TooManyPairs);
        }
        let mut pairs: Vec<(String, String)> = Vec::with_capacity(count);
        for _ in 0..count {
            let pair = (take_text(&mut rest)?, take_text(&mut rest)?);
            let ascending = pairs.last().is_none_or(|last| last.0.as_bytes() < pair.0.as_bytes());
            if !ascending {
                return Err(ContextError::NotCanonical);
            }
            pairs.push(pair);
        }
        if rest.is_empty() { Ok(Self { pairs }) } else { Err(ContextError::NotCanonical) }
    }

    /// True where each pair of `required` is one of these.
    #[must_use]
    pub fn contains(&self, required: &Self) -> bool {
        required.pairs.iter().all(|pair| self.pairs.contains(pair))
    }

    /// The pairs, ascending bytewise by key.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// The canonical bytes.
    #[must_use]
    pub fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.canonical_len());
        self.put_canonical(&mut bytes);
        bytes
    }

    pub(crate) fn canonical_len(&self) -> usize {
        let pairs = self.pairs.iter();
        4 + pairs.map(|(key, value)| 8 + key.len() + value.len()).sum::<usize>()
    }

    pub(crate) fn put_canonical(&self, out: &mut Vec<u8>) {
        let count = u32::try_from(self.pairs.len()).expect("bounded by CONTEXT_PAIRS_MAX");
        out.extend_from_slice(&count.to_be_bytes());
        for (key, value) in &self.pairs {
            put_prefixed(out, key.as_bytes());
            put_prefixed(out, value.as_bytes());
        }
    }
}

/// Takes a length-prefixed text off the front.
fn take_text(rest: &mut &[u8]) -> Result<String, ContextError> {
    let (len, after) = rest.split_first_chunk().ok_or(ContextError::NotCanonical)?;
    let len = u32::from_be_bytes(*len) as usize;
    let (text, after) = after.split_at_checked(len).ok_or(ContextError::NotCanonical)?;
    *rest = after;
    std::str::from_utf8(text).map(str::to_owned).map_err(|_| ContextError::NotCanonical)
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Context({} pairs)", self.pairs.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn a_repeated_key_is_refused_even_with_the_same_value() {
        let outcome = Context::new([pair("a", "1"), pair("b", "1"), pair("a", "1")]);
        assert_eq!(outcome, Err(ContextError::RepeatedKey));
    }

    #[test]
    fn one_pair_too_many_is_refused_and_the_rest_not_looked_at() {
        let numbered = |n: usize| (0..n).map(|i| (i.to_string(), String::new()));
        assert!(Context::new(numbered(CONTEXT_PAIRS_MAX)).is_ok());
        let endless = (0_u64..).map(|i| (i.to_string(), String::new()));
        assert_eq!(Context::new(endless), Err(ContextError::TooManyPairs));
    }

    #[test]
    fn one_byte_too_many_is_refused() {
        let room = CONTEXT_BYTES_MAX - 4 - 8 - 1;
        let context = Context::new([pair("k", &"v".repeat(room))]).unwrap();
        assert_eq!(context.canonical_bytes().len(), CONTEXT_BYTES_MAX);
        let outcome = Context::new([pair("k", &"v".repeat(room + 1))]);
        assert_eq!(outcome, Err(ContextError::TooLong));
    }

    #[test]
    fn canonical_bytes_are_counted_sorted_and_length_prefixed() {
        let context = Context::new([pair("b", "2"), pair("aa", ""), pair("", "x")]).unwrap();
        let expected = b"\0\0\0\x03\0\0\0\0\0\0\0\x01x\0\0\0\x02aa\0\0\0\0\0\0\0\x01b\0\0\0\x012";
        assert_eq!(context.canonical_bytes(), expected);
        assert_eq!(Context::default().canonical_bytes(), [0; 4]);
    }

    #[test]
    fn keys_are_sorted_by_bytes_and_not_normalised() {
        // "é" composed and decomposed are two keys; upper case sorts first.
        let context = Context::new([pair("e\u{301}", ""), pair("\u{e9}", ""), pair("Z", "")]);
        let context = context.unwrap();
        let keys: Vec<_> = context.pairs().iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["Z", "e\u{301}", "\u{e9}"]);
    }

    #[test]
    fn bytes_that_are_not_canonical_are_refused() {
        let refusal = |bytes: &[u8]| Context::from_canonical(bytes).err();
        let not_canonical = [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\0\0",
            b"\0\0\0\x01",
            b"\0\0\0\x01\0\0\0\x01a\0\0\0\x02b",
            b"\0\0\0\x01\0\0\0\x01\xff\0\0\0\0",
            b"\0\0\0\x02\0\0\0\x01b\0\0\0\0\0\0\0\x01a\0\0\0\0",
            b"\0\0\0\x02\0\0\0\x01a\0\0\0\0\0\0\0\x01a\0\0\0\0",
            b"\0\0\0\x01\xff\xff\xff\xffa\0\0\0\0",
        ];
        for bytes in not_canonical {
            assert_eq!(refusal(bytes), Some(ContextError::NotCanonical), "{bytes:?}");
        }
        assert_eq!(refusal(&[0xff; 4]), Some(ContextError::TooManyPairs));
        assert_eq!(refusal(&vec![0; CONTEXT_BYTES_MAX + 1]), Some(ContextError::TooLong));
    }

    #[test]
    fn canonical_bytes_give_the_context_back() {
        for pairs in [vec![], vec![pair("", "")], vec![pair("b", "2"), pair("aa", "é")]] {
            let context = Context::new(pairs).unwrap();
            assert_eq!(Context::from_canonical(&context.canonical_bytes()), Ok(context));
        }
    }

    #[test]
    fn a_context_contains_what_is_required_only_with_the_same_value() {
        let context = Context::new([pair("a", "1"), pair("b", "2")]).unwrap();
        let contains = |key, value| context.contains(&Context::new([pair(key, value)]).unwrap());
        assert!(!contains("a", "2") && !contains("c", "1"));
        assert!(contains("a", "1") && context.contains(&Context::default()));
    }

    #[test]
    fn debug_shows_no_content() {
        let context = Context::new([pair("secret-key", "secret-value")]).unwrap();
        assert_eq!(format!("{context:?}"), "Context(1 pairs)");
    }
}
