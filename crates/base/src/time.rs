//! Time as a value: no function here reads a clock.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z, leap seconds not counted.
///
/// Zero stands for "never set". The largest value that any record may carry is
/// [`UnixMillis::MAX`], the last millisecond of the year 9999.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// 9999-12-31T23:59:59.999Z: what RFC 3339 can write.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// The time `ms` milliseconds later, at most [`UnixMillis::MAX`].
    #[must_use]
    pub fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms)).min(Self::MAX)
    }

    /// Milliseconds from `earlier` to this time; zero where `earlier` is later.
    #[must_use]
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adding_never_passes_the_year_9999() {
        assert_eq!(UnixMillis(u64::MAX).plus_ms(1), UnixMillis::MAX);
        assert_eq!(UnixMillis::MAX.plus_ms(5), UnixMillis::MAX);
    }

    #[test]
    fn a_later_start_gives_no_negative_span() {
        assert_eq!(UnixMillis(5).since_ms(UnixMillis(9)), 0);
    }
}
