//! Every label of every derivation, in one list.
//!
//! A label says what a derived key, MAC or digest is for, so that no two uses of
//! one key or hash ever work on the same input. In each input the label is
//! followed by a zero byte; labels hold none, and none is a prefix of another.

/// A label: distinct from all others, printable ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(&'static str);

impl Label {
    /// Its bytes, without the zero byte that follows in every input.
    #[must_use]
    pub const fn as_bytes(self) -> &'static [u8] {
        self.0.as_bytes()
    }
}

/// Longest label in bytes.
pub(crate) const LABEL_BYTES_MAX: usize = 40;

/// Key of one sealed row, from a barrier key (KBKDF).
pub const ROW: Label = Label("strongroom/row/v1");
/// Key of one sealed audit body, from an audit key (KBKDF).
pub const AUDIT_BODY: Label = Label("strongroom/audit-body/v1");
/// Key of one wrapped keyring, from the root key (KBKDF).
pub const KEYRING: Label = Label("strongroom/keyring/v1");
/// Key of one ciphertext blob, from key material (KBKDF).
pub const BLOB: Label = Label("strongroom/blob/v1");
/// Public id of key material, from the material (KBKDF).
pub const MATERIAL_ID: Label = Label("strongroom/material-id/v1");
/// Row id of a name, under the index key (HMAC).
pub const INDEX_NAME: Label = Label("strongroom/index-name/v1");
/// Row id of a bearer token, under the index key (HMAC).
pub const INDEX_TOKEN: Label = Label("strongroom/index-token/v1");
/// MAC of a ledger's batch, under the batch key (HMAC).
pub const BATCH: Label = Label("strongroom/batch/v1");
/// Commitment to a private field of an audit record (SHA-256).
pub const COMMITMENT: Label = Label("strongroom/commitment/v1");
/// Key of an envelope's commitment, from a data key (KBKDF).
pub const ENVELOPE_HEADER: Label = Label("strongroom/envelope-header/v1");
/// Key of an envelope's chunks, from a data key (KBKDF).
pub const ENVELOPE_CONTENT: Label = Label("strongroom/envelope-content/v1");
/// Commitment of an envelope's header to itself and to its data key (HMAC).
pub const ENVELOPE_COMMITMENT: Label = Label("strongroom/envelope-commitment/v1");
/// Checksum inside a share's text form (SHA-256, truncated).
pub const SHARE_CHECKSUM: Label = Label("strongroom/share-checksum/v1");
/// Digest of a share in the seal configuration (SHA-256).
pub const SHARE_DIGEST: Label = Label("strongroom/share-digest/v1");
/// Checksum inside a token's text form (SHA-256, truncated).
pub const TOKEN_CHECKSUM: Label = Label("strongroom/token-checksum/v1");

/// All of the above.
pub const ALL: [Label; 15] = [
    ROW,
    AUDIT_BODY,
    KEYRING,
    BLOB,
    MATERIAL_ID,
    INDEX_NAME,
    INDEX_TOKEN,
    BATCH,
    COMMITMENT,
    ENVELOPE_HEADER,
    ENVELOPE_CONTENT,
    ENVELOPE_COMMITMENT,
    SHARE_CHECKSUM,
    SHARE_DIGEST,
    TOKEN_CHECKSUM,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_printable_and_none_is_a_prefix_of_another() {
        for (at, label) in ALL.iter().enumerate() {
            assert!(label.as_bytes().iter().all(u8::is_ascii_graphic), "{label:?}");
            assert!((1..=LABEL_BYTES_MAX).contains(&label.as_bytes().len()), "{label:?}");
            for (other_at, other) in ALL.iter().enumerate() {
                let prefix = other.as_bytes().starts_with(label.as_bytes());
                assert_eq!(prefix, at == other_at, "{label:?} and {other:?}");
            }
        }
    }

    #[test]
    fn the_list_names_every_label_of_this_file() {
        let source = include_str!("labels.rs");
        let declared = source.lines().filter(|line| line.contains(": Label = Label(")).count();
        // One of those lines is the one above.
        assert_eq!(declared - 1, ALL.len());
    }
}
