//! Unseal progress: gathers shares until the threshold is reached.
//!
//! Does no I/O, reads no clock, draws no randomness. The caller submits shares
//! in any order and acts on the returned [`Step`]. Who may submit, how often,
//! and what is recorded of it, is the caller's.

use std::collections::BTreeMap;

use strongroom_base::{ClusterId, SealEpoch};
use strongroom_crypto::{Share, ShareTextError};

use crate::SealConfig;

/// What the caller must do next.
pub enum Step {
    /// Ask for more shares.
    NeedShares {
        /// How many.
        missing: u8,
    },
    /// Rebuild the root key from these shares, exactly as many as the
    /// threshold, each of which was handed out for this seal epoch.
    Combine(Vec<Share>),
}

/// Why a share was refused. Progress is what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareRefusal {
    /// The text is no share at all.
    #[error("this is not a share")]
    NotAShare,
    /// The checksum does not fit.
    #[error("the share is mistyped: please compare it with the original")]
    Mistyped,
    /// Made by a newer program.
    #[error("the share has the unknown format {format:#04x}: use a newer program")]
    UnsupportedFormat {
        /// The format byte.
        format: u8,
    },
    /// What it says of itself contradicts itself.
    #[error("the share contradicts itself: it was not made by this program")]
    Inconsistent,
    /// Of another cluster.
    #[error("the share belongs to cluster {0}")]
    ForeignCluster(ClusterId),
    /// Of a root key that has been replaced.
    #[error("the share is out of date: it is of seal epoch {share}, the cluster is at {cluster}")]
    OldEpoch {
        /// The share's.
        share: SealEpoch,
        /// The cluster's.
        cluster: SealEpoch,
    },
    /// Of a root key that this node has not heard of yet.
    #[error("the share is of seal epoch {share}, this node knows of {cluster} only")]
    FutureEpoch {
        /// The share's.
        share: SealEpoch,
        /// The cluster's, as this node knows it.
        cluster: SealEpoch,
    },
    /// Names another number of shares or threshold than the cluster has.
    #[error("the share names another number of shares or threshold than the cluster has")]
    WrongScheme,
    /// Well formed, but never handed out for this cluster and seal epoch.
    #[error("share {index} is not the one that was handed out")]
    WrongShare {
        /// Its index.
        index: u8,
    },
    /// Given before.
    #[error("share {index} was given before")]
    Repeated {
        /// Its index.
        index: u8,
    },
}

impl From<ShareTextError> for ShareRefusal {
    fn from(error: ShareTextError) -> Self {
        match error {
            ShareTextError::NotAShare => Self::NotAShare,
            ShareTextError::Mistyped => Self::Mistyped,
            ShareTextError::UnsupportedFormat { format } => Self::UnsupportedFormat { format },
            // The enum may grow; whatever else is wrong, the text was typed as
            // it was made.
            _ => Self::Inconsistent,
        }
    }
}

/// Shares gathered so far.
///
/// Invariant: fewer shares than the threshold between calls; reaching it empties
/// the map, so a full set never stays in memory.
pub struct UnsealProgress {
    config: SealConfig,
    shares: BTreeMap<u8, Share>,
}

impl UnsealProgress {
    /// No shares yet.
    #[must_use]
    pub fn new(config: SealConfig) -> Self {
        Self { config, shares: BTreeMap::new() }
    }

    /// What shares are judged by.
    #[must_use]
    pub fn config(&self) -> &SealConfig {
        &self.config
    }

    /// Shares gathered so far.
    #[must_use]
    pub fn gathered(&self) -> u8 {
        u8::try_from(self.shares.len()).expect("fewer than the threshold")
    }

    /// Indexes of the shares gathered so far, ascending.
    pub fn indexes(&self) -> impl Iterator<Item = u8> {
        self.shares.keys().copied()
    }

    /// Takes one share.
    ///
    /// # Errors
    ///
    /// [`ShareRefusal`]; progress is kept.
    pub fn submit(&mut self, share: Share) -> Result<Step, ShareRefusal> {
        self.check(&share)?;
        self.shares.insert(share.index(), share);
        let threshold = self.config.scheme().threshold();
        let missing = usize::from(threshold) - self.shares.len();
        match u8::try_from(missing).expect("at most the threshold") {
            0 => Ok(Step::Combine(std::mem::take(&mut self.shares).into_values().collect())),
            missing => Ok(Step::NeedShares { missing }),
        }
    }

    /// Takes one share in its text form.
    ///
    /// # Errors
    ///
    /// [`ShareRefusal`]; progress is kept.
    pub fn submit_text(&mut self, text: &str) -> Result<Step, ShareRefusal> {
        self.submit(Share::parse(text)?)
    }

    /// Takes the shares of [`Step::Combine`] back, but for the one of index
    /// `last`, which completes them once it is given again. Shares that no
    /// longer fit the configuration, or would complete the set, are wiped.
    pub fn put_back(&mut self, shares: Vec<Share>, last: u8) {
        let room = usize::from(self.config.scheme().threshold()) - 1;
        for share in shares {
            let fits = share.index() != last && self.check(&share).is_ok();
            if fits && self.shares.len() < room {
                self.shares.insert(share.index(), share);
            }
        }
    }

    /// Forgets (and wipes) all shares gathered.
    pub fn reset(&mut self) {
        self.shares.clear();
    }

    /// From the widest claim to the narrowest, so that the refusal names the
    /// first thing that is wrong.
    fn check(&self, share: &Share) -> Result<(), ShareRefusal> {
        if share.cluster() != self.config.cluster() {
            return Err(ShareRefusal::ForeignCluster(share.cluster()));
        }
        let (given, cluster) = (share.seal_epoch(), self.config.seal_epoch());
        if given < cluster {
            return Err(ShareRefusal::OldEpoch { share: given, cluster });
        }
        if given > cluster {
            return Err(ShareRefusal::FutureEpoch { share: given, cluster });
        }
        if share.scheme() != self.config.scheme() {
            return Err(ShareRefusal::WrongScheme);
        }
        let index = share.index();
        if !self.config.has_share(share) {
            return Err(ShareRefusal::WrongShare { index });
        }
        if self.shares.contains_key(&index) {
            return Err(ShareRefusal::Repeated { index });
        }
        Ok(())
    }
}
