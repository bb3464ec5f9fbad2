//! The keyring: barrier keys and audit keys by epoch, the index key and the key
//! of batch MACs.
//!
//! Rotation and dropping give a new keyring and leave the old one as it is: the
//! caller goes on with the old one until the record of the new one is committed.
//!
//! Plaintext of the record, which the root key wraps:
//!
//! | bytes | field |
//! |---|---|
//! | 1 | format, `0x51` |
//! | 4 | number of barrier keys |
//! | | then for each, ascending by epoch: |
//! | 4 | epoch |
//! | 32 | barrier key |
//! | 4 | number of audit keys |
//! | | then for each, ascending by epoch: |
//! | 4 | epoch |
//! | 32 | audit key |
//! | 32 | index key |
//! | 32 | batch key |

use std::collections::BTreeMap;

use strongroom_base::{BarrierEpoch, HistoryId, Revision, limits::KEYRING_EPOCHS_MAX};
use strongroom_crypto::{
    AuditKey, BarrierKey, BatchKey, Entropy, ForgedBatch, IndexKey, KeyringAddress, KeyringError,
    Nonces, OpenError, RootKey, RowAddress, SecretBytes, TokenSecret, batch_mac, body_epoch,
    name_row_id, open_body, open_row, row_epoch, seal_body, seal_row, token_row_id, unwrap_keyring,
    verify_batch_mac, wrap_keyring,
};

mod encoding;

/// Why a row or an audit body does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowError {
    /// Sealed under an epoch that this keyring does not hold: dropped, or newer
    /// than this keyring.
    #[error("sealed under epoch {0}, which is not in the keyring")]
    UnknownEpoch(BarrierEpoch),
    /// The bytes themselves are at fault.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// The keyring holds as many barrier epochs as it may; unused ones must be
/// dropped before it rotates again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the keyring holds {KEYRING_EPOCHS_MAX} barrier epochs: drop unused ones first")]
pub struct KeyringFull;

/// Why an epoch can't be dropped. (Whether anything is still sealed under it is
/// the guard of the caller's transaction.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DropEpochError {
    /// The keyring has no such epoch.
    #[error("epoch {0} is not in the keyring")]
    Unknown(BarrierEpoch),
    /// New rows and bodies are sealed under it.
    #[error("epoch {0} is the newest")]
    Newest(BarrierEpoch),
}

/// All keys but the root key.
///
/// Rows are rewritten, so that an old barrier epoch can be emptied and dropped.
/// Bodies are not: an audit epoch that was used stays as long as its bodies. So
/// full audit keys must not keep the barrier from rotating, and the newest audit
/// key then goes on.
///
/// Invariants: at least one barrier key and one audit key, at most
/// [`KEYRING_EPOCHS_MAX`] of each; epochs count from 1 and are never used
/// again.
pub struct Keyring {
    barrier: BTreeMap<BarrierEpoch, BarrierKey>,
    audit: BTreeMap<BarrierEpoch, AuditKey>,
    index: IndexKey,
    batch: BatchKey,
}

const FIRST: BarrierEpoch = BarrierEpoch(1);

impl Keyring {
    /// Draws a new keyring with epoch 1 of each kind.
    pub fn generate(entropy: &mut impl Entropy) -> Self {
        Self {
            barrier: BTreeMap::from([(FIRST, BarrierKey::generate(entropy))]),
            audit: BTreeMap::from([(FIRST, AuditKey::generate(entropy))]),
            index: IndexKey::generate(entropy),
            batch: BatchKey::generate(entropy),
        }
    }

    /// This keyring with one more epoch of barrier and audit keys, under which
    /// everything is sealed from then on; where there are [`KEYRING_EPOCHS_MAX`]
    /// audit keys, of barrier keys only. Index and batch key stay.
    ///
    /// # Errors
    ///
    /// [`KeyringFull`] where there are as many barrier keys.
    pub fn rotate(&self, entropy: &mut impl Entropy) -> Result<Self, KeyringFull> {
        if self.barrier.len() >= KEYRING_EPOCHS_MAX {
            return Err(KeyringFull);
        }
        let mut rotated = self.duplicate();
        let epoch = self.barrier_epoch().next();
        rotated.barrier.insert(epoch, BarrierKey::generate(entropy));
        if self.audit.len() < KEYRING_EPOCHS_MAX {
            let epoch = self.audit_epoch().next();
            rotated.audit.insert(epoch, AuditKey::generate(entropy));
        }
        Ok(rotated)
    }

    /// This keyring without one barrier epoch. The caller's transaction proves
    /// that no row is sealed under it.
    ///
    /// # Errors
    ///
    /// [`DropEpochError`]; the newest epoch stays.
    pub fn drop_barrier_epoch(&self, epoch: BarrierEpoch) -> Result<Self, DropEpochError> {
        check_drop(&self.barrier, epoch)?;
        let mut rest = self.duplicate();
        rest.barrier.remove(&epoch);
        Ok(rest)
    }

    /// This keyring without one audit epoch. The caller's transaction proves
    /// that no body is sealed under it.
    ///
    /// # Errors
    ///
    /// [`DropEpochError`]; the newest epoch stays.
    pub fn drop_audit_epoch(&self, epoch: BarrierEpoch) -> Result<Self, DropEpochError> {
        check_drop(&self.audit, epoch)?;
        let mut rest = self.duplicate();
        rest.audit.remove(&epoch);
        Ok(rest)
    }

