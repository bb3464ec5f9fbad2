//! Commitments of a leaf to the private fields of its body.
//!
//! Each is a salted SHA-256 (formula and label: crate `crypto`, where every
//! label stands); the salt is in the sealed body. A leaf that stays can so prove
//! what its body said, and without the body tells nothing.

/// Bytes of the encoding: four hashes.
pub(crate) const COMMITMENTS_BYTES: usize = 4 * 32;

/// What a leaf commits to. Encoded in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commitments {
    /// To the canonical encryption context.
    pub context: [u8; 32],
    /// To the caller's address.
    pub source_address: [u8; 32],
    /// To the principal's name at the time.
    pub principal_name: [u8; 32],
    /// To the request id.
    pub request_id: [u8; 32],
}

impl Commitments {
    pub(crate) fn encode(&self) -> [u8; COMMITMENTS_BYTES] {
        let fields = [self.context, self.source_address, self.principal_name, self.request_id];
        let mut bytes = [0; COMMITMENTS_BYTES];
        bytes.copy_from_slice(fields.as_flattened());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; COMMITMENTS_BYTES]) -> Self {
        let (fields, _) = bytes.as_chunks::<32>();
        Self {
            context: fields[0],
            source_address: fields[1],
            principal_name: fields[2],
            request_id: fields[3],
        }
    }
}
