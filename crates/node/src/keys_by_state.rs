//! How many keys there are in each state, for metrics.
//!
//! Rows are sealed, so a sealed node can't count and the replicated state does
//! not. An unsealed node goes through the keys once, a few at a time and at a
//! tenth of one thread at most; from then on `apply` names the rows that changed
//! and they are read again. One task does both, and every change is heard of
//! after it can be read, so whichever read is last is right.
//!
//! To know what a changed row was before, the state of each key is kept in
//! memory under eight bytes of its id (random: of a million keys two would be
//! taken for one with a chance of 10^-7). Above [`limits::KEYS_COUNTED_MAX`] keys
//! there is no count. All of it is forgotten when the node is sealed.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use strongroom_base::limits;
use strongroom_model::{KeyState, ReadError, RowId, RowTable, TypedRow};
use strongroom_state::{StoredRow, TablesError};
use tokio::sync::Notify;

use crate::{core::Core, lifecycle::Phase, lifecycle::Secrets, rows};

/// Every state that is counted, in the order of the counts.
pub(crate) const STATES: [KeyState; 5] = KeyState::ALL;
/// Rows that are read together.
const PAGE: usize = 128;
/// Shortest pause after them; it is nine times what reading them took.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// Changed rows that are remembered; beyond, the count starts over.
const CHANGES_MAX: usize = 8192;
/// After a count that came to nothing the next one waits this long.
const AGAIN: Duration = Duration::from_secs(30);

/// Keys in each of [`STATES`].
pub(crate) type Counts = [u64; STATES.len()];

/// The counts, and what `apply` tells of changes.
#[derive(Default)]
pub(crate) struct KeysByState {
    shared: Mutex<Shared>,
    arrival: Notify,
}

#[derive(Default)]
struct Shared {
    /// Somebody counts: changes are to be remembered.
    counting: bool,
    changed: HashSet<RowId>,
    /// Too many changed, or all of them did.
    again: bool,
    /// Complete counts.
    counts: Option<Counts>,
}

impl KeysByState {
    /// The counts; `None` on a node that is not unsealed, or still counts.
    #[must_use]
    pub(crate) fn counts(&self) -> Option<Counts> {
        self.shared.lock().counts
    }

    /// Rows of keys were written or deleted; what `apply` wrote can be read.
    pub(crate) fn changed(&self, keys: impl Iterator<Item = RowId>) {
        let mut shared = self.shared.lock();
        if !shared.counting {
            return;
        }
        shared.changed.extend(keys);
        if shared.changed.len() > CHANGES_MAX {
            shared.changed.clear();
            shared.again = true;
        }
        drop(shared);
        self.arrival.notify_one();
    }

    /// The whole state was replaced.
    pub(crate) fn replaced(&self) {
        self.shared.lock().again = true;
        self.arrival.notify_one();
    }

    fn begin(&self) {
        *self.shared.lock() = Shared { counting: true, ..Shared::default() };
    }

    fn forget(&self) {
        *self.shared.lock() = Shared::default();
    }

    /// Rows that changed since the last call; `None`: count anew.
    fn take(&self) -> Option<Vec<RowId>> {
        let mut shared = self.shared.lock();
        (!shared.again).then(|| std::mem::take(&mut shared.changed).into_iter().collect())
    }

    fn publish(&self, counts: Counts) {
        self.shared.lock().counts = Some(counts);
    }
}

