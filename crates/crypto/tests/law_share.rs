//! Laws of shares and tokens: any quorum restores, any change is found.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::{prelude::*, sample::Index};
use strongroom_base::{ClusterId, SealEpoch};
use strongroom_crypto::{
    CombineError, RootKey, Share, ShareScheme, ShareTextError, TokenSecret, combine, split_root,
};

fn split(root: [u8; 32], epoch: u64, n: u32, k: u32) -> Vec<Share> {
    let root = RootKey::init_with(|key| *key = root);
    let scheme = ShareScheme::new(n, k).unwrap();
    split_root(&root, ClusterId::from_bytes([9; 16]), SealEpoch(epoch), scheme)
}

/// Symbols of the text form, without prefix and hyphens.
fn symbols(share: &Share) -> Vec<u8> {
    let text = share.expose_text();
    let rest = text.expose().strip_prefix("strongroom-share-").unwrap();
    rest.bytes().filter(|byte| *byte != b'-').collect()
}

fn parse(symbols: &[u8]) -> Result<Share, ShareTextError> {
    Share::parse(&format!("strongroom-share-{}", std::str::from_utf8(symbols).unwrap()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_quorum_in_any_order_restores_the_root_key_and_fewer_do_not(
        root: [u8; 32],
        epoch: u64,
        (n, k, order) in (2..=20_u32).prop_flat_map(|n| (Just(n), 2..=n)).prop_flat_map(|(n, k)| {
            (Just(n), Just(k), Just((0..n as usize).collect::<Vec<_>>()).prop_shuffle())
        }),
    ) {
        let shares = split(root, epoch, n, k);
        let typed = order.iter().map(|&at| parse(&symbols(&shares[at])).unwrap());
        let typed: Vec<Share> = typed.collect();
        let quorum = k as usize;
        let few = combine(&typed[..quorum - 1]).err();
        prop_assert_eq!(few, Some(CombineError::TooFew { missing: 1 }));
        let restored = combine(&typed[..quorum]).unwrap();
        prop_assert_eq!(restored.expose(), &root);
        let restored = combine(&typed).unwrap();
        prop_assert_eq!(restored.expose(), &root, "more than a quorum does too");
    }

    #[test]
    fn any_changed_symbols_are_found(
        root: [u8; 32], changes in proptest::collection::vec((any::<Index>(), 1..32_u8), 1..6),
    ) {
        const ALPHABET: &[u8] = b"0123456789abcdefghjkmnpqrstvwxyz";
        let share = split(root, 1, 3, 2).swap_remove(1);
        let original = symbols(&share);
        let mut changed = original.clone();
        for (at, by) in changes {
            let at = at.index(changed.len());
            let value = ALPHABET.iter().position(|symbol| *symbol == changed[at]).unwrap();
            changed[at] = ALPHABET[value ^ usize::from(by)];
        }
        prop_assume!(changed != original);
        prop_assert_eq!(parse(&changed).err(), Some(ShareTextError::Mistyped));
    }

    #[test]
    fn any_text_is_judged_without_a_panic(text in ".{0,400}", tail in "[0-9a-z -]{0,400}") {
        prop_assert!(Share::parse(&text).is_err());
        prop_assert!(TokenSecret::parse(&text).is_err());
        let (share, token) = (format!("strongroom-share-{tail}"), format!("srt_{tail}"));
        prop_assert!(Share::parse(&share).is_err());
        prop_assert!(TokenSecret::parse(&token).is_err());
    }

    #[test]
    fn a_token_with_any_other_character_is_refused(
        secret: [u8; 32], at: Index, by in "[A-Za-z0-9_-]",
    ) {
        struct Given([u8; 32]);
        impl strongroom_crypto::Entropy for Given {
            fn fill(&mut self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.0);
            }
        }
        let token = TokenSecret::generate(&mut Given(secret));
        let text = token.expose_text();
        let text = text.expose();
        let at = at.index(text.len());
        let other = [&text[..at], &by, &text[at + 1..]].concat();
        prop_assert_eq!(TokenSecret::parse(&other).is_ok(), other == text);
        let parsed = TokenSecret::parse(text).unwrap();
        prop_assert_eq!(parsed.expose(), &secret);
    }
}
