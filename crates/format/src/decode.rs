//! Strict decoding of stored messages.

use prost::Message;

/// Why stored bytes are not what they should be.
///
/// Says what is wrong and never what the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Not a protobuf encoding of the message.
    #[error("the bytes are no {message}")]
    Undecodable {
        /// Name of the message.
        message: &'static str,
    },
    /// Fields that this program does not know, or an encoding that no
    /// Strongroom writes.
    #[error("the bytes of a {message} carry what this version does not know")]
    Unknown {
        /// Name of the message.
        message: &'static str,
    },
    /// Written by a newer program.
    #[error(
        "{what} has format {found}, this program knows formats up to {known}: \
         run a newer version of Strongroom"
    )]
    Newer {
        /// What has that format.
        what: &'static str,
        /// Its format.
        found: u32,
        /// Newest format that this program knows.
        known: u32,
    },
    /// Format 0, which was never written.
    #[error("{what} has no format number")]
    NoVersion {
        /// What lacks it.
        what: &'static str,
    },
    /// An id of the wrong length.
    #[error("{field} must be {expected} bytes long, is {got}")]
    Length {
        /// Field of the message.
        field: &'static str,
        /// The right number of bytes.
        expected: usize,
        /// The number of bytes found.
        got: usize,
    },
}

/// Decodes a stored message and refuses unknown fields.
///
/// Protobuf drops what it doesn't know; a node that dropped a field of a newer
/// format would act on half a message. The canonical encoding of what was
/// understood must therefore be what was read, byte for byte: lengths alone may
/// agree by chance, or by intent.
///
/// # Errors
///
/// [`FormatError::Undecodable`] and [`FormatError::Unknown`], with `message`
/// as the name.
pub fn decode<M: Message + Default>(message: &'static str, bytes: &[u8]) -> Result<M, FormatError> {
    let decoded = M::decode(bytes).map_err(|_| FormatError::Undecodable { message })?;
    // Lengths first: they cost no second copy.
    if decoded.encoded_len() == bytes.len() && encode(&decoded) == bytes {
        Ok(decoded)
    } else {
        Err(FormatError::Unknown { message })
    }
}

/// The canonical bytes of a message: fields in order of their numbers,
/// defaults left out.
#[must_use]
pub fn encode<M: Message>(message: &M) -> Vec<u8> {
    message.encode_to_vec()
}

/// Checks a format number found in stored bytes against the newest one known.
///
/// # Errors
///
/// [`FormatError::NoVersion`] for 0, [`FormatError::Newer`] beyond `known`.
pub fn version(what: &'static str, found: u32, known: u32) -> Result<u32, FormatError> {
    match found {
        0 => Err(FormatError::NoVersion { what }),
        _ if found > known => Err(FormatError::Newer { what, found, known }),
        _ => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Batch, HashPoint, Transaction, UnsealMarkRecord};

    #[test]
    fn unknown_fields_are_refused() {
        let mut bytes = encode(&HashPoint { node_id: 1, nonce: 2 });
        assert_eq!(decode::<HashPoint>("HashPoint", &bytes).unwrap().nonce, 2);
        bytes.extend_from_slice(&[0x78, 1]); // field 15, varint 1
        let unknown = FormatError::Unknown { message: "HashPoint" };
        assert_eq!(decode::<HashPoint>("HashPoint", &bytes), Err(unknown));
    }

    #[test]
    fn an_unknown_field_in_the_room_that_another_encoding_leaves_is_refused() {
        let transaction = Transaction { reads: vec![5], ..Transaction::default() };
        let batch = Batch { transactions: vec![transaction; 2], ..Batch::default() };
        let canonical: [u8; 10] = [0x32, 3, 0x12, 1, 5, 0x32, 3, 0x12, 1, 5];
        assert_eq!(encode(&batch), canonical);
        // `reads` unpacked is a byte shorter each time; then field 15, varint 1.
        let bytes: [u8; 10] = [0x32, 2, 0x10, 5, 0x32, 2, 0x10, 5, 0x78, 1];
        assert_eq!(Batch::decode(&bytes[..]), Ok(batch), "what a lenient decoder makes of it");
        assert_eq!(bytes.len(), canonical.len());
        let unknown = FormatError::Unknown { message: "Batch" };
        assert_eq!(decode::<Batch>("Batch", &bytes), Err(unknown));
        assert_eq!(decode::<Batch>("Batch", &bytes[..8]), Err(unknown), "unpacked alone");
    }

    #[test]
    fn fields_out_of_order_are_refused() {
        let bytes: [u8; 4] = [0x10, 2, 0x08, 1];
        let unknown = FormatError::Unknown { message: "HashPoint" };
        assert_eq!(HashPoint::decode(&bytes[..]), Ok(HashPoint { node_id: 1, nonce: 2 }));
        assert_eq!(decode::<HashPoint>("HashPoint", &bytes), Err(unknown));
    }

    #[test]
    fn a_field_given_twice_is_refused() {
        let mut bytes = encode(&HashPoint { node_id: 1, nonce: 2 });
        bytes.extend_from_slice(&[0x10, 3]); // `nonce` once more
        let unknown = FormatError::Unknown { message: "HashPoint" };
        assert_eq!(decode::<HashPoint>("HashPoint", &bytes), Err(unknown));
    }

    #[test]
    fn truncated_bytes_are_refused() {
        let bytes = encode(&UnsealMarkRecord { seal_epoch: 300 });
        let undecodable = FormatError::Undecodable { message: "UnsealMarkRecord" };
        assert_eq!(decode::<UnsealMarkRecord>("UnsealMarkRecord", &bytes[..2]), Err(undecodable));
    }

    #[test]
    fn formats_zero_and_newer_are_refused() {
        assert_eq!(version("x", 0, 3), Err(FormatError::NoVersion { what: "x" }));
        let newer = FormatError::Newer { what: "x", found: 4, known: 3 };
        assert_eq!(version("x", 4, 3), Err(newer));
        assert_eq!(version("x", 2, 3), Ok(2));
    }
}
