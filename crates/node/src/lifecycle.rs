//! The state of a node: uninitialised, sealed, verifying, unsealed.
//!
//! Orthogonal to its Raft role. Secrets exist in the last two states only, in
//! one place, and everything that works with them borrows them from here for as
//! long as one attempt takes. Sealing takes them away; whatever still waits for
//! release then is dropped with its results, because a release asks again
//! ([`Lifecycle::may_release`]) whether the secrets it was made with still rule.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use strongroom_barrier::{Keyring, SealConfig, Sealed, Share, ShareRefusal, Step, Unsealed};
use strongroom_base::Revision;
use strongroom_model::Cluster;
use tokio::sync::watch;

/// State of a node. Numbers are those of `strongroom.v1.NodeState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Belongs to no formed cluster yet.
    Uninitialised = 1,
    /// Replicates and votes; answers no key operation.
    Sealed = 2,
    /// Has its threshold of shares; compares its state with a quorum.
    Verifying = 3,
    /// Serves.
    Unsealed = 4,
}

impl Phase {
    /// The phase of a number; unknown numbers say nothing of serving.
    #[must_use]
    pub(crate) fn from_number(number: u32) -> Self {
        match number {
            4 => Self::Unsealed,
            3 => Self::Verifying,
            2 => Self::Sealed,
            _ => Self::Uninitialised,
        }
    }

    /// Its name, as in `/status`.
    #[must_use]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Uninitialised => "uninitialised",
            Self::Sealed => "sealed",
            Self::Verifying => "verifying",
            Self::Unsealed => "unsealed",
        }
    }

    /// Whether secrets are in memory.
    #[must_use]
    pub(crate) fn has_secrets(self) -> bool {
        matches!(self, Self::Verifying | Self::Unsealed)
    }
}

/// What an unsealed node holds. Wiped when the last borrower lets go.
pub(crate) struct Secrets {
    /// Root key and keyring.
    pub(crate) unsealed: Unsealed,
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// Which unsealing they come from.
    pub(crate) generation: u64,
}

impl Secrets {
    /// The keyring.
    #[must_use]
    pub(crate) fn keyring(&self) -> &Keyring {
        self.unsealed.keyring()
    }

    /// Revision of the record that the keyring was unwrapped from.
    #[must_use]
    pub(crate) fn keyring_revision(&self) -> Revision {
        self.unsealed.keyring_revision()
    }
}

/// The state of this node.
pub(crate) struct Lifecycle {
    phase: watch::Sender<Phase>,
    secrets: ArcSwapOption<Secrets>,
    sealed: Mutex<Option<Sealed>>,
    /// Raised by each unsealing and each sealing.
    generation: AtomicU64,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            phase: watch::Sender::new(Phase::Uninitialised),
            secrets: ArcSwapOption::empty(),
            sealed: Mutex::default(),
            generation: AtomicU64::new(0),
        }
    }
}

impl Lifecycle {
    /// The present phase.
    #[must_use]
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Tells of every change of phase.
    #[must_use]
    pub(crate) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// The secrets, where there are any. Hold them for one attempt, no longer.
    #[must_use]
    pub(crate) fn secrets(&self) -> Option<Arc<Secrets>> {
        self.secrets.load_full()
    }

    /// The secrets of a node that serves.
    ///
    /// # Errors
    ///
    /// The phase that the node is in instead.
    pub(crate) fn serving(&self) -> Result<Arc<Secrets>, Phase> {
        match self.phase() {
            Phase::Unsealed => self.secrets().ok_or(Phase::Sealed),
            other => Err(other),
        }
    }

    /// Whether a result made with secrets of `generation` may leave the node.
    #[must_use]
    pub(crate) fn may_release(&self, generation: u64) -> bool {
        self.phase() == Phase::Unsealed && self.generation.load(Ordering::Acquire) == generation
    }

    /// The cluster was formed: from uninitialised to sealed.
    pub(crate) fn formed(&self) {
        self.phase.send_if_modified(|phase| {
            let formed = *phase == Phase::Uninitialised;
            if formed {
                *phase = Phase::Sealed;
            }
            formed
        });
    }

