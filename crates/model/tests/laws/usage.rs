//! Uses of keys.

use proptest::prelude::*;
use strongroom_audit::{Kind, LeafOutcome, Operation, Reason};
use strongroom_base::{KeyId, limits};
use strongroom_crypto::{SecretBytes, TokenSecret};
use strongroom_model::{
    DataKeysRequest, DecryptBatchRequest, DecryptRequest, EncryptRequest, KeyReference,
    RandomRequest, ReEncryptRequest, Refusal, Role, context_field, decrypt, decrypt_batch,
    disable_key, encrypt, generate_data_keys, generate_random, re_encrypt,
};

use crate::world::{World, context, key_ref};

struct Scene {
    world: World,
    root: TokenSecret,
    user: TokenSecret,
    key: KeyId,
}

impl Scene {
    fn new() -> Self {
        let (mut world, root) = World::new();
        let user = world.token(&root, "app", Role::User, 0);
        let key = world.key(&root);
        Self { world, root, user, key }
    }

    fn encrypt(&mut self, key: KeyId, text: &[u8], pairs: &[(&str, &str)]) -> Vec<u8> {
        let plaintext = SecretBytes::copy_from(text);
        let request = EncryptRequest::new(key_ref(key), plaintext, context(pairs)).unwrap();
        let caller = self.world.now.login(&self.user);
        let mut entropy = self.world.now.entropy.clone();
        let decided = encrypt(&self.world.now.basis(), &caller, &request, &mut entropy);
        self.world.commit(decided).unwrap().blob
    }

    fn decrypt(
        &mut self,
        blob: &[u8],
        pairs: &[(&str, &str)],
        key: Option<KeyReference>,
    ) -> Result<Vec<u8>, Refusal> {
        let request = DecryptRequest::new(blob.to_vec(), context(pairs), key).unwrap();
        let caller = self.world.now.login(&self.user);
        let decided = decrypt(&self.world.now.basis(), &caller, &request);
        self.world.commit(decided).map(|opened| opened.plaintext.expose().to_vec())
    }

    fn disable(&mut self, key: KeyId) {
        let by = self.world.now.login(&self.root);
        let decided = disable_key(&self.world.now.basis(), &by, &key_ref(key));
        self.world.commit(decided).unwrap();
    }
}

#[test]
fn whatever_is_wrong_with_a_blob_the_answer_is_the_same_and_recorded() {
    let mut scene = Scene::new();
    let blob = scene.encrypt(scene.key, b"plain", &[("a", "1")]);
    let other = scene.world.key(&scene.root);
    for at in 0..blob.len() {
        let mut bad = blob.clone();
        bad[at] ^= 1;
        let refusal = scene.decrypt(&bad, &[("a", "1")], None);
        assert_eq!(refusal, Err(Refusal::InvalidCiphertext), "byte {at}");
        let event = scene.world.newest_event();
        assert_eq!(event.outcome, LeafOutcome::Refused(Reason::InvalidCiphertext));
        assert_eq!((event.kind, event.operation), (Kind::Use, Operation::Decrypt));
    }
    let wrong = Err(Refusal::InvalidCiphertext);
    assert_eq!(scene.decrypt(&blob, &[("a", "2")], None), wrong);
    assert_eq!(scene.decrypt(&blob, &[], None), wrong);
    assert_eq!(scene.decrypt(&blob, &[("a", "1")], Some(key_ref(other))), wrong);
    assert_eq!(scene.decrypt(&blob[..65], &[("a", "1")], None), wrong);
    assert_eq!(scene.decrypt(&[0; 200], &[("a", "1")], None), wrong);
}

#[test]
fn a_blob_that_names_the_key_of_zeros_is_recorded_without_a_key() {
    let mut scene = Scene::new();
    let mut blob = scene.encrypt(scene.key, b"plain", &[]);
    blob[2..18].fill(0);
    assert_eq!(scene.decrypt(&blob, &[], None), Err(Refusal::InvalidCiphertext));
    assert_eq!(scene.world.newest_event().key, None);
}

