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
/// understood must therefore be as long as what was read.
///
/// # Errors
///
/// [`FormatError::Undecodable`] and [`FormatError::Unknown`], with `message`
/// as the name.
pub fn decode<M: Message + Default>(message: &'static str, bytes: &[u8]) -> Result<M, FormatError> {
    let decoded = M::decode(bytes).map_err(|_| FormatError::Undecodable { message })?;
    if decoded.encoded_len() == bytes.len() {
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
    use crate::store::{HashPoint, UnsealMarkRecord};

    #[test]
    fn unknown_fields_are_refused() {
        let mut bytes = encode(&HashPoint { node_id: 1, nonce: 2 });
        assert_eq!(decode::<HashPoint>("HashPoint", &bytes).unwrap().nonce, 2);
        bytes.extend_from_slice(&[0x78, 1]); // field 15, varint 1
        let unknown = FormatError::Unknown { message: "HashPoint" };
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
