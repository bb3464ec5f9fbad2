//! Sealed rows: everything that the replicated state keeps, encrypted before it
//! is proposed.
//!
//! Layout: see the table in module `sealed`; format `0x11`, the epoch is the
//! barrier's.
//!
//! ```text
//! key = KBKDF(barrier key, label ROW, N)
//! AAD = header(33) ‖ history id(16) ‖ [4]_32 ‖ table(4)
//!       ‖ [length]_32 ‖ row id ‖ revision(8)
//! ```
//!
//! So whoever writes to a disk can neither read, forge nor swap rows, nor pass
//! an old revision off as the present one.

use strongroom_base::{BarrierEpoch, HistoryId, Revision};
use strongroom_secmem::SecretBytes;

use crate::{
    BarrierKey, Nonces, OpenError, TAG_BYTES, labels,
    sealed::{Kind, put_prefixed},
};

const ROW: Kind = Kind { format: 0x11, label: labels::ROW };

/// Where a row stands.
#[derive(Clone, Copy)]
pub struct RowAddress<'a> {
    /// History of the replicated state.
    pub history: HistoryId,
    /// Number of the table.
    pub table: u32,
    /// Opaque id of the row in its table.
    pub row_id: &'a [u8],
}

impl RowAddress<'_> {
    fn put(&self, revision: Revision, aad: &mut Vec<u8>) {
        aad.extend_from_slice(self.history.as_bytes());
        put_prefixed(aad, &self.table.to_be_bytes());
        put_prefixed(aad, self.row_id);
        aad.extend_from_slice(&revision.0.to_be_bytes());
    }
}

/// Seals a row for one place and revision.
#[must_use]
pub fn seal_row(
    key: &BarrierKey,
    epoch: BarrierEpoch,
    nonces: Nonces,
    address: &RowAddress<'_>,
    revision: Revision,
    plaintext: &[u8],
) -> Vec<u8> {
    let place = |aad: &mut Vec<u8>| address.put(revision, aad);
    ROW.seal(key.expose(), epoch, nonces, place, plaintext)
}

/// Opens a row that was sealed for this very place and revision, with the key of
/// the epoch that [`row_epoch`] says.
///
/// # Errors
///
/// [`OpenError`]: the bytes are no sealed row, or not the one that belongs here.
pub fn open_row(
    key: &BarrierKey,
    address: &RowAddress<'_>,
    revision: Revision,
    sealed: &[u8],
) -> Result<SecretBytes, OpenError> {
    ROW.open(key.expose(), |aad| address.put(revision, aad), sealed)
}

/// The barrier epoch that a sealed row names; true only once the row has opened.
///
/// # Errors
///
/// [`OpenError::Malformed`] and [`OpenError::UnsupportedFormat`].
pub fn row_epoch(sealed: &[u8]) -> Result<BarrierEpoch, OpenError> {
    ROW.epoch(sealed)
}

/// The tag of a sealed row, which with the revision is the row's version.
///
/// # Errors
///
/// [`OpenError::Malformed`] and [`OpenError::UnsupportedFormat`].
pub fn row_tag(sealed: &[u8]) -> Result<[u8; TAG_BYTES], OpenError> {
    ROW.epoch(sealed)?;
    Ok(*sealed.last_chunk().expect("a sealed row is longer than its tag"))
}
