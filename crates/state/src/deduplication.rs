//! The deduplication window: a batch counts once, however often it arrives.
//!
//! Of each node's newest boot the last [`limits::DEDUPLICATION_WINDOW`] sequence
//! numbers are remembered with their verdicts, each in the slot of its number
//! modulo the window, so that marks are overwritten and never deleted. A mark
//! left by an earlier boot or an earlier round of the ring is told by the boot
//! and the sequence in it.
//!
//! Batches that came with a MAC and batches that came without have windows of
//! their own ([`Lane`]): whoever may send the latter alone, in a node's name and
//! under any boot, can't make the node's own batches look old.

use strongroom_base::{AuditSequence, BootId, LogIndex, limits};

use crate::{
    BatchId, RefusalCause, Table, Tables, TablesError, TablesReader, Verdict, outcome::verdicts,
};

/// Which of a node's windows a batch counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Without a MAC: ceremony batches of a sealed cluster.
    Unproven,
    /// With a MAC of an unsealed member.
    Proven,
}

const WINDOW: u64 = limits::DEDUPLICATION_WINDOW as u64;

/// What is remembered of an applied batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Log index of the entry that applied it first.
    pub(crate) log_index: LogIndex,
    /// Audit sequence number of its first admitted record, or of the next one.
    pub(crate) first_sequence: AuditSequence,
    /// One for each transaction.
    pub(crate) verdicts: Vec<Verdict>,
}

/// How a batch stands to those that were applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was never applied. `newest` is the highest sequence so far of its
    /// boot, 0 where it is the boot's first.
    First { newest: u64 },
    /// It was applied.
    Repeats(Mark),
    /// Too old to tell.
    Refused(RefusalCause),
}

/// Newest boot of a node and newest sequence of that boot.
struct Head {
    boot: BootId,
    newest: u64,
}

impl Head {
    fn load(
        tables: &impl TablesReader,
        lane: Lane,
        node_id: u64,
    ) -> Result<Option<Self>, TablesError> {
        let Some(stored) = tables.get(Table::Deduplication, &lane.head_key(node_id))? else {
            return Ok(None);
        };
        let ([count, nonce, newest], []) = numbers(&stored)? else {
            return Err(TablesError::damaged(Table::Deduplication, "a head is not 24 bytes"));
        };
        Ok(Some(Self { boot: BootId { count, nonce }, newest }))
    }
}

/// How `batch` stands to what was applied.
pub(crate) fn standing(
    tables: &impl TablesReader,
    lane: Lane,
    batch: &BatchId,
) -> Result<Standing, TablesError> {
    let Some(head) = Head::load(tables, lane, batch.node_id)? else {
        return Ok(Standing::First { newest: 0 });
    };
    if batch.boot.count > head.boot.count {
        return Ok(Standing::First { newest: 0 });
    }
    if batch.boot != head.boot {
        return Ok(Standing::Refused(RefusalCause::OlderBoot));
    }
    if batch.sequence > head.newest {
        return Ok(Standing::First { newest: head.newest });
    }
    if head.newest - batch.sequence >= WINDOW {
        return Ok(Standing::Refused(RefusalCause::BelowWindow));
    }
    Ok(match find(tables, lane, batch)? {
        Some(mark) => Standing::Repeats(mark),
        // The sequence was skipped, and arrives late.
        None => Standing::First { newest: head.newest },
    })
}

/// The mark of `batch`, where its slot holds it.
fn find(
    tables: &impl TablesReader,
    lane: Lane,
    batch: &BatchId,
) -> Result<Option<Mark>, TablesError> {
    let slot = lane.slot_key(batch.node_id, batch.sequence);
    let stored = tables.get(Table::Deduplication, &slot)?;
    let Some(stored) = stored else { return Ok(None) };
    let ([boot_count, sequence, log_index, first], rest) = numbers(&stored)?;
    if boot_count != batch.boot.count || sequence != batch.sequence {
        return Ok(None);
    }
    let damaged = TablesError::damaged(Table::Deduplication, "a verdict has no such number");
    Ok(Some(Mark {
        log_index: LogIndex(log_index),
        first_sequence: AuditSequence(first),
        verdicts: verdicts(rest).ok_or(damaged)?,
    }))
}

/// Remembers `batch`, which stood as [`Standing::First`] with `newest`.
pub(crate) fn remember(
    tables: &mut impl Tables,
    lane: Lane,
    batch: &BatchId,
    newest: u64,
    mark: &Mark,
) -> Result<(), TablesError> {
    let BootId { count, nonce } = batch.boot;
    if batch.sequence > newest {
        let head = [count, nonce, batch.sequence].map(u64::to_be_bytes);
        tables.put(Table::Deduplication, &lane.head_key(batch.node_id), head.as_flattened())?;
    }
    let numbers = [count, batch.sequence, mark.log_index.0, mark.first_sequence.0];
    let mut stored = Vec::with_capacity(32 + mark.verdicts.len());
    stored.extend(numbers.map(u64::to_be_bytes).as_flattened());
    stored.extend(mark.verdicts.iter().map(|verdict| verdict.number()));
    tables.put(Table::Deduplication, &lane.slot_key(batch.node_id, batch.sequence), &stored)
}

impl Lane {
    /// Key of a node's head: its id, then 0, or 2 in the proven lane.
    fn head_key(self, node_id: u64) -> [u8; 9] {
        let mut key = [self.first(); 9];
        key[..8].copy_from_slice(&node_id.to_be_bytes());
        key
    }

