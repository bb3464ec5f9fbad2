//! Rows of keys and of idempotent creations.

use strongroom_base::{AccountId, KeyId, KeyVersion, PrincipalId, UnixMillis};
use strongroom_format::{self as format, store};

use super::field;
use crate::cluster::RecordError;

/// State of a key (AWS KMS, `KeyState`). Numbers: `strongroom.v1.KeyState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum KeyState {
    /// May be used.
    Enabled = 1,
    /// Refuses every cryptographic operation.
    Disabled = 2,
    /// Waits for its deletion.
    PendingDeletion = 3,
    /// Waits for imported material.
    PendingImport = 4,
    /// Its material can't be reached.
    Unavailable = 5,
}

impl KeyState {
    /// Every state, by ascending number.
    pub const ALL: [Self; 5] = [
        Self::Enabled,
        Self::Disabled,
        Self::PendingDeletion,
        Self::PendingImport,
        Self::Unavailable,
    ];

    /// Its number.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The state of a number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.number() == number)
    }

    /// AWS KMS's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion => "PendingDeletion",
            Self::PendingImport => "PendingImport",
            Self::Unavailable => "Unavailable",
        }
    }
}

/// Kind of material (AWS KMS, `KeySpec`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeySpec {
    /// 256-bit symmetric key.
    SymmetricDefault,
}

impl KeySpec {
    /// AWS KMS's name, as stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SymmetricDefault => "SYMMETRIC_DEFAULT",
        }
    }

    /// The spec of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Self::SymmetricDefault.name()).then_some(Self::SymmetricDefault)
    }
}

/// What a key is for (AWS KMS, `KeyUsageType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyUsage {
    /// Encrypt, Decrypt, data keys.
    EncryptDecrypt,
    /// Asymmetric signatures.
    SignVerify,
    /// Message authentication codes.
    GenerateVerifyMac,
}

impl KeyUsage {
    /// Every usage.
    pub const ALL: [Self; 3] = [Self::EncryptDecrypt, Self::SignVerify, Self::GenerateVerifyMac];

    /// AWS KMS's name, as stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::EncryptDecrypt => "ENCRYPT_DECRYPT",
            Self::SignVerify => "SIGN_VERIFY",
            Self::GenerateVerifyMac => "GENERATE_VERIFY_MAC",
        }
    }

    /// The usage of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|usage| usage.name() == name)
    }
}

/// Where material came from (AWS KMS, `OriginType`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// Made by the cluster.
    AwsKms,
}

impl Origin {
    /// AWS KMS's name, as stored.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwsKms => "AWS_KMS",
        }
    }

    /// The origin of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        (name == Self::AwsKms.name()).then_some(Self::AwsKms)
    }
}

/// A key. No `Debug`: the description is its owner's.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    /// UUID.
    pub id: KeyId,
    /// Account that owns it.
    pub account: AccountId,
    /// Kind of material.
    pub spec: KeySpec,
    /// What it is for.
    pub usage: KeyUsage,
    /// State.
    pub state: KeyState,
    /// Description, at most 8,192 characters.
    pub description: String,
    /// Creation, by the deciding node's clock.
    pub created: UnixMillis,
    /// Version whose material encrypts.
    pub current_version: KeyVersion,
    /// Where its material came from.
    pub origin: Origin,
    /// Principal that created it.
    pub created_by: PrincipalId,
}

