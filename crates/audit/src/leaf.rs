//! The leaf: the part of an audit record that stays, and its canonical bytes.
//!
//! Integers big endian. There is one encoding of each leaf, and decoding takes
//! no other:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | format, 1 |
//! | 1 | 1 | kind: 1 use, 2 denial, 3 administration, 4 ceremony |
//! | 2 | 2 | operation |
//! | 4 | 1 | outcome: 1 success, 2 refused |
//! | 5 | 2 | reason of a refusal; 0 on success |
//! | 7 | 1 | flags: 1 commitments are there |
//! | 8 | 16 | attempt id |
//! | 24 | 16 | principal id; zeros: none |
//! | 40 | 16 | key id; zeros: none |
//! | 56 | 4 | key version; 0: none |
//! | 60 | 8 | node id |
//! | 68 | 8 | boot count |
//! | 76 | 8 | node time, Unix milliseconds |
//! | 84 | 4 | items of a batch call; 0: no batch call |
//! | 88 | 2 | f, number of further keys |
//! | 90 | 2 | d, length of the detail |
//! | 92 | 16 f | further keys, strictly ascending, none of zeros |
//! | | 128 or 0 | commitments, as the flags say |
//! | | d | detail |

use strongroom_base::{
    AttemptId, AuditSequence, KeyId, KeyVersion, NodeId, PrincipalId, UnixMillis, limits,
};

use crate::{
    Commitments, Detail, DetailError, Hash, Operation, Reason, commitment::COMMITMENTS_BYTES,
    leaf_hash,
};

/// Format of the canonical bytes.
const LEAF_FORMAT: u8 = 1;
/// Bytes before the parts of variable length.
const HEADER_BYTES: usize = 92;
/// Flag: commitments are there.
const FLAG_COMMITMENTS: u8 = 1;

/// Most keys that one record names beside its first: what fits the largest leaf
/// beside a full detail and the commitments.
pub const FURTHER_KEYS_MAX: usize =
    (limits::LEAF_BYTES_MAX - HEADER_BYTES - COMMITMENTS_BYTES - Detail::BYTES_MAX) / 16;

/// What kind of event it is. The numbers are a stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A key was used, or its use was refused for its state or input.
    Use = 1,
    /// The caller was refused for want of rights.
    Denial = 2,
    /// Something was administered, or a read was recorded.
    Administration = 3,
    /// A step of the seal ceremony; leaf only.
    Ceremony = 4,
}

impl Kind {
    /// Its name, as events and filters show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Use => "use",
            Self::Denial => "denial",
            Self::Administration => "administration",
            Self::Ceremony => "ceremony",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        (1..=4).filter_map(Self::from_number).find(|kind| kind.name() == name)
    }

    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Use),
            2 => Some(Self::Denial),
            3 => Some(Self::Administration),
            4 => Some(Self::Ceremony),
            _ => None,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeafOutcome {
    /// As asked for.
    Success,
    /// Not.
    Refused(Reason),
}

impl LeafOutcome {
    /// `success` or `refused`, as events and filters show it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Refused(_) => "refused",
        }
    }

    /// Why it was refused.
    #[must_use]
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Success => None,
            Self::Refused(reason) => Some(reason),
        }
    }
}

/// Why bytes are no leaf, or a leaf has no encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeafError {
    /// Shorter or longer than its header says, or than a leaf may be.
    #[error("not as long as a leaf is")]
    Length,
    /// A format that this program doesn't know.
    #[error("format {0} of leaves is not known")]
    Format(u8),
    /// An operation that this program doesn't know.
    #[error("operation {0} is not known")]
    Operation(u16),
    /// A reason that this program doesn't know.
    #[error("reason {0} is not known")]
    Reason(u16),
    /// A field outside its values.
    #[error("{0} is outside its values")]
    Field(&'static str),
    /// More than [`FURTHER_KEYS_MAX`] further keys, or not strictly ascending, or
    /// the first key or an id of zeros among them.
    #[error("the further keys are too many, out of order, or hold zeros or the first key")]
    FurtherKeys,
    /// The detail.
    #[error("the detail is not well formed")]
    Detail(#[source] DetailError),
}

/// The part of an audit record that stays. Holds nothing private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// What kind of event it is.
    pub kind: Kind,
    /// What was attempted.
    pub operation: Operation,
    /// How it ended.
    pub outcome: LeafOutcome,
    /// This attempt.
    pub attempt: AttemptId,
    /// Who attempted it.
    pub principal: Option<PrincipalId>,
    /// The key that it was about.
    pub key: Option<KeyId>,
    /// Version of that key's material.
    pub key_version: Option<KeyVersion>,
    /// Recording node.
    pub node: NodeId,
    /// Starts of that node so far: the count of its boot id.
    pub boot_count: u64,
    /// The recording node's clock; data only.
    pub node_time: UnixMillis,
    /// Items of a batch call; 0: no batch call.
    pub item_count: u32,
    /// Keys that it was about beside `key`, strictly ascending, none of zeros, so
    /// that look-ups by key find it; at most [`FURTHER_KEYS_MAX`].
    pub further_keys: Vec<KeyId>,
    /// Commitments to the body; `None`: there is no body.
    pub commitments: Option<Commitments>,
    /// Public facts.
    pub detail: Detail,
}

