//! Rows of principals, roles and bearer tokens.

use strongroom_base::{AccountId, PrincipalId, Revision, TokenId, UnixMillis};
use strongroom_format::{self as format, store};

use super::{field, row_id};
use crate::{cluster::RecordError, role::Role, tables::RowId};

/// A principal. No `Debug`: names reach no trace.
#[derive(Clone, PartialEq, Eq)]
pub struct Principal {
    /// UUID.
    pub id: PrincipalId,
    /// Account.
    pub account: AccountId,
    /// Name, unique in the account.
    pub name: String,
    /// Creation, by the deciding node's clock.
    pub created: UnixMillis,
}

impl Principal {
    pub(super) fn encode(&self) -> Vec<u8> {
        format::encode(&store::PrincipalRow {
            principal_id: self.id.as_bytes().to_vec(),
            account: self.account.as_str().to_owned(),
            name: self.name.clone(),
            created_ms: self.created.0,
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const ROW: &str = "PrincipalRow";
        let row: store::PrincipalRow = format::decode(ROW, bytes)?;
        Ok(Self {
            id: format::principal_id("principal_id", &row.principal_id)?,
            account: row.account.parse().map_err(|_| field(ROW, "account"))?,
            name: row.name,
            created: UnixMillis(row.created_ms),
        })
    }
}

/// Finds a principal by the HMAC of its name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PrincipalByName(pub PrincipalId);

impl PrincipalByName {
    pub(super) fn encode(&self) -> Vec<u8> {
        format::encode(&store::PrincipalNameRow { principal_id: self.0.as_bytes().to_vec() })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let row: store::PrincipalNameRow = format::decode("PrincipalNameRow", bytes)?;
        Ok(Self(format::principal_id("principal_id", &row.principal_id)?))
    }
}

/// A bearer token, found by its HMAC; the token itself is kept nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    /// UUID by which people name it.
    pub id: TokenId,
    /// Whose it is.
    pub principal: PrincipalId,
    /// Role that it was issued for.
    pub role: Role,
    /// Creation, by the deciding node's clock.
    pub created: UnixMillis,
    /// Last millisecond of cluster time at which it is valid; `None`: no end.
    pub expires: Option<UnixMillis>,
    /// Principal that created it; `None`: `init`.
    pub created_by: Option<PrincipalId>,
    /// Revision that the row got when the token was issued.
    pub issued: Revision,
}

impl Token {
    /// Whether the token is past its end at cluster time `now`.
    #[must_use]
    pub fn expired(&self, now: UnixMillis) -> bool {
        self.expires.is_some_and(|end| now > end)
    }

    /// Whether it grants its role, given the role's state and the principal's
    /// attachments: the role is attached since before the token was issued,
    /// and no revocation of the role's tokens came after.
    #[must_use]
    pub fn grants(&self, attachments: &Attachments, state: &RoleState) -> bool {
        state.role == self.role
            && self.issued > state.tokens_revoked_through
            && attachments.since(self.role).is_some_and(|since| self.issued >= since)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        format::encode(&store::TokenRow {
            token_id: self.id.as_bytes().to_vec(),
            principal_id: self.principal.as_bytes().to_vec(),
            role: self.role.number(),
            created_ms: self.created.0,
            expires_ms: self.expires.unwrap_or_default().0,
            created_by: self.created_by.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            issued: self.issued.0,
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const ROW: &str = "TokenRow";
        let row: store::TokenRow = format::decode(ROW, bytes)?;
        Ok(Self {
            id: format::token_id("token_id", &row.token_id)?,
            principal: format::principal_id("principal_id", &row.principal_id)?,
            role: Role::from_number(row.role).ok_or(field(ROW, "role"))?,
            created: UnixMillis(row.created_ms),
            expires: (row.expires_ms != 0).then_some(UnixMillis(row.expires_ms)),
            created_by: match row.created_by.as_slice() {
                [] => None,
                id => Some(format::principal_id("created_by", id)?),
            },
            issued: match row.issued {
                0 => return Err(field(ROW, "issued")),
                issued => Revision(issued),
            },
        })
    }
}

/// Finds a token's row by the token's public id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenById(pub RowId);

impl TokenById {
    pub(super) fn encode(&self) -> Vec<u8> {
        format::encode(&store::TokenIdRow { token_row_id: self.0.as_bytes().to_vec() })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const ROW: &str = "TokenIdRow";
        let row: store::TokenIdRow = format::decode(ROW, bytes)?;
        row_id(ROW, "token_row_id", &row.token_row_id).map(Self)
    }
}

/// State of a role: read by each decision that rests on the role.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RoleState {
    /// The role.
    pub role: Role,
    /// Tokens of the role issued at a revision up to this one are revoked.
    pub tokens_revoked_through: Revision,
}

impl RoleState {
    pub(super) fn encode(&self) -> Vec<u8> {
        format::encode(&store::RoleRow {
            role: self.role.number(),
            tokens_revoked_through: self.tokens_revoked_through.0,
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const ROW: &str = "RoleRow";
        let row: store::RoleRow = format::decode(ROW, bytes)?;
        Ok(Self {
            role: Role::from_number(row.role).ok_or(field(ROW, "role"))?,
            tokens_revoked_through: Revision(row.tokens_revoked_through),
        })
    }
}

/// A principal's roles, each with the revision at which it was attached.
///
/// Invariant: ascending by role, each role once.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Attachments {
    roles: Vec<(Role, Revision)>,
    generation: u64,
}

impl Attachments {
    /// The attachments of a new principal.
    #[must_use]
    pub fn first(role: Role, since: Revision) -> Self {
        Self { roles: vec![(role, since)], generation: 1 }
    }

