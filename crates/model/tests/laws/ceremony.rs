//! `init`, its repetition, and the first unseal.

use strongroom_audit::{Kind, LeafOutcome, Operation, Reason};
use strongroom_base::SealEpoch;
use strongroom_format::store::PlainName;
use strongroom_model::{
    Cluster, InitTokenDigest, Refusal, Role, RowTable, SealConfig, UnsealMark, admit_init,
    complete_unseal, facts, record_step,
};
use strongroom_state::{Verdict, plain};

use crate::world::{World, init_token, seal_config};

fn stored_config(world: &World) -> Option<SealConfig> {
    let stored = plain(&world.now.tables, PlainName::SealConfig).unwrap()?;
    Some(SealConfig::decode(&stored.value).unwrap())
}

fn admit(world: &World, token: InitTokenDigest) -> Result<SealEpoch, Refusal> {
    admit_init(stored_config(world).as_ref(), &world.now.plain_revisions(), token)
}

#[test]
fn init_is_refused_under_another_token_and_after_the_first_unseal() {
    let mut world = World::empty();
    assert_eq!(admit(&world, init_token()), Ok(SealEpoch(1)));
    world.init(1);
    let other = InitTokenDigest::of(&[8; 32]).unwrap();
    assert_eq!(admit(&world, other), Err(Refusal::InitTokenMismatch));
    assert_eq!(admit(&world, init_token()), Ok(SealEpoch(2)));

    let config = seal_config(1);
    let mark = complete_unseal(world.now.applied, &world.now.plain_revisions(), &config);
    assert_eq!(world.propose_leaf_only(&mark), Verdict::Admitted);
    assert_eq!(admit(&world, init_token()), Err(Refusal::AlreadyInitialised));
}

#[test]
fn init_tokens_have_their_bounds() {
    assert!(InitTokenDigest::of(&[]).is_err());
    assert!(InitTokenDigest::of(&[1; 15]).is_err());
    assert!(InitTokenDigest::of(&[1; 129]).is_err());
    assert!(InitTokenDigest::of(&[1; 16]).is_ok());
}

#[test]
fn a_repeated_init_leaves_nothing_of_the_earlier_one() {
    let mut world = World::empty();
    let (_, lost) = world.init(1);
    let earlier = world.now.all_rows();
    let (verdict, token) = world.init(2);
    assert_eq!(verdict, Verdict::Admitted);
    assert!(world.now.try_login(&lost).is_err());
    let root = world.now.login(&token);
    assert_eq!((root.role, root.expires), (Role::Administrator, None));
    let rows = world.now.all_rows();
    assert_eq!(rows.len(), earlier.len());
    for row in &rows {
        let old = earlier.iter().find(|old| (old.table, old.id) == (row.table, row.id));
        assert!(old.is_none_or(|old| old.version.revision < row.version.revision));
        // What opens is of the new history: nothing else is left.
        assert!(strongroom_model::Rows::read(&world.now, row.table, &row.id).unwrap().is_some());
    }
    let cluster = plain(&world.now.tables, PlainName::Cluster).unwrap().unwrap();
    assert_eq!(Cluster::decode(&cluster.value).unwrap().history, world.now.cluster.history);
    assert_eq!(stored_config(&world).unwrap().seal_epoch, SealEpoch(2));
    // And a third time, after rows of these tables were deleted.
    assert_eq!(world.init(3).0, Verdict::Admitted);
}

#[test]
fn of_two_inits_at_once_one_shows_shares() {
    let world = World::empty();
    let (mut one_sealer, one, _) = world.decide_init(1);
    let (mut two_sealer, two, _) = world.decide_init(1);
    let encode = |decision, sealer: &mut crate::world::View| {
        let at = crate::world::circumstances();
        let sealer: &mut dyn strongroom_model::Sealer = sealer;
        strongroom_model::encode_leaf_only(decision, &at, Some(sealer)).unwrap()
    };
    let batch = vec![encode(&one, &mut one_sealer), encode(&two, &mut two_sealer)];
    let verdicts = world.clone().propose_encoded(batch);
    assert_eq!(verdicts, [Verdict::Admitted, Verdict::Superseded]);
}