impl Leaf {
    /// The canonical bytes; layout in the module's doc.
    ///
    /// # Errors
    ///
    /// [`LeafError::FurtherKeys`]; [`LeafError::Field`] for an id of zeros or
    /// a key version 0, which would read as none, and for a time past
    /// [`UnixMillis::MAX`].
    pub fn encode(&self) -> Result<Vec<u8>, LeafError> {
        let keys = &self.further_keys;
        let further: Vec<[u8; 16]> = keys.iter().map(|key| *key.as_bytes()).collect();
        check_further(&further, self.key.as_ref().map(KeyId::as_bytes))?;
        let (outcome, reason) = match self.outcome {
            LeafOutcome::Success => (1, 0),
            LeafOutcome::Refused(reason) => (2, reason.number()),
        };
        let principal =
            self.principal.map_or(Ok([0; 16]), |id| present("principal", *id.as_bytes()))?;
        let key = self.key.map_or(Ok([0; 16]), |id| present("key", *id.as_bytes()))?;
        if self.key_version == Some(KeyVersion(0)) {
            return Err(LeafError::Field("key version"));
        }
        if self.node_time > UnixMillis::MAX {
            return Err(LeafError::Field("node time"));
        }
        let detail = self.detail.encode();
        let mut bytes =
            Vec::with_capacity(HEADER_BYTES + 16 * keys.len() + COMMITMENTS_BYTES + detail.len());
        bytes.extend([LEAF_FORMAT, self.kind as u8]);
        bytes.extend(self.operation.number().to_be_bytes());
        bytes.push(outcome);
        bytes.extend(reason.to_be_bytes());
        bytes.push(if self.commitments.is_some() { FLAG_COMMITMENTS } else { 0 });
        bytes.extend(self.attempt.as_bytes());
        bytes.extend(principal);
        bytes.extend(key);
        bytes.extend(self.key_version.map_or(0, |version| version.0).to_be_bytes());
        bytes.extend(self.node.value().to_be_bytes());
        bytes.extend(self.boot_count.to_be_bytes());
        bytes.extend(self.node_time.0.to_be_bytes());
        bytes.extend(self.item_count.to_be_bytes());
        bytes.extend(length(keys.len()));
        bytes.extend(length(detail.len()));
        keys.iter().for_each(|key| bytes.extend(key.as_bytes()));
        bytes.extend(self.commitments.iter().flat_map(Commitments::encode));
        bytes.extend(detail);
        Ok(bytes)
    }

    /// Reads canonical bytes.
    ///
    /// # Errors
    ///
    /// [`LeafError`] for anything that [`Leaf::encode`] does not write; a number
    /// that only a newer program knows is named as such.
    pub fn decode(bytes: &[u8]) -> Result<Self, LeafError> {
        let indexes = LeafIndexes::parse(bytes)?;
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(LeafError::Length)?;
        let rest = &rest[16 * indexes.further.len()..];
        let (commitments, detail) = if header[7] & FLAG_COMMITMENTS == 0 {
            (None, rest)
        } else {
            let (commitments, rest) = rest.split_first_chunk().ok_or(LeafError::Length)?;
            (Some(Commitments::decode(commitments)), rest)
        };
        let operation = u16::from_be_bytes(field(header, 2));
        let node_time = UnixMillis(u64::from_be_bytes(field(header, 76)));
        if node_time > UnixMillis::MAX {
            return Err(LeafError::Field("node time"));
        }
        let key_version = KeyVersion(u32::from_be_bytes(field(header, 56)));
        Ok(Self {
            kind: Kind::from_number(header[1]).ok_or(LeafError::Field("kind"))?,
            operation: Operation::from_number(operation).ok_or(LeafError::Operation(operation))?,
            outcome: outcome(header[4], u16::from_be_bytes(field(header, 5)))?,
            attempt: AttemptId::from_bytes(field(header, 8)),
            principal: indexes.principal,
            key: indexes.key,
            key_version: (key_version.0 != 0).then_some(key_version),
            node: NodeId::new(u64::from_be_bytes(field(header, 60)))
                .map_err(|_| LeafError::Field("node id"))?,
            boot_count: u64::from_be_bytes(field(header, 68)),
            node_time,
            item_count: u32::from_be_bytes(field(header, 84)),
            further_keys: indexes.further.iter().copied().map(KeyId::from_bytes).collect(),
            commitments,
            detail: Detail::decode(detail).map_err(LeafError::Detail)?,
        })
    }
}

