//! Principals: their names, and the roles they are given and lose.

use strongroom_audit::Operation;
use strongroom_base::{PrincipalId, limits};

use crate::{
    access::{Authenticated, authorise},
    decision::{Basis, Decided, Reading, Writing},
    errors::{LockOut, Problem, Refusal},
    events::EventDraft,
    facts,
    read::{Found, ReadError},
    role::Role,
    rows::{Attachments, Principal, PrincipalByName},
    tables::{RowId, RowTable},
};

/// Name of a principal: 1 to 64 of `A-Z a-z 0-9 + = , . @ _ -` (AWS IAM, user
/// names), and no UUID, because UUIDs name principals too. No `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct PrincipalName(String);

impl PrincipalName {
    /// Checks length and characters of the request's `field`.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidArgument`].
    pub fn new(field: &'static str, name: &str) -> Result<Self, Refusal> {
        const FORM: &str = "of A-Z a-z 0-9 + = , . @ _ - only";
        let max = limits::PRINCIPAL_NAME_BYTES_MAX;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
        let problem = if name.is_empty() {
            Problem::Missing
        } else if name.len() > max {
            Problem::TooLong { max, unit: "bytes" }
        } else if !name.bytes().all(fits) {
            Problem::Malformed(FORM)
        } else if name.parse::<PrincipalId>().is_ok() {
            Problem::Malformed("a name, not a UUID")
        } else {
            return Ok(Self(name.to_owned()));
        };
        Err(Refusal::invalid(field, problem))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a request names a principal.
#[derive(Clone, PartialEq, Eq)]
pub enum PrincipalReference {
    /// By its UUID.
    Id(PrincipalId),
    /// By its name.
    Name(PrincipalName),
}

impl PrincipalReference {
    /// Reads the request's `field`.
    ///
    /// # Errors
    ///
    /// [`Refusal::InvalidArgument`].
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Refusal> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) => PrincipalName::new(field, text).map(Self::Name),
        }
    }
}

/// Row id of a name.
pub(crate) fn name_row(basis: &Basis<'_>, name: &PrincipalName) -> RowId {
    basis.index.name(RowTable::PrincipalNames, name.0.as_bytes())
}

/// The principal of a name; `None` where the name is free.
pub(crate) fn by_name(
    reading: &mut Reading<'_>,
    name: &PrincipalName,
) -> Result<Option<Found<Principal>>, ReadError> {
    match reading.find::<PrincipalByName>(name_row(reading.basis, name))? {
        Some(found) => reading.must_find(RowId::principal(found.0)).map(Some),
        None => Ok(None),
    }
}

/// The principal that a look at the audit log or a list asks for; `None` where
/// there is none.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn resolve_principal(
    basis: &Basis<'_>,
    reference: &PrincipalReference,
) -> Result<Option<PrincipalId>, ReadError> {
    match reference {
        // An id needs no row: events outlive what they name.
        PrincipalReference::Id(id) => Ok(Some(*id)),
        PrincipalReference::Name(name) => {
            let found = by_name(&mut Reading::by_itself(basis), name)?;
            Ok(found.map(|principal| principal.id))
        }
    }
}

/// Writes a new principal with its first role. The three rows must be read.
pub(crate) fn put_principal(
    writing: &mut Writing,
    basis: &Basis<'_>,
    id: PrincipalId,
    name: &PrincipalName,
    role: Role,
) {
    let since = writing.revision();
    let row = RowId::principal(id);
    writing.put(name_row(basis, name), PrincipalByName(id));
    writing.put(row, Attachments::first(role, since));
    writing.put(
        row,
        Principal {
            id,
            account: basis.cluster.account.clone(),
            name: name.0.clone(),
            created: basis.node_time,
        },
    );
}

/// Gives a principal a role. Giving it again changes nothing.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn attach_role(
    basis: &Basis<'_>,
    caller: &Authenticated,
    principal: &PrincipalReference,
    role: Role,
) -> Result<Decided<()>, ReadError> {
    change_role(basis, caller, Operation::AttachRole, principal, role)
}

/// Takes a role from a principal, and all power from the tokens issued for it,
/// for ever. Taking it again changes nothing.
///
/// # Errors
///
/// [`ReadError`] where a row can't be read.
pub fn detach_role(
    basis: &Basis<'_>,
    caller: &Authenticated,
    principal: &PrincipalReference,
    role: Role,
) -> Result<Decided<()>, ReadError> {
    change_role(basis, caller, Operation::DetachRole, principal, role)
}

fn change_role(
    basis: &Basis<'_>,
    caller: &Authenticated,
    operation: Operation,
    principal: &PrincipalReference,
    role: Role,
) -> Result<Decided<()>, ReadError> {
    let event = EventDraft::by(caller, operation).fact(facts::role(role));
    let mut reading = Reading::by(basis, caller);
    if let Err(refusal) = authorise(caller, operation) {
        return Ok(reading.refuse(event, refusal));
    }
    let found = match principal {
        PrincipalReference::Id(id) => reading.find::<Principal>(RowId::principal(*id))?,
        PrincipalReference::Name(name) => by_name(&mut reading, name)?,
    };
    let Some(principal) = found else {
        return Ok(reading.refuse(event, Refusal::PrincipalNotFound));
    };
    let event = event.fact(facts::principal(principal.id));
    let row = RowId::principal(principal.id);
    let attachments = reading.must_find::<Attachments>(row)?;
    let attach = operation == Operation::AttachRole;
    if attachments.since(role).is_some() == attach {
        return Ok(reading.allow(event, ()));
    }
    if !attach && let Some(lock_out) = locks_out(caller, principal.id, role) {
        return Ok(reading.refuse(event, Refusal::LastAdministrator(lock_out)));
    }
    let mut writing = reading.settle();
    let changed =
        if attach { attachments.with(role, writing.revision()) } else { attachments.without(role) };
    writing.put(row, changed);
    Ok(writing.allow(event, ()))
}

/// Whether taking the role away may leave nobody to administer the cluster.
fn locks_out(caller: &Authenticated, principal: PrincipalId, role: Role) -> Option<LockOut> {
    if role != Role::Administrator {
        None
    } else if principal == caller.principal_id() {
        Some(LockOut::OwnRights)
    } else {
        caller.expires.map(|_| LockOut::ExpiringCaller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_outside_their_form_are_refused_by_field() {
        for name in [
            "",
            "two words",
            "naïve",
            "a/b",
            "00000000-0000-4000-8000-000000000000",
            &"x".repeat(limits::PRINCIPAL_NAME_BYTES_MAX + 1),
        ] {
            let refusal = PrincipalName::new("principal_name", name).map(|_| ()).unwrap_err();
            let Refusal::InvalidArgument { field, .. } = refusal else { panic!("{refusal}") };
            assert_eq!(field, "principal_name");
        }
        for name in ["a", "Ops+1=x,y.z@h_i-j", &"x".repeat(64)] {
            assert!(PrincipalName::new("principal_name", name).is_ok(), "{name}");
        }
    }

    #[test]
    fn a_uuid_names_a_principal_by_its_id() {
        let id = PrincipalId::from_bytes([7; 16]);
        let by_id = PrincipalReference::parse("principal", &id.to_string());
        assert!(by_id.is_ok_and(|reference| reference == PrincipalReference::Id(id)));
        let by_name = PrincipalReference::parse("principal", "app");
        assert!(by_name.is_ok_and(|reference| matches!(reference, PrincipalReference::Name(_))));
    }
}
