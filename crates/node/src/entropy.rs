//! The operating system's generator as the entropy of the pure crates.

use strongroom_crypto::Entropy;

/// `getrandom(2)`.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OsEntropy;

impl Entropy for OsEntropy {
    /// # Panics
    ///
    /// Panics where the operating system has no entropy: every later key would
    /// be guessable, so nothing may go on.
    fn fill(&mut self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system gives entropy");
    }
}

/// Sixteen random bytes, for an id.
#[must_use]
pub(crate) fn random_id() -> [u8; 16] {
    let mut bytes = [0; 16];
    OsEntropy.fill(&mut bytes);
    bytes
}

/// A random number, for a nonce.
#[must_use]
pub(crate) fn random_u64() -> u64 {
    let mut bytes = [0; 8];
    OsEntropy.fill(&mut bytes);
    u64::from_be_bytes(bytes)
}
