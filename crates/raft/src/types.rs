//! What the Raft library is instantiated with.

use std::{fmt, time::Instant};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use strongroom_base::Incarnation;

openraft::declare_raft_types!(
    /// The types of this product's Raft log.
    pub TypeConfig:
        D = Command,
        R = Reply,
        NodeId = u64,
        Node = PeerNode,
);

pub(crate) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(crate) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(crate) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(crate) type Membership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type AppendRequest = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub(crate) type AppendResult = openraft::raft::StreamAppendResult<TypeConfig>;

macro_rules! opaque_bytes {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Default, PartialEq, Eq)]
        pub struct $name(pub Bytes);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({} bytes)"), self.0.len())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_bytes(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_byte_buf(BytesVisitor).map(Self)
            }
        }
    };
}

opaque_bytes! {
    /// A command: a serialised `strongroom.store.v1.Command`, opaque to Raft.
    ///
    /// Prints its length only.
    Command
}
opaque_bytes! {
    /// What `apply` made of a command: an encoded outcome of crate `state`;
    /// empty for entries of Raft's own.
    Outcome
}

/// What whoever proposed an entry hears of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// What became of it.
    pub outcome: Outcome,
    /// When it was known here to be committed. Goes nowhere.
    #[serde(skip)]
    pub committed: Option<Instant>,
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.outcome.fmt(f)
    }
}

struct BytesVisitor;

impl de::Visitor<'_> for BytesVisitor {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }
}

/// What the membership in the Raft log says of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerNode {
    /// Peer address, host:port.
    pub address: String,
    /// Name from the member's configuration.
    pub name: String,
    /// Bytes of its data directory's [`Incarnation`]; zeros: it was never heard
    /// of, and the first directory that it comes with is its own.
    pub incarnation: [u8; 16],
}

impl PeerNode {
    /// The member's data directory; none where it was never heard of.
    #[must_use]
    pub fn incarnation(&self) -> Option<Incarnation> {
        (self.incarnation != [0; 16]).then(|| Incarnation::from_bytes(self.incarnation))
    }
}

impl fmt::Display for PeerNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_without_a_directory_has_no_incarnation() {
        let mut peer = PeerNode::default();
        assert_eq!(peer.incarnation(), None);
        peer.incarnation[15] = 1;
        assert_eq!(peer.incarnation(), Some(Incarnation::from_bytes(peer.incarnation)));
    }

    #[test]
    fn a_command_is_never_printed() {
        let command = Command(Bytes::from_static(b"canary"));
        assert_eq!(format!("{command:?} {command}"), "Command(6 bytes) Command(6 bytes)");
    }
}
