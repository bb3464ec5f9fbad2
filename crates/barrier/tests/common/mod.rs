//! What the laws share: counted entropy and a cluster to unseal.
#![allow(dead_code, reason = "each law uses its part")]

use strongroom_barrier::{
    Entropy, InitRequest, Initialised, Keyring, RowAddress, Share, initialise,
};
use strongroom_base::{ClusterId, HistoryId, SealEpoch};

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

/// Whether two keyrings hold the same keys, by what they do.
pub(crate) fn same_keys(a: &Keyring, b: &Keyring) -> bool {
    a.name_row_id(1, b"x") == b.name_row_id(1, b"x")
        && a.batch_mac(b"x") == b.batch_mac(b"x")
        && a.barrier_epochs().eq(b.barrier_epochs())
        && a.audit_epochs().eq(b.audit_epochs())
}
