//! What became of a command: verdicts, refusals, and their encoding.
//!
//! An encoded outcome is what the Raft layer's reply carries to the proposing
//! node, integers big endian:
//!
//! | bytes | batch | hash point | refused |
//! |---|---|---|---|
//! | 1 | format, 1 | format, 1 | format, 1 |
//! | 1 | kind, 1 | kind, 2 | kind, 3 |
//! | 8 | node | node | node, 0: not known |
//! | 8 | boot count | nonce | boot count |
//! | 8 | boot nonce | state hash (32) | boot nonce |
//! | 8 | sequence | | sequence |
//! | 8 | log index | | cause (1) |
//! | 1 | repeated, 0 or 1 | | |
//! | 8 | first audit sequence | | |
//! | rest | verdicts, one byte each | | |

use std::fmt;

use strongroom_base::{AuditSequence, BootId, LogIndex, UnixMillis, limits};

/// Format of an encoded outcome.
const OUTCOME_FORMAT: u8 = 1;

/// What became of one transaction.
///
/// The numbers are a stored format: deduplication marks and replies carry them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verdict {
    /// Its whole effect is in the state.
    Admitted = 1,
    /// Its read set does not hold any more; it left no effect. To be decided
    /// again on a state at or after the entry's index.
    Superseded = 2,
    /// It breaks a rule of its form; it left no effect, and would never have one.
    Malformed = 3,
    /// Cluster time is before its `not_before`; it left no effect.
    TooEarly = 4,
    /// Cluster time is after its `not_after`; it left no effect.
    TooLate = 5,
}

impl Verdict {
    /// The verdict with this number.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Admitted),
            2 => Some(Self::Superseded),
            3 => Some(Self::Malformed),
            4 => Some(Self::TooEarly),
            5 => Some(Self::TooLate),
            _ => None,
        }
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u8 {
        self as u8
    }
}

/// Name of a batch: who proposed it, in which run, and which it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchId {
    /// Number of the proposing node.
    pub node_id: u64,
    /// Run of its process.
    pub boot: BootId,
    /// Counts that run's batches, from 1.
    pub sequence: u64,
}

/// Why a whole command was refused. The numbers are a stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RefusalCause {
    /// No protobuf encoding of a command, or one with unknown fields.
    Undecodable = 1,
    /// A format or kind of command that this cluster version doesn't know.
    UnknownCommand = 2,
    /// It breaks a bound or rule of the whole batch or its stamp.
    Malformed = 3,
    /// Below the deduplication window: whether it was applied is forgotten.
    BelowWindow = 4,
    /// Of an earlier run of the node than one that was already seen, or of a
    /// run that imitates one.
    OlderBoot = 5,
}

impl RefusalCause {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Undecodable),
            2 => Some(Self::UnknownCommand),
            3 => Some(Self::Malformed),
            4 => Some(Self::BelowWindow),
            5 => Some(Self::OlderBoot),
            _ => None,
        }
    }
}

/// A command that had no effect, but for cluster time where it could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRefusal {
    /// Why.
    pub cause: RefusalCause,
    /// The batch, where that much of it could be read and it names a node.
    pub batch: Option<BatchId>,
}

/// What became of a batch that was not refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchOutcome {
    /// Number of the proposing node.
    pub node_id: u64,
    /// Run of its process.
    pub boot: BootId,
    /// Counts that run's batches.
    pub sequence: u64,
    /// Log index of the entry that applied the batch first.
    pub log_index: LogIndex,
    /// True: this entry repeated it and had no effect.
    pub repeated: bool,
    /// One for each transaction, in order.
    pub verdicts: Vec<Verdict>,
    /// Audit sequence number of the batch's first admitted record; the others
    /// follow without gaps. Where none was admitted, the one that would be next.
    pub first_sequence: AuditSequence,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A batch was applied, or repeats one that was.
    Batch(BatchOutcome),
    /// A hash point.
    HashPoint {
        /// Number of the node that asked.
        node_id: u64,
        /// Drawn by that node.
        nonce: u64,
        /// Hash of the state right after the entry.
        hash: StateHash,
    },
    /// Refused as a whole.
    Refused(BatchRefusal),
}

/// What one entry did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Cluster time after the entry.
    pub stamp: UnixMillis,
    /// What became of its command.
    pub outcome: Outcome,
    /// Rows that it wrote or deleted, in order; a row may occur twice.
    pub rows_changed: Vec<RowKey>,
    /// Plain records that it wrote, in order.
    pub plain_changed: Vec<strongroom_format::store::PlainName>,
    /// Audit sequence number of its first record, or of the next one.
    pub first_sequence: AuditSequence,
    /// Audit records that it appended.
    pub records: u64,
}

/// Names a row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowKey {
    /// Number of the row's table, from 1.
    pub table: u8,
    /// Its opaque id.
    pub row_id: Vec<u8>,
}

impl fmt::Debug for RowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}/", self.table)?;
        self.row_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Hash of the whole replicated state; the same on every node at equal applied
/// index.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateHash(pub [u8; 32]);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The bytes are no encoded outcome of a format that this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no outcome of a known format")]
pub struct OutcomeError;

