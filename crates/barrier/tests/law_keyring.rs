//! Laws of the keyring: rotation, wrapping, what opens under which epoch.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{Counted, address, cluster, history, init, same_keys};
use proptest::prelude::*;
use strongroom_barrier::{
    Keyring, KeyringAddress, KeyringError, Nonces, OpenError, RootKey, RowError, unseal,
};
use strongroom_base::{BarrierEpoch, Revision, SealEpoch};

fn place(cluster_byte: u8, epoch: u64, revision: u64) -> KeyringAddress {
    KeyringAddress {
        cluster: cluster(cluster_byte),
        seal_epoch: SealEpoch(epoch),
        revision: Revision(revision),
    }
}

proptest! {
    #[test]
    fn rotation_keeps_old_rows_and_bodies_readable_until_their_epoch_is_dropped(
        rows in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..8),
        seed: u64,
    ) {
        let mut entropy = Counted(seed);
        let mut keyring = Keyring::generate(&mut entropy);
        let mut sealed = Vec::new();
        for (revision, plaintext) in (1..).map(Revision).zip(&rows) {
            let row = keyring.seal_row(
                Nonces::draw(&mut entropy), &address(b"row"), revision, plaintext,
            );
            let leaf = [u8::try_from(revision.0).unwrap(); 32];
            let body = keyring.seal_body(Nonces::draw(&mut entropy), history(), &leaf, plaintext);
            sealed.push((revision, leaf, row, body, keyring.barrier_epoch()));
            keyring = keyring.rotate(&mut entropy).unwrap();
        }
        let root = RootKey::generate(&mut entropy);
        let record = keyring.wrap(&root, &place(1, 1, 1), Nonces::draw(&mut entropy));
        let keyring = Keyring::unwrap(&root, &place(1, 1, 1), &record);
        let keyring = keyring.unwrap_or_else(|error| panic!("{error}"));
        for ((revision, leaf, row, body, epoch), plaintext) in sealed.iter().zip(&rows) {
            let opened = keyring.open_row(&address(b"row"), *revision, row).ok().unwrap();
            prop_assert_eq!(opened.expose(), &plaintext[..]);
            let opened = keyring.open_body(history(), leaf, body).ok().unwrap();
            prop_assert_eq!(opened.expose(), &plaintext[..]);
            let without = keyring.drop_barrier_epoch(*epoch).ok().unwrap();
            let outcome = without.open_row(&address(b"row"), *revision, row).err();
            prop_assert_eq!(outcome, Some(RowError::UnknownEpoch(*epoch)));
            prop_assert!(without.open_body(history(), leaf, body).is_ok());
            let without = keyring.drop_audit_epoch(*epoch).ok().unwrap();
            let outcome = without.open_body(history(), leaf, body).err();
            prop_assert_eq!(outcome, Some(RowError::UnknownEpoch(*epoch)));
        }
    }

    #[test]
    fn a_wrapped_keyring_of_other_cluster_epoch_revision_or_root_is_refused(
        revision in 1..u64::MAX, epoch in 1..u64::MAX, seed: u64,
    ) {
        let mut entropy = Counted(seed);
        let keyring = Keyring::generate(&mut entropy);
        let root = RootKey::generate(&mut entropy);
        let here = place(1, epoch, revision);
        let record = keyring.wrap(&root, &here, Nonces::draw(&mut entropy));
        let refusal = |root: &RootKey, expected| Keyring::unwrap(root, &expected, &record).err();
        prop_assert_eq!(
            refusal(&root, place(2, epoch, revision)),
            Some(KeyringError::ForeignCluster(cluster(1)))
        );
        prop_assert_eq!(
            refusal(&root, place(1, epoch + 1, revision)),
            Some(KeyringError::OtherSealEpoch(SealEpoch(epoch)))
        );
        prop_assert_eq!(
            refusal(&root, place(1, epoch, revision + 1)),
            Some(KeyringError::OtherRevision(Revision(revision)))
        );
        let other = RootKey::generate(&mut entropy);
        prop_assert_eq!(refusal(&other, here), Some(KeyringError::NotAuthentic));
        let opened = Keyring::unwrap(&root, &here, &record).unwrap_or_else(|e| panic!("{e}"));
        prop_assert!(same_keys(&opened, &keyring));
    }

    #[test]
    fn a_relabelled_keyring_record_is_not_authentic(at in 1_usize..33, bit in 0..8_u32) {
        let mut entropy = Counted(1);
        let root = RootKey::generate(&mut entropy);
        let keyring = Keyring::generate(&mut entropy);
        let mut record = keyring.wrap(&root, &place(1, 5, 9), Nonces::draw(&mut entropy));
        record[at] ^= 1_u8 << bit;
        // Expects exactly what the header says since the change.
        let number = |at: usize| u64::from_be_bytes(record[at..at + 8].try_into().unwrap());
        let expected = KeyringAddress {
            cluster: strongroom_base::ClusterId::from_slice(&record[1..17]).unwrap(),
            seal_epoch: SealEpoch(number(17)),
            revision: Revision(number(25)),
        };
        let refusal = Keyring::unwrap(&root, &expected, &record).err();
        prop_assert_eq!(refusal, Some(KeyringError::NotAuthentic));
    }
}

