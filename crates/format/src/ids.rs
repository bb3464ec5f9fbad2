//! Ids out of stored bytes, with the field's name in the refusal.

use strongroom_base::{ClusterId, HistoryId, KeyId, PrincipalId, RequestId, TokenId};

use crate::FormatError;

/// The 16 bytes of `field`.
fn sixteen(field: &'static str, bytes: &[u8]) -> Result<[u8; 16], FormatError> {
    bytes.try_into().map_err(|_| FormatError::Length { field, expected: 16, got: bytes.len() })
}

macro_rules! conversion {
    ($(#[$doc:meta])* $function:ident, $id:ident) => {
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// [`FormatError::Length`] with `field` as the name, unless there are
        /// exactly 16 bytes.
        pub fn $function(field: &'static str, bytes: &[u8]) -> Result<$id, FormatError> {
            sixteen(field, bytes).map($id::from_bytes)
        }
    };
}

conversion! {
    /// The cluster id in `bytes`.
    cluster_id, ClusterId
}
conversion! {
    /// The history id in `bytes`.
    history_id, HistoryId
}
conversion! {
    /// The key id in `bytes`.
    key_id, KeyId
}
conversion! {
    /// The principal id in `bytes`.
    principal_id, PrincipalId
}
conversion! {
    /// The request id in `bytes`.
    request_id, RequestId
}
conversion! {
    /// The token id in `bytes`.
    token_id, TokenId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_the_wrong_length_is_refused_with_its_field() {
        let refused = FormatError::Length { field: "key_id", expected: 16, got: 15 };
        assert_eq!(key_id("key_id", &[1; 15]), Err(refused));
        assert_eq!(key_id("key_id", &[1; 16]), Ok(KeyId::from_bytes([1; 16])));
    }
}
