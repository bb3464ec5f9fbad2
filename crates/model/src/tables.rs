//! The row tables and the ids of their rows.
//!
//! Numbers are stored formats: in guards, in writes, and in the address under
//! which a row is sealed. A row id shows nothing: it is a UUID, the HMAC of a
//! name under the index key, or a number.

use std::fmt;

use strongroom_base::{KeyId, KeyVersion, PrincipalId, TokenId};

use crate::role::Role;

/// A table of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RowTable {
    /// Keys; row id: the key's UUID.
    Keys = 1,
    /// Key materials; row id: the key's UUID, then the version (4 bytes).
    KeyMaterials = 2,
    /// Principals; row id: the principal's UUID.
    Principals = 3,
    /// Bearer tokens; row id: HMAC of the token.
    Tokens = 4,
    /// Roles; row id: the role's number (4 bytes).
    Roles = 5,
    /// Roles of principals; row id: the principal's UUID.
    PrincipalRoles = 6,
    /// Client tokens of creations; row id: HMAC of principal and client token.
    ClientTokens = 8,
    /// Principals by name; row id: HMAC of the name.
    PrincipalNames = 9,
    /// Bearer tokens by their public id; row id: the token's UUID.
    TokenIds = 10,
    /// Generation of the set of a role's tokens; row id: the role's number.
    RoleTokens = 11,
}

impl RowTable {
    /// Every table, by ascending number.
    pub const ALL: [Self; 10] = [
        Self::Keys,
        Self::KeyMaterials,
        Self::Principals,
        Self::Tokens,
        Self::Roles,
        Self::PrincipalRoles,
        Self::ClientTokens,
        Self::PrincipalNames,
        Self::TokenIds,
        Self::RoleTokens,
    ];

    /// The number by which guards, writes and seals name it.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The table of a number; `None` for one that this version doesn't know.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|table| table.number() == number)
    }

    /// Name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::KeyMaterials => "key materials",
            Self::Principals => "principals",
            Self::Tokens => "tokens",
            Self::Roles => "roles",
            Self::PrincipalRoles => "roles of principals",
            Self::ClientTokens => "client tokens",
            Self::PrincipalNames => "principal names",
            Self::TokenIds => "token ids",
            Self::RoleTokens => "tokens of roles",
        }
    }
}

/// Id of a row within its table: 1 to 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowId {
    bytes: [u8; Self::LEN_MAX],
    len: u8,
}

/// A row id that this version can't have written: empty, or over 32 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a row id has 1 to 32 bytes, this one has {0}")]
pub struct RowIdError(pub usize);

impl RowId {
    /// Longest row id that any table of this version uses, in bytes.
    pub const LEN_MAX: usize = 32;

    /// Takes the bytes as they are.
    ///
    /// # Errors
    ///
    /// [`RowIdError`] for none and for more than 32 bytes.
    pub fn from_slice(id: &[u8]) -> Result<Self, RowIdError> {
        if id.is_empty() || id.len() > Self::LEN_MAX {
            return Err(RowIdError(id.len()));
        }
        Ok(Self::padded(id))
    }

    /// Row of a key.
    #[must_use]
    pub fn key(key: KeyId) -> Self {
        Self::padded(key.as_bytes())
    }

    /// Row of a version of a key's material.
    #[must_use]
    pub fn material(key: KeyId, version: KeyVersion) -> Self {
        let mut id = [0; 20];
        id[..16].copy_from_slice(key.as_bytes());
        id[16..].copy_from_slice(&version.0.to_be_bytes());
        Self::padded(&id)
    }

    /// Row of a principal, of its roles.
    #[must_use]
    pub fn principal(principal: PrincipalId) -> Self {
        Self::padded(principal.as_bytes())
    }

    /// Row of a token's public id.
    #[must_use]
    pub fn token_id(token: TokenId) -> Self {
        Self::padded(token.as_bytes())
    }

    /// Row of a role, of its set of tokens.
    #[must_use]
    pub fn role(role: Role) -> Self {
        Self::padded(&role.number().to_be_bytes())
    }

    /// Row found by the HMAC of a name.
    #[must_use]
    pub fn hashed(hash: [u8; 32]) -> Self {
        Self::padded(&hash)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Takes 1 to 32 bytes; the rest stays zero, so that equality of the
    /// arrays is equality of the ids.
    fn padded(id: &[u8]) -> Self {
        let mut bytes = [0; Self::LEN_MAX];
        bytes[..id.len()].copy_from_slice(id);
        let len = u8::try_from(id.len()).expect("at most 32 bytes");
        Self { bytes, len }
    }
}

impl fmt::Debug for RowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn row_ids_outside_their_bounds_are_refused() {
        assert_eq!(RowId::from_slice(&[]), Err(RowIdError(0)));
        assert_eq!(RowId::from_slice(&[1; 33]), Err(RowIdError(33)));
        assert_eq!(RowId::from_slice(&[1; 32]).unwrap().as_bytes(), &[1; 32]);
    }

    #[test]
    fn ids_that_differ_in_trailing_zeros_differ() {
        assert_ne!(RowId::from_slice(&[1]), RowId::from_slice(&[1, 0]));
    }

    #[test]
    fn numbers_are_distinct_and_found_again() {
        for table in RowTable::ALL {
            assert_eq!(RowTable::from_number(table.number()), Some(table));
            assert!((1..=255).contains(&table.number()));
        }
        assert_eq!(RowTable::from_number(7), None);
        assert_eq!(RowTable::from_number(0), None);
    }

    #[test]
    fn a_material_is_found_by_key_and_version() {
        let id = RowId::material(KeyId::from_bytes([7; 16]), KeyVersion(0x0102_0304));
        assert_eq!(id.as_bytes()[16..], [1, 2, 3, 4]);
        assert_eq!(id.as_bytes().len(), 20);
    }
}