    /// Gives one share, in its text form, while sealed under `config`.
    ///
    /// # Errors
    ///
    /// [`ShareRefusal`]; the progress made stays.
    pub(crate) fn submit(&self, config: &SealConfig, share: &str) -> Result<Step, ShareRefusal> {
        let mut sealed = self.sealed.lock();
        let sealed = sealed.get_or_insert_with(|| Sealed::new(config.clone()));
        sealed.reconfigure(config.clone());
        sealed.submit_text(share)
    }

    /// Takes back the shares of a `Combine` under `config`, but for share `last`:
    /// the keyring did not open, for no fault of theirs.
    pub(crate) fn put_back(&self, config: &SealConfig, shares: Vec<Share>, last: u8) {
        let mut sealed = self.sealed.lock();
        let sealed = sealed.get_or_insert_with(|| Sealed::new(config.clone()));
        if sealed.config() == config {
            sealed.put_back(shares, last);
        }
    }

    /// Shares given so far.
    #[must_use]
    pub(crate) fn shares_given(&self) -> u8 {
        self.sealed.lock().as_ref().map_or(0, |sealed| sealed.progress().gathered())
    }

    /// Forgets the shares given so far.
    pub(crate) fn forget_shares(&self) {
        *self.sealed.lock() = None;
    }

    /// The secrets are here: from sealed to verifying. False where another
    /// unsealing was faster; the secrets are wiped then.
    pub(crate) fn unsealed(&self, make: impl FnOnce(u64) -> Secrets) -> bool {
        self.phase.send_if_modified(|phase| {
            let sealed = *phase == Phase::Sealed;
            if sealed {
                let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
                self.secrets.store(Some(Arc::new(make(generation))));
                *phase = Phase::Verifying;
            }
            sealed
        })
    }

    /// The state was compared with a quorum: from verifying to unsealed. Does
    /// nothing where the node was sealed since `generation`, or where `still`,
    /// asked in the same step, says that the comparison doesn't hold any more.
    pub(crate) fn verified(&self, generation: u64, still: impl FnOnce() -> bool) -> bool {
        self.phase.send_if_modified(|phase| {
            let may = *phase == Phase::Verifying
                && self.generation.load(Ordering::Acquire) == generation
                && still();
            if may {
                *phase = Phase::Unsealed;
            }
            may
        })
    }

    /// The state has to be compared again: from unsealed to verifying.
    pub(crate) fn verify_again(&self) {
        self.phase.send_if_modified(|phase| {
            let serving = *phase == Phase::Unsealed;
            if serving {
                *phase = Phase::Verifying;
            }
            serving
        });
    }

    /// Replaces the secrets by those of a newer keyring, within the same
    /// unsealing; does nothing where the node was sealed since, or has a newer
    /// keyring already.
    pub(crate) fn replace(&self, next: Secrets) {
        let next = Arc::new(next);
        self.phase.send_if_modified(|phase| {
            let same = self.generation.load(Ordering::Acquire) == next.generation;
            let present = self.secrets().map(|secrets| secrets.keyring_revision());
            let newer = present.is_none_or(|present| present < next.keyring_revision());
            if phase.has_secrets() && same && newer {
                self.secrets.store(Some(Arc::clone(&next)));
            }
            false
        });
    }

    /// Seals: takes the secrets and the shares away. Gives whether there was
    /// anything to take.
    pub(crate) fn seal(&self) -> bool {
        self.forget_shares();
        self.phase.send_if_modified(|phase| {
            let had = phase.has_secrets();
            if had {
                self.generation.fetch_add(1, Ordering::AcqRel);
                self.secrets.store(None);
                *phase = Phase::Sealed;
            }
            had
        })
    }

    /// Waits until nobody borrows `secrets` any more, at most `patience`; gives
    /// whether that is so. The caller must have been the last to hold them.
    pub(crate) async fn wiped(secrets: std::sync::Weak<Secrets>, patience: Duration) -> bool {
        let begin = tokio::time::Instant::now();
        while secrets.strong_count() > 0 {
            if begin.elapsed() > patience {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        true
    }
}
