//! Initialisation: a new root key, its shares, and the first keyring.
//!
//! Decides nothing about when a cluster may be initialised (again): that is a
//! guarded transaction of the caller. What is returned unseals nothing by
//! itself: after `init` every node is still sealed.

use strongroom_base::{ClusterId, Revision, SealEpoch};
use strongroom_crypto::{
    Entropy, KeyringAddress, Nonces, RootKey, SchemeError, Share, ShareScheme, split_root,
};

use crate::{Keyring, SealConfig};

/// What the operators ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InitRequest {
    /// The cluster that the shares will name.
    pub cluster: ClusterId,
    /// Higher than that of any earlier `init` of the cluster.
    pub seal_epoch: SealEpoch,
    /// Number of shares, 1 to 255.
    pub shares: u32,
    /// Shares that unseal, 2 to `shares`; 1 only with one share.
    pub threshold: u32,
}

/// A new root key with all that belongs to it. Dropping it wipes everything.
pub struct Initialised {
    /// The root key: to be dropped once the first rows are sealed.
    pub root: RootKey,
    /// The first keyring, all epochs 1.
    pub keyring: Keyring,
    /// To be replicated.
    pub config: SealConfig,
    /// One for each operator, in the order of their indexes; shown once.
    pub shares: Vec<Share>,
}

impl Initialised {
    /// The keyring's plain record, to be stored under `revision`.
    #[must_use]
    pub fn wrap_keyring(&self, revision: Revision, nonces: Nonces) -> Vec<u8> {
        let address = KeyringAddress {
            cluster: self.config.cluster(),
            seal_epoch: self.config.seal_epoch(),
            revision,
        };
        self.keyring.wrap(&self.root, &address, nonces)
    }
}

/// Makes a new root key and splits it.
///
/// Root key and keyring come from `entropy`; the sharing library draws its own.
///
/// # Errors
///
/// [`SchemeError`] where number of shares and threshold don't fit.
pub fn initialise(
    request: InitRequest,
    entropy: &mut impl Entropy,
) -> Result<Initialised, SchemeError> {
    let InitRequest { cluster, seal_epoch, shares, threshold } = request;
    let scheme = ShareScheme::new(shares, threshold)?;
    let root = RootKey::generate(entropy);
    let keyring = Keyring::generate(entropy);
    let shares = split_root(&root, cluster, seal_epoch, scheme);
    let config = SealConfig::of_shares(cluster, seal_epoch, scheme, &shares);
    Ok(Initialised { root, keyring, config, shares })
}
