//! The ways in which bytes come to stand in a text.

use std::collections::BTreeMap;

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, Encoding, HEXLOWER, HEXUPPER, Specification};
use hyper::body::Bytes;

/// Symbols of a share's text (crate `crypto`), five bits each.
const SHARE_ALPHABET: &str = "0123456789abcdefghjkmnpqrstvwxyz";
/// Symbols between two hyphens of it.
const SHARE_GROUP: usize = 6;

type Spelling = (&'static str, Vec<u8>);

/// Each spelling of `bytes`, with its name; of equal ones, the first counts.
///
/// A token's text is base64url. A share's has an alphabet of its own, and is looked
/// for with its hyphens and without, in either case.
pub(super) fn spellings(bytes: &[u8]) -> Vec<Spelling> {
    let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
    let mut all = vec![
        ("raw", bytes.to_vec()),
        ("escaped", escaped(bytes)),
        ("hexadecimal", HEXLOWER.encode(bytes).into_bytes()),
        ("HEXADECIMAL", HEXUPPER.encode(bytes).into_bytes()),
        ("list of numbers", numbers.join(", ").into_bytes()),
        ("compact list of numbers", numbers.join(",").into_bytes()),
    ];
    for (name, encoding) in [("base64", BASE64_NOPAD), ("base64url", BASE64URL_NOPAD)] {
        // Three bytes make whole symbols.
        for before in 0..3 {
            let (_, symbols) = own_symbols(&encoding, before, bytes);
            all.push((name, symbols.into_bytes()));
        }
    }
    all.extend(in_a_share(bytes));
    let mut different = BTreeMap::new();
    for (name, text) in all {
        different.entry(text).or_insert(name);
    }
    different.into_iter().map(|(text, name)| (name, text)).collect()
}

/// As the `Debug` of a peer message shows its bytes: what stands in `b"…"`.
fn escaped(bytes: &[u8]) -> Vec<u8> {
    let shown = format!("{:?}", Bytes::copy_from_slice(bytes)).into_bytes();
    shown[2..shown.len() - 1].to_vec()
}

/// Symbols of an encoding that hold bits of `bytes` and of nothing else, where
/// `before` bytes precede them; and the position of the first.
fn own_symbols(encoding: &Encoding, before: usize, bytes: &[u8]) -> (usize, String) {
    let message = [&vec![0; before][..], bytes].concat();
    let first = (before * 8).div_ceil(encoding.bit_width());
    let end = message.len() * 8 / encoding.bit_width();
    (first, encoding.encode(&message)[first..end].to_owned())
}

/// Spellings of `bytes` as a part of a share.
fn in_a_share(bytes: &[u8]) -> Vec<Spelling> {
    let mut specification = Specification::new();
    specification.symbols.push_str(SHARE_ALPHABET);
    let base32 = specification.encoding().expect("32 different symbols");
    let mut all = Vec::new();
    // Fifteen bytes make whole groups of symbols.
    for before in 0..15 {
        let (first, symbols) = own_symbols(&base32, before, bytes);
        let shown = in_groups(first, &symbols);
        for (name, text) in [("share's text", shown), ("share's symbols", symbols)] {
            all.push((name, text.to_uppercase().into_bytes()));
            all.push((name, text.into_bytes()));
        }
    }
    all
}

/// The symbols, of which the first has this position, with hyphens between groups.
fn in_groups(first: usize, symbols: &str) -> String {
    let mut text = String::new();
    for (position, symbol) in (first..).zip(symbols.chars()) {
        if position.is_multiple_of(SHARE_GROUP) && !text.is_empty() {
            text.push('-');
        }
        text.push(symbol);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use data_encoding::{BASE64, BASE64URL};

    use super::*;
    use crate::scan::{Canary, Scanner};

    /// The first share of `crates/crypto/testdata/share.json`, and its bytes as
    /// decoded by another program.
    const SHARE: &str = "strongroom-share-c5e2xt-hkm44j-zfmwnq-atzkb4-3e4g00-000000-00010m-\
        1g208j-bb6hcq-80kvtk-pt7anp-v6nccq-2wcd1a-11qxk4-0x7fr4-w7p48b-mf2npb-cp8s2f-zrajhn-\
        xx3038-kb114g-wtznz6-j6v9j9-499f5q-jv21qq-fa9hmc-r1dtyj-evezwk-xr7b16-rwh8pr-hjh0t2-\
        ryd5z6-qkt3c5-vh8yj0-6gyy08-gagpcj-n2587g-nq2409-7ca5ft-xvgtxy";
    const SHARE_BYTES: &str = "615c2eea33a1092fbe9cadd5afcd641b89000000000000000105030101125acd16\
        5d009ef53b68eaadb66ab1971718d0a821bf664074efc1387b110ba3c55b2d964644ffe1528d7bd180689ac2\
        12439afd7e691b69924894bcb796c41bddea4c68cc05baf49db77f93ee0eb09b1c8a2d88ca20d0b1e697e6bc\
        f436177147a40343de0220a85992a88a83c2b711";
    /// The first token of `crates/crypto/testdata/token.json`.
    const TOKEN: &str = "srt_gn_MKvnwF8pgzHajBIss_IYq0Mvus3EknrM58x0CBiaN28Qn";
    const TOKEN_SECRET: &str = "827fcc2af9f017ca60cc76a3048b2cfc862ad0cbeeb371249eb339f31d020626";

    /// Spellings in which the canary stands in the text.
    fn found(canary: &[u8], text: &str) -> Vec<&'static str> {
        let scanner = Scanner::new(&[Canary::new("c", canary)]);
        let found = scanner.bytes(Path::new("text"), text.as_bytes());
        found.iter().map(|finding| finding.spelling).collect()
    }

    fn bytes(hexadecimal: &str) -> Vec<u8> {
        HEXLOWER.decode(hexadecimal.as_bytes()).unwrap()
    }

    #[test]
    fn each_spelling_is_found_whatever_bytes_precede_it() {
        // Has symbols by which the alphabets of base64 differ, in any alignment.
        let canary: Vec<u8> = (200..=255).collect();
        for before in 0..6 {
            let message = [&vec![0xab; before][..], &canary, b"tail"].concat();
            let peers = Bytes::copy_from_slice(&message);
            for (spelling, text) in [
                ("hexadecimal", HEXLOWER.encode(&message)),
                ("HEXADECIMAL", HEXUPPER.encode(&message)),
                ("base64", BASE64_NOPAD.encode(&message)),
                ("base64", BASE64.encode(&message)),
                ("base64url", BASE64URL_NOPAD.encode(&message)),
                ("base64url", BASE64URL.encode(&message)),
                ("list of numbers", format!("{message:?}")),
                ("compact list of numbers", serde_json::to_string(&message).unwrap()),
                ("escaped", format!("{peers:?}")),
            ] {
                assert_eq!(found(&canary, &text), [spelling], "{text}");
            }
        }
    }

    #[test]
    fn a_text_is_found_as_it_is_and_has_one_spelling_for_that() {
        assert_eq!(found(b"a secret text", "field=\"a secret text\""), ["raw"]);
        assert_eq!(found(b"a \"secret\" text", r#"field="a \"secret\" text""#), ["escaped"]);
    }

    #[test]
    fn any_part_of_a_share_is_found_in_its_text_in_either_case_with_hyphens_or_without() {
        let share = bytes(SHARE_BYTES);
        let squeezed = SHARE.replace('-', "");
        for part in share.windows(16) {
            for (spelling, text) in [
                ("share's text", SHARE),
                ("share's text", SHARE.to_uppercase().as_str()),
                ("share's symbols", squeezed.as_str()),
                ("share's symbols", squeezed.to_uppercase().as_str()),
            ] {
                assert_eq!(found(part, text), [spelling], "{part:02x?}");
            }
        }
    }

    #[test]
    fn a_tokens_secret_is_found_in_its_text() {
        assert_eq!(found(&bytes(TOKEN_SECRET), TOKEN), ["base64url"]);
    }
}
