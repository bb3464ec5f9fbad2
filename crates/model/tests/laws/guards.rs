//! Every decision's guards: what is written is read, and any change of what was
//! read supersedes it.

use strongroom_base::{BarrierEpoch, KeyId};
use strongroom_crypto::{Entropy, SecretBytes, TokenSecret};
use strongroom_format::store::{self, EpochKind, guard::Expect};
use strongroom_model::{
    CreateKey, CreateToken, DataKeysRequest, Decision, DecryptBatchRequest, DecryptRequest,
    EncryptRequest, PrincipalReference, RandomRequest, ReEncryptRequest, RevokeToken, Role,
    RotatedKeyring, RowTable, attach_role, create_key, create_token, decrypt, decrypt_batch, deny,
    detach_role, disable_key, drop_epoch, enable_key, encrypt, generate_data_keys, generate_random,
    re_encrypt, record_act, revoke_token, rotate_barrier,
};
use strongroom_state::{MapTables, Table, Tables, TablesReader, Verdict};

use crate::world::{World, context, key_ref};

/// A cluster with a key, a blob under it, and a token of each role.
struct Scene {
    world: World,
    root: TokenSecret,
    user: TokenSecret,
    key: KeyId,
    blob: Vec<u8>,
}

fn scene() -> Scene {
    let (mut world, root) = World::new();
    let user = world.token(&root, "app", Role::User, 86_400);
    let key = world.key(&root);
    let request =
        EncryptRequest::new(key_ref(key), SecretBytes::copy_from(b"plain"), context(&[])).unwrap();
    let caller = world.now.login(&user);
    let mut entropy = world.now.entropy.clone();
    let decided = encrypt(&world.now.basis(), &caller, &request, &mut entropy);
    let blob = world.commit(decided).unwrap().blob;
    Scene { world, root, user, key, blob }
}

/// One decision of each kind, allowed, refused and denied ones among them.
fn decisions(scene: &Scene) -> Vec<(&'static str, Decision)> {
    let mut all = administration(scene);
    all.extend(uses(scene));
    all
}

fn administration(scene: &Scene) -> Vec<(&'static str, Decision)> {
    let basis = scene.world.now.basis();
    let (root, user) = (scene.world.now.login(&scene.root), scene.world.now.login(&scene.user));
    let mut entropy = scene.world.now.entropy.clone();
    let entropy: &mut dyn Entropy = &mut entropy;
    let creation = CreateKey::new("d".into(), 0, 0, "once".into()).unwrap();
    let app = PrincipalReference::parse("principal", "app").unwrap();
    let absent = PrincipalReference::parse("principal", "absent").unwrap();
    let new = CreateToken::new("new", Role::Auditor.number(), 0).unwrap();
    let known = CreateToken::new("app", Role::User.number(), 0).unwrap();
    let rotated = |_| {
        let (barrier, audit) = (BarrierEpoch(2), BarrierEpoch(2));
        Ok(RotatedKeyring { wrapped: vec![9; 40], barrier, audit })
    };
    let key = key_ref(scene.key);
    vec![
        ("create key", create_key(&basis, &root, &creation, entropy).unwrap().decision),
        ("denied creation", create_key(&basis, &user, &creation, entropy).unwrap().decision),
        ("disable", disable_key(&basis, &root, &key).unwrap().decision),
        ("enable the enabled", enable_key(&basis, &root, &key).unwrap().decision),
        (
            "disable the unknown",
            disable_key(&basis, &root, &key_ref(KeyId::from_bytes([9; 16]))).unwrap().decision,
        ),
        ("new principal", create_token(&basis, &root, &new, entropy).unwrap().decision),
        ("known principal", create_token(&basis, &root, &known, entropy).unwrap().decision),
        ("revoke one", revoke_token(&basis, &root, RevokeToken::One(user.token)).unwrap().decision),
        (
            "revoke users",
            revoke_token(&basis, &root, RevokeToken::Role(Role::User)).unwrap().decision,
        ),
        (
            "revoke administrators",
            revoke_token(&basis, &root, RevokeToken::Role(Role::Administrator)).unwrap().decision,
        ),
        ("attach", attach_role(&basis, &root, &app, Role::Auditor).unwrap().decision),
        ("detach", detach_role(&basis, &root, &app, Role::User).unwrap().decision),
        ("attach to nobody", attach_role(&basis, &root, &absent, Role::User).unwrap().decision),
        ("rotate", rotate_barrier(&basis, &root, rotated).decision),
        (
            "drop",
            drop_epoch(&basis, &root, EpochKind::Barrier, BarrierEpoch(7), 0, |_| Ok(vec![9; 40]))
                .decision,
        ),
        (
            "transfer",
            record_act(&basis, &root, strongroom_audit::Operation::TransferLeader, &[]).decision,
        ),
        (
            "denied look",
            deny(&basis, &user, strongroom_audit::Operation::ListEvents, None).unwrap().decision,
        ),
    ]
}