    /// The epoch under which rows are sealed.
    #[must_use]
    pub fn barrier_epoch(&self) -> BarrierEpoch {
        *newest(&self.barrier).0
    }

    /// The epoch under which audit bodies are sealed.
    #[must_use]
    pub fn audit_epoch(&self) -> BarrierEpoch {
        *newest(&self.audit).0
    }

    /// All barrier epochs, ascending.
    pub fn barrier_epochs(&self) -> impl Iterator<Item = BarrierEpoch> {
        self.barrier.keys().copied()
    }

    /// All audit epochs, ascending.
    pub fn audit_epochs(&self) -> impl Iterator<Item = BarrierEpoch> {
        self.audit.keys().copied()
    }

    /// Seals a row under the newest barrier epoch.
    #[must_use]
    pub fn seal_row(
        &self,
        nonces: Nonces,
        address: &RowAddress<'_>,
        revision: Revision,
        plaintext: &[u8],
    ) -> Vec<u8> {
        let (epoch, key) = newest(&self.barrier);
        seal_row(key, *epoch, nonces, address, revision, plaintext)
    }

    /// Opens a row of any epoch held.
    ///
    /// # Errors
    ///
    /// [`RowError`].
    pub fn open_row(
        &self,
        address: &RowAddress<'_>,
        revision: Revision,
        sealed: &[u8],
    ) -> Result<SecretBytes, RowError> {
        let epoch = row_epoch(sealed)?;
        let key = self.barrier.get(&epoch).ok_or(RowError::UnknownEpoch(epoch))?;
        Ok(open_row(key, address, revision, sealed)?)
    }

    /// Seals the body of the audit leaf with SHA-256 `leaf_digest` under the
    /// newest audit epoch.
    #[must_use]
    pub fn seal_body(
        &self,
        nonces: Nonces,
        history: HistoryId,
        leaf_digest: &[u8; 32],
        plaintext: &[u8],
    ) -> Vec<u8> {
        let (epoch, key) = newest(&self.audit);
        seal_body(key, *epoch, nonces, history, leaf_digest, plaintext)
    }

    /// Opens the body of the audit leaf with SHA-256 `leaf_digest`, of any epoch
    /// held.
    ///
    /// # Errors
    ///
    /// [`RowError`].
    pub fn open_body(
        &self,
        history: HistoryId,
        leaf_digest: &[u8; 32],
        sealed: &[u8],
    ) -> Result<SecretBytes, RowError> {
        let epoch = body_epoch(sealed)?;
        let key = self.audit.get(&epoch).ok_or(RowError::UnknownEpoch(epoch))?;
        Ok(open_body(key, history, leaf_digest, sealed)?)
    }

    /// Opaque row id of `name` in the table with number `table`.
    #[must_use]
    pub fn name_row_id(&self, table: u32, name: &[u8]) -> [u8; 32] {
        name_row_id(&self.index, table, name)
    }

    /// Opaque row id of a bearer token.
    #[must_use]
    pub fn token_row_id(&self, token: &TokenSecret) -> [u8; 32] {
        token_row_id(&self.index, token)
    }

    /// MAC of a ledger batch's serialised bytes.
    #[must_use]
    pub fn batch_mac(&self, batch: &[u8]) -> [u8; 32] {
        batch_mac(&self.batch, batch)
    }

    /// Checks the MAC of a ledger batch in constant time.
    ///
    /// # Errors
    ///
    /// [`ForgedBatch`].
    pub fn verify_batch_mac(&self, batch: &[u8], mac: &[u8]) -> Result<(), ForgedBatch> {
        verify_batch_mac(&self.batch, batch, mac)
    }

    /// The record of this keyring under the root key.
    #[must_use]
    pub fn wrap(&self, root: &RootKey, address: &KeyringAddress, nonces: Nonces) -> Vec<u8> {
        wrap_keyring(root, address, nonces, self.encode().expose())
    }

    /// Reads a record that must be exactly the one that `expected` names.
    ///
    /// # Errors
    ///
    /// [`KeyringError`].
    pub fn unwrap(
        root: &RootKey,
        expected: &KeyringAddress,
        record: &[u8],
    ) -> Result<Self, KeyringError> {
        let plaintext = unwrap_keyring(root, expected, record)?;
        Self::decode(plaintext.expose()).ok_or(KeyringError::NotAKeyring)
    }

    /// Old and new keyring live side by side until the new one is committed.
    fn duplicate(&self) -> Self {
        let barrier = self.barrier.iter().map(|(epoch, key)| (*epoch, key.duplicate()));
        let audit = self.audit.iter().map(|(epoch, key)| (*epoch, key.duplicate()));
        Self {
            barrier: barrier.collect(),
            audit: audit.collect(),
            index: self.index.duplicate(),
            batch: self.batch.duplicate(),
        }
    }
}

fn newest<K>(keys: &BTreeMap<BarrierEpoch, K>) -> (&BarrierEpoch, &K) {
    keys.last_key_value().expect("a keyring has at least one key of each kind")
}

fn check_drop<K>(
    keys: &BTreeMap<BarrierEpoch, K>,
    epoch: BarrierEpoch,
) -> Result<(), DropEpochError> {
    if !keys.contains_key(&epoch) {
        return Err(DropEpochError::Unknown(epoch));
    }
    if *newest(keys).0 == epoch {
        return Err(DropEpochError::Newest(epoch));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
