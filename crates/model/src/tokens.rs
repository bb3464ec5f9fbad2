//! Bearer tokens: issue, look at, revoke.
//!
//! A token is 256 random bits, shown once and found by its HMAC. It dies by
//! its end, by its own revocation, with all tokens of its role, or with its
//! principal's role; none of that is ever undone.
//!
//! **No lock-out.** Some administrator's token that never expires stays valid:
//! no call takes away the rights that it rests on itself, and a call under an
//! expiring token takes no right from a token that may be the last to stay.

use strongroom_audit::Operation;
use strongroom_base::{PrincipalId, Revision, TokenId, UnixMillis, limits};
use strongroom_crypto::{Entropy, TokenSecret};

use crate::{
    access::{Authenticated, authorise, view},
    decision::{Basis, Decided, Reading, Viewed, Writing},
    errors::{LockOut, Problem, Refusal},
    events::EventDraft,
    facts,
    fresh::fresh_id,
    principals::{PrincipalName, by_name, put_principal},
    read::{Found, ReadError, ReadSet},
    role::Role,
    rows::{Attachments, Principal, RoleState, RoleTokens, Token, TokenById},
    tables::{RowId, RowTable},
};

/// Asks for a token.
#[derive(Clone)]
pub struct CreateToken {
    name: PrincipalName,
    role: Role,
    ttl_seconds: u64,
}

impl CreateToken {
    /// Checks the request; `ttl_seconds` 0: the token never expires.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidArgument`] naming field and bound.
    pub fn new(name: &str, role: u32, ttl_seconds: u64) -> Result<Self, Refusal> {
        let max = limits::TOKEN_TTL_SECONDS_MAX;
        if ttl_seconds > max {
            let problem = Problem::OutOfRange { min: 0, max };
            return Err(Refusal::invalid("ttl_seconds", problem));
        }
        let name = PrincipalName::new("principal_name", name)?;
        Ok(Self { name, role: role_field(role)?, ttl_seconds })
    }
}

/// The role in a request.
///
/// # Errors
///
/// [`Refusal::InvalidArgument`] for none and for unknown numbers.
pub fn role_field(number: u32) -> Result<Role, Refusal> {
    let problem = if number == 0 { Problem::Missing } else { Problem::UnknownValue };
    Role::from_number(number).ok_or(Refusal::invalid("role", problem))
}

/// A token just issued.
pub struct CreatedToken {
    /// The token: shown once, kept nowhere.
    pub token: TokenSecret,
    /// What is known of it.
    pub view: TokenView,
}

/// What is known of a token. No `Debug`: names reach no trace.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenView {
    /// UUID by which people name it.
    pub id: TokenId,
    /// Its principal.
    pub principal: PrincipalId,
    /// The principal's name.
    pub principal_name: String,
    /// Role that it is for.
    pub role: Role,
    /// Creation, by the deciding node's clock.
    pub created: UnixMillis,
    /// Last millisecond of cluster time at which it is valid; `None`: no end.
    pub expires: Option<UnixMillis>,
    /// Whether it allows anything.
    pub valid: bool,
}

impl TokenView {
    fn new(token: &Token, principal_name: &str, valid: bool) -> Self {
        Self {
            id: token.id,
            principal: token.principal,
            principal_name: principal_name.to_owned(),
            role: token.role,
            created: token.created,
            expires: token.expires,
            valid,
        }
    }
}

/// For whom a token is issued.
enum Holder {
    /// A principal that exists.
    Known(Found<Principal>, Found<Attachments>),
    /// One that is made with the token.
    New(PrincipalId),
}

impl Holder {
    fn id(&self) -> PrincipalId {
        match self {
            Self::Known(principal, _) => principal.id,
            Self::New(id) => *id,
        }
    }

