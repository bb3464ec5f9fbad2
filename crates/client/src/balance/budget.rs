//! How many attempts a client may add to the calls that it makes.

use std::time::Duration;

use tower::retry::budget::{Budget as _, TpsBudget};

/// Calls count for this long.
const WINDOW: Duration = Duration::from_secs(10);
/// Added attempts a second for clients that call rarely, or have just begun:
/// when a node with 200 calls under way falls silent, all of them move at once.
const LEAST_PER_SECOND: u32 = 20;
/// Added attempts for each call.
const SHARE: f32 = 0.2;

/// A budget of added attempts: repeats and hedges.
///
/// Each call pays a fifth of an attempt in, each added attempt takes one out;
/// 20 a second are there anyway. So a cluster in trouble gets a fifth more
/// calls, not a multiple. What costs nobody anything is not counted: that a
/// node can't be reached, or that it is sealed.
#[derive(Debug)]
pub struct RetryBudget(TpsBudget);

impl RetryBudget {
    /// A call begins.
    pub fn deposit(&self) {
        self.0.deposit();
    }

    /// Takes one added attempt; false where there is none left.
    #[must_use]
    pub fn withdraw(&self) -> bool {
        self.0.withdraw()
    }
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self(TpsBudget::new(WINDOW, LEAST_PER_SECOND, SHARE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_calls_may_be_repeated_beyond_the_reserve() {
        let budget = RetryBudget::default();
        let drain = || std::iter::from_fn(|| budget.withdraw().then_some(())).count();
        let reserve = drain();
        assert_eq!(reserve, 200);
        for _ in 0..50 {
            budget.deposit();
        }
        assert_eq!(drain(), 10);
    }
}
