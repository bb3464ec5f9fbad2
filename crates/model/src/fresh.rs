//! Ids and salts drawn from the caller's entropy.

use strongroom_crypto::Entropy;

/// Sixteen random bytes: of an id that nothing has yet, of a salt.
pub(crate) fn fresh_id(entropy: &mut dyn Entropy) -> [u8; 16] {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    bytes
}
