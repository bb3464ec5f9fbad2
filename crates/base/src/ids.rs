//! Identities: of nodes, clusters, keys, principals, requests.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Why a text is no identity of the wanted kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Not a UUID in its hyphenated form (RFC 9562, section 4).
    #[error("not a UUID of the form xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")]
    NotUuid,
    /// Not the stated number of bytes.
    #[error("must be {expected} bytes long, is {got}")]
    Length {
        /// The right number of bytes.
        expected: usize,
        /// The number of bytes given.
        got: usize,
    },
    /// Not a node id: an integer from 1 to 2^32 - 1.
    #[error("a node id is an integer from 1 to 4294967295")]
    NotNodeId,
    /// Not an account id: exactly twelve digits.
    #[error("an account id is exactly twelve decimal digits")]
    NotAccountId,
}

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// Text form: hyphenated lower-case UUID (RFC 9562).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; 16]);

        impl $name {
            /// Makes a random (version 4) id of 16 bytes drawn by the caller.
            #[must_use]
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid().into_bytes())
            }

            /// Takes the 16 bytes as they are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Takes a slice of exactly 16 bytes.
            ///
            /// # Errors
            ///
            /// [`IdError::Length`] for any other length.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, IdError> {
                bytes
                    .try_into()
                    .map(Self)
                    .map_err(|_| IdError::Length { expected: 16, got: bytes.len() })
            }

            /// The 16 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Uuid::from_bytes(self.0).hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                if text.len() != 36 {
                    return Err(IdError::NotUuid);
                }
                Uuid::try_parse(text).map(|id| Self(id.into_bytes())).map_err(|_| IdError::NotUuid)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

uuid_id! {
    /// A cluster; fixed by `init`, carried by each node's certificate.
    ClusterId
}
uuid_id! {
    /// A history of the replicated state: new at `init` and at each restore.
    HistoryId
}
uuid_id! {
    /// A node's data directory: drawn when the directory is made.
    Incarnation
}
uuid_id! {
    /// A key, as in AWS KMS's `KeyId`.
    KeyId
}
uuid_id! {
    /// A principal: whoever may be authorised.
    PrincipalId
}
uuid_id! {
    /// A bearer token's public name (never the token itself).
    TokenId
}
uuid_id! {
    /// A caller's request; retries and hedges share it.
    RequestId
}
uuid_id! {
    /// One attempt at an operation: what a use record is about.
    AttemptId
}

/// Identity of key material, AWS KMS's `KeyMaterialId`: 32 bytes, shown as 64
/// hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct MaterialId(pub [u8; 32]);

impl fmt::Display for MaterialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MaterialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A member of the cluster: an integer from 1 to 2^32 - 1, never used again
/// after its member lost its data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct NodeId(u32);

impl NodeId {
    /// Checks the range.
    ///
    /// # Errors
    ///
    /// [`IdError::NotNodeId`] for 0 and for more than 2^32 - 1.
    pub fn new(id: u64) -> Result<Self, IdError> {
        match u32::try_from(id) {
            Ok(id) if id > 0 => Ok(Self(id)),
            _ => Err(IdError::NotNodeId),
        }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u64 {
        self.0 as u64
    }
}

impl TryFrom<u64> for NodeId {
    type Error = IdError;

    fn try_from(id: u64) -> Result<Self, IdError> {
        Self::new(id)
    }
}

impl From<NodeId> for u64 {
    fn from(id: NodeId) -> Self {
        id.value()
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse::<u64>().map_err(|_| IdError::NotNodeId).and_then(Self::new)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Version of a key's material, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyVersion(pub u32);

impl KeyVersion {
    /// The version that `CreateKey` makes.
    pub const FIRST: Self = Self(1);
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Position of a record in the audit log, from 0, without gaps.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct AuditSequence(pub u64);

impl fmt::Display for AuditSequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The account of keys, principals and events: twelve digits, as AWS's.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

impl AccountId {
    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for AccountId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::NotAccountId)
        }
    }
}

impl TryFrom<String> for AccountId {
    type Error = IdError;

    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> Self {
        id.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_id_zero_and_beyond_32_bits_are_refused() {
        assert_eq!(NodeId::new(0), Err(IdError::NotNodeId));
        assert_eq!(NodeId::new(1 << 32), Err(IdError::NotNodeId));
        assert_eq!("-1".parse::<NodeId>(), Err(IdError::NotNodeId));
        assert_eq!("7".parse::<NodeId>().map(NodeId::value), Ok(7));
    }

    #[test]
    fn uuid_text_is_hyphenated_only() {
        assert_eq!("00000000000000000000000000000000".parse::<KeyId>(), Err(IdError::NotUuid));
        let id = KeyId::from_random([7; 16]);
        assert_eq!(id.to_string().parse::<KeyId>(), Ok(id));
        assert_eq!(&id.to_string()[14..15], "4");
    }

    #[test]
    fn account_ids_are_twelve_digits() {
        assert!("00000000000a".parse::<AccountId>().is_err());
        assert!("123".parse::<AccountId>().is_err());
        assert!("123456789012".parse::<AccountId>().is_ok());
    }
}