#[test]
fn keyrings_with_any_key_of_their_own_are_told_apart() {
    let first = |seed| Keyring::generate(&mut Counted(seed));
    let rotated = |seed| first(1).rotate(&mut Counted(seed)).unwrap();
    assert!(same_keys(&rotated(2), &rotated(2)));
    assert!(!same_keys(&first(1), &first(2)), "every key");
    assert!(!same_keys(&rotated(2), &rotated(3)), "the newest barrier and audit keys");
    // The same epochs, index and batch key, and newest keys: an older one differs.
    let older = |seed| rotated(seed).rotate(&mut Counted(9)).unwrap();
    assert!(same_keys(&older(2), &older(2)));
    assert!(!same_keys(&older(2), &older(3)), "barrier and audit keys of epoch 2");
    let without_audit = |seed| older(seed).drop_audit_epoch(BarrierEpoch(2)).ok().unwrap();
    assert!(!same_keys(&without_audit(2), &without_audit(3)), "the barrier key of epoch 2");
    let without_barrier = |seed| older(seed).drop_barrier_epoch(BarrierEpoch(2)).ok().unwrap();
    assert!(!same_keys(&without_barrier(2), &without_barrier(3)), "the audit key of epoch 2");
}

#[test]
fn a_row_of_an_epoch_not_held_is_told_from_a_damaged_one() {
    let mut entropy = Counted(1);
    let old = Keyring::generate(&mut entropy);
    let new = old.rotate(&mut entropy).unwrap();
    let row = new.seal_row(Nonces::draw(&mut entropy), &address(b"a"), Revision(3), b"text");
    let refusal =
        |keyring: &Keyring, row: &[u8]| keyring.open_row(&address(b"a"), Revision(3), row).err();
    assert_eq!(refusal(&old, &row), Some(RowError::UnknownEpoch(BarrierEpoch(2))));
    assert_eq!(refusal(&new, &[]), Some(RowError::Open(OpenError::Malformed)));
    let mut relabelled = row.clone();
    relabelled[4] = 1;
    let not_authentic = Some(RowError::Open(OpenError::NotAuthentic));
    assert_eq!(refusal(&new, &relabelled), not_authentic, "passed off as an older epoch's");
    let elsewhere = new.open_row(&address(b"b"), Revision(3), &row).err();
    assert_eq!(elsewhere, not_authentic);
}

#[test]
fn an_unsealed_node_adopts_a_committed_rotation_and_keeps_its_keyring_otherwise() {
    let mut entropy = Counted(1);
    let new = init(1, cluster(1), 5, 1, 1);
    let record = new.wrap_keyring(Revision(1), Nonces::draw(&mut entropy));
    let config = new.config.clone();
    let mut node = unseal(&new.shares, &config, Revision(1), &record).ok().unwrap();
    let rotated = node.rotate(Revision(8), &mut entropy).unwrap();
    assert_eq!(node.keyring().barrier_epoch(), BarrierEpoch(1), "not in force before commit");

    let refusal = node.adopt(Revision(9), &rotated).err();
    assert_eq!(refusal, Some(KeyringError::OtherRevision(Revision(8))));
    assert_eq!(node.adopt(Revision(8), &rotated[..40]).err(), Some(KeyringError::Malformed));
    assert_eq!((node.keyring_revision(), node.keyring().barrier_epoch().0), (Revision(1), 1));

    node.adopt(Revision(8), &rotated).unwrap();
    assert_eq!((node.keyring_revision(), node.keyring().barrier_epoch().0), (Revision(8), 2));
    assert_eq!(
        node.keyring().name_row_id(4, b"alias/a"),
        new.keyring.name_row_id(4, b"alias/a"),
        "row ids stay what they are"
    );
    let dropped = node.keyring().drop_barrier_epoch(BarrierEpoch(1)).ok().unwrap();
    let record = node.wrap(&dropped, Revision(12), Nonces::draw(&mut entropy));
    node.adopt(Revision(12), &record).unwrap();
    assert!(node.keyring().barrier_epochs().eq([BarrierEpoch(2)]));
}
