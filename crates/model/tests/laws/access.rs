//! Who gets in, and what a role allows.

use strongroom_audit::{Kind, LeafOutcome, Operation, Reason};
use strongroom_base::{BarrierEpoch, KeyId, LogIndex, Revision, UnixMillis};
use strongroom_model::{
    CreateToken, PrincipalReference, Refusal, Rejection, RevokeToken, Role, RowId, RowTable,
    allowed_roles, attach_role, authorise, create_token, deny, detach_role, revoke_token,
    rewrite_rows, view_token,
};
use strongroom_state::Verdict;

use crate::world::{World, operations};

fn name(name: &str) -> PrincipalReference {
    PrincipalReference::parse("principal", name).unwrap()
}

/// The table of roles, spelled out once more.
fn expected(operation: Operation) -> &'static str {
    match operation.name() {
        "GenerateDataKey"
        | "GenerateDataKeyWithoutPlaintext"
        | "GenerateDataKeys"
        | "Encrypt"
        | "Decrypt"
        | "DecryptBatch"
        | "ReEncrypt"
        | "GenerateRandom" => "u",
        "DescribeKey" | "ListKeys" | "ListMembers" | "WhoAmI" => "Aua",
        "ListEvents" | "TailEvents" | "ListEpochs" => "Aa",
        "Init" | "SubmitShare" | "Unseal" => "",
        _ => "A",
    }
}

#[test]
fn each_role_allows_its_operations_and_no_other() {
    let (mut world, root) = World::new();
    let user = world.token(&root, "app", Role::User, 0);
    let auditor = world.token(&root, "auditor", Role::Auditor, 0);
    for operation in operations() {
        let letters = expected(operation);
        for (token, letter) in [(&root, 'A'), (&user, 'u'), (&auditor, 'a')] {
            let caller = world.now.login(token);
            let allowed = letters.contains(letter);
            assert_eq!(authorise(&caller, operation).is_ok(), allowed, "{letter} {operation}");
            let roles = allowed_roles(operation);
            assert_eq!(roles.contains(&caller.role), allowed, "{letter} {operation}");
            let denial = deny(&world.now.basis(), &caller, operation, None);
            assert_eq!(denial.is_none(), allowed);
        }
    }
}

#[test]
fn a_denial_is_recorded_with_who_and_what() {
    let (mut world, root) = World::new();
    let user = world.token(&root, "app", Role::User, 0);
    let caller = world.now.login(&user);
    let request = CreateToken::new("me", Role::Administrator.number(), 0).unwrap();
    let mut entropy = world.now.entropy.clone();
    let decided = create_token(&world.now.basis(), &caller, &request, &mut entropy);
    let refusal = world.commit(decided).map(|_| ()).unwrap_err();
    let operation = Operation::CreateToken;
    assert_eq!(refusal, Refusal::AccessDenied { role: Role::User, operation });
    let event = world.newest_event();
    assert_eq!((event.kind, event.operation), (Kind::Denial, operation));
    assert_eq!(event.outcome, LeafOutcome::Refused(Reason::AccessDenied));
    assert_eq!(event.principal, Some(caller.principal_id()));
    assert_eq!(event.private.unwrap().principal_name, "app");
}

#[test]
fn an_unknown_token_is_nobody() {
    let (world, _) = World::new();
    let mut entropy = world.now.entropy.clone();
    let stranger = strongroom_crypto::TokenSecret::generate(&mut entropy);
    assert_eq!(world.now.try_login(&stranger).err(), Some(Rejection::Unknown));
}

#[test]
fn a_token_ends_after_its_last_millisecond_and_what_it_began_with_it() {
    let (mut world, root) = World::new();
    let token = world.token(&root, "app", Role::Auditor, 2);
    let caller = world.now.login(&token);
    let end = caller.expires.unwrap();
    assert_eq!(end, UnixMillis(world.stamp - 1 + 2_000));
    let denied = deny(&world.now.basis(), &caller, Operation::CreateKey, None).unwrap();
    assert_eq!(denied.decision.not_after, Some(end));

    world.stamp = end.0 - 1;
    assert_eq!(world.propose(&denied.decision), Verdict::Admitted);
    assert!(world.now.try_login(&token).is_ok());
    assert_eq!(world.propose(&denied.decision), Verdict::TooLate);
    assert_eq!(world.now.try_login(&token).err(), Some(Rejection::Expired));
}