#[test]
fn the_first_unseal_and_a_repeated_init_never_both_succeed() {
    let mut world = World::empty();
    world.init(1);
    let mark = complete_unseal(world.now.applied, &world.now.plain_revisions(), &seal_config(1));
    let mut other = world.clone();

    assert_eq!(other.init(2).0, Verdict::Admitted);
    assert_eq!(other.propose_leaf_only(&mark), Verdict::Superseded);

    let (mut sealer, repeated, _) = world.decide_init(2);
    assert_eq!(world.propose_leaf_only(&mark), Verdict::Admitted);
    let at = crate::world::circumstances();
    let encoded = strongroom_model::encode_leaf_only(&repeated, &at, Some(&mut sealer)).unwrap();
    assert_eq!(world.propose_encoded(vec![encoded]), [Verdict::Superseded]);
}

#[test]
fn the_mark_is_left_once_and_later_unseals_are_only_recorded() {
    let (mut world, _) = World::new();
    let stored = plain(&world.now.tables, PlainName::UnsealMark).unwrap().unwrap();
    assert_eq!(UnsealMark::decode(&stored.value).unwrap().seal_epoch, SealEpoch(1));
    let again = complete_unseal(world.now.applied, &world.now.plain_revisions(), &seal_config(1));
    assert!(again.plain_writes.is_empty());
    assert_eq!(world.propose_leaf_only(&again), Verdict::Admitted);
    let event = world.newest_event();
    assert_eq!((event.kind, event.operation), (Kind::Ceremony, Operation::Unseal));
    assert!(event.complete && event.private.is_none());
}

#[test]
fn a_refused_share_is_an_event_with_its_reason_and_facts() {
    let mut world = World::empty();
    let told = [facts::share_index(3), facts::progress(1), facts::count(4)];
    let reason = Some(Reason::ShareRepeated);
    let step = record_step(world.now.applied, Operation::SubmitShare, reason, &told);
    assert!(step.reads.is_empty());
    assert_eq!(world.propose_leaf_only(&step), Verdict::Admitted);
    let event = world.newest_event();
    assert_eq!(event.kind, Kind::Ceremony);
    assert_eq!(event.outcome, LeafOutcome::Refused(Reason::ShareRepeated));
    let told = [("share_index", "3"), ("progress", "1"), ("count", "4")];
    let told: Vec<_> = told.map(|(name, value)| (name, value.to_owned())).into();
    assert_eq!(event.detail, told);
}

#[test]
fn seal_configurations_that_contradict_themselves_are_refused() {
    let good = seal_config(1);
    assert_eq!(SealConfig::decode(&good.encode()), Ok(good.clone()));
    let mut bad = [good.clone(), good.clone(), good.clone(), good];
    bad[0].threshold = 3;
    bad[1].threshold = 0;
    bad[2].share_digests.pop();
    bad[3].seal_epoch = SealEpoch(0);
    for config in bad {
        assert!(SealConfig::decode(&config.encode()).is_err());
    }
}

#[test]
fn init_makes_the_rows_that_every_login_needs() {
    let (world, _) = World::new();
    let count = |table| world.now.all_rows().iter().filter(|row| row.table == table).count();
    assert_eq!(count(RowTable::Roles), Role::ALL.len());
    assert_eq!(count(RowTable::RoleTokens), Role::ALL.len());
    let single = [RowTable::Principals, RowTable::PrincipalNames, RowTable::PrincipalRoles];
    for table in single.into_iter().chain([RowTable::Tokens, RowTable::TokenIds]) {
        assert_eq!(count(table), 1, "{}", table.name());
    }
}
