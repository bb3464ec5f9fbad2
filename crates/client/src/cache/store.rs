//! What is kept, and for how long. Decides only; the caller says what time it is.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::Arc,
    time::{Duration, Instant},
};

use super::CacheLimits;

/// Values under keys, each bounded by age, uses and bytes, all by number.
///
/// Invariant: no entry is older than its age allows when it is taken, none was
/// taken more often or for more bytes than allowed, and there are never more
/// than `entries_max`.
#[derive(Debug)]
pub(super) struct Store<K, V> {
    limits: CacheLimits,
    entries: HashMap<K, Entry<V>>,
    /// Counts takes and puts: the least recently used goes first.
    clock: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    /// When its making was asked for.
    made: Instant,
    uses: u64,
    bytes: u64,
    touched: u64,
}

impl<K: Clone + Eq + Hash, V> Store<K, V> {
    pub(super) fn new(limits: CacheLimits) -> Self {
        Self { limits, entries: HashMap::new(), clock: 0 }
    }

    /// Takes the value under `key` for one use of `bytes`; drops it where that
    /// would be too much of it.
    pub(super) fn take(&mut self, key: &K, bytes: u64, now: Instant) -> Option<Arc<V>> {
        self.clock += 1;
        let (limits, clock) = (self.limits, self.clock);
        let entry = self.entries.get_mut(key)?;
        let uses = entry.uses.saturating_add(1);
        let sum = entry.bytes.saturating_add(bytes);
        let spent = uses > limits.uses_max || sum > limits.bytes_max;
        if spent || is_old(entry.made, now, limits.age_max) {
            self.entries.remove(key);
            return None;
        }
        (entry.uses, entry.bytes, entry.touched) = (uses, sum, clock);
        Some(Arc::clone(&entry.value))
    }

    /// Keeps a value that was asked for at `made` and is used for `bytes` right
    /// away. One that can't be used again is not kept.
    pub(super) fn put(&mut self, key: K, value: Arc<V>, bytes: u64, made: Instant) {
        self.clock += 1;
        if self.limits.uses_max <= 1 || bytes > self.limits.bytes_max {
            self.entries.remove(&key);
            return;
        }
        if !self.entries.contains_key(&key) && self.entries.len() >= self.limits.entries_max {
            let least = self.entries.iter().min_by_key(|(_, entry)| entry.touched);
            if let Some(least) = least.map(|(key, _)| key.clone()) {
                self.entries.remove(&least);
            }
        }
        let entry = Entry { value, made, uses: 1, bytes, touched: self.clock };
        self.entries.insert(key, entry);
    }

    /// Drops what is too old.
    pub(super) fn sweep(&mut self, now: Instant) {
        let age_max = self.limits.age_max;
        self.entries.retain(|_, entry| !is_old(entry.made, now, age_max));
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// Entries that are there.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn is_old(made: Instant, now: Instant, age_max: Duration) -> bool {
    now.saturating_duration_since(made) >= age_max
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a moment to count from")]

    use proptest::{collection::vec, prelude::*};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn limits() -> CacheLimits {
        CacheLimits { entries_max: 3, age_max: 10 * SECOND, uses_max: 5, bytes_max: 100 }
    }

    #[test]
    fn the_least_recently_used_makes_room() {
        let now = Instant::now();
        let mut store = Store::new(limits());
        for key in 0..3 {
            store.put(key, Arc::new(key), 1, now);
        }
        assert!(store.take(&0, 1, now).is_some());
        store.put(3, Arc::new(3), 1, now);
        let there: Vec<_> = (0..4).filter(|key| store.take(key, 1, now).is_some()).collect();
        assert_eq!(there, [0, 2, 3]);
    }

    #[test]
    fn what_is_dropped_is_gone_once_its_last_user_is() {
        let now = Instant::now();
        let mut store = Store::new(limits());
        store.put(0, Arc::new(0), 1, now);
        let held = store.take(&0, 1, now).unwrap();
        store.sweep(now + 9 * SECOND);
        assert_eq!((store.len(), Arc::strong_count(&held)), (1, 2));
        store.sweep(now + 10 * SECOND);
        assert_eq!((store.len(), Arc::strong_count(&held)), (0, 1));
    }

    proptest! {
        /// Whatever is asked for, no value serves longer, oftener or for more
        /// bytes than the limits say.
        #[test]
        fn no_value_is_used_beyond_its_limits(
            steps in vec((0_u8..5, 0_u64..60, 0_u64..4), 1..200),
        ) {
            let mut now = Instant::now();
            let mut store: Store<u8, usize> = Store::new(limits());
            let mut used: Vec<(Instant, u64, u64)> = Vec::new();
            for (key, bytes, seconds) in steps {
                now += SECOND * u32::try_from(seconds).unwrap();
                match store.take(&key, bytes, now) {
                    Some(value) => {
                        let (made, uses, sum) = &mut used[*value];
                        *uses += 1;
                        *sum += bytes;
                        prop_assert!(now - *made < 10 * SECOND);
                        prop_assert!(*uses <= 5 && *sum <= 100);
                    }
                    None => {
                        used.push((now, 1, bytes));
                        store.put(key, Arc::new(used.len() - 1), bytes, now);
                    }
                }
                prop_assert!(store.len() <= 3);
            }
        }
    }
}
