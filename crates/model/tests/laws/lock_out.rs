//! Whatever administrators do to one another, one that lasts remains.

use proptest::prelude::*;
use strongroom_base::LogIndex;
use strongroom_crypto::TokenSecret;
use strongroom_model::{
    CreateToken, LockOut, PrincipalReference, Refusal, RevokeToken, Role, attach_role,
    create_token, detach_role, revoke_token,
};
use strongroom_state::Verdict;

use crate::world::{View, World};

fn name(name: &str) -> PrincipalReference {
    PrincipalReference::parse("principal", name).unwrap()
}

#[test]
fn nobody_takes_away_what_the_call_rests_on() {
    let (mut world, root) = World::new();
    world.token(&root, "second", Role::Administrator, 0);
    let by = world.now.login(&root);
    let own = Refusal::LastAdministrator(LockOut::OwnRights);
    let revoke = revoke_token(&world.now.basis(), &by, RevokeToken::One(by.token));
    assert_eq!(world.commit(revoke), Err(own.clone()));
    let detach = detach_role(&world.now.basis(), &by, &name("root"), Role::Administrator);
    assert_eq!(world.commit(detach), Err(own));
    let by_other = world.token(&root, "third", Role::Administrator, 0);
    let by_other = world.now.login(&by_other);
    let detach = detach_role(&world.now.basis(), &by_other, &name("root"), Role::Administrator);
    assert_eq!(world.commit(detach), Ok(()));
    assert!(world.now.try_login(&root).is_err());
}

#[test]
fn an_expiring_administrator_takes_no_lasting_right_away() {
    let (mut world, root) = World::new();
    let brief = world.token(&root, "brief", Role::Administrator, 3_600);
    let other_brief = world.token(&root, "brief", Role::Administrator, 3_600);
    let lasting = world.now.login(&root).token;
    let by = world.now.login(&brief);
    let expiring = Refusal::LastAdministrator(LockOut::ExpiringCaller);
    let basis = world.now.basis();
    for refused in [
        revoke_token(&basis, &by, RevokeToken::One(lasting)),
        revoke_token(&basis, &by, RevokeToken::Role(Role::Administrator)),
        detach_role(&basis, &by, &name("root"), Role::Administrator),
    ] {
        assert_eq!(refused.unwrap().result, Err(expiring.clone()));
    }
    let other = world.now.login(&other_brief).token;
    let allowed = revoke_token(&world.now.basis(), &by, RevokeToken::One(other));
    assert_eq!(world.commit(allowed), Ok(()));
    let allowed = revoke_token(&world.now.basis(), &by, RevokeToken::Role(Role::User));
    assert_eq!(world.commit(allowed), Ok(()));
}

#[test]
fn two_administrators_who_strike_at_once_never_both_succeed() {
    let (mut world, root) = World::new();
    let second = world.token(&root, "second", Role::Administrator, 0);
    let (one, two) = (world.now.login(&root), world.now.login(&second));
    let basis = world.now.basis();
    let detach = detach_role(&basis, &one, &name("second"), Role::Administrator).unwrap();
    let revoke = revoke_token(&basis, &two, RevokeToken::One(one.token)).unwrap();
    for order in [[&detach, &revoke], [&revoke, &detach]] {
        let decisions = order.map(|decided| &decided.decision);
        let verdicts = world.clone().propose_all(&decisions);
        assert_eq!(verdicts, [Verdict::Admitted, Verdict::Superseded]);
    }
}

/// One act in the model below: of whom, upon whom, on how stale a view.
#[derive(Clone, Debug)]
struct Act {
    kind: u8,
    by: usize,
    upon: usize,
    role: Role,
    lag: usize,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let role = prop_oneof![3 => Just(Role::Administrator), 1 => Just(Role::User)];
    let act = (0u8..6, 0usize..64, 0usize..64, role, 0usize..3)
        .prop_map(|(kind, by, upon, role, lag)| Act { kind, by, upon, role, lag });
    prop::collection::vec(act, 1..40)
}

struct Issued {
    secret: TokenSecret,
    lasting: bool,
    /// Set once it authenticated nobody after it had authenticated someone.
    dead: bool,
}

const NAMES: [&str; 3] = ["root", "second", "third"];

fn perform(world: &mut World, view: &View, act: &Act, issued: &mut Vec<Issued>) {
    let Ok(by) = view.try_login(&issued[act.by % issued.len()].secret) else { return };
    let target = name(NAMES[act.upon % NAMES.len()]);
    let basis = view.basis();
    let decision = match act.kind {
        0 | 1 => {
            let lasting = act.kind == 0;
            let ttl = if lasting { 0 } else { 86_400 };
            let named = NAMES[act.upon % NAMES.len()];
            let request = CreateToken::new(named, act.role.number(), ttl).unwrap();
            let mut entropy = view.entropy.clone();
            let decided = create_token(&basis, &by, &request, &mut entropy).unwrap();
            let verdict = world.propose(&decided.decision);
            if let (Verdict::Admitted, Ok(created)) = (verdict, decided.result) {
                let dead = false;
                issued.push(Issued { secret: created.token, lasting, dead });
            }
            return;
        }
        2 => attach_role(&basis, &by, &target, act.role).unwrap().decision,
        3 => detach_role(&basis, &by, &target, act.role).unwrap().decision,
        4 => revoke_token(&basis, &by, RevokeToken::Role(act.role)).unwrap().decision,
        _ => {
            let upon = view.try_login(&issued[act.upon % issued.len()].secret);
            let Ok(upon) = upon else { return };
            revoke_token(&basis, &by, RevokeToken::One(upon.token)).unwrap().decision
        }
    };
    world.propose(&decision);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Any acts of any administrators, decided on views that lag: a lasting
    /// administrator remains, and the dead stay dead.
    #[test]
    fn a_lasting_administrator_always_remains(acts in acts()) {
        let (mut world, root) = World::new();
        let mut issued = vec![Issued { secret: root, lasting: true, dead: false }];
        let mut views = vec![world.now.clone()];
        for act in &acts {
            let mut view = views[views.len().saturating_sub(1 + act.lag)].clone();
            view.applied = LogIndex(view.applied.0.saturating_sub(act.lag as u64));
            perform(&mut world, &view, act, &mut issued);
            views.push(world.now.clone());
            let mut lasting = 0;
            for token in &mut issued {
                let login = world.now.try_login(&token.secret);
                prop_assert!(!(token.dead && login.is_ok()), "a dead token came back");
                token.dead = login.is_err();
                let administers = login.is_ok_and(|by| by.role == Role::Administrator);
                lasting += u32::from(administers && token.lasting);
            }
            prop_assert!(lasting > 0, "nobody can administer any more");
        }
    }
}