#[test]
fn a_revoked_token_is_nobody_and_its_attempt_in_flight_is_superseded() {
    let (mut world, root) = World::new();
    let token = world.token(&root, "app", Role::Auditor, 0);
    let caller = world.now.login(&token);
    let in_flight = deny(&world.now.basis(), &caller, Operation::CreateKey, None).unwrap();

    let by = world.now.login(&root);
    let revoked = revoke_token(&world.now.basis(), &by, RevokeToken::One(caller.token));
    world.commit(revoked).unwrap();
    assert_eq!(world.propose(&in_flight.decision), Verdict::Superseded);
    assert_eq!(world.now.try_login(&token).err(), Some(Rejection::Unknown));
    let again = revoke_token(&world.now.basis(), &by, RevokeToken::One(caller.token));
    assert_eq!(world.commit(again), Err(Refusal::TokenNotFound));
    assert_eq!(
        view_token(&world.now.basis(), &by, caller.token).unwrap().unwrap().map(|_| ()),
        None
    );
}

#[test]
fn revoking_a_roles_tokens_kills_those_issued_so_far_and_no_later_one() {
    let (mut world, root) = World::new();
    let one = world.token(&root, "app", Role::User, 0);
    let two = world.token(&root, "other", Role::User, 0);
    let auditor = world.token(&root, "auditor", Role::Auditor, 0);
    let by = world.now.login(&root);
    let revoked = revoke_token(&world.now.basis(), &by, RevokeToken::Role(Role::User));
    world.commit(revoked).unwrap();
    for dead in [&one, &two] {
        assert_eq!(world.now.try_login(dead).err(), Some(Rejection::RevokedByRole));
    }
    assert!(world.now.try_login(&auditor).is_ok());
    let later = world.token(&root, "app", Role::User, 0);
    assert!(world.now.try_login(&later).is_ok());
}

#[test]
fn a_revocation_by_role_decided_without_a_new_token_is_superseded() {
    let (mut world, root) = World::new();
    let lagging = world.now.clone();
    let token = world.token(&root, "app", Role::User, 0);

    let by = lagging.login(&root);
    let stale = revoke_token(&lagging.basis(), &by, RevokeToken::Role(Role::User)).unwrap();
    assert_eq!(world.propose(&stale.decision), Verdict::Superseded);
    assert!(world.now.try_login(&token).is_ok());

    // On the same rows but with an applied index that lags, it kills the token.
    let mut behind = world.now.clone();
    behind.applied = LogIndex(1);
    let by = behind.login(&root);
    let revoked = revoke_token(&behind.basis(), &by, RevokeToken::Role(Role::User));
    world.commit(revoked).unwrap();
    assert_eq!(world.now.try_login(&token).err(), Some(Rejection::RevokedByRole));
}

#[test]
fn revoking_the_administrators_tokens_spares_the_one_that_does_it() {
    let (mut world, root) = World::new();
    let second = world.token(&root, "second", Role::Administrator, 0);
    let by = world.now.login(&second);
    let revoked = revoke_token(&world.now.basis(), &by, RevokeToken::Role(Role::Administrator));
    world.commit(revoked).unwrap();
    assert_eq!(world.now.try_login(&root).err(), Some(Rejection::RevokedByRole));
    let spared = world.now.login(&second);
    let view = view_token(&world.now.basis(), &spared, spared.token).unwrap().unwrap().unwrap();
    assert!(view.valid);
}

#[test]
fn a_role_that_comes_back_revives_no_token() {
    let (mut world, root) = World::new();
    let token = world.token(&root, "app", Role::User, 0);
    let by = world.now.login(&root);
    let detached = detach_role(&world.now.basis(), &by, &name("app"), Role::User);
    world.commit(detached).unwrap();
    assert_eq!(world.now.try_login(&token).err(), Some(Rejection::Detached));
    let request = CreateToken::new("app", Role::User.number(), 0).unwrap();
    let mut entropy = world.now.entropy.clone();
    let refused = create_token(&world.now.basis(), &by, &request, &mut entropy);
    let refusal = world.commit(refused).map(|_| ()).unwrap_err();
    assert_eq!(refusal, Refusal::RoleNotAttached { role: Role::User });

    // Attached again by a node whose applied index lags far behind.
    let mut behind = world.now.clone();
    behind.applied = LogIndex(1);
    let by = behind.login(&root);
    let attached = attach_role(&behind.basis(), &by, &name("app"), Role::User);
    world.commit(attached).unwrap();
    assert_eq!(world.now.try_login(&token).err(), Some(Rejection::Detached));
    let fresh = world.token(&root, "app", Role::User, 0);
    assert!(world.now.try_login(&fresh).is_ok());
}

