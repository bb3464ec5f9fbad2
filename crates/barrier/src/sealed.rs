//! A sealed node: holds no secret but the shares given to it so far.

use strongroom_base::Revision;
use strongroom_crypto::Share;

use crate::{SealConfig, ShareRefusal, Step, UnsealError, UnsealProgress, Unsealed, unseal};

/// A node that replicates and votes, and can read nothing.
pub struct Sealed {
    progress: UnsealProgress,
}

impl Sealed {
    /// A node that has been given no share yet.
    #[must_use]
    pub fn new(config: SealConfig) -> Self {
        Self { progress: UnsealProgress::new(config) }
    }

    /// What shares are judged by.
    #[must_use]
    pub fn config(&self) -> &SealConfig {
        self.progress.config()
    }

    /// The shares gathered so far.
    #[must_use]
    pub fn progress(&self) -> &UnsealProgress {
        &self.progress
    }

    /// Takes one share in its text form.
    ///
    /// # Errors
    ///
    /// [`ShareRefusal`]; progress is kept.
    pub fn submit_text(&mut self, text: &str) -> Result<Step, ShareRefusal> {
        self.progress.submit_text(text)
    }

    /// Takes the shares of [`Step::Combine`] back, but for the one of index
    /// `last`: what they were to open was at fault, not they.
    pub fn put_back(&mut self, shares: Vec<Share>, last: u8) {
        self.progress.put_back(shares, last);
    }

    /// Forgets (and wipes) all shares gathered.
    pub fn reset(&mut self) {
        self.progress.reset();
    }

    /// Follows a change of the seal configuration: progress under another one
    /// is forgotten.
    pub fn reconfigure(&mut self, config: SealConfig) {
        if *self.config() != config {
            self.progress = UnsealProgress::new(config);
        }
    }

    /// Unseals with the shares of [`Step::Combine`] and the replicated keyring
    /// record of `revision`. See [`unseal`].
    ///
    /// # Errors
    ///
    /// [`UnsealError`]; the node stays sealed.
    pub fn unseal(
        &self,
        shares: &[Share],
        revision: Revision,
        record: &[u8],
    ) -> Result<Unsealed, UnsealError> {
        unseal(shares, self.config(), revision, record)
    }
}