    /// The roles, ascending.
    pub fn roles(&self) -> impl Iterator<Item = Role> + '_ {
        self.roles.iter().map(|(role, _)| *role)
    }

    /// The revision at which a role was attached; `None`: it is not.
    #[must_use]
    pub fn since(&self, role: Role) -> Option<Revision> {
        self.roles.iter().find(|(attached, _)| *attached == role).map(|(_, since)| *since)
    }

    /// These and one role more, or the same where it is attached already.
    #[must_use]
    pub fn with(&self, role: Role, since: Revision) -> Self {
        let mut changed = self.touched();
        if changed.since(role).is_none() {
            changed.roles.push((role, since));
            changed.roles.sort_unstable();
        }
        changed
    }

    /// These but one role.
    #[must_use]
    pub fn without(&self, role: Role) -> Self {
        let mut changed = self.touched();
        changed.roles.retain(|(attached, _)| *attached != role);
        changed
    }

    /// The same of the next generation: what a new token of the principal
    /// writes, so that a later attachment is surely later than the token.
    #[must_use]
    pub fn touched(&self) -> Self {
        Self { roles: self.roles.clone(), generation: self.generation.saturating_add(1) }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        format::encode(&store::RolesRow {
            roles: self.roles.iter().map(|(role, _)| role.number()).collect(),
            generation: self.generation,
            since: self.roles.iter().map(|(_, since)| since.0).collect(),
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        const ROW: &str = "RolesRow";
        let row: store::RolesRow = format::decode(ROW, bytes)?;
        if row.roles.len() != row.since.len() {
            return Err(field(ROW, "since"));
        }
        let roles = (row.roles.iter().zip(row.since))
            .map(|(role, since)| Some((Role::from_number(*role)?, Revision(since))))
            .collect::<Option<Vec<_>>>()
            .ok_or(field(ROW, "roles"))?;
        if !roles.is_sorted_by(|(one, _), (next, _)| one < next) {
            return Err(field(ROW, "roles"));
        }
        Ok(Self { roles, generation: row.generation })
    }
}

/// Generation of the set of a role's tokens.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct RoleTokens {
    /// Changes so far.
    pub generation: u64,
}

impl RoleTokens {
    /// The next generation.
    #[must_use]
    pub fn touched(self) -> Self {
        Self { generation: self.generation.saturating_add(1) }
    }

    pub(super) fn encode(self) -> Vec<u8> {
        format::encode(&store::RoleTokensRow { generation: self.generation })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, RecordError> {
        let row: store::RoleTokensRow = format::decode("RoleTokensRow", bytes)?;
        Ok(Self { generation: row.generation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token {
            id: TokenId::from_bytes([1; 16]),
            principal: PrincipalId::from_bytes([2; 16]),
            role: Role::User,
            created: UnixMillis(3),
            expires: Some(UnixMillis(10)),
            created_by: None,
            issued: Revision(5),
        }
    }

    fn state(through: u64) -> RoleState {
        RoleState { role: Role::User, tokens_revoked_through: Revision(through) }
    }

    #[test]
    fn a_token_row_without_role_or_issue_is_refused() {
        for change in [
            |row: &mut store::TokenRow| row.role = 0,
            |row: &mut store::TokenRow| row.role = 9,
            |row: &mut store::TokenRow| row.issued = 0,
            |row: &mut store::TokenRow| row.created_by = vec![1; 15],
        ] {
            let mut row: store::TokenRow = format::decode("TokenRow", &token().encode()).unwrap();
            change(&mut row);
            assert!(Token::decode(&format::encode(&row)).is_err());
        }
        assert!(Token::decode(&token().encode()).is_ok_and(|read| read == token()));
    }

    #[test]
    fn attachments_out_of_order_or_without_their_revisions_are_refused() {
        let row = |roles: &[u32], since: &[u64]| {
            let (roles, since) = (roles.to_vec(), since.to_vec());
            Attachments::decode(&format::encode(&store::RolesRow { roles, generation: 1, since }))
        };
        assert!(row(&[2, 1], &[1, 1]).is_err());
        assert!(row(&[1, 1], &[1, 1]).is_err());
        assert!(row(&[1], &[]).is_err());
        assert!(row(&[7], &[1]).is_err());
        assert!(row(&[1, 3], &[4, 5]).is_ok_and(|read| {
            read.since(Role::Auditor) == Some(Revision(5)) && read.since(Role::User).is_none()
        }));
    }

    #[test]
    fn a_token_grants_its_role_from_its_attachment_on_until_it_is_revoked() {
        let attached = |since| Attachments::first(Role::User, Revision(since));
        assert!(token().grants(&attached(5), &state(4)));
        assert!(!token().grants(&attached(6), &state(4)));
        assert!(!token().grants(&attached(5), &state(5)));
        assert!(!token().grants(&Attachments::first(Role::Auditor, Revision(1)), &state(0)));
        let other = RoleState { role: Role::Auditor, ..state(0) };
        assert!(!token().grants(&attached(1), &other));
    }

    #[test]
    fn the_last_millisecond_of_a_token_still_counts() {
        assert!(!token().expired(UnixMillis(10)));
        assert!(token().expired(UnixMillis(11)));
        assert!(!Token { expires: None, ..token() }.expired(UnixMillis::MAX));
    }
}
