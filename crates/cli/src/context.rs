//! Encryption contexts as arguments: `--context key=value`.

use std::collections::BTreeMap;

/// Reads `key=value`; the value may hold further `=` and may be empty.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) => Err("the key before '=' is empty".to_owned()),
        None => Err("a context is given as key=value".to_owned()),
    }
}

/// The pairs as a map.
///
/// # Errors
///
/// When a key is given twice: which of the two was meant is not for us to guess.
pub(crate) fn map(pairs: &[(String, String)]) -> anyhow::Result<BTreeMap<String, String>> {
    let mut map = BTreeMap::new();
    for (key, value) in pairs {
        if map.insert(key.clone(), value.clone()).is_some() {
            anyhow::bail!("the context key {key:?} is given twice");
        }
    }
    Ok(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pair_is_refused() {
        assert!(pair("tenant").is_err());
        assert!(pair("=x").is_err());
    }

    #[test]
    fn a_key_given_twice_is_refused() {
        let pairs = [pair("a=1").unwrap(), pair("a=1").unwrap()];
        assert!(map(&pairs).is_err());
    }

    #[test]
    fn a_value_may_hold_anything() {
        assert_eq!(pair("url=a=b"), Ok(("url".to_owned(), "a=b".to_owned())));
        assert_eq!(pair("empty="), Ok(("empty".to_owned(), String::new())));
    }
}