    /// Key of a slot: the node's id, then 1, or 3 in the proven lane, then the
    /// slot.
    fn slot_key(self, node_id: u64, sequence: u64) -> [u8; 10] {
        let mut key = [self.first() + 1; 10];
        key[..8].copy_from_slice(&node_id.to_be_bytes());
        key[9] = u8::try_from(sequence % WINDOW).expect("the window has less than 256 slots");
        key
    }

    fn first(self) -> u8 {
        match self {
            Self::Unproven => 0,
            Self::Proven => 2,
        }
    }
}

/// The first `N` integers of a stored value, and what follows them.
fn numbers<const N: usize>(stored: &[u8]) -> Result<([u64; N], &[u8]), TablesError> {
    let (head, rest) = stored
        .split_at_checked(8 * N)
        .ok_or(TablesError::damaged(Table::Deduplication, "a mark is too short"))?;
    let (chunks, _) = head.as_chunks();
    Ok((std::array::from_fn(|position| u64::from_be_bytes(chunks[position])), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MapTables;

    fn batch(count: u64, nonce: u64, sequence: u64) -> BatchId {
        BatchId { node_id: 1, boot: BootId { count, nonce }, sequence }
    }

    fn mark(index: u64) -> Mark {
        Mark {
            log_index: LogIndex(index),
            first_sequence: AuditSequence(index),
            verdicts: vec![Verdict::Admitted, Verdict::Superseded],
        }
    }

    /// Applies a batch that must be new.
    fn applied(tables: &mut MapTables, batch: &BatchId, index: u64) {
        let Ok(Standing::First { newest }) = standing(tables, Lane::Proven, batch) else {
            panic!("{batch:?} was applied before")
        };
        remember(tables, Lane::Proven, batch, newest, &mark(index)).unwrap();
    }

    #[test]
    fn older_boots_and_imitated_boots_are_refused() {
        let mut tables = MapTables::new();
        applied(&mut tables, &batch(2, 7, 1), 1);
        let older = Standing::Refused(RefusalCause::OlderBoot);
        assert_eq!(standing(&tables, Lane::Proven, &batch(1, 3, 9)).unwrap(), older);
        assert_eq!(standing(&tables, Lane::Proven, &batch(2, 8, 2)).unwrap(), older);
        applied(&mut tables, &batch(3, 1, 1), 2);
        assert_eq!(standing(&tables, Lane::Proven, &batch(2, 7, 1)).unwrap(), older);
    }

    #[test]
    fn batches_without_a_mac_stand_in_nobodys_way() {
        let mut tables = MapTables::new();
        applied(&mut tables, &batch(2, 7, 1), 1);
        let imitated = batch(u64::MAX, 1, u64::MAX);
        let first = Standing::First { newest: 0 };
        assert_eq!(standing(&tables, Lane::Unproven, &imitated).unwrap(), first);
        remember(&mut tables, Lane::Unproven, &imitated, 0, &mark(2)).unwrap();
        let repeats = Standing::Repeats(mark(1));
        assert_eq!(standing(&tables, Lane::Proven, &batch(2, 7, 1)).unwrap(), repeats);
        applied(&mut tables, &batch(3, 1, 1), 3);
        let repeats = Standing::Repeats(mark(2));
        assert_eq!(standing(&tables, Lane::Unproven, &imitated).unwrap(), repeats);
    }

    #[test]
    fn what_fell_out_of_the_window_is_refused() {
        let mut tables = MapTables::new();
        applied(&mut tables, &batch(1, 1, 1), 1);
        applied(&mut tables, &batch(1, 1, WINDOW), 2);
        assert_eq!(
            standing(&tables, Lane::Proven, &batch(1, 1, 1)).unwrap(),
            Standing::Repeats(mark(1))
        );
        applied(&mut tables, &batch(1, 1, WINDOW + 1), 3);
        let below = Standing::Refused(RefusalCause::BelowWindow);
        assert_eq!(standing(&tables, Lane::Proven, &batch(1, 1, 1)).unwrap(), below);
    }

    #[test]
    fn a_repeat_finds_its_mark_and_a_late_arrival_counts_once() {
        let mut tables = MapTables::new();
        applied(&mut tables, &batch(1, 1, 5), 1);
        applied(&mut tables, &batch(1, 1, 3), 2);
        assert_eq!(
            standing(&tables, Lane::Proven, &batch(1, 1, 5)).unwrap(),
            Standing::Repeats(mark(1))
        );
        assert_eq!(
            standing(&tables, Lane::Proven, &batch(1, 1, 3)).unwrap(),
            Standing::Repeats(mark(2))
        );
        let next = Standing::First { newest: 5 };
        assert_eq!(standing(&tables, Lane::Proven, &batch(1, 1, 6)).unwrap(), next);
    }

    #[test]
    fn marks_of_an_earlier_boot_or_round_are_none() {
        let mut tables = MapTables::new();
        applied(&mut tables, &batch(1, 1, 2), 1);
        applied(&mut tables, &batch(2, 1, 9), 2);
        assert_eq!(
            standing(&tables, Lane::Proven, &batch(2, 1, 2)).unwrap(),
            Standing::First { newest: 9 }
        );
        applied(&mut tables, &batch(2, 1, 9 + 2 * WINDOW), 3);
        applied(&mut tables, &batch(2, 1, 8 + 2 * WINDOW), 4);
        let late = batch(2, 1, 7 + 2 * WINDOW);
        assert!(matches!(standing(&tables, Lane::Proven, &late).unwrap(), Standing::First { .. }));
    }
}
