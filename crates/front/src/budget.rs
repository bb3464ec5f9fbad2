//! A number that may be taken from, up to a bound.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::Relaxed},
};

/// What is held at a time, of calls, streams or bytes; bounded.
#[derive(Debug)]
pub(crate) struct Budget {
    held: AtomicUsize,
    max: usize,
}

/// A part of a budget; given back on drop.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<Budget>,
    amount: usize,
}

impl Budget {
    /// Nothing held yet, `max` at most.
    #[must_use]
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { held: AtomicUsize::new(0), max })
    }

    /// What is held at this moment.
    #[must_use]
    pub(crate) fn held(&self) -> usize {
        self.held.load(Relaxed)
    }

    /// A share of nothing, to be grown.
    #[must_use]
    pub(crate) fn nothing(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), amount: 0 }
    }

    /// Takes `amount`; `None` where that would exceed the bound.
    #[must_use]
    pub(crate) fn take(self: &Arc<Self>, amount: usize) -> Option<Share> {
        let mut share = self.nothing();
        share.grow(amount).then_some(share)
    }
}

impl Share {
    /// Takes `more`; false, and nothing taken, where that would exceed the bound.
    #[must_use]
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let max = self.budget.max;
        let taken = self.budget.held.fetch_update(Relaxed, Relaxed, |held| {
            held.checked_add(more).filter(|sum| *sum <= max)
        });
        if taken.is_ok() {
            self.amount += more;
        }
        taken.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.amount, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_refuses_what_is_over_it_and_takes_back_what_is_given() {
        let budget = Budget::new(10);
        let mut share = budget.take(4).unwrap();
        assert!(budget.take(7).is_none());
        assert!(!share.grow(7));
        assert!(share.grow(6));
        assert_eq!(budget.held(), 10);
        assert!(!share.grow(usize::MAX));
        drop(share);
        assert_eq!(budget.held(), 0);
        assert!(budget.take(10).is_some());
    }
}