impl Key {
    pub(super) fn encode(&self) -> Vec<u8> {
        format::encode(&store::KeyRow {
            key_id: self.id.as_bytes().to_vec(),
            account: self.account.as_str().to_owned(),
            key_spec: self.spec.name().to_owned(),
            key_usage: self.usage.name().to_owned(),
            state: self.state.number(),
            description: self.description.clone(),
            created_ms: self.created.0,
            current_version: self.current_version.0,
            origin: self.origin.name().to_owned(),
            created_by: self.created_by.as_bytes().to_vec(),
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const ROW: &str = "KeyRow";
        let row: store::KeyRow = format::decode(ROW, bytes)?;
        Ok(Self {
            id: format::key_id("key_id", &row.key_id)?,
            account: row.account.parse().map_err(|_| field(ROW, "account"))?,
            spec: KeySpec::from_name(&row.key_spec).ok_or(field(ROW, "key_spec"))?,
            usage: KeyUsage::from_name(&row.key_usage).ok_or(field(ROW, "key_usage"))?,
            state: KeyState::from_number(row.state).ok_or(field(ROW, "state"))?,
            description: row.description,
            created: UnixMillis(row.created_ms),
            current_version: match row.current_version {
                0 => return Err(field(ROW, "current_version")),
                version => KeyVersion(version),
            },
            origin: Origin::from_name(&row.origin).ok_or(field(ROW, "origin"))?,
            created_by: format::principal_id("created_by", &row.created_by)?,
        })
    }
}

/// What a client token was used for.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientToken {
    /// Operation (numbers: `audit::Operation`).
    pub operation: u16,
    /// SHA-256 of the canonical request.
    pub request_digest: [u8; 32],
    /// The key that was created.
    pub created: KeyId,
    /// Creation, by the deciding node's clock.
    pub created_at: UnixMillis,
}

impl ClientToken {
    pub(super) fn encode(&self) -> Vec<u8> {
        format::encode(&store::ClientTokenRow {
            operation: self.operation.into(),
            request_digest: self.request_digest.to_vec(),
            created_id: self.created.as_bytes().to_vec(),
            created_ms: self.created_at.0,
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const ROW: &str = "ClientTokenRow";
        let row: store::ClientTokenRow = format::decode(ROW, bytes)?;
        Ok(Self {
            operation: row.operation.try_into().map_err(|_| field(ROW, "operation"))?,
            request_digest: row
                .request_digest
                .try_into()
                .map_err(|_| field(ROW, "request_digest"))?,
            created: format::key_id("created_id", &row.created_id)?,
            created_at: UnixMillis(row.created_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key {
            id: KeyId::from_bytes([1; 16]),
            account: "000000000000".parse().unwrap(),
            spec: KeySpec::SymmetricDefault,
            usage: KeyUsage::EncryptDecrypt,
            state: KeyState::Enabled,
            description: "d".into(),
            created: UnixMillis(1),
            current_version: KeyVersion(1),
            origin: Origin::AwsKms,
            created_by: PrincipalId::from_bytes([2; 16]),
        }
    }

    #[test]
    fn a_key_row_with_a_field_that_means_nothing_is_refused_by_its_name() {
        type Change = fn(&mut store::KeyRow);
        let changes: [(&str, Change); 6] = [
            ("account", |row| row.account = "1".into()),
            ("key_spec", |row| row.key_spec = "RSA_2048".into()),
            ("key_usage", |row| row.key_usage.clear()),
            ("state", |row| row.state = 0),
            ("current_version", |row| row.current_version = 0),
            ("origin", |row| row.origin = "EXTERNAL".into()),
        ];
        for (name, change) in changes {
            let mut row: store::KeyRow = format::decode("KeyRow", &key().encode()).unwrap();
            change(&mut row);
            let refused = Key::decode(&format::encode(&row)).err();
            assert_eq!(refused, Some(field("KeyRow", name)));
        }
        assert!(Key::decode(&key().encode()).is_ok_and(|read| read == key()));
    }

    #[test]
    fn a_client_token_row_needs_its_digest() {
        let row = store::ClientTokenRow {
            operation: 1,
            request_digest: vec![1; 31],
            created_id: vec![1; 16],
            created_ms: 1,
        };
        let refused = ClientToken::decode(&format::encode(&row)).err();
        assert_eq!(refused, Some(field("ClientTokenRow", "request_digest")));
    }

    #[test]
    fn names_and_numbers_lead_back_to_their_values() {
        for state in KeyState::ALL {
            assert_eq!(KeyState::from_number(state.number()), Some(state));
        }
        for usage in KeyUsage::ALL {
            assert_eq!(KeyUsage::from_name(usage.name()), Some(usage));
        }
        assert_eq!(KeyState::from_number(0), None);
        assert_eq!(KeyUsage::from_name("encrypt_decrypt"), None);
    }
}