/// Counts while the node is unsealed, for ever.
pub(crate) async fn run(core: Arc<Core>) {
    let mut phases = core.lifecycle.watch();
    loop {
        if phases.wait_for(|phase| *phase == Phase::Unsealed).await.is_err() {
            return;
        }
        core.keys_by_state.begin();
        let ended = tokio::select! {
            ended = count(&core) => Some(ended),
            _ = phases.wait_for(|phase| *phase != Phase::Unsealed) => None,
        };
        core.keys_by_state.forget();
        match ended {
            None | Some(Ended::Stale) => tokio::time::sleep(PAUSE_MIN).await,
            Some(Ended::TooMany) => {
                tracing::info!(keys_max = limits::KEYS_COUNTED_MAX, "keys are too many to count");
                let _ = phases.wait_for(|phase| *phase != Phase::Unsealed).await;
            }
            Some(Ended::Failed(error)) => {
                tracing::warn!(%error, "keys can't be counted by state");
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Why a count ended.
enum Ended {
    /// The secrets or the state are other ones than it began with.
    Stale,
    /// There are more keys than are counted.
    TooMany,
    Failed(CountError),
}

#[derive(Debug, thiserror::Error)]
enum CountError {
    #[error(transparent)]
    Tables(#[from] TablesError),
    #[error(transparent)]
    Read(#[from] ReadError),
}

async fn count(core: &Core) -> Ended {
    let Ok(generation) = core.lifecycle.serving().map(|secrets| secrets.generation) else {
        return Ended::Stale;
    };
    let mut census = Census::default();
    let mut next = Next::Page(None);
    loop {
        let begin = Instant::now();
        let Some(changed) = core.keys_by_state.take() else { return Ended::Stale };
        let idle = changed.is_empty() && matches!(next, Next::Changes);
        if idle {
            core.keys_by_state.arrival.notified().await;
            continue;
        }
        {
            // Not held while this waits: sealing takes them.
            let secrets = match core.lifecycle.serving() {
                Ok(secrets) if secrets.generation == generation => secrets,
                _ => return Ended::Stale,
            };
            if let Err(error) = step(core, &secrets, &changed, &mut census, &mut next) {
                return Ended::Failed(error);
            }
        }
        if census.states.len() > limits::KEYS_COUNTED_MAX {
            return Ended::TooMany;
        }
        if matches!(next, Next::Changes) {
            core.keys_by_state.publish(census.counts);
        }
        tokio::time::sleep(PAUSE_MIN.max(begin.elapsed() * 9)).await;
    }
}

/// What is to be read beside what changed.
enum Next {
    /// The page after this row.
    Page(Option<Vec<u8>>),
    /// Nothing: every row was read once.
    Changes,
}

fn step(
    core: &Core,
    secrets: &Secrets,
    changed: &[RowId],
    census: &mut Census,
    next: &mut Next,
) -> Result<(), CountError> {
    let state = core.state.latest();
    let table = RowTable::Keys;
    for id in changed {
        let stored = strongroom_state::row(&state, table.number(), id.as_bytes())?;
        census.set(id.as_bytes(), read(secrets, id.as_bytes(), stored.as_ref())?);
    }
    let Next::Page(after) = next else { return Ok(()) };
    let page = strongroom_state::rows_page(&state, table.number(), after.as_deref(), PAGE)?;
    let whole = page.len() == PAGE;
    for (id, stored) in page {
        census.set(&id, read(secrets, &id, Some(&stored))?);
        *after = Some(id);
    }
    if !whole {
        *next = Next::Changes;
    }
    Ok(())
}

/// The state of the key in a row; `None` where there is no row.
fn read(
    secrets: &Secrets,
    id: &[u8],
    stored: Option<&StoredRow>,
) -> Result<Option<KeyState>, ReadError> {
    let Some(stored) = stored else { return Ok(None) };
    let opened = rows::open(secrets, RowTable::Keys, id, stored)?;
    Ok(match &opened.row {
        TypedRow::Key(key) => Some(key.state),
        _ => None,
    })
}

/// The keys that were read.
#[derive(Default)]
struct Census {
    states: HashMap<[u8; 8], KeyState>,
    counts: Counts,
}

impl Census {
    /// The key with this row id is in this state, or there is none.
    fn set(&mut self, id: &[u8], state: Option<KeyState>) {
        let Some(short) = id.last_chunk().copied() else { return };
        let before = match state {
            Some(state) => self.states.insert(short, state),
            None => self.states.remove(&short),
        };
        if let Some(before) = before {
            self.counts[place(before)] -= 1;
        }
        if let Some(state) = state {
            self.counts[place(state)] += 1;
        }
    }
}

fn place(state: KeyState) -> usize {
    STATES.iter().position(|other| *other == state).expect("each state is one of all")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(byte: u8) -> RowId {
        RowId::from_slice(&[byte; 16]).unwrap()
    }

    #[test]
    fn a_key_counts_once_in_the_state_that_was_read_last() {
        let mut census = Census::default();
        census.set(id(1).as_bytes(), Some(KeyState::Enabled));
        census.set(id(2).as_bytes(), Some(KeyState::Enabled));
        census.set(id(1).as_bytes(), Some(KeyState::Enabled));
        assert_eq!(census.counts, [2, 0, 0, 0, 0]);
        census.set(id(1).as_bytes(), Some(KeyState::Disabled));
        assert_eq!(census.counts, [1, 1, 0, 0, 0]);
        census.set(id(2).as_bytes(), None);
        census.set(id(3).as_bytes(), None);
        assert_eq!(census.counts, [0, 1, 0, 0, 0]);
        assert_eq!(census.states.len(), 1);
    }

    #[test]
    fn changes_are_remembered_only_while_somebody_counts() {
        let keys = KeysByState::default();
        keys.changed([id(1)].into_iter());
        keys.begin();
        assert_eq!(keys.take(), Some(Vec::new()));
        keys.changed([id(1), id(1)].into_iter());
        assert_eq!(keys.take(), Some(vec![id(1)]));
        keys.publish([1; 5]);
        keys.forget();
        assert_eq!(keys.counts(), None);
    }

    #[test]
    fn more_changes_than_are_remembered_and_another_state_start_it_over() {
        let many = |number: usize| RowId::from_slice(&number.to_be_bytes()).unwrap();
        let keys = KeysByState::default();
        keys.begin();
        keys.changed((0..=CHANGES_MAX).map(many));
        assert_eq!(keys.take(), None);
        keys.begin();
        assert_eq!(keys.take(), Some(Vec::new()));
        keys.replaced();
        assert_eq!(keys.take(), None);
    }
}