/// What look-ups find a leaf by, read without understanding the rest.
///
/// Every version of the program reads the same from the same bytes, whatever
/// operations and reasons it knows: `apply` rests on this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeafIndexes<'a> {
    /// Who attempted it.
    pub principal: Option<PrincipalId>,
    /// The key that it was about.
    pub key: Option<KeyId>,
    further: &'a [[u8; 16]],
}

impl<'a> LeafIndexes<'a> {
    /// Reads the ids out of canonical bytes.
    ///
    /// # Errors
    ///
    /// [`LeafError::Format`], [`LeafError::Length`], [`LeafError::FurtherKeys`],
    /// and [`LeafError::Field`] for flags that format 1 doesn't have.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, LeafError> {
        let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(LeafError::Length)?;
        if header[0] != LEAF_FORMAT {
            return Err(LeafError::Format(header[0]));
        }
        if header[7] & !FLAG_COMMITMENTS != 0 {
            return Err(LeafError::Field("flags"));
        }
        let further = usize::from(u16::from_be_bytes(field(header, 88)));
        let detail = usize::from(u16::from_be_bytes(field(header, 90)));
        let commitments = if header[7] == 0 { 0 } else { COMMITMENTS_BYTES };
        if rest.len() != 16 * further + commitments + detail || detail > Detail::BYTES_MAX {
            return Err(LeafError::Length);
        }
        let (further, _) = rest[..16 * further].as_chunks();
        let key = field(header, 40);
        check_further(further, Some(&key))?;
        Ok(Self {
            principal: some(field(header, 24)).map(PrincipalId::from_bytes),
            key: some(key).map(KeyId::from_bytes),
            further,
        })
    }

    /// All keys that it was about, each once.
    pub fn keys(&self) -> impl Iterator<Item = KeyId> + 'a {
        self.key.into_iter().chain(self.further.iter().copied().map(KeyId::from_bytes))
    }
}

/// Hash of a committed leaf in the tree:
/// `SHA-256(0x00 ‖ sequence(8) ‖ cluster time(8, Unix milliseconds) ‖ leaf)`.
#[must_use]
pub fn committed_leaf_hash(sequence: AuditSequence, stamp: UnixMillis, leaf: &[u8]) -> Hash {
    leaf_hash(&[&sequence.0.to_be_bytes(), &stamp.0.to_be_bytes(), leaf])
}

/// Requires what `further_keys` promises, beside `key`.
fn check_further(further: &[[u8; 16]], key: Option<&[u8; 16]>) -> Result<(), LeafError> {
    // Ascending, so that zeros would come first.
    let sound = further.len() <= FURTHER_KEYS_MAX
        && further.is_sorted_by(|one, next| one < next)
        && further.first() != Some(&[0; 16])
        && key.is_none_or(|key| further.binary_search(key).is_err());
    if sound { Ok(()) } else { Err(LeafError::FurtherKeys) }
}

/// The `N` bytes at `offset` of the header.
fn field<const N: usize>(header: &[u8; HEADER_BYTES], offset: usize) -> [u8; N] {
    header[offset..offset + N].try_into().expect("the layout lies within the header")
}

/// An id that is not the one that stands for none.
fn present(name: &'static str, id: [u8; 16]) -> Result<[u8; 16], LeafError> {
    some(id).ok_or(LeafError::Field(name))
}

fn some(id: [u8; 16]) -> Option<[u8; 16]> {
    (id != [0; 16]).then_some(id)
}

/// A length of two bytes; the caller has checked a far smaller bound.
fn length(length: usize) -> [u8; 2] {
    u16::try_from(length).expect("parts of a leaf are shorter than the leaf").to_be_bytes()
}

fn outcome(number: u8, reason: u16) -> Result<LeafOutcome, LeafError> {
    match (number, reason) {
        (1, 0) => Ok(LeafOutcome::Success),
        (2, reason) => {
            Reason::from_number(reason).map(LeafOutcome::Refused).ok_or(LeafError::Reason(reason))
        }
        _ => Err(LeafError::Field("outcome")),
    }
}
