//! What the cluster says of itself, checked without its help.

use std::fmt::Write as _;

use anyhow::{Context as _, ensure};
use sha2::{Digest as _, Sha256};
use strongroom_wire::v1::{Event, EventFilter, ListEventsRequest};

use crate::caller::{Caller, Explain as _};

/// Every audit event, oldest first.
///
/// # Errors
///
/// When a page is refused, or sequence numbers have a gap.
pub async fn all_events(auditor: &Caller) -> anyhow::Result<Vec<Event>> {
    events(auditor, EventFilter::default()).await.and_then(|events| {
        for (position, event) in events.iter().enumerate() {
            ensure!(event.sequence == position as u64, "no event {position}: {}", event.sequence);
        }
        Ok(events)
    })
}

/// Every audit event that fits `filter`, oldest first.
///
/// # Errors
///
/// When a page is refused.
pub async fn events(auditor: &Caller, filter: EventFilter) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListEventsRequest {
            filter: Some(filter.clone()),
            limit: 1000,
            page_token: std::mem::take(&mut page_token),
            ascending: true,
        };
        let page = auditor.audit().list_events(request).await.explain("ListEvents")?.into_inner();
        events.extend(page.events);
        if page.next_page_token.is_empty() {
            return Ok(events);
        }
        page_token = page.next_page_token;
    }
}

/// Root of the audit tree over these events, hexadecimal (RFC 6962, section
/// 2.1), computed from their leaf hashes.
///
/// # Errors
///
/// When a leaf hash is none.
pub fn audit_root(events: &[Event]) -> anyhow::Result<String> {
    let leaves = events
        .iter()
        .map(|event| {
            let hash = data_encoding::HEXLOWER_PERMISSIVE.decode(event.leaf_hash.as_bytes())?;
            <[u8; 32]>::try_from(hash).ok().context("a leaf hash is 32 bytes")
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    let root = tree_hash(&leaves);
    let mut text = String::with_capacity(64);
    for byte in root {
        write!(text, "{byte:02x}").expect("writing to a string succeeds");
    }
    Ok(text)
}

fn tree_hash(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => Sha256::digest([]).into(),
        [leaf] => *leaf,
        _ => {
            // The largest power of two below the number of leaves.
            let split = leaves.len().next_power_of_two() / 2;
            let (left, right) = leaves.split_at(split);
            let mut hasher = Sha256::new();
            hasher.update([1]);
            hasher.update(tree_hash(left));
            hasher.update(tree_hash(right));
            hasher.finalize().into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The leaves and roots of the Certificate Transparency reference tree.
    #[test]
    fn roots_are_those_of_the_reference_tree() {
        let leaves: Vec<[u8; 32]> = ["", "00", "10", "2021", "3031", "40414243"]
            .iter()
            .map(|text| {
                let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
                Sha256::digest([&[0][..], &bytes].concat()).into()
            })
            .collect();
        for (size, root) in [
            (0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
            (1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
            (2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"),
            (3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"),
            (4, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"),
            (5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"),
            (6, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"),
        ] {
            let hash = data_encoding::HEXLOWER.encode(&tree_hash(&leaves[..size]));
            assert_eq!(hash, root, "size {size}");
        }
    }
}
