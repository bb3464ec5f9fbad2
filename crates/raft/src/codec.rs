//! Bytes of the Raft library's types, stored and on the wire.
//!
//! | offset | length | content |
//! |---|---|---|
//! | 0 | 1 | format: 1 |
//! | 1 | rest | postcard of the value |
//!
//! On the wire the format stands in a field of its own. A newer format is
//! refused, never guessed at; bytes left over are refused.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};
use strongroom_wire::peer::{RaftRequest, RaftResponse};

/// The one format so far.
pub(crate) const FORMAT: u8 = 1;

/// Why bytes are no value of the wanted type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// Not even a format byte.
    #[error("empty")]
    Empty,
    /// Written by a newer program, or not by this one.
    #[error("format {got} is not known, only {FORMAT} is")]
    Format {
        /// The format found.
        got: u32,
    },
    /// Not a value of the wanted type.
    #[error("malformed")]
    Malformed,
}

/// Encodes for the disk.
pub(crate) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let bytes = vec![FORMAT];
    postcard::to_extend(value, bytes).expect("the Raft library's types always encode into a Vec")
}

/// Decodes what [`encode`] made.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match bytes.split_first() {
        None => Err(DecodeError::Empty),
        Some((&FORMAT, rest)) => decode_exactly(rest),
        Some((&got, _)) => Err(DecodeError::Format { got: got.into() }),
    }
}

fn decode_exactly<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DecodeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) | Err(_) => Err(DecodeError::Malformed),
    }
}

/// Encodes a request for a peer.
pub(crate) fn request<T: Serialize>(value: &T) -> RaftRequest {
    RaftRequest { format: FORMAT.into(), payload: body(value) }
}

/// Encodes an answer for a peer.
pub(crate) fn response<T: Serialize>(value: &T) -> RaftResponse {
    RaftResponse { format: FORMAT.into(), payload: body(value) }
}

/// Encodes without a format byte, where the format has a field of its own.
pub(crate) fn body<T: Serialize>(value: &T) -> Bytes {
    postcard::to_stdvec(value).expect("the Raft library's types always encode into a Vec").into()
}

/// Decodes a peer's bytes of format `format`.
pub(crate) fn from_peer<T: DeserializeOwned>(
    format: u32,
    payload: &[u8],
) -> Result<T, DecodeError> {
    if format == u32::from(FORMAT) {
        decode_exactly(payload)
    } else {
        Err(DecodeError::Format { got: format })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::{EntryPayload, vote::RaftLeaderId as _};

    use super::*;
    use crate::types::{
        AppendRequest, AppendResult, Command, Entry, LogId, Membership, PeerNode, SnapshotMeta,
        TypeConfig, Vote,
    };

    type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;

    fn log_id(index: u64) -> LogId {
        LogId::new(LeaderId::new(3, 2), index)
    }

    fn membership() -> openraft::Membership<u64, PeerNode> {
        let node = |n: u64| PeerNode {
            address: format!("node-{n}.example:7401"),
            name: format!("node-{n}"),
            incarnation: [7; 16],
        };
        let nodes: BTreeMap<u64, PeerNode> = (1..=3).map(|n| (n, node(n))).collect();
        openraft::Membership::new(vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])], nodes)
            .unwrap()
    }

    fn entries() -> Vec<Entry> {
        let command = Command(Bytes::from(vec![9; 5000]));
        [
            EntryPayload::Blank,
            EntryPayload::Normal(command),
            EntryPayload::Normal(Command::default()),
            EntryPayload::Membership(membership()),
        ]
        .into_iter()
        .zip(7..)
        .map(|(payload, index)| Entry { log_id: log_id(index), payload })
        .collect()
    }

    #[test]
    fn other_formats_and_bytes_left_over_are_refused() {
        let bytes = encode(&log_id(5));
        assert_eq!(decode::<LogId>(&[]), Err(DecodeError::Empty));
        assert_eq!(decode::<LogId>(&[2, 0]), Err(DecodeError::Format { got: 2 }));
        assert_eq!(decode::<LogId>(&bytes[..bytes.len() - 1]), Err(DecodeError::Malformed));
        let longer = [bytes.as_slice(), &[0]].concat();
        assert_eq!(decode::<LogId>(&longer), Err(DecodeError::Malformed));
        assert_eq!(from_peer::<LogId>(0, &bytes[1..]), Err(DecodeError::Format { got: 0 }));
        assert_eq!(from_peer(1, &bytes[1..]), Ok(log_id(5)));
    }

    #[test]
    fn every_kind_of_entry_is_read_back() {
        for entry in entries() {
            let back: Entry = decode(&encode(&entry)).unwrap();
            assert_eq!(back.log_id, entry.log_id);
            assert!(back.payload == entry.payload);
        }
    }

    #[test]
    fn requests_and_answers_are_read_back() {
        let append = AppendRequest {
            vote: Vote::new_committed(3, 2),
            prev_log_id: Some(log_id(6)),
            entries: entries(),
            leader_commit: None,
        };
        let sent = request(&append);
        let back: AppendRequest = from_peer(sent.format, &sent.payload).unwrap();
        assert_eq!(format!("{back:?}"), format!("{append:?}"));

        for answer in [
            AppendResult::Ok(Some(log_id(9))),
            AppendResult::Ok(None),
            AppendResult::Err(openraft::raft::StreamAppendError::Conflict(log_id(4))),
            AppendResult::Err(openraft::raft::StreamAppendError::HigherVote(Vote::new(8, 1))),
        ] {
            let sent = response(&answer);
            assert_eq!(from_peer(sent.format, &sent.payload), Ok(answer));
        }

        let mut vote = openraft::raft::VoteRequest::<TypeConfig>::new(Vote::new(4, 1), None);
        vote.leadership_transfer = true;
        assert_eq!(from_peer(1, &body(&vote)), Ok(vote));
    }

    #[test]
    fn snapshot_metadata_is_read_back() {
        let meta = SnapshotMeta {
            last_log_id: Some(log_id(9)),
            last_membership: Membership::new(Some(log_id(1)), membership()),
        };
        assert_eq!(decode(&encode(&meta)), Ok(meta));
    }

    #[test]
    fn the_layout_of_an_entry_is_frozen() {
        let payload = EntryPayload::Normal(Command(Bytes::from_static(b"abc")));
        let entry = Entry { log_id: log_id(300), payload };
        assert_eq!(encode(&entry), [1, 3, 2, 0xac, 2, 1, 3, b'a', b'b', b'c']);
        let blank = Entry { log_id: log_id(1), payload: EntryPayload::Blank };
        assert_eq!(encode(&blank), [1, 3, 2, 1, 0]);
        assert_eq!(encode(&Vote::new_committed(3, 2)), [1, 3, 2, 1]);
    }
}