impl Outcome {
    /// The bytes that a reply carries; layout in the module's doc.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64);
        match self {
            Self::Batch(batch) => {
                bytes.extend([OUTCOME_FORMAT, 1]);
                for number in [batch.node_id, batch.boot.count, batch.boot.nonce, batch.sequence] {
                    bytes.extend(number.to_be_bytes());
                }
                bytes.extend(batch.log_index.0.to_be_bytes());
                bytes.push(u8::from(batch.repeated));
                bytes.extend(batch.first_sequence.0.to_be_bytes());
                bytes.extend(batch.verdicts.iter().map(|verdict| verdict.number()));
            }
            Self::HashPoint { node_id, nonce, hash } => {
                bytes.extend([OUTCOME_FORMAT, 2]);
                bytes.extend(node_id.to_be_bytes());
                bytes.extend(nonce.to_be_bytes());
                bytes.extend(hash.0);
            }
            Self::Refused(BatchRefusal { cause, batch }) => {
                bytes.extend([OUTCOME_FORMAT, 3]);
                let (node_id, boot, sequence) = batch
                    .map_or((0, BootId { count: 0, nonce: 0 }, 0), |batch| {
                        (batch.node_id, batch.boot, batch.sequence)
                    });
                for number in [node_id, boot.count, boot.nonce, sequence] {
                    bytes.extend(number.to_be_bytes());
                }
                bytes.push(*cause as u8);
            }
        }
        bytes
    }

    /// Reads what [`Outcome::encode`] wrote.
    ///
    /// # Errors
    ///
    /// [`OutcomeError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, OutcomeError> {
        let mut fields = Fields(bytes);
        let [format, kind] = fields.take()?;
        let outcome = match (format, kind) {
            (OUTCOME_FORMAT, 1) => Self::Batch(fields.batch()?),
            (OUTCOME_FORMAT, 2) => Self::HashPoint {
                node_id: fields.number()?,
                nonce: fields.number()?,
                hash: StateHash(fields.take()?),
            },
            (OUTCOME_FORMAT, 3) => {
                let batch = fields.batch_id()?;
                let [cause] = fields.take()?;
                Self::Refused(BatchRefusal {
                    cause: RefusalCause::from_number(cause).ok_or(OutcomeError)?,
                    batch: (batch.node_id != 0).then_some(batch),
                })
            }
            _ => return Err(OutcomeError),
        };
        if fields.0.is_empty() { Ok(outcome) } else { Err(OutcomeError) }
    }
}

/// What is left of the bytes to read.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], OutcomeError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(OutcomeError)?;
        self.0 = rest;
        Ok(*head)
    }

    fn number(&mut self) -> Result<u64, OutcomeError> {
        self.take().map(u64::from_be_bytes)
    }

    fn batch_id(&mut self) -> Result<BatchId, OutcomeError> {
        Ok(BatchId {
            node_id: self.number()?,
            boot: BootId { count: self.number()?, nonce: self.number()? },
            sequence: self.number()?,
        })
    }

    fn batch(&mut self) -> Result<BatchOutcome, OutcomeError> {
        let BatchId { node_id, boot, sequence } = self.batch_id()?;
        let log_index = LogIndex(self.number()?);
        let repeated = match self.take()? {
            [0] => false,
            [1] => true,
            _ => return Err(OutcomeError),
        };
        let first_sequence = AuditSequence(self.number()?);
        let numbers = std::mem::take(&mut self.0);
        if numbers.len() > limits::BATCH_TRANSACTIONS_MAX {
            return Err(OutcomeError);
        }
        let verdicts = verdicts(numbers).ok_or(OutcomeError)?;
        Ok(BatchOutcome { node_id, boot, sequence, log_index, repeated, verdicts, first_sequence })
    }
}

/// The verdicts with these numbers, unless one has none.
pub(crate) fn verdicts(numbers: &[u8]) -> Option<Vec<Verdict>> {
    numbers.iter().map(|number| Verdict::from_number(*number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Outcome {
        Outcome::Batch(BatchOutcome {
            node_id: 3,
            boot: BootId { count: 2, nonce: 9 },
            sequence: 7,
            log_index: LogIndex(100),
            repeated: true,
            verdicts: vec![Verdict::Admitted, Verdict::Superseded, Verdict::TooLate],
            first_sequence: AuditSequence(55),
        })
    }

    #[test]
    fn truncated_lengthened_and_unknown_outcomes_are_refused() {
        let bytes = batch().encode();
        assert_eq!(Outcome::decode(&bytes[..50]), Err(OutcomeError));
        for (position, value) in [(0, 2), (1, 4), (42, 2), (51, 0), (51, 6)] {
            let mut wrong = bytes.clone();
            wrong[position] = value;
            assert_eq!(Outcome::decode(&wrong), Err(OutcomeError), "byte {position}");
        }
        let refused =
            Outcome::Refused(BatchRefusal { cause: RefusalCause::OlderBoot, batch: None });
        let mut long = refused.encode();
        long.push(0);
        assert_eq!(Outcome::decode(&long), Err(OutcomeError));
    }

    #[test]
    fn every_outcome_is_read_as_it_was_written() {
        let id = BatchId { node_id: 1, boot: BootId { count: 1, nonce: 2 }, sequence: 3 };
        let cause = RefusalCause::BelowWindow;
        for outcome in [
            batch(),
            Outcome::HashPoint { node_id: 1, nonce: 2, hash: StateHash([3; 32]) },
            Outcome::Refused(BatchRefusal { cause, batch: None }),
            Outcome::Refused(BatchRefusal { cause, batch: Some(id) }),
        ] {
            assert_eq!(Outcome::decode(&outcome.encode()), Ok(outcome));
        }
    }

    #[test]
    fn numbers_of_verdicts_and_causes_are_frozen() {
        for number in 0..=u8::MAX {
            assert!(Verdict::from_number(number).is_none_or(|verdict| verdict.number() == number));
            assert!(RefusalCause::from_number(number).is_none_or(|cause| cause as u8 == number));
        }
        assert_eq!(Verdict::Admitted.number(), 1);
        assert_eq!(Verdict::TooLate.number(), 5);
    }
}
