//! What the rows mean: each table's row as a type, and its bytes before they
//! are sealed.
//!
//! A row is read strictly: a field that this version doesn't know, or whose
//! value means nothing, makes the row unreadable rather than half understood.

mod access;
mod key;

pub use access::{
    Attachments, Principal, PrincipalByName, RoleState, RoleTokens, Token, TokenById,
};
pub use key::{ClientToken, Key, KeySpec, KeyState, KeyUsage, Origin};

use strongroom_crypto::{KeyMaterial, SecretBytes};

use crate::{
    cluster::RecordError,
    tables::{RowId, RowTable},
};

/// A row of any table, opened and understood.
pub enum TypedRow {
    /// Of [`RowTable::Keys`].
    Key(Key),
    /// Of [`RowTable::KeyMaterials`]: secret.
    Material(KeyMaterial),
    /// Of [`RowTable::Principals`].
    Principal(Principal),
    /// Of [`RowTable::Tokens`].
    Token(Token),
    /// Of [`RowTable::Roles`].
    Role(RoleState),
    /// Of [`RowTable::PrincipalRoles`].
    Attachments(Attachments),
    /// Of [`RowTable::ClientTokens`].
    ClientToken(ClientToken),
    /// Of [`RowTable::PrincipalNames`].
    PrincipalByName(PrincipalByName),
    /// Of [`RowTable::TokenIds`].
    TokenById(TokenById),
    /// Of [`RowTable::RoleTokens`].
    RoleTokens(RoleTokens),
}

/// A type that is the row of one table.
pub trait Row: Sized {
    /// The table.
    const TABLE: RowTable;

    /// The row, where `row` is of that table.
    fn of(row: &TypedRow) -> Option<&Self>;

    /// Any row, from this one.
    fn into_typed(self) -> TypedRow;
}

macro_rules! rows {
    ($($type:ident => $variant:ident of $table:ident),* $(,)?) => {$(
        impl Row for $type {
            const TABLE: RowTable = RowTable::$table;

            fn of(row: &TypedRow) -> Option<&Self> {
                match row {
                    TypedRow::$variant(row) => Some(row),
                    _ => None,
                }
            }

            fn into_typed(self) -> TypedRow {
                TypedRow::$variant(self)
            }
        }
    )*

        impl TypedRow {
            /// The table that it belongs to.
            #[must_use]
            pub fn table(&self) -> RowTable {
                match self {
                    $(Self::$variant(_) => RowTable::$table,)*
                }
            }
        }
    };
}

rows! {
    Key => Key of Keys,
    KeyMaterial => Material of KeyMaterials,
    Principal => Principal of Principals,
    Token => Token of Tokens,
    RoleState => Role of Roles,
    Attachments => Attachments of PrincipalRoles,
    ClientToken => ClientToken of ClientTokens,
    PrincipalByName => PrincipalByName of PrincipalNames,
    TokenById => TokenById of TokenIds,
    RoleTokens => RoleTokens of RoleTokens,
}

impl TypedRow {
    /// Reads the opened bytes of a row of `table`.
    ///
    /// # Errors
    ///
    /// [`RecordError`]: the seal was right, so another version wrote the row.
    pub fn decode(table: RowTable, plaintext: &[u8]) -> Result<Self, RecordError> {
        Ok(match table {
            RowTable::Keys => Self::Key(Key::decode(plaintext)?),
            RowTable::KeyMaterials => Self::Material(
                KeyMaterial::decode(plaintext)
                    .map_err(|_| RecordError::Field { record: "KeyMaterial", field: "layout" })?,
            ),
            RowTable::Principals => Self::Principal(Principal::decode(plaintext)?),
            RowTable::Tokens => Self::Token(Token::decode(plaintext)?),
            RowTable::Roles => Self::Role(RoleState::decode(plaintext)?),
            RowTable::PrincipalRoles => Self::Attachments(Attachments::decode(plaintext)?),
            RowTable::ClientTokens => Self::ClientToken(ClientToken::decode(plaintext)?),
            RowTable::PrincipalNames => Self::PrincipalByName(PrincipalByName::decode(plaintext)?),
            RowTable::TokenIds => Self::TokenById(TokenById::decode(plaintext)?),
            RowTable::RoleTokens => Self::RoleTokens(RoleTokens::decode(plaintext)?),
        })
    }

    /// The bytes to be sealed, in memory that is wiped.
    #[must_use]
    pub fn encode(&self) -> SecretBytes {
        match self {
            Self::Key(row) => SecretBytes::take_from(row.encode()),
            Self::Material(row) => row.encode(),
            Self::Principal(row) => SecretBytes::take_from(row.encode()),
            Self::Token(row) => SecretBytes::take_from(row.encode()),
            Self::Role(row) => SecretBytes::take_from(row.encode()),
            Self::Attachments(row) => SecretBytes::take_from(row.encode()),
            Self::ClientToken(row) => SecretBytes::take_from(row.encode()),
            Self::PrincipalByName(row) => SecretBytes::take_from(row.encode()),
            Self::TokenById(row) => SecretBytes::take_from(row.encode()),
            Self::RoleTokens(row) => SecretBytes::take_from(row.encode()),
        }
    }
}

/// A field of a record that has no meaning.
pub(crate) const fn field(record: &'static str, field: &'static str) -> RecordError {
    RecordError::Field { record, field }
}

/// A row id inside a record.
pub(crate) fn row_id(
    record: &'static str,
    name: &'static str,
    bytes: &[u8],
) -> Result<RowId, RecordError> {
    RowId::from_slice(bytes).map_err(|_| field(record, name))
}