fn uses(scene: &Scene) -> Vec<(&'static str, Decision)> {
    let basis = scene.world.now.basis();
    let (root, user) = (scene.world.now.login(&scene.root), scene.world.now.login(&scene.user));
    let mut entropy = scene.world.now.entropy.clone();
    let entropy: &mut dyn Entropy = &mut entropy;
    let key = key_ref(scene.key);
    let empty = context(&[]);
    let data = DataKeysRequest::many(key.clone(), empty.clone(), 1, 0, 3).unwrap();
    let plaintext = SecretBytes::copy_from(b"x");
    let plain = EncryptRequest::new(key.clone(), plaintext, empty.clone()).unwrap();
    let blob = DecryptRequest::new(scene.blob.clone(), empty.clone(), None).unwrap();
    let mut forged = scene.blob.clone();
    forged[20] ^= 1; // the key's version
    let forged = DecryptRequest::new(forged, empty.clone(), None).unwrap();
    let batch = DecryptBatchRequest::new(vec![blob.clone(), forged.clone()]).unwrap();
    let again = ReEncryptRequest::new(blob.clone(), key, empty);
    let random = RandomRequest::new(8).unwrap();
    vec![
        ("data keys", generate_data_keys(&basis, &user, &data, entropy).unwrap().decision),
        ("denied use", generate_data_keys(&basis, &root, &data, entropy).unwrap().decision),
        ("encrypt", encrypt(&basis, &user, &plain, entropy).unwrap().decision),
        ("decrypt", decrypt(&basis, &user, &blob).unwrap().decision),
        ("decrypt the forged", decrypt(&basis, &user, &forged).unwrap().decision),
        ("decrypt batch", decrypt_batch(&basis, &user, &batch).unwrap().decision),
        ("re-encrypt", re_encrypt(&basis, &user, &again, entropy).unwrap().decision),
        ("random", generate_random(&basis, &user, random, entropy).decision),
    ]
}

/// Changes what a guard relies on, as a committed write of somebody else does.
fn change(tables: &mut MapTables, guard: &store::Guard) {
    match guard.expect.as_ref().unwrap() {
        Expect::Row(version) => bump(tables, Table::Rows, &row(version.table, &version.row_id)),
        Expect::Absent(absent) => {
            let newly = [&1u64.to_be_bytes()[..], &[0x11; 64]].concat();
            tables.put(Table::Rows, &row(absent.table, &absent.row_id), &newly).unwrap();
        }
        Expect::Plain(plain) => bump(tables, Table::Plain, &[u8::try_from(plain.name).unwrap()]),
        Expect::EpochUnused(unused) => {
            let kind = u8::try_from(unused.kind).unwrap();
            let key = [&[kind][..], &unused.epoch.to_be_bytes()].concat();
            tables.put(Table::Epochs, &key, &1u64.to_be_bytes()).unwrap();
        }
    }
}

fn row(table: u32, row_id: &[u8]) -> Vec<u8> {
    [&[u8::try_from(table).unwrap()], row_id].concat()
}

/// Raises the revision that stands in the first eight bytes of a stored value.
fn bump(tables: &mut MapTables, table: Table, key: &[u8]) {
    let mut stored = tables.get(table, key).unwrap().expect("a guard names what is there");
    let (revision, _) = stored.split_first_chunk_mut::<8>().unwrap();
    *revision = (u64::from_be_bytes(*revision) + 1).to_be_bytes();
    tables.put(table, key, &stored).unwrap();
}

#[test]
fn nothing_is_written_that_was_not_read() {
    let scene = scene();
    for (what, decision) in decisions(&scene) {
        decision.assert_invariants();
        let guards = decision.reads.guards();
        for change in &decision.writes {
            let guarded = guards.iter().any(|guard| match guard.expect.as_ref().unwrap() {
                Expect::Row(version) => {
                    (version.table, version.row_id.as_slice())
                        == (change.table.number(), change.id.as_bytes())
                }
                Expect::Absent(absent) => {
                    (absent.table, absent.row_id.as_slice())
                        == (change.table.number(), change.id.as_bytes())
                }
                _ => false,
            });
            assert!(guarded, "{what}: {:?} is written unread", change.table);
        }
    }
}

#[test]
fn every_decision_on_behalf_of_a_caller_relies_on_its_rights_and_the_keyring() {
    let scene = scene();
    for (what, decision) in decisions(&scene) {
        assert!(decision.reads.has_plain(store::PlainName::Keyring), "{what}");
        let guards = decision.reads.guards();
        for table in
            [RowTable::Tokens, RowTable::Principals, RowTable::PrincipalRoles, RowTable::Roles]
        {
            let read = guards.iter().any(|guard| {
                matches!(&guard.expect, Some(Expect::Row(row)) if row.table == table.number())
            });
            assert!(read, "{what} does not rely on {}", table.name());
        }
    }
}

#[test]
fn unchanged_every_decision_is_admitted() {
    let scene = scene();
    for (what, decision) in decisions(&scene) {
        let mut world = scene.world.clone();
        assert_eq!(world.propose(&decision), Verdict::Admitted, "{what}");
    }
}

#[test]
fn any_change_of_anything_read_supersedes_the_decision() {
    let scene = scene();
    let mut tried = 0;
    for (what, decision) in decisions(&scene) {
        for guard in decision.reads.guards() {
            let mut world = scene.world.clone();
            change(&mut world.now.tables, &guard);
            let before = world.events();
            let verdict = world.propose(&decision);
            assert_eq!(verdict, Verdict::Superseded, "{what}: {guard:?}");
            assert_eq!(world.events(), before, "{what} left a record");
            tried += 1;
        }
    }
    assert!(tried > 150, "only {tried} guards");
}

#[test]
fn a_decision_taken_twice_is_admitted_once_where_it_writes() {
    let scene = scene();
    for (what, decision) in decisions(&scene) {
        let verdicts = scene.world.clone().propose_all(&[&decision, &decision]);
        let second = if decision.writes.is_empty() && decision.plain_writes.is_empty() {
            Verdict::Admitted
        } else {
            Verdict::Superseded
        };
        assert_eq!(verdicts, [Verdict::Admitted, second], "{what}");
    }
}
