//! Key derivation: KBKDF in counter mode with HMAC-SHA256.
//!
//! ```text
//! K' = HMAC-SHA256(K, [1]_32 ‖ label ‖ 0x00 ‖ context ‖ [256]_32)
//! ```
//!
//! That is NIST SP 800-108r1 (update 1), section 4.1, with a 32-bit counter
//! before the fixed input data and one iteration, since the output is exactly
//! one block of the PRF. `[x]_32` is `x` as 32 bits, big endian; the last field
//! is the output's length in bits. Contexts of one label have one length, so
//! that no two (label, context) give the same input.
//!
//! Limit: none that matters; HMAC-SHA256 as a PRF holds far beyond 2^48
//! derivations of one key.

use aws_lc_rs::kdf::{
    KbkdfCtrHmacAlgorithm, KbkdfCtrHmacAlgorithmId, get_kbkdf_ctr_hmac_algorithm, kbkdf_ctr_hmac,
};
use strongroom_secmem::Secret;

use crate::labels::{LABEL_BYTES_MAX, Label};

/// Longest context: that of a wrapped keyring.
const CONTEXT_BYTES_MAX: usize = 48;
const INFO_BYTES_MAX: usize = LABEL_BYTES_MAX + 1 + CONTEXT_BYTES_MAX + 4;
const OUTPUT_BITS: u32 = 256;

/// Derives a 256-bit key for `label` and the concatenation of `context`, written
/// straight into secret memory.
pub(crate) fn derive(key: &[u8; 32], label: Label, context: &[&[u8]]) -> Secret<32> {
    Secret::init_with(|output| derive_into(key, label, context, output))
}

/// As [`derive`], for an output that is no secret.
pub(crate) fn derive_into(key: &[u8; 32], label: Label, context: &[&[u8]], output: &mut [u8; 32]) {
    let mut info = [0; INFO_BYTES_MAX];
    let mut len = 0;
    let separator: &[u8] = &[0];
    let length = OUTPUT_BITS.to_be_bytes();
    for part in [label.as_bytes(), separator].iter().chain(context).chain([&&length[..]]) {
        info[len..len + part.len()].copy_from_slice(part);
        len += part.len();
    }
    kbkdf_ctr_hmac(algorithm(), key, &info[..len], output)
        .expect("KBKDF fails only for an empty key or an output that overflows the counter");
}

fn algorithm() -> &'static KbkdfCtrHmacAlgorithm {
    get_kbkdf_ctr_hmac_algorithm(KbkdfCtrHmacAlgorithmId::Sha256)
        .expect("the library knows every algorithm that its enum lists")
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::hmac;
    use proptest::prelude::*;

    use super::*;
    use crate::labels;

    proptest! {
        #[test]
        fn the_derivation_is_one_hmac_over_counter_label_context_and_length(
            key in any::<[u8; 32]>(),
            context in proptest::collection::vec(any::<u8>(), 0..=CONTEXT_BYTES_MAX),
            at in 0..labels::ALL.len(),
            cut in any::<prop::sample::Index>(),
        ) {
            let label = labels::ALL[at];
            let mut input = vec![0, 0, 0, 1];
            input.extend_from_slice(label.as_bytes());
            input.push(0);
            input.extend_from_slice(&context);
            input.extend_from_slice(&[0, 0, 1, 0]);
            let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &input);
            let (front, back) = context.split_at(cut.index(context.len() + 1));
            let derived = derive(&key, label, &[front, back]);
            prop_assert_eq!(derived.expose(), expected.as_ref());
        }
    }
}
