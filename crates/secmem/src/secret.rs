//! The types that hold secrets.
//!
//! None has `Clone`, `Debug`, `Serialize` or `PartialEq`: each of those is a
//! way for a secret to leave its type unseen. All are wiped on drop.

use crate::{pages, slot::Slot};

/// A secret of a length known when the program is written.
///
/// Moving it moves a pointer; the bytes stay where they are.
pub struct Secret<const N: usize>(Slot);

impl<const N: usize> Secret<N> {
    /// Lets `fill` write the secret in place (over zeros), so that no copy is
    /// left on the stack.
    pub fn init_with(fill: impl FnOnce(&mut [u8; N])) -> Self {
        let mut secret = Self(Slot::zeroed(N));
        fill(secret.expose_mut());
        secret
    }

    /// As [`Secret::init_with`], for a `fill` that may fail; what it wrote
    /// until then is wiped.
    ///
    /// # Errors
    ///
    /// Those of `fill`.
    pub fn try_init_with<E>(fill: impl FnOnce(&mut [u8; N]) -> Result<(), E>) -> Result<Self, E> {
        let mut secret = Self(Slot::zeroed(N));
        fill(secret.expose_mut())?;
        Ok(secret)
    }

    /// Copies `bytes`. The caller's copy stays where it is.
    #[must_use]
    pub fn copy_from(bytes: &[u8; N]) -> Self {
        Self::init_with(|secret| secret.copy_from_slice(bytes))
    }

    /// A second copy of the secret, with a life of its own. Rare by intent:
    /// every call site says why it needs one.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::copy_from(self.expose())
    }

    /// Lends the raw bytes. Every call site says why it needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        self.0.bytes().try_into().expect("the slot was made with N bytes and is never truncated")
    }

    /// Lends the raw bytes for change in place.
    #[must_use]
    pub fn expose_mut(&mut self) -> &mut [u8; N] {
        self.0.bytes_mut().try_into().expect("the slot was made with N bytes, never truncated")
    }
}

/// A secret of any length, up to gigabytes; up to 8 KiB it lies in the arena.
pub struct SecretBytes(Slot);

impl SecretBytes {
    /// Lets `fill` write `len` bytes in place (over zeros), so that no copy is
    /// left on the stack.
    pub fn init_with(len: usize, fill: impl FnOnce(&mut [u8])) -> Self {
        let mut secret = Self(Slot::zeroed(len));
        fill(secret.expose_mut());
        secret
    }

    /// As [`SecretBytes::init_with`], for a `fill` that may fail; what it wrote
    /// until then is wiped.
    ///
    /// # Errors
    ///
    /// Those of `fill`.
    pub fn try_init_with<E>(
        len: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut secret = Self(Slot::zeroed(len));
        fill(secret.expose_mut())?;
        Ok(secret)
    }

    /// Copies `bytes`. The caller's copy stays where it is.
    #[must_use]
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self::init_with(bytes.len(), |secret| secret.copy_from_slice(bytes))
    }

    /// Moves `bytes` in: copies them and wipes the whole of their buffer.
    #[must_use]
    pub fn take_from(mut bytes: Vec<u8>) -> Self {
        let secret = Self::copy_from(&bytes);
        // Spare capacity may hold bytes of a longer past.
        bytes.resize(bytes.capacity(), 0);
        pages::wipe(&mut bytes);
        secret
    }

    /// A second copy of the secret, with a life of its own. Rare by intent:
    /// every call site says why it needs one.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        Self::copy_from(self.expose())
    }

    /// Length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.bytes().len()
    }

    /// Whether there are no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lends the raw bytes. Every call site says why it needs them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        self.0.bytes()
    }

    /// Lends the raw bytes for change in place.
    #[must_use]
    pub fn expose_mut(&mut self) -> &mut [u8] {
        self.0.bytes_mut()
    }

    /// Wipes what lies beyond `len` and forgets it. A longer `len` changes
    /// nothing.
    pub fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }
}

/// A secret text in UTF-8: the text form of a share or of a token.
pub struct SecretText(SecretBytes);

impl SecretText {
    /// Takes bytes that are UTF-8.
    ///
    /// # Errors
    ///
    /// [`std::str::Utf8Error`] where they are not; they are wiped then.
    pub fn from_utf8(bytes: SecretBytes) -> Result<Self, std::str::Utf8Error> {
        std::str::from_utf8(bytes.expose())?;
        Ok(Self(bytes))
    }

    /// Moves `text` in: copies it and wipes the whole of its buffer.
    #[must_use]
    pub fn take_from(text: String) -> Self {
        Self(SecretBytes::take_from(text.into_bytes()))
    }

    /// Lends the text. Every call site says why it needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        std::str::from_utf8(self.0.expose()).expect("checked when the text was made")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_fill_gives_the_error_and_no_secret() {
        let outcome = Secret::<32>::try_init_with(|bytes| {
            bytes.fill(1);
            Err("refused")
        });
        assert_eq!(outcome.err(), Some("refused"));
        let outcome = SecretBytes::try_init_with(8, |_| Err(5));
        assert_eq!(outcome.err(), Some(5));
    }

    #[test]
    fn text_must_be_utf8() {
        assert!(SecretText::from_utf8(SecretBytes::copy_from(&[0xff])).is_err());
        assert_eq!(SecretText::take_from("é".to_owned()).expose(), "é");
    }

    #[test]
    fn a_duplicate_lives_on_after_its_original() {
        let original = Secret::<32>::init_with(|bytes| bytes.fill(3));
        let copy = original.duplicate();
        drop(original);
        assert_eq!(copy.expose(), &[3; 32]);
        let bytes = SecretBytes::copy_from(b"abc");
        let copy = bytes.duplicate();
        drop(bytes);
        assert_eq!(copy.expose(), b"abc");
        assert_eq!((copy.len(), copy.is_empty()), (3, false));
    }

    #[test]
    fn secrets_cross_threads() {
        fn sendable<T: Send + Sync>() {}
        sendable::<Secret<32>>();
        sendable::<SecretBytes>();
        sendable::<SecretText>();
        let threads: Vec<_> = (0..8u8)
            .map(|tag| {
                std::thread::spawn(move || {
                    for len in 0..600 {
                        let secret = SecretBytes::init_with(len, |bytes| bytes.fill(tag));
                        assert!(secret.expose().iter().all(|&byte| byte == tag));
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