#[test]
fn a_disabled_key_is_told_by_name_before_its_blob_is_tried() {
    let mut scene = Scene::new();
    let mut blob = scene.encrypt(scene.key, b"plain", &[]);
    scene.disable(scene.key);
    let last = blob.len() - 1;
    blob[last] ^= 1;
    let key = scene.key;
    assert_eq!(scene.decrypt(&blob, &[], None), Err(Refusal::KeyDisabled { key }));
}

#[test]
fn data_keys_decrypt_under_the_same_context_only() {
    let mut scene = Scene::new();
    let caller = scene.world.now.login(&scene.user);
    let mut entropy = scene.world.now.entropy.clone();
    let request =
        DataKeysRequest::many(key_ref(scene.key), context(&[("db", "x")]), 2, 0, 5).unwrap();
    let decided = generate_data_keys(&scene.world.now.basis(), &caller, &request, &mut entropy);
    let before = scene.world.events();
    let made = scene.world.commit(decided).unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!(scene.world.events(), before + 1, "one record however many");
    let event = scene.world.newest_event();
    assert_eq!((event.item_count, event.key), (5, Some(scene.key)));
    assert_eq!(event.private.unwrap().context, [("db".to_owned(), "x".to_owned())]);
    assert_eq!(made.data_keys.len(), 5);
    for pair in &made.data_keys {
        let plaintext = pair.plaintext.as_ref().unwrap().expose().to_vec();
        assert_eq!(plaintext.len(), 16);
        assert_eq!(scene.decrypt(&pair.blob, &[("db", "x")], None), Ok(plaintext));
        assert_eq!(scene.decrypt(&pair.blob, &[], None), Err(Refusal::InvalidCiphertext));
    }
}

#[test]
fn the_form_without_plaintext_gives_none() {
    let mut scene = Scene::new();
    let caller = scene.world.now.login(&scene.user);
    let mut entropy = scene.world.now.entropy.clone();
    let key = key_ref(scene.key);
    let request = DataKeysRequest::without_plaintext(key, context(&[]), 0, 64).unwrap();
    let decided = generate_data_keys(&scene.world.now.basis(), &caller, &request, &mut entropy);
    let made = scene.world.commit(decided).unwrap_or_else(|refusal| panic!("{refusal}"));
    assert!(made.data_keys[0].plaintext.is_none());
    assert_eq!(scene.decrypt(&made.data_keys[0].blob, &[], None).unwrap().len(), 64);
    assert_eq!(scene.world.newest_event().operation, Operation::Decrypt);
}

