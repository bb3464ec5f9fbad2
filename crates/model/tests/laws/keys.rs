//! Keys and their life.

use strongroom_audit::{Kind, LeafOutcome, Operation, Reason};
use strongroom_base::{KeyId, limits};
use strongroom_model::{
    CreateKey, DataKeysRequest, KeyReference, KeyState, Refusal, Role, create_key, describe_key,
    disable_key, enable_key, generate_data_keys,
};
use strongroom_state::Verdict;

use crate::world::{World, context, key_ref};

fn creation(description: &str, client_token: &str) -> CreateKey {
    CreateKey::new(description.into(), 0, 0, client_token.into()).unwrap()
}

#[test]
fn references_to_other_clusters_name_no_key() {
    let (mut world, root) = World::new();
    let key = world.key(&root);
    let by = world.now.login(&root);
    let describe = |text: &str| {
        let reference = KeyReference::parse("key_id", text).unwrap();
        describe_key(&world.now.basis(), &by, &reference).unwrap().map(|view| view.id)
    };
    assert_eq!(describe(&key.to_string()), Ok(key));
    assert_eq!(describe(&format!("arn:aws:kms:local:000000000000:key/{key}")), Ok(key));
    for other in [
        format!("arn:aws:kms:eu-1:000000000000:key/{key}"),
        format!("arn:aws:kms:local:000000000001:key/{key}"),
        KeyId::from_bytes([3; 16]).to_string(),
    ] {
        assert_eq!(describe(&other), Err(Refusal::KeyNotFound), "{other}");
    }
}

#[test]
fn what_is_no_reference_is_refused_by_field() {
    for text in [
        "",
        "alias/x",
        "arn:aws:kms:local:000000000000:key/",
        "arn:aws:kms:local:000000000000:alias/x",
        "arn:aws:iam:local:000000000000:key/00000000-0000-0000-0000-000000000000",
        "00000000000000000000000000000000",
        &"x".repeat(limits::KEY_ID_CHARS_MAX + 1),
    ] {
        let refusal = KeyReference::parse("key_id", text).map(|_| ()).unwrap_err();
        assert!(matches!(refusal, Refusal::InvalidArgument { field: "key_id", .. }), "{text}");
        assert!(text.len() < 4 || !refusal.to_string().contains(text), "the value is echoed");
    }
}

