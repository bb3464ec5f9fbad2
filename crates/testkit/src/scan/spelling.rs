//! The ways in which bytes come to stand in a text.

use data_encoding::{BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

/// Each spelling of `bytes`, with its name.
///
/// Base64 depends on what precedes the bytes in its groups of three: there is a
/// spelling for each of the three alignments, without the characters at the
/// ends that neighbours share.
pub(super) fn spellings(bytes: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
    let mut all = vec![
        ("raw", bytes.to_vec()),
        ("hexadecimal", HEXLOWER.encode(bytes).into_bytes()),
        ("HEXADECIMAL", HEXUPPER.encode(bytes).into_bytes()),
        ("list of numbers", numbers.join(", ").into_bytes()),
        ("compact list of numbers", numbers.join(",").into_bytes()),
    ];
    for alignment in 0..3 {
        let mut padded = vec![0; alignment];
        padded.extend_from_slice(bytes);
        // Characters that hold bits of the bytes before or after.
        let first = (alignment * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        for (name, encoding) in [("base64", BASE64_NOPAD), ("base64url", BASE64URL_NOPAD)] {
            let text = encoding.encode(&padded);
            all.push((name, text.as_bytes()[first..last].to_vec()));
        }
    }
    all.sort();
    all.dedup_by(|one, other| one.1 == other.1);
    all
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::scan::{Canary, Scanner};

    #[test]
    fn each_spelling_is_found_in_a_text_around_it() {
        let canary: Vec<u8> = (0..33).map(|i| i * 7 + 1).collect();
        let scanner = Scanner::new(&[Canary::new("c", &canary)]);
        for before in 0..3 {
            let mut message = vec![0xab; before];
            message.extend_from_slice(&canary);
            message.extend_from_slice(b"tail");
            for text in [
                HEXLOWER.encode(&message),
                HEXUPPER.encode(&message),
                BASE64_NOPAD.encode(&message),
                BASE64URL_NOPAD.encode(&message),
                format!("{message:?}"),
                serde_json::to_string(&message).unwrap(),
            ] {
                let found = scanner.bytes(Path::new("text"), text.as_bytes());
                assert!(!found.is_empty(), "not found in {text}");
            }
        }
    }
}
