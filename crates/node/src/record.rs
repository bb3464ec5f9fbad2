//! Encoding a decision on this node: where and when it was taken, and the
//! keyring that seals its rows and its record's body.

use strongroom_barrier::{Keyring, Nonces};
use strongroom_base::{AttemptId, HistoryId, RequestId, Revision};
use strongroom_crypto::{RowAddress, TokenSecret};
use strongroom_model::{Circumstances, NameIndex, RowId, RowTable, Sealer};

use crate::{
    caller::Caller,
    clock,
    core::Core,
    entropy::{OsEntropy, random_id},
};

/// The circumstances of an attempt that begins now; `None`: the node's own act.
#[must_use]
pub(crate) fn circumstances(core: &Core, caller: Option<&Caller>) -> Circumstances {
    Circumstances {
        attempt: AttemptId::from_random(random_id()),
        request: caller
            .map_or_else(|| RequestId::from_random(random_id()), |caller| caller.info.request_id),
        source_address: caller
            .and_then(|caller| caller.source_address)
            .map(|address| address.to_string())
            .unwrap_or_default(),
        certificate_name: caller.map(Caller::certificate_name).unwrap_or_default(),
        node: core.node,
        boot_count: core.boot.count,
        node_time: clock::wall_now(),
    }
}

/// Seals with a keyring, drawing every nonce from the operating system.
pub(crate) struct KeyringSealer<'a> {
    keyring: &'a Keyring,
    history: HistoryId,
}

impl<'a> KeyringSealer<'a> {
    /// Seals rows and bodies of `history` with `keyring`.
    #[must_use]
    pub(crate) fn new(keyring: &'a Keyring, history: HistoryId) -> Self {
        Self { keyring, history }
    }
}

impl Sealer for KeyringSealer<'_> {
    fn seal_row(
        &mut self,
        table: RowTable,
        id: &RowId,
        revision: Revision,
        plaintext: &[u8],
    ) -> Vec<u8> {
        let address =
            RowAddress { history: self.history, table: table.number(), row_id: id.as_bytes() };
        self.keyring.seal_row(Nonces::draw(&mut OsEntropy), &address, revision, plaintext)
    }

    fn seal_body(&mut self, leaf_digest: &[u8; 32], plaintext: &[u8]) -> Vec<u8> {
        let nonces = Nonces::draw(&mut OsEntropy);
        self.keyring.seal_body(nonces, self.history, leaf_digest, plaintext)
    }
}

/// Row ids of names under a keyring that is not in force yet.
pub(crate) struct KeyringIndex<'a>(pub(crate) &'a Keyring);

impl NameIndex for KeyringIndex<'_> {
    fn name(&self, table: RowTable, name: &[u8]) -> RowId {
        RowId::hashed(self.0.name_row_id(table.number(), name))
    }

    fn token(&self, token: &TokenSecret) -> RowId {
        RowId::hashed(self.0.token_row_id(token))
    }
}