#[test]
fn sizes_and_counts_outside_their_bounds_are_refused_by_field() {
    let key = KeyReference::Id(KeyId::from_bytes([1; 16]));
    let field = |outcome: Result<DataKeysRequest, Refusal>| match outcome.map(|_| ()) {
        Err(Refusal::InvalidArgument { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    let one = |spec, bytes| DataKeysRequest::one(key.clone(), context(&[]), spec, bytes);
    assert_eq!(field(one(0, 0)), "number_of_bytes");
    assert_eq!(field(one(0, 1_025)), "number_of_bytes");
    assert_eq!(field(one(1, 32)), "number_of_bytes");
    assert_eq!(field(one(3, 0)), "key_spec");
    let many = |count| DataKeysRequest::many(key.clone(), context(&[]), 1, 0, count);
    assert_eq!(field(many(0)), "count");
    assert_eq!(field(many(257)), "count");
    assert!(one(0, 1_024).is_ok() && many(256).is_ok());

    assert!(RandomRequest::new(0).is_err() && RandomRequest::new(1_025).is_err());
    for len in [0, limits::PLAINTEXT_BYTES_MAX + 1] {
        let plaintext = SecretBytes::init_with(len, |_| ());
        assert!(EncryptRequest::new(key.clone(), plaintext, context(&[])).is_err());
    }
    for len in [0, limits::BLOB_BYTES_MAX + 1] {
        assert!(DecryptRequest::new(vec![1; len], context(&[]), None).is_err());
    }
    let item = DecryptRequest::new(vec![1], context(&[]), None).unwrap();
    assert!(DecryptBatchRequest::new(Vec::new()).is_err());
    assert!(DecryptBatchRequest::new(vec![item.clone(); 257]).is_err());
    assert!(DecryptBatchRequest::new(vec![item; 256]).is_ok());
    let pairs = (0..65).map(|at| (at.to_string(), String::new()));
    assert!(context_field("encryption_context", pairs).is_err());
}

#[test]
fn the_largest_plaintext_and_random_come_back_whole() {
    let mut scene = Scene::new();
    let text = vec![0xa5; limits::PLAINTEXT_BYTES_MAX];
    let blob = scene.encrypt(scene.key, &text, &[]);
    assert!(blob.len() <= limits::BLOB_BYTES_MAX);
    assert_eq!(scene.decrypt(&blob, &[], None), Ok(text));
    let caller = scene.world.now.login(&scene.user);
    let request = RandomRequest::new(1_024).unwrap();
    let mut entropy = scene.world.now.entropy.clone();
    let decided = generate_random(&scene.world.now.basis(), &caller, request, &mut entropy);
    let bytes = scene.world.commit(Ok(decided)).unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!(bytes.len(), 1_024);
}

#[test]
fn each_item_of_a_batch_has_its_own_result_and_the_record_lists_all() {
    let mut scene = Scene::new();
    let disabled = scene.world.key(&scene.root);
    let good = scene.encrypt(scene.key, b"one", &[("n", "1")]);
    let off = scene.encrypt(disabled, b"two", &[]);
    scene.disable(disabled);
    let item = |blob: &[u8], pairs: &[(&str, &str)]| {
        DecryptRequest::new(blob.to_vec(), context(pairs), None).unwrap()
    };
    let items = vec![item(&good, &[("n", "1")]), item(&off, &[]), item(&good, &[])];
    let request = DecryptBatchRequest::new(items).unwrap();
    let caller = scene.world.now.login(&scene.user);
    let before = scene.world.events();
    let decided = decrypt_batch(&scene.world.now.basis(), &caller, &request);
    let batch = scene.world.commit(decided).unwrap_or_else(|refusal| panic!("{refusal}"));
    assert_eq!(scene.world.events(), before + 1);
    assert_eq!(batch.items[0].as_ref().ok().unwrap().plaintext.expose(), b"one");
    assert_eq!(batch.items[1].as_ref().err(), Some(&Refusal::KeyDisabled { key: disabled }));
    assert_eq!(batch.items[2].as_ref().err(), Some(&Refusal::InvalidCiphertext));

    let event = scene.world.newest_event();
    assert_eq!((event.outcome, event.item_count), (LeafOutcome::Success, 3));
    assert_eq!(event.key, None, "the items have no key in common");
    let items = event.private.unwrap().items;
    let reasons: Vec<_> = items.iter().map(|item| item.reason.as_str()).collect();
    assert_eq!(reasons, ["", "KEY_DISABLED", "INVALID_CIPHERTEXT"]);
    assert_eq!(items[1].key, Some(disabled));
    assert_eq!(items[0].context, [("n".to_owned(), "1".to_owned())]);
}

#[test]
fn a_batch_is_found_under_each_of_its_keys() {
    let mut scene = Scene::new();
    let other = scene.world.key(&scene.root);
    let blobs = [scene.encrypt(scene.key, b"1", &[]), scene.encrypt(other, b"2", &[])];
    let items = blobs.map(|blob| DecryptRequest::new(blob, context(&[]), None).unwrap());
    let request = DecryptBatchRequest::new(items.into()).unwrap();
    let caller = scene.world.now.login(&scene.user);
    let decided = decrypt_batch(&scene.world.now.basis(), &caller, &request);
    scene.world.commit(decided).unwrap_or_else(|refusal| panic!("{refusal}"));
    let newest = scene.world.events() - 1;
    for key in [scene.key, other] {
        assert!(scene.world.events_of(key).contains(&newest));
    }
}

#[test]
fn a_batch_of_which_nothing_succeeds_is_recorded_as_refused() {
    let mut scene = Scene::new();
    let item = DecryptRequest::new(vec![1; 100], context(&[]), None).unwrap();
    let request = DecryptBatchRequest::new(vec![item]).unwrap();
    let caller = scene.world.now.login(&scene.user);
    let decided = decrypt_batch(&scene.world.now.basis(), &caller, &request);
    let batch = scene.world.commit(decided).unwrap_or_else(|refusal| panic!("{refusal}"));
    assert!(batch.items[0].is_err());
    let event = scene.world.newest_event();
    assert_eq!(event.outcome, LeafOutcome::Refused(Reason::InvalidCiphertext));
}

#[test]
fn re_encryption_needs_both_keys_and_records_both() {
    let mut scene = Scene::new();
    let target = scene.world.key(&scene.root);
    let blob = scene.encrypt(scene.key, b"moved", &[("at", "here")]);
    let request = |pairs: &[(&str, &str)]| {
        let source = DecryptRequest::new(blob.clone(), context(pairs), None).unwrap();
        ReEncryptRequest::new(source, key_ref(target), context(&[("at", "there")]))
    };
    let caller = scene.world.now.login(&scene.user);
    let mut entropy = scene.world.now.entropy.clone();
    let basis = scene.world.now.basis();
    let wrong = re_encrypt(&basis, &caller, &request(&[]), &mut entropy);
    let refusal = scene.world.commit(wrong).map(|_| ()).unwrap_err();
    assert_eq!(refusal, Refusal::InvalidCiphertext);
    assert_eq!(scene.world.newest_event().private.unwrap().items[0].reason, "INVALID_CIPHERTEXT");

    let basis = scene.world.now.basis();
    let moved = re_encrypt(&basis, &caller, &request(&[("at", "here")]), &mut entropy);
    let moved = scene.world.commit(moved).unwrap();
    assert_eq!((moved.source.id, moved.destination.id), (scene.key, target));
    let event = scene.world.newest_event();
    assert_eq!(event.key, Some(target));
    let newest = scene.world.events() - 1;
    assert!(scene.world.events_of(scene.key).contains(&newest));
    assert_eq!(scene.decrypt(&moved.blob, &[("at", "there")], None), Ok(b"moved".to_vec()));

    scene.disable(target);
    let basis = scene.world.now.basis();
    let refused = re_encrypt(&basis, &caller, &request(&[("at", "here")]), &mut entropy);
    let refusal = scene.world.commit(refused).map(|_| ()).unwrap_err();
    assert_eq!(refusal, Refusal::KeyDisabled { key: target });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What was encrypted decrypts under its context, given in any order, and
    /// under no other.
    #[test]
    fn what_is_encrypted_decrypts_under_its_context_only(
        text in prop::collection::vec(any::<u8>(), 1..600),
        pairs in prop::collection::btree_map("[a-z]{1,6}", "[a-z]{0,6}", 0..5),
        other in prop::collection::btree_map("[a-z]{1,6}", "[a-z]{0,6}", 0..5),
    ) {
        let mut scene = Scene::new();
        let forth: Vec<_> = pairs.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let back: Vec<_> = forth.iter().rev().copied().collect();
        let blob = scene.encrypt(scene.key, &text, &forth);
        prop_assert_eq!(scene.decrypt(&blob, &back, None), Ok(text.clone()));
        if other != pairs {
            let others: Vec<_> = other.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
            let refused = scene.decrypt(&blob, &others, None);
            prop_assert_eq!(refused, Err(Refusal::InvalidCiphertext));
        }
    }
}