    /// Looks a principal up by its name; a name not taken makes a new one.
    fn find(
        reading: &mut Reading<'_>,
        name: &PrincipalName,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, ReadError> {
        if let Some(principal) = by_name(reading, name)? {
            let attachments = reading.must_find(RowId::principal(principal.id))?;
            return Ok(Self::Known(principal, attachments));
        }
        let id = PrincipalId::from_random(fresh_id(entropy));
        reading.expect_absent(RowTable::Principals, RowId::principal(id));
        reading.expect_absent(RowTable::PrincipalRoles, RowId::principal(id));
        Ok(Self::New(id))
    }
}

/// Issues a token, and makes its principal where the name is new.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn create_token(
    basis: &Basis<'_>,
    caller: &Authenticated,
    request: &CreateToken,
    mut entropy: &mut dyn Entropy,
) -> Result<Decided<CreatedToken>, ReadError> {
    let event = EventDraft::by(caller, Operation::CreateToken).fact(facts::role(request.role));
    let mut reading = Reading::by(basis, caller);
    if let Err(refusal) = authorise(caller, Operation::CreateToken) {
        return Ok(reading.refuse(event, refusal));
    }
    let holder = Holder::find(&mut reading, &request.name, entropy)?;
    if let Holder::Known(principal, attachments) = &holder
        && attachments.since(request.role).is_none()
    {
        let event = event.fact(facts::principal(principal.id));
        return Ok(reading.refuse(event, Refusal::RoleNotAttached { role: request.role }));
    }
    let secret = TokenSecret::generate(&mut entropy);
    let row_id = basis.index.token(&secret);
    let id = TokenId::from_random(fresh_id(entropy));
    reading.expect_absent(RowTable::Tokens, row_id);
    reading.expect_absent(RowTable::TokenIds, RowId::token_id(id));
    let set = reading.find::<RoleTokens>(RowId::role(request.role))?;

    let mut writing = reading.settle();
    let token = Token {
        id,
        principal: holder.id(),
        role: request.role,
        created: basis.node_time,
        expires: expiry(basis, request.ttl_seconds),
        created_by: Some(caller.principal_id()),
        issued: writing.revision(),
    };
    match &holder {
        Holder::Known(principal, attachments) => {
            writing.put(RowId::principal(principal.id), attachments.touched());
        }
        Holder::New(id) => put_principal(&mut writing, basis, *id, &request.name, request.role),
    }
    writing.put(RowId::role(request.role), set.map_or(RoleTokens::default(), |set| *set).touched());
    let view = TokenView::new(&token, request.name.as_str(), true);
    put_token(&mut writing, row_id, token);
    let event = event.fact(facts::token(id)).fact(facts::principal(view.principal));
    Ok(writing.allow(event, CreatedToken { token: secret, view }))
}

/// Writes a token's row and the row that finds it by its id.
pub(crate) fn put_token(writing: &mut Writing, row_id: RowId, token: Token) {
    writing.put(RowId::token_id(token.id), TokenById(row_id));
    writing.put(row_id, token);
}

/// End of a token that lives `ttl_seconds` from now on, by cluster time; none
/// for 0. A node whose clock is ahead lengthens no token's life.
fn expiry(basis: &Basis<'_>, ttl_seconds: u64) -> Option<UnixMillis> {
    (ttl_seconds != 0).then(|| basis.cluster_time.plus_ms(ttl_seconds.saturating_mul(1000)))
}

/// Describes a token by its public id; `None` where there is none (any more).
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn view_token(
    basis: &Basis<'_>,
    caller: &Authenticated,
    id: TokenId,
) -> Viewed<Option<TokenView>> {
    view(caller, Operation::ListTokens, || {
        let mut reads = ReadSet::default();
        let Some(found) = reads.find::<TokenById>(basis.rows, RowId::token_id(id))? else {
            return Ok(Ok(None));
        };
        let Some(token) = reads.find::<Token>(basis.rows, found.0)? else { return Ok(Ok(None)) };
        let principal_row = RowId::principal(token.principal);
        let attachments = reads.find::<Attachments>(basis.rows, principal_row)?;
        let state = reads.find::<RoleState>(basis.rows, RowId::role(token.role))?;
        let valid = match (attachments, state) {
            (Some(attachments), Some(state)) => {
                token.grants(&attachments, &state) && !token.expired(basis.cluster_time)
            }
            _ => false,
        };
        let principal = reads.find::<Principal>(basis.rows, principal_row)?;
        let name = principal.as_deref().map_or("", |principal| principal.name.as_str());
        Ok(Ok(Some(TokenView::new(&token, name, valid))))
    })
}