#[test]
fn no_applied_index_however_low_revives_a_later_token() {
    let (mut world, root) = World::new();
    world.token(&root, "app", Role::User, 0);
    for _ in 0..8 {
        world.key(&root);
    }
    let later = world.token(&root, "app", Role::User, 0);
    // Both decided on present rows by a node that took its applied index long ago.
    for change in [detach_role, attach_role] {
        let mut behind = world.now.clone();
        behind.applied = LogIndex(1);
        let by = behind.login(&root);
        let changed = change(&behind.basis(), &by, &name("app"), Role::User);
        world.commit(changed).unwrap();
    }
    assert_eq!(world.now.try_login(&later).err(), Some(Rejection::Detached));
}

#[test]
fn a_role_given_or_taken_supersedes_what_was_decided_without_it() {
    let (mut world, root) = World::new();
    let token = world.token(&root, "app", Role::User, 0);
    let caller = world.now.login(&token);
    let in_flight = deny(&world.now.basis(), &caller, Operation::CreateKey, None).unwrap();
    let by = world.now.login(&root);
    let attached = attach_role(&world.now.basis(), &by, &name("app"), Role::Auditor);
    world.commit(attached).unwrap();
    assert_eq!(world.propose(&in_flight.decision), Verdict::Superseded);
    assert!(world.now.try_login(&token).is_ok());
}

#[test]
fn giving_twice_and_taking_what_is_not_there_change_nothing() {
    let (mut world, root) = World::new();
    world.token(&root, "app", Role::User, 0);
    let by = world.now.login(&root);
    let before = world.now.all_rows().len();
    let basis = world.now.basis();
    let attach = attach_role(&basis, &by, &name("app"), Role::User).unwrap();
    let detach = detach_role(&basis, &by, &name("app"), Role::Auditor).unwrap();
    for decided in [attach, detach] {
        assert!(decided.decision.writes.is_empty());
        assert_eq!(world.propose(&decided.decision), Verdict::Admitted);
    }
    assert_eq!(world.now.all_rows().len(), before);
    let nobody = attach_role(&world.now.basis(), &by, &name("nobody"), Role::User);
    assert_eq!(world.commit(nobody), Err(Refusal::PrincipalNotFound));
}

#[test]
fn two_principals_of_one_name_are_never_made() {
    let (mut world, root) = World::new();
    let by = world.now.login(&root);
    let request = CreateToken::new("twin", Role::User.number(), 0).unwrap();
    let mut entropy = world.now.entropy.clone();
    let basis = world.now.basis();
    let one = create_token(&basis, &by, &request, &mut entropy).unwrap();
    let two = create_token(&basis, &by, &request, &mut entropy).unwrap();
    let verdicts = world.propose_all(&[&one.decision, &two.decision]);
    assert_eq!(verdicts, [Verdict::Admitted, Verdict::Superseded]);
}

#[test]
fn what_is_written_is_newer_than_all_that_was_read() {
    let (mut world, root) = World::new();
    world.token(&root, "app", Role::User, 0);
    let mut behind = world.now.clone();
    behind.applied = LogIndex(0);
    let by = behind.login(&root);
    let decided = revoke_token(&behind.basis(), &by, RevokeToken::Role(Role::User)).unwrap();
    assert!(decided.decision.revision() > decided.decision.reads.newest());
    assert!(decided.decision.revision() > Revision(1));
}

#[test]
fn rewriting_rows_changes_nothing_that_they_say_and_revives_nothing() {
    let (mut world, root) = World::new();
    let dead = world.token(&root, "app", Role::User, 0);
    let by = world.now.login(&root);
    let revoked = revoke_token(&world.now.basis(), &by, RevokeToken::Role(Role::User));
    world.commit(revoked).unwrap();
    let alive = world.token(&root, "app", Role::User, 0);
    world.key(&root);

    let before = world.now.all_rows();
    let in_flight = deny(&world.now.basis(), &world.now.login(&alive), Operation::CreateKey, None);
    for row in &before {
        let rows = [(row.table, row.id), (row.table, row.id)];
        let epoch = BarrierEpoch(2);
        let decision = rewrite_rows(&world.now.basis(), &rows, epoch).unwrap().unwrap();
        assert_eq!(decision.writes.len(), 1);
        assert_eq!(world.propose(&decision), Verdict::Admitted);
    }
    let after = world.now.all_rows();
    assert_eq!(before.len(), after.len());
    for (old, new) in before.iter().zip(&after) {
        assert!((old.table, old.id) == (new.table, new.id));
        assert!(old.version.revision < new.version.revision);
    }
    assert_eq!(world.now.try_login(&dead).err(), Some(Rejection::RevokedByRole));
    assert!(world.now.try_login(&alive).is_ok());
    assert_eq!(world.propose(&in_flight.unwrap().decision), Verdict::Superseded);
    let gone = [(RowTable::Keys, RowId::key(KeyId::from_bytes([9; 16])))];
    assert!(rewrite_rows(&world.now.basis(), &gone, BarrierEpoch(2)).unwrap().is_none());
}
