//! State hashes at the hash points applied lately.

use std::collections::VecDeque;

use parking_lot::Mutex;
use strongroom_base::LogIndex;
use strongroom_state::StateHash;

/// Hash points remembered.
const REMEMBERED: usize = 64;

/// The newest hash points of this node.
#[derive(Default)]
pub(crate) struct HashPoints {
    newest: Mutex<VecDeque<(LogIndex, StateHash)>>,
}

impl HashPoints {
    /// Remembers the state hash right after the hash point at `index`.
    pub(crate) fn remember(&self, index: LogIndex, hash: StateHash) {
        let mut newest = self.newest.lock();
        if newest.len() == REMEMBERED {
            newest.pop_front();
        }
        newest.push_back((index, hash));
    }

    /// The hash at `index`; `None` where there is no hash point, it is not
    /// applied yet, or it is forgotten.
    #[must_use]
    pub(crate) fn at(&self, index: LogIndex) -> Option<StateHash> {
        self.newest.lock().iter().find(|(at, _)| *at == index).map(|(_, hash)| *hash)
    }

    /// The newest.
    #[must_use]
    pub(crate) fn newest(&self) -> Option<(LogIndex, StateHash)> {
        self.newest.lock().back().copied()
    }

    /// Forgets all: the state was replaced by a snapshot.
    pub(crate) fn clear(&self) {
        self.newest.lock().clear();
    }
}
