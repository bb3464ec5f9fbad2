//! Tests of shares: what their text says, and what restores a key.

use super::*;

fn cluster(byte: u8) -> ClusterId {
    ClusterId::from_bytes([byte; 16])
}

fn root(byte: u8) -> RootKey {
    RootKey::init_with(|key| key.fill(byte))
}

fn split(shares: u32, threshold: u32) -> Vec<Share> {
    split_root(&root(7), cluster(1), SealEpoch(3), ShareScheme::new(shares, threshold).unwrap())
}

fn with_binary(share: &Share, change: impl FnOnce(&mut [u8])) -> Result<Share, ShareTextError> {
    let mut binary = share.binary();
    change(binary.expose_mut());
    Share::parse(text::encode(binary.expose()).expose())
}

#[test]
fn impossible_schemes_are_refused_by_name() {
    for (shares, threshold, error) in [
        (0, 0, SchemeError::NoShares),
        (0, 3, SchemeError::NoShares),
        (256, 3, SchemeError::TooManyShares),
        (u32::MAX, 1, SchemeError::TooManyShares),
        (5, 0, SchemeError::NoThreshold),
        (5, 6, SchemeError::ThresholdAboveShares),
        (5, 256 + 3, SchemeError::ThresholdAboveShares),
        (1, 2, SchemeError::ThresholdAboveShares),
        (2, 1, SchemeError::ThresholdOfOne),
        (255, 1, SchemeError::ThresholdOfOne),
    ] {
        assert_eq!(ShareScheme::new(shares, threshold), Err(error), "{threshold} of {shares}");
    }
}

#[test]
fn too_few_mixed_and_repeated_shares_restore_nothing() {
    let mut shares = split(5, 3);
    assert_eq!(combine(&[]).err(), Some(CombineError::TooFew { missing: 1 }));
    assert_eq!(combine(&shares[..2]).err(), Some(CombineError::TooFew { missing: 1 }));
    assert_eq!(combine(&shares[4..]).err(), Some(CombineError::TooFew { missing: 2 }));
    let again = Share::parse(shares[0].expose_text().expose()).unwrap_or_else(|_| panic!());
    shares[1] = again;
    assert_eq!(combine(&shares[..3]).err(), Some(CombineError::Repeated { index: 1 }));
    shares[1] = split(5, 2).swap_remove(1);
    assert_eq!(combine(&shares[..3]).err(), Some(CombineError::Mixed));
    shares[1] = split(5, 3).swap_remove(1);
    assert_eq!(combine(&shares[..3]).err(), Some(CombineError::NotAuthentic));
}

#[test]
fn shares_that_lie_about_cluster_or_epoch_restore_nothing() {
    let lying = |shares: Vec<Share>, change: fn(&mut [u8])| -> Vec<Share> {
        let changed = shares.iter().map(|share| with_binary(share, change));
        changed.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("{error}"))
    };
    for change in [|bytes: &mut [u8]| bytes[1] ^= 1, |bytes: &mut [u8]| bytes[24] ^= 1] {
        let shares = lying(split(3, 2), change);
        assert_eq!(combine(&shares).err(), Some(CombineError::NotAuthentic));
    }
}

#[test]
fn extreme_schemes_restore_the_root_key() {
    for (shares, threshold) in [(1, 1), (2, 2), (255, 2), (255, 255)] {
        let shares = split(shares, threshold);
        let restored = combine(&shares[shares.len() - threshold as usize..]);
        assert_eq!(restored.ok().unwrap().expose(), &[7; 32]);
    }
}

#[test]
fn a_share_knows_where_it_belongs() {
    let shares = split(5, 3);
    for (share, index) in shares.iter().zip(1..) {
        assert_eq!((share.cluster(), share.seal_epoch()), (cluster(1), SealEpoch(3)));
        assert_eq!((share.scheme().shares(), share.scheme().threshold()), (5, 3));
        assert_eq!(share.index(), index);
    }
    assert_ne!(shares[0].digest(), shares[1].digest());
}