/// Which tokens to revoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevokeToken {
    /// One, by its public id.
    One(TokenId),
    /// Every token issued so far for the role, but the caller's own.
    Role(Role),
}

/// Revokes tokens: no call invoked after this is admitted succeeds with them.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn revoke_token(
    basis: &Basis<'_>,
    caller: &Authenticated,
    request: RevokeToken,
) -> Result<Decided<()>, ReadError> {
    let event = EventDraft::by(caller, Operation::RevokeToken).fact(match request {
        RevokeToken::One(token) => facts::token(token),
        RevokeToken::Role(role) => facts::role(role),
    });
    let reading = Reading::by(basis, caller);
    if let Err(refusal) = authorise(caller, Operation::RevokeToken) {
        return Ok(reading.refuse(event, refusal));
    }
    match request {
        RevokeToken::One(token) => revoke_one(reading, caller, token, event),
        RevokeToken::Role(role) => revoke_role(reading, caller, role, event),
    }
}

fn revoke_one(
    mut reading: Reading<'_>,
    caller: &Authenticated,
    id: TokenId,
    event: EventDraft,
) -> Result<Decided<()>, ReadError> {
    let id_row = RowId::token_id(id);
    let Some(found) = reading.find::<TokenById>(id_row)? else {
        return Ok(reading.refuse(event, Refusal::TokenNotFound));
    };
    let token = reading.must_find::<Token>(found.0)?;
    if id == caller.token {
        return Ok(reading.refuse(event, Refusal::LastAdministrator(LockOut::OwnRights)));
    }
    let lasting = token.role == Role::Administrator && token.expires.is_none();
    if lasting && caller.expires.is_some() {
        return Ok(reading.refuse(event, Refusal::LastAdministrator(LockOut::ExpiringCaller)));
    }
    let event = event.fact(facts::principal(token.principal));
    let mut writing = reading.settle();
    writing.delete(RowTable::Tokens, found.0);
    writing.delete(RowTable::TokenIds, id_row);
    Ok(writing.allow(event, ()))
}

/// Revokes by one mark in the role's state.
///
/// Every token of the role wrote the role's set of tokens when it was issued,
/// at the revision that the token carries. The set is read here, so the mark,
/// the applied index decided on, is at or above all of them; it is written
/// here, so each later token's revision is above the mark.
fn revoke_role(
    mut reading: Reading<'_>,
    caller: &Authenticated,
    role: Role,
    event: EventDraft,
) -> Result<Decided<()>, ReadError> {
    let own = caller.role == role;
    if own && caller.expires.is_some() {
        return Ok(reading.refuse(event, Refusal::LastAdministrator(LockOut::ExpiringCaller)));
    }
    let role_row = RowId::role(role);
    reading.must_find::<RoleState>(role_row)?;
    let set = reading.find::<RoleTokens>(role_row)?;
    let own = if own {
        let token = reading.must_find::<Token>(caller.token_row)?;
        let attachments = reading.must_find(RowId::principal(caller.principal_id()))?;
        Some((token, attachments))
    } else {
        None
    };
    let mut writing = reading.settle();
    let tokens_revoked_through = Revision(writing.decided_at().0);
    writing.put(role_row, RoleState { role, tokens_revoked_through });
    writing.put(role_row, set.map_or(RoleTokens::default(), |set| *set).touched());
    if let Some((token, attachments)) = own {
        reissue(&mut writing, caller, &token, &attachments);
    }
    Ok(writing.allow(event, ()))
}

/// Issues the caller's own token anew, so that the mark does not meet it.
fn reissue(
    writing: &mut Writing,
    caller: &Authenticated,
    token: &Token,
    attachments: &Attachments,
) {
    let issued = writing.revision();
    writing.put(caller.token_row, Token { issued, ..token.clone() });
    writing.put(RowId::principal(caller.principal_id()), attachments.touched());
}