#[test]
fn requests_beyond_their_bounds_are_refused_by_field() {
    let field = |request: Result<CreateKey, Refusal>| match request.map(|_| ()) {
        Err(Refusal::InvalidArgument { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let long = "é".repeat(limits::DESCRIPTION_CHARS_MAX);
    assert!(CreateKey::new(long.clone(), 1, 1, String::new()).is_ok());
    assert_eq!(field(CreateKey::new(long + "e", 0, 0, String::new())), "description");
    let token = "t".repeat(limits::CLIENT_TOKEN_BYTES_MAX + 1);
    assert_eq!(field(CreateKey::new(String::new(), 0, 0, token)), "client_token");
    assert_eq!(field(CreateKey::new(String::new(), 2, 0, String::new())), "key_spec");
    assert_eq!(field(CreateKey::new(String::new(), 0, 2, String::new())), "key_usage");
}

#[test]
fn a_client_token_makes_one_key_however_often_it_is_used() {
    let (mut world, root) = World::new();
    let by = world.now.login(&root);
    let mut entropy = world.now.entropy.clone();
    let request = creation("d", "once");
    let basis = world.now.basis();
    let one = create_key(&basis, &by, &request, &mut entropy).unwrap();
    let racing = create_key(&basis, &by, &request, &mut entropy).unwrap();
    let verdicts = world.propose_all(&[&one.decision, &racing.decision]);
    assert_eq!(verdicts, [Verdict::Admitted, Verdict::Superseded]);
    let first = one.result.unwrap();

    let again = create_key(&world.now.basis(), &by, &request, &mut entropy);
    assert!(world.commit(again).unwrap() == first);
    let event = world.newest_event();
    assert_eq!((event.operation, event.key), (Operation::CreateKey, Some(first.id)));

    let other = create_key(&world.now.basis(), &by, &creation("e", "once"), &mut entropy);
    assert_eq!(world.commit(other).map(|_| ()), Err(Refusal::IdempotencyMismatch));
    let different = create_key(&world.now.basis(), &by, &creation("d", "twice"), &mut entropy);
    assert_ne!(world.commit(different).map(|view| view.id), Ok(first.id));
}

#[test]
fn a_client_token_is_its_principals_own() {
    let (mut world, root) = World::new();
    let second = world.token(&root, "second", Role::Administrator, 0);
    let mut entropy = world.now.entropy.clone();
    let mut ids = Vec::new();
    for token in [&root, &second] {
        let by = world.now.login(token);
        let decided = create_key(&world.now.basis(), &by, &creation("", "once"), &mut entropy);
        ids.push(world.commit(decided).map(|view| view.id).unwrap());
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn a_new_key_is_described_with_the_identity_of_its_material() {
    let (mut world, root) = World::new();
    let by = world.now.login(&root);
    let mut entropy = world.now.entropy.clone();
    let decided = create_key(&world.now.basis(), &by, &creation("for tests", ""), &mut entropy);
    let created = world.commit(decided).map_err(|_| ()).unwrap();
    let seen = describe_key(&world.now.basis(), &by, &key_ref(created.id)).unwrap().unwrap();
    assert!(seen == created);
    assert_eq!(seen.state, KeyState::Enabled);
    assert_eq!(seen.description, "for tests");
    assert!(seen.arn.ends_with(&format!(":000000000000:key/{}", seen.id)));
    assert_ne!(seen.current_material.0, [0; 32]);
}

#[test]
fn a_disabled_key_refuses_uses_even_those_in_flight() {
    let (mut world, root) = World::new();
    let user = world.token(&root, "app", Role::User, 0);
    let key = key_ref(world.key(&root));
    let (by, app) = (world.now.login(&root), world.now.login(&user));
    let mut entropy = world.now.entropy.clone();
    let request = DataKeysRequest::one(key.clone(), context(&[]), 1, 0).unwrap();
    let in_flight = generate_data_keys(&world.now.basis(), &app, &request, &mut entropy).unwrap();

    let disabled = disable_key(&world.now.basis(), &by, &key);
    world.commit(disabled).unwrap();
    assert_eq!(world.propose(&in_flight.decision), Verdict::Superseded);
    let refused = generate_data_keys(&world.now.basis(), &app, &request, &mut entropy);
    let refusal = world.commit(refused).map(|_| ()).unwrap_err();
    assert!(matches!(refusal, Refusal::KeyDisabled { .. }));
    let event = world.newest_event();
    assert_eq!(event.kind, Kind::Use);
    assert_eq!(event.outcome, LeafOutcome::Refused(Reason::KeyDisabled));

    let enabled = enable_key(&world.now.basis(), &by, &key);
    world.commit(enabled).unwrap();
    let allowed = generate_data_keys(&world.now.basis(), &app, &request, &mut entropy);
    assert!(world.commit(allowed).is_ok());
}

#[test]
fn two_administrators_who_switch_one_key_at_once_do_it_one_after_the_other() {
    let (mut world, root) = World::new();
    let second = world.token(&root, "second", Role::Administrator, 0);
    let key = key_ref(world.key(&root));
    let (one, two) = (world.now.login(&root), world.now.login(&second));
    let basis = world.now.basis();
    let first = disable_key(&basis, &one, &key).unwrap();
    let other = disable_key(&basis, &two, &key).unwrap();
    let verdicts = world.propose_all(&[&first.decision, &other.decision]);
    assert_eq!(verdicts, [Verdict::Admitted, Verdict::Superseded]);
    let again = disable_key(&world.now.basis(), &two, &key).unwrap();
    assert!(again.decision.writes.is_empty());
    assert_eq!(world.commit(Ok(again)), Ok(()));
}

#[test]
fn an_unknown_key_is_told_before_the_callers_rights() {
    let (mut world, root) = World::new();
    let user = world.token(&root, "app", Role::User, 0);
    let known = key_ref(world.key(&root));
    let app = world.now.login(&user);
    let unknown = key_ref(KeyId::from_bytes([5; 16]));
    let missing = disable_key(&world.now.basis(), &app, &unknown);
    assert_eq!(world.commit(missing), Err(Refusal::KeyNotFound));
    let denied = disable_key(&world.now.basis(), &app, &known);
    assert!(matches!(world.commit(denied), Err(Refusal::AccessDenied { .. })));
}
