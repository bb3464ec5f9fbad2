//! Counters of the replicated log, of rows and of keys' epochs.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// The next value.
            ///
            /// # Panics
            ///
            /// Panics at the largest value of the type, which no cluster reaches.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0.checked_add(1).expect("a counter of a cluster never runs out"))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

counter! {
    /// Raft term (Raft paper, section 5.1).
    Term(u64)
}
counter! {
    /// Index of an entry in the Raft log; the first entry has index 0 or 1,
    /// as the Raft library numbers it.
    LogIndex(u64)
}
counter! {
    /// Revision of a row or plain record: 1 + the applied index on which its
    /// writer decided. Zero stands for "absent".
    Revision(u64)
}
counter! {
    /// Counts root keys of a cluster: 1 after the first `init`.
    SealEpoch(u64)
}
counter! {
    /// Counts barrier keys (and, on its own count, audit keys): 1 at first.
    BarrierEpoch(u32)
}

impl Revision {
    /// Absent.
    pub const ABSENT: Self = Self(0);

    /// The revision of what is written by a decision taken at applied index
    /// `decided_at`.
    #[must_use]
    pub fn decided_at(decided_at: LogIndex) -> Self {
        Self(decided_at.0).next()
    }
}

/// One run of a node's process.
///
/// The counter is kept in the data directory and raised, durably, at each
/// start; it orders boots. The nonce is drawn at each start, so that a rolled
/// back directory can't be taken for the run it imitates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BootId {
    /// Starts of this node so far, from 1.
    pub count: u64,
    /// Drawn at random at process start.
    pub nonce: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_is_one_more_than_the_index_decided_on() {
        assert_eq!(Revision::decided_at(LogIndex(0)), Revision(1));
        assert_eq!(Revision::decided_at(LogIndex(41)), Revision(42));
    }
}
