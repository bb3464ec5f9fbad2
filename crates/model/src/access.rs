//! Who the caller is and what it may do: the one place where both are decided.
//!
//! Authentication reads four rows (token, principal, its roles, the state of
//! the token's role); they are in the read set of everything that the caller
//! does, so that an attempt in flight is superseded by any change of them.

use strongroom_audit::Operation;
use strongroom_base::{PrincipalId, TokenId, UnixMillis};

use crate::{
    decision::{Basis, Decided, Reading, Viewed},
    errors::Refusal,
    events::EventDraft,
    keys::KeyReference,
    read::{Found, ReadError, ReadSet},
    role::Role,
    rows::{Attachments, Principal, RoleState, Token},
    tables::RowId,
};

/// A caller whose token is known and allows its role, as of the rows read.
#[derive(Clone)]
pub struct Authenticated {
    /// Its token's row.
    pub token_row: RowId,
    /// Its token's public id.
    pub token: TokenId,
    /// Role of the token.
    pub role: Role,
    /// Last millisecond of cluster time at which the token is valid.
    pub expires: Option<UnixMillis>,
    /// The principal.
    pub principal: Found<Principal>,
    /// What all this rests on.
    pub(crate) reads: ReadSet,
}

impl Authenticated {
    /// The principal's id.
    #[must_use]
    pub fn principal_id(&self) -> PrincipalId {
        self.principal.id
    }

    /// Everything that the authentication read.
    #[must_use]
    pub fn reads(&self) -> &ReadSet {
        &self.reads
    }
}

/// Why a token authenticates nobody: for counters and traces of the node. The
/// caller is told [`Refusal::Unauthenticated`] whatever the cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// No such token: never issued, revoked, or not applied here yet.
    #[error("no such token")]
    Unknown,
    /// Past its end.
    #[error("the token has expired")]
    Expired,
    /// Its role was taken from the principal since it was issued.
    #[error("the role is not attached to the principal")]
    Detached,
    /// All tokens of its role were revoked since it was issued.
    #[error("the tokens of the role were revoked")]
    RevokedByRole,
}

impl From<Rejection> for Refusal {
    fn from(_: Rejection) -> Self {
        Self::Unauthenticated
    }
}

/// Finds out who presents a token, by the token's row id.
///
/// A rejection rests on this node's applied state, which may lag: it is
/// answered only after a `ReadIndex` and another look.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn authenticate(
    basis: &Basis<'_>,
    token_row: RowId,
) -> Result<Result<Authenticated, Rejection>, ReadError> {
    let mut reads = ReadSet::default();
    let Some(token) = reads.find::<Token>(basis.rows, token_row)? else {
        return Ok(Err(Rejection::Unknown));
    };
    if token.expired(basis.cluster_time) {
        return Ok(Err(Rejection::Expired));
    }
    let principal = RowId::principal(token.principal);
    let attachments = must_find::<Attachments>(&mut reads, basis, principal)?;
    let state = must_find::<RoleState>(&mut reads, basis, RowId::role(token.role))?;
    if !token.grants(&attachments, &state) {
        let revoked = token.issued <= state.tokens_revoked_through;
        return Ok(Err(if revoked { Rejection::RevokedByRole } else { Rejection::Detached }));
    }
    let principal = must_find::<Principal>(&mut reads, basis, principal)?;
    Ok(Ok(Authenticated {
        token_row,
        token: token.id,
        role: token.role,
        expires: token.expires,
        principal,
        reads,
    }))
}

fn must_find<T: crate::rows::Row>(
    reads: &mut ReadSet,
    basis: &Basis<'_>,
    id: RowId,
) -> Result<Found<T>, ReadError> {
    reads.find(basis.rows, id)?.ok_or_else(|| ReadError::dangling(T::TABLE))
}

/// The roles that allow an operation. What no role allows is not asked for
/// with a bearer token.
#[must_use]
pub const fn allowed_roles(operation: Operation) -> &'static [Role] {
    use Operation as Op;
    match operation {
        Op::CreateKey
        | Op::EnableKey
        | Op::DisableKey
        | Op::CreateToken
        | Op::ListTokens
        | Op::RevokeToken
        | Op::AttachRole
        | Op::DetachRole
        | Op::RotateBarrier
        | Op::DropBarrierEpoch
        | Op::TransferLeader
        | Op::TakeSnapshot
        | Op::Seal
        | Op::ResetUnseal => &[Role::Administrator],
        Op::GenerateDataKey
        | Op::GenerateDataKeyWithoutPlaintext
        | Op::GenerateDataKeys
        | Op::Encrypt
        | Op::Decrypt
        | Op::DecryptBatch
        | Op::ReEncrypt
        | Op::GenerateRandom => &[Role::User],
        Op::ListEvents | Op::TailEvents | Op::ListEpochs => &[Role::Administrator, Role::Auditor],
        Op::DescribeKey | Op::ListKeys | Op::ListMembers | Op::WhoAmI => &Role::ALL,
        _ => &[],
    }
}

/// Whether the caller's role allows an operation.
///
/// # Errors
///
/// [`Refusal::AccessDenied`].
pub fn authorise(caller: &Authenticated, operation: Operation) -> Result<(), Refusal> {
    if allowed_roles(operation).contains(&caller.role) {
        Ok(())
    } else {
        Err(Refusal::AccessDenied { role: caller.role, operation })
    }
}

/// The decision that records a denied look at the state (a use or a change
/// records its own denial). `None` where the operation is allowed.
pub fn deny(
    basis: &Basis<'_>,
    caller: &Authenticated,
    operation: Operation,
    key: Option<&KeyReference>,
) -> Option<Decided<()>> {
    let refusal = authorise(caller, operation).err()?;
    let event =
        EventDraft::by(caller, operation).key(key.and_then(|key| key.within(basis.cluster)));
    Some(Reading::by(basis, caller).refuse(event, refusal))
}

/// A look at the state by a caller whose role must allow it.
pub(crate) fn view<R>(
    caller: &Authenticated,
    operation: Operation,
    look: impl FnOnce() -> Viewed<R>,
) -> Viewed<R> {
    match authorise(caller, operation) {
        Ok(()) => look(),
        Err(refusal) => Ok(Err(refusal)),
    }
}