#[test]
fn what_is_no_share_at_all_is_told_from_a_mistyped_one() {
    let text = split(1, 1)[0].expose_text();
    let text = text.expose();
    let refusal = |text: &str| Share::parse(text).err();
    assert_eq!(refusal(""), Some(ShareTextError::NotAShare));
    assert_eq!(refusal("hunter2"), Some(ShareTextError::NotAShare));
    assert_eq!(refusal(&text["strongroom-share-".len()..]), Some(ShareTextError::NotAShare));
    assert_eq!(refusal(&text.repeat(20)), Some(ShareTextError::NotAShare));
    assert_eq!(refusal("strongroom-share-"), Some(ShareTextError::Mistyped));
    assert_eq!(refusal("strongroom-share-é"), Some(ShareTextError::Mistyped));
    assert_eq!(refusal(&text[..text.len() - 1]), Some(ShareTextError::Mistyped));
    assert_eq!(refusal(&text[..text.len() - 7]), Some(ShareTextError::Mistyped));
    assert_eq!(refusal(&format!("{text}0")), Some(ShareTextError::Mistyped));
    assert_eq!(refusal(&format!("{text}-000000-00")), Some(ShareTextError::Mistyped));
    assert_eq!(refusal(&format!("{text}u")), Some(ShareTextError::Mistyped));
}

#[test]
fn every_single_mistyped_or_swapped_symbol_is_found() {
    let text = split(5, 3)[2].expose_text();
    let text = text.expose().as_bytes();
    for at in "strongroom-share-".len()..text.len() {
        let mut other = text.to_vec();
        if text[at] == b'-' {
            continue;
        }
        other[at] = if text[at] == b'7' { b'q' } else { b'7' };
        let mistyped = Share::parse(std::str::from_utf8(&other).unwrap());
        assert_eq!(mistyped.err(), Some(ShareTextError::Mistyped), "character {at}");
        let neighbour = at + 1;
        if neighbour < text.len() && text[neighbour] != b'-' && text[at] != text[neighbour] {
            let mut other = text.to_vec();
            other.swap(at, neighbour);
            let swapped = Share::parse(std::str::from_utf8(&other).unwrap());
            assert_eq!(swapped.err(), Some(ShareTextError::Mistyped), "characters from {at}");
        }
    }
}

#[test]
fn a_share_of_a_later_format_and_one_that_contradicts_itself_are_told_apart() {
    let share = split(5, 3).swap_remove(0);
    let refusal = |change: fn(&mut [u8])| with_binary(&share, change).err();
    let newer = refusal(|bytes| bytes[0] = 0x62);
    assert_eq!(newer, Some(ShareTextError::UnsupportedFormat { format: 0x62 }));
    for change in [
        |bytes: &mut [u8]| bytes[25] = 0,
        |bytes: &mut [u8]| bytes[25] = 2,
        |bytes: &mut [u8]| bytes[26] = 6,
        |bytes: &mut [u8]| bytes[26] = 1,
        |bytes: &mut [u8]| bytes[27] = 0,
        |bytes: &mut [u8]| bytes[27] = 6,
        |bytes: &mut [u8]| bytes[27] = 2,
        |bytes: &mut [u8]| bytes[28] = 2,
    ] {
        assert_eq!(refusal(change), Some(ShareTextError::Inconsistent));
    }
    let longer = [share.binary().expose().as_slice(), &[0; 15]].concat();
    let refusal = Share::parse(text::encode(&longer).expose()).err();
    assert_eq!(refusal, Some(ShareTextError::Inconsistent));
}

#[test]
fn reading_ignores_case_space_hyphens_and_look_alikes() {
    let share = split(5, 3).swap_remove(4);
    let text = share.expose_text();
    let text = text.expose();
    assert_eq!(text.len(), 296);
    let spaced = text.replace('-', " \r\n\t");
    let bare = text.replace('-', "");
    let look_alikes = format!(
        "strongroom-share-{}",
        text["strongroom-share-".len()..].replace('1', "I").replace('0', "O")
    );
    for form in [text, &text.to_uppercase(), &spaced, &bare, &look_alikes, &format!("\n{text} ")] {
        let parsed = Share::parse(form).unwrap_or_else(|error| panic!("{error}: {form}"));
        assert_eq!(parsed.digest(), share.digest());
    }
}
