//! What the laws share: counted entropy and a cluster to unseal.
#![allow(dead_code, reason = "each law uses its part")]

use strongroom_barrier::{
    Entropy, InitRequest, Initialised, Keyring, KeyringAddress, Nonces, RootKey, RowAddress, Share,
    initialise,
};
use strongroom_base::{ClusterId, HistoryId, Revision, SealEpoch};

/// Deterministic and never the same bytes twice: a counter through a mixer
/// (SplitMix64's constants).
pub(crate) struct Counted(pub(crate) u64);

impl Entropy for Counted {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^= mixed >> 31;
            chunk.copy_from_slice(&mixed.to_le_bytes()[..chunk.len()]);
        }
    }
}

pub(crate) fn cluster(byte: u8) -> ClusterId {
    ClusterId::from_bytes([byte; 16])
}

pub(crate) fn history() -> HistoryId {
    HistoryId::from_bytes([0x44; 16])
}

pub(crate) fn address(row_id: &[u8]) -> RowAddress<'_> {
    RowAddress { history: history(), table: 1, row_id }
}

pub(crate) fn init(
    seed: u64,
    cluster: ClusterId,
    epoch: u64,
    shares: u32,
    threshold: u32,
) -> Initialised {
    let request = InitRequest { cluster, seal_epoch: SealEpoch(epoch), shares, threshold };
    initialise(request, &mut Counted(seed)).unwrap()
}

/// Another copy of a share, by the way that operators make one.
pub(crate) fn copy(share: &Share) -> Share {
    Share::parse(share.expose_text().expose()).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether two keyrings hold the same keys: by what they do with the index key,
/// the batch key and the newest of the others, and by the one record that they
/// make of all keys under one root key.
pub(crate) fn same_keys(a: &Keyring, b: &Keyring) -> bool {
    a.name_row_id(1, b"x") == b.name_row_id(1, b"x")
        && a.batch_mac(b"x") == b.batch_mac(b"x")
        && a.barrier_epochs().eq(b.barrier_epochs())
        && a.audit_epochs().eq(b.audit_epochs())
        && opens(a, b)
        && opens(b, a)
        && record(a) == record(b)
}

/// Whether `reader` opens what `writer` seals.
fn opens(reader: &Keyring, writer: &Keyring) -> bool {
    let (place, revision, leaf) = (address(b"x"), Revision(1), [0x55; 32]);
    let row = writer.seal_row(nonces(), &place, revision, b"row");
    let body = writer.seal_body(nonces(), history(), &leaf, b"body");
    reader.open_row(&place, revision, &row).is_ok_and(|row| row.expose() == b"row")
        && reader.open_body(history(), &leaf, &body).is_ok_and(|body| body.expose() == b"body")
}

/// The record of a keyring under a root key, place and nonces that are always the
/// same, so that it tells each key of each epoch from another.
fn record(keyring: &Keyring) -> Vec<u8> {
    let root = RootKey::init_with(|key| key.fill(0x66));
    let address =
        KeyringAddress { cluster: cluster(1), seal_epoch: SealEpoch(1), revision: Revision(1) };
    keyring.wrap(&root, &address, nonces())
}

/// Always the same: for comparisons, where nothing is kept secret.
fn nonces() -> Nonces {
    Nonces::draw(&mut Counted(0))
}
