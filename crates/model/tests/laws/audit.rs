//! What an event shows, and what it commits to.

use prost::Message;
use strongroom_base::{AuditSequence, limits};
use strongroom_crypto::{Context, SecretBytes};
use strongroom_format::store;
use strongroom_model::{
    DecryptBatchRequest, DecryptRequest, EncryptRequest, EventView, Role, Sealer, decrypt_batch,
    encode_transaction, encrypt,
};
use strongroom_state::{Verdict, leaf};

use crate::world::{World, circumstances, context, key_ref};

/// Keeps bodies in the clear, so that a test can change them.
struct Clear;

impl Sealer for Clear {
    fn seal_row(
        &mut self,
        _: strongroom_model::RowTable,
        _: &strongroom_model::RowId,
        _: strongroom_base::Revision,
        plaintext: &[u8],
    ) -> Vec<u8> {
        plaintext.to_vec()
    }

    fn seal_body(&mut self, _: &[u8; 32], plaintext: &[u8]) -> Vec<u8> {
        plaintext.to_vec()
    }
}

/// A leaf and its body of one use with an encryption context.
fn record() -> (Vec<u8>, Vec<u8>) {
    let (mut world, root) = World::new();
    let user = world.token(&root, "app", Role::User, 0);
    let key = world.key(&root);
    let caller = world.now.login(&user);
    let plaintext = SecretBytes::copy_from(b"x");
    let request = EncryptRequest::new(key_ref(key), plaintext, context(&[("k", "v")])).unwrap();
    let mut entropy = world.now.entropy.clone();
    let decided = encrypt(&world.now.basis(), &caller, &request, &mut entropy).unwrap();
    let encoded = encode_transaction(&decided.decision, &circumstances(), [5; 16], &mut Clear);
    let record = encoded.unwrap().transaction.records.remove(0);
    (record.leaf, record.body)
}

fn changed(body: &[u8], change: impl FnOnce(&mut store::AuditBody)) -> Vec<u8> {
    let mut message = store::AuditBody::decode(body).unwrap();
    change(&mut message);
    message.encode_to_vec()
}

#[test]
fn a_body_that_its_leaf_does_not_commit_to_is_not_shown() {
    let (leaf, body) = record();
    let changes: [fn(&mut store::AuditBody); 6] = [
        |body| body.principal_name = "somebody".into(),
        |body| body.source_address.clear(),
        |body| body.context[0].value.push('!'),
        |body| body.context.clear(),
        |body| body.request_id[3] ^= 1,
        |body| body.salt[0] ^= 1,
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let event = EventView::new(&leaf, Some(&changed(&body, change))).unwrap();
        assert!(event.private.is_none() && !event.complete, "change {at}");
    }
    let event = EventView::new(&leaf, Some(&body[..body.len() - 1])).unwrap();
    assert!(!event.complete);
}

#[test]
fn a_pruned_body_leaves_the_leaf_readable_and_the_event_incomplete() {
    let (leaf, body) = record();
    let pruned = EventView::new(&leaf, None).unwrap();
    assert!(pruned.private.is_none() && !pruned.complete);
    let whole = EventView::new(&leaf, Some(&body)).unwrap();
    assert!(whole.complete);
    assert_eq!((pruned.key, pruned.attempt), (whole.key, whole.attempt));
    let private = whole.private.unwrap();
    assert_eq!(private.principal_name, "app");
    assert_eq!(private.source_address, "192.0.2.7:4711");
    assert_eq!(private.certificate_name, "billing");
    assert_eq!(private.request, circumstances().request);
}

#[test]
fn a_leaf_holds_nothing_private() {
    let (mut world, root) = World::new();
    let secret = "canary-name";
    let user = world.token(&root, secret, Role::User, 0);
    let key = world.key(&root);
    let caller = world.now.login(&user);
    let pairs = context(&[("canary-key", "canary-value")]);
    let request = EncryptRequest::new(key_ref(key), SecretBytes::copy_from(b"canary-text"), pairs);
    let mut entropy = world.now.entropy.clone();
    let decided = encrypt(&world.now.basis(), &caller, &request.unwrap(), &mut entropy);
    world.commit(decided).unwrap();
    for sequence in 0..world.events() {
        let stored = leaf(&world.now.tables, AuditSequence(sequence)).unwrap().unwrap();
        for canary in [&b"canary"[..], b"192.0.2.7", &circumstances().request.as_bytes()[..]] {
            let found = stored.leaf.windows(canary.len()).any(|window| window == canary);
            assert!(!found, "leaf {sequence} shows something private");
        }
    }
}

#[test]
fn nothing_private_lies_in_the_tables_in_the_clear() {
    let (mut world, root) = World::new();
    world.token(&root, "canary-name", Role::User, 0);
    for table in strongroom_state::Table::ALL {
        for (key, value) in world.now.tables.entries(table) {
            let found =
                [key, value].iter().any(|bytes| bytes.windows(6).any(|window| window == b"canary"));
            assert!(!found, "{}", table.name());
        }
    }
}

#[test]
fn the_record_of_the_largest_batch_stays_within_its_bounds() {
    let (mut world, root) = World::new();
    let user = world.token(&root, "app", Role::User, 0);
    let caller = world.now.login(&user);
    let large = Context::new([("k".into(), "v".repeat(limits::CONTEXT_BYTES_MAX - 20))]);
    let large = std::sync::Arc::new(large.unwrap());
    let item = DecryptRequest::new(vec![1; 100], large, None).unwrap();
    let request = DecryptBatchRequest::new(vec![item; limits::BATCH_ITEMS_MAX]).unwrap();
    let decided = decrypt_batch(&world.now.basis(), &caller, &request).unwrap();
    let encoded = encode_transaction(&decided.decision, &circumstances(), [5; 16], &mut world.now);
    let record = &encoded.unwrap().transaction.records[0];
    assert!(record.body.len() <= limits::BODY_BYTES_MAX);
    assert!(record.leaf.len() <= limits::LEAF_BYTES_MAX);
    assert_eq!(world.propose(&decided.decision), Verdict::Admitted);
    let items = world.newest_event().private.unwrap().items;
    assert_eq!(items.len(), limits::BATCH_ITEMS_MAX);
    assert!(items.iter().all(|item| item.context.is_empty()));
}

#[test]
fn a_key_with_the_longest_description_fits_its_bounds() {
    let (mut world, root) = World::new();
    let by = world.now.login(&root);
    let description = "\u{10ffff}".repeat(limits::DESCRIPTION_CHARS_MAX);
    let request = strongroom_model::CreateKey::new(description, 0, 0, "t".repeat(128)).unwrap();
    let mut entropy = world.now.entropy.clone();
    let decided =
        strongroom_model::create_key(&world.now.basis(), &by, &request, &mut entropy).unwrap();
    let encoded = encode_transaction(&decided.decision, &circumstances(), [5; 16], &mut world.now);
    for write in encoded.unwrap().transaction.writes {
        if let Some(store::write::Target::Row(row)) = write.target {
            assert!(row.sealed.len() <= limits::ROW_BYTES_MAX);
        }
    }
    assert_eq!(world.propose(&decided.decision), Verdict::Admitted);
}
