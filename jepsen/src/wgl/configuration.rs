//! Sets of operations that happened, and their short form for the memory.

/// Operations by number; a bit is set where one happened.
pub(super) struct Happened {
    words: Vec<u64>,
}

/// What the memory keeps of a configuration.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Configuration {
    /// Words before these are full; words after them are empty.
    first: u32,
    window: Box<[u64]>,
    /// The same of those whose outcome is not known, without a window: most of
    /// them never happen.
    pending: Box<[u64]>,
    /// Number of the state.
    state: u32,
}

impl Happened {
    pub(super) fn none_of(operations: usize) -> Self {
        Self { words: vec![0; operations.div_ceil(64)] }
    }

    pub(super) fn set(&mut self, number: usize) {
        self.words[number / 64] |= 1 << (number % 64);
    }

    pub(super) fn clear(&mut self, number: usize) {
        self.words[number / 64] &= !(1 << (number % 64));
    }

    pub(super) fn contains(&self, number: usize) -> bool {
        self.words[number / 64] & 1 << (number % 64) != 0
    }
}

impl Configuration {
    pub(super) fn new(completed: &Happened, pending: &Happened, state: u32) -> Self {
        let words = &completed.words;
        let first = words.iter().position(|word| *word != u64::MAX).unwrap_or(words.len());
        Self {
            first: u32::try_from(first).expect("fewer than 2^32 words are in memory"),
            window: trimmed(&words[first..]),
            pending: trimmed(&pending.words),
            state,
        }
    }
}

fn trimmed(words: &[u64]) -> Box<[u64]> {
    let end = words.iter().rposition(|word| *word != 0).map_or(0, |last| last + 1);
    words[..end].into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_differ_where_any_operation_or_the_state_does() {
        let (mut completed, mut pending) = (Happened::none_of(130), Happened::none_of(3));
        let mut seen = std::collections::HashSet::new();
        for number in 0..130 {
            completed.set(number);
            assert!(completed.contains(number));
            assert!(seen.insert(Configuration::new(&completed, &pending, 0)));
        }
        assert!(seen.insert(Configuration::new(&completed, &pending, 1)));
        pending.set(2);
        assert!(seen.insert(Configuration::new(&completed, &pending, 1)));
        completed.clear(64);
        assert!(seen.insert(Configuration::new(&completed, &pending, 1)));
        pending.clear(2);
        completed.set(64);
        assert!(!seen.insert(Configuration::new(&completed, &pending, 1)));
    }
}
