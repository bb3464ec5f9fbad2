//! Seal configuration: what a sealed node needs to judge shares.

use strongroom_base::{ClusterId, SealEpoch};
use strongroom_crypto::{SchemeError, Share, ShareScheme};

/// Why parts make no seal configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Number of shares or threshold out of range.
    #[error(transparent)]
    Scheme(#[from] SchemeError),
    /// Not one digest for each share.
    #[error("there are {digests} digests for {shares} shares")]
    Digests {
        /// Number of shares.
        shares: u8,
        /// Number of digests.
        digests: usize,
    },
}

/// What unsealing needs to know, apart from the shares: replicated in plain.
///
/// Invariant: one digest for each share, by index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealConfig {
    cluster: ClusterId,
    seal_epoch: SealEpoch,
    scheme: ShareScheme,
    share_digests: Vec<[u8; 32]>,
}

impl SealConfig {
    /// Puts a stored configuration together.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn new(
        cluster: ClusterId,
        seal_epoch: SealEpoch,
        shares: u32,
        threshold: u32,
        share_digests: Vec<[u8; 32]>,
    ) -> Result<Self, ConfigError> {
        let scheme = ShareScheme::new(shares, threshold)?;
        if share_digests.len() != usize::from(scheme.shares()) {
            let digests = share_digests.len();
            return Err(ConfigError::Digests { shares: scheme.shares(), digests });
        }
        Ok(Self { cluster, seal_epoch, scheme, share_digests })
    }

    /// The configuration of a complete set of shares, in the order of indexes.
    pub(crate) fn of_shares(
        cluster: ClusterId,
        seal_epoch: SealEpoch,
        scheme: ShareScheme,
        shares: &[Share],
    ) -> Self {
        assert_eq!(shares.len(), usize::from(scheme.shares()), "a set of shares is complete");
        let share_digests = shares.iter().map(Share::digest).collect();
        Self { cluster, seal_epoch, scheme, share_digests }
    }

    /// The cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Which root key the shares restore.
    #[must_use]
    pub fn seal_epoch(&self) -> SealEpoch {
        self.seal_epoch
    }

    /// Number of shares and threshold.
    #[must_use]
    pub fn scheme(&self) -> ShareScheme {
        self.scheme
    }

    /// Digest of each share, by index from 1.
    #[must_use]
    pub fn share_digests(&self) -> &[[u8; 32]] {
        &self.share_digests
    }

    /// Whether this is the share of its index that was handed out.
    pub(crate) fn has_share(&self, share: &Share) -> bool {
        let at = usize::from(share.index()) - 1;
        self.share_digests.get(at).is_some_and(|digest| *digest == share.digest())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_has_a_possible_scheme_and_one_digest_for_each_share() {
        let config = |shares, threshold, digests| {
            let cluster = ClusterId::from_bytes([1; 16]);
            SealConfig::new(cluster, SealEpoch(1), shares, threshold, vec![[0; 32]; digests])
        };
        let scheme = |error| Err(ConfigError::Scheme(error));
        assert_eq!(config(0, 0, 0), scheme(SchemeError::NoShares));
        assert_eq!(config(5, 1, 5), scheme(SchemeError::ThresholdOfOne));
        let digests = |digests| Err(ConfigError::Digests { shares: 5, digests });
        assert_eq!(config(5, 3, 4), digests(4));
        assert_eq!(config(5, 3, 6), digests(6));
        assert!(config(5, 3, 5).is_ok());
    }
}
