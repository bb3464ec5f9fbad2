//! What of the Raft log is in memory: its bounds, and the newest entries.
//!
//! Does no I/O. Entries are readable from here as soon as they are appended,
//! and leave once they are durable and older ones than memory has room for.

use std::collections::VecDeque;

use super::LogEntry;
use crate::error::StorageError;

/// First index there is, and the next one to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) first: u64,
    pub(super) next: u64,
}

/// The newest entries, without gaps up to the last of the log.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// `None`: nothing was ever purged and no entry is there; the next entry
    /// may have any index.
    bounds: Option<Bounds>,
    entries: VecDeque<LogEntry>,
    bytes: usize,
}

impl Tail {
    /// A tail without entries in memory for a log with these bounds.
    pub(super) fn new(bounds: Option<Bounds>) -> Self {
        Self { bounds, entries: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn bounds(&self) -> Option<Bounds> {
        self.bounds
    }

    /// Bytes of the entries in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Index of the first entry in memory; the log's next one if there is none.
    pub(super) fn first_in_memory(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.index).or(self.bounds.map(|bounds| bounds.next))
    }

    /// Takes entries in. `true`: the log held none and nothing was ever purged.
    ///
    /// # Errors
    ///
    /// [`StorageError::NotConsecutive`], and nothing is taken in.
    pub(super) fn append(&mut self, entries: &[LogEntry]) -> Result<bool, StorageError> {
        let Some(first) = entries.first() else { return Ok(false) };
        let starts = self.bounds.is_none();
        let bounds = self.bounds.unwrap_or(Bounds { first: first.index, next: first.index });
        let mut next = bounds.next;
        for entry in entries {
            if entry.index != next || next == u64::MAX {
                return Err(StorageError::NotConsecutive { expected: next, got: entry.index });
            }
            next += 1;
        }
        self.bytes += entries.iter().map(LogEntry::bytes).sum::<usize>();
        self.entries.extend(entries.iter().cloned());
        self.bounds = Some(Bounds { next, ..bounds });
        Ok(starts)
    }

    /// Drops the entries from `index` on; `purged`: whether anything was ever
    /// purged. Returns the bounds before.
    pub(super) fn truncate_from(&mut self, index: u64, purged: bool) -> Option<Bounds> {
        let before = self.bounds;
        while let Some(entry) = self.entries.pop_back_if(|entry| entry.index >= index) {
            self.bytes -= entry.bytes();
        }
        self.bounds = before.and_then(|Bounds { first, next }| {
            let next = next.min(index.max(first));
            (purged || next > first).then_some(Bounds { first, next })
        });
        before
    }

    /// Drops the entries through `index`.
    pub(super) fn purge_to(&mut self, index: u64) {
        let first = index.saturating_add(1);
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.index < first) {
            self.bytes -= entry.bytes();
        }
        let bounds = self.bounds.unwrap_or(Bounds { first, next: first });
        let first = bounds.first.max(first);
        self.bounds = Some(Bounds { first, next: bounds.next.max(first) });
    }

    /// Drops the oldest entries below `durable_next` until `bytes_max` hold
    /// what is left.
    pub(super) fn evict(&mut self, durable_next: u64, bytes_max: usize) {
        while self.bytes > bytes_max
            && let Some(entry) = self.entries.pop_front_if(|entry| entry.index < durable_next)
        {
            self.bytes -= entry.bytes();
        }
    }

    /// Copies entries in memory with `from <= index < to`, at most `bytes_max`
    /// bytes but at least one.
    pub(super) fn copy(&self, from: u64, to: u64, bytes_max: usize) -> Vec<LogEntry> {
        let Some(start) = self.entries.front().map(|entry| entry.index) else { return Vec::new() };
        let skip = usize::try_from(from.saturating_sub(start)).unwrap_or(usize::MAX);
        let mut copied = Vec::new();
        let mut bytes = 0;
        for entry in self.entries.iter().skip(skip).take_while(|entry| entry.index < to) {
            bytes += entry.bytes();
            if bytes > bytes_max && !copied.is_empty() {
                break;
            }
            copied.push(entry.clone());
        }
        copied
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn entries(indexes: std::ops::Range<u64>) -> Vec<LogEntry> {
        let payload = Bytes::from_static(&[7; 100]);
        indexes.map(|index| LogEntry { index, term: 1, payload: payload.clone() }).collect()
    }

    fn indexes(entries: &[LogEntry]) -> Vec<u64> {
        entries.iter().map(|entry| entry.index).collect()
    }

    #[test]
    fn holes_and_repeats_are_refused_whole() {
        let mut tail = Tail::default();
        tail.append(&entries(5..8)).unwrap();
        for wrong in [entries(9..10), entries(7..9), [entries(8..9), entries(10..11)].concat()] {
            assert!(tail.append(&wrong).is_err());
        }
        assert_eq!(tail.bounds(), Some(Bounds { first: 5, next: 8 }));
    }

    #[test]
    fn an_entry_that_is_not_durable_is_never_evicted() {
        let mut tail = Tail::default();
        tail.append(&entries(0..10)).unwrap();
        tail.evict(0, 0);
        assert_eq!(tail.first_in_memory(), Some(0));
        tail.evict(4, 0);
        assert_eq!(tail.first_in_memory(), Some(4));
        tail.evict(10, 0);
        assert_eq!((tail.first_in_memory(), tail.bytes()), (Some(10), 0));
    }

    #[test]
    fn a_truncated_log_takes_the_truncated_index_next() {
        let mut tail = Tail::default();
        tail.append(&entries(0..10)).unwrap();
        tail.truncate_from(6, false);
        assert!(tail.append(&entries(7..8)).is_err());
        tail.append(&entries(6..7)).unwrap();
        tail.truncate_from(0, false);
        assert_eq!((tail.bounds(), tail.bytes()), (None, 0));
    }

    #[test]
    fn a_log_purged_beyond_its_end_goes_on_after_the_purge() {
        let mut tail = Tail::default();
        tail.append(&entries(0..3)).unwrap();
        tail.purge_to(9);
        assert_eq!(tail.bounds(), Some(Bounds { first: 10, next: 10 }));
        assert!(tail.append(&entries(3..4)).is_err());
        tail.append(&entries(10..12)).unwrap();
        tail.truncate_from(10, true);
        assert_eq!(tail.bounds(), Some(Bounds { first: 10, next: 10 }));
    }

    #[test]
    fn a_copy_is_bounded_in_bytes_but_never_empty() {
        let mut tail = Tail::default();
        tail.append(&entries(0..10)).unwrap();
        let one = entries(0..1)[0].bytes();
        assert_eq!(indexes(&tail.copy(3, 9, 1)), [3]);
        assert_eq!(indexes(&tail.copy(3, 9, 2 * one)), [3, 4]);
        assert_eq!(indexes(&tail.copy(7, 9, usize::MAX)), [7, 8]);
        assert!(tail.copy(10, 12, usize::MAX).is_empty());
    }
}
