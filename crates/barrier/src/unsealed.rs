//! An unsealed node: root key and keyring in memory.

use strongroom_base::Revision;
use strongroom_crypto::{
    CombineError, Entropy, KeyringAddress, KeyringError, Nonces, RootKey, Share, combine,
};

use crate::{Keyring, KeyringFull, SealConfig, Sealed};

/// Why shares did not unseal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnsealError {
    /// The shares restore no root key.
    #[error("the shares restore no root key")]
    Combine(#[source] CombineError),
    /// The shares restored a root key of another cluster or seal epoch than the
    /// configuration's.
    #[error("the shares are of another cluster or seal epoch")]
    WrongShares,
    /// The root key does not open the replicated keyring.
    #[error("the keyring does not open")]
    Keyring(#[source] KeyringError),
}

/// A node that can read and seal. Dropping it wipes root key and keyring.
pub struct Unsealed {
    config: SealConfig,
    root: RootKey,
    keyring: Keyring,
    revision: Revision,
}

/// Restores the root key from shares, and with it opens the keyring record,
/// which must be the one of exactly `revision` under the configured cluster and
/// seal epoch. The shares are the caller's: to be wiped, or to be put back
/// ([`crate::Sealed::put_back`]) where the record was at fault.
///
/// # Errors
///
/// [`UnsealError`].
pub fn unseal(
    shares: &[Share],
    config: &SealConfig,
    revision: Revision,
    record: &[u8],
) -> Result<Unsealed, UnsealError> {
    let root = combine(shares).map_err(UnsealError::Combine)?;
    let belongs = |share: &Share| {
        (share.cluster(), share.seal_epoch()) == (config.cluster(), config.seal_epoch())
    };
    if !shares.iter().all(belongs) {
        return Err(UnsealError::WrongShares);
    }
    let address = address(config, revision);
    let keyring = Keyring::unwrap(&root, &address, record).map_err(UnsealError::Keyring)?;
    Ok(Unsealed { config: config.clone(), root, keyring, revision })
}

impl Unsealed {
    /// The seal configuration under which the node was unsealed.
    #[must_use]
    pub fn config(&self) -> &SealConfig {
        &self.config
    }

    /// The keyring in force on this node.
    #[must_use]
    pub fn keyring(&self) -> &Keyring {
        &self.keyring
    }

    /// Revision of the keyring in force: part of every write's read set.
    #[must_use]
    pub fn keyring_revision(&self) -> Revision {
        self.revision
    }

    /// The record of a keyring with one more epoch ([`Keyring::rotate`]), to be
    /// stored under `revision`. Changes nothing here: the node adopts the record once it is
    /// committed ([`Unsealed::adopt`]), its own no differently from another's.
    ///
    /// # Errors
    ///
    /// [`KeyringFull`].
    pub fn rotate(
        &self,
        revision: Revision,
        entropy: &mut impl Entropy,
    ) -> Result<Vec<u8>, KeyringFull> {
        let rotated = self.keyring.rotate(entropy)?;
        Ok(self.wrap(&rotated, revision, Nonces::draw(entropy)))
    }

    /// The record of `keyring` (made from this node's own), to be stored under
    /// `revision`.
    #[must_use]
    pub fn wrap(&self, keyring: &Keyring, revision: Revision, nonces: Nonces) -> Vec<u8> {
        keyring.wrap(&self.root, &address(&self.config, revision), nonces)
    }

    /// Reads a committed keyring record without adopting it.
    ///
    /// # Errors
    ///
    /// [`KeyringError`]. One of another seal epoch means that the root key was
    /// changed: the node must seal itself.
    pub fn unwrap(&self, revision: Revision, record: &[u8]) -> Result<Keyring, KeyringError> {
        Keyring::unwrap(&self.root, &address(&self.config, revision), record)
    }

    /// The same node with the keyring of a later record: for a holder that lends
    /// this value out and can't change it in place. The root key is copied, and
    /// each copy is wiped on drop.
    ///
    /// # Errors
    ///
    /// As [`Unsealed::unwrap`].
    pub fn renewed(&self, revision: Revision, record: &[u8]) -> Result<Self, KeyringError> {
        let keyring = self.unwrap(revision, record)?;
        Ok(Self { config: self.config.clone(), root: self.root.duplicate(), keyring, revision })
    }

    /// Goes over to a committed keyring record of another revision.
    ///
    /// # Errors
    ///
    /// As [`Unsealed::unwrap`]; the keyring in force stays.
    pub fn adopt(&mut self, revision: Revision, record: &[u8]) -> Result<(), KeyringError> {
        self.keyring = self.unwrap(revision, record)?;
        self.revision = revision;
        Ok(())
    }

    /// Seals the node: wipes root key and keyring.
    #[must_use]
    pub fn seal(self) -> Sealed {
        Sealed::new(self.config)
    }
}

fn address(config: &SealConfig, revision: Revision) -> KeyringAddress {
    KeyringAddress { cluster: config.cluster(), seal_epoch: config.seal_epoch(), revision }
}
