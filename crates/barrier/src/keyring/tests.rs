//! Tests of the keyring's epochs and of its plaintext bytes.

use super::*;

/// Counts, so that every byte drawn differs from its neighbours.
struct Counter(u8);

impl Entropy for Counter {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

fn keyring() -> Keyring {
    Keyring::generate(&mut Counter(0))
}

fn epochs(keyring: &Keyring) -> (Vec<u32>, Vec<u32>) {
    let barrier = keyring.barrier_epochs().map(|epoch| epoch.0).collect();
    (barrier, keyring.audit_epochs().map(|epoch| epoch.0).collect())
}

#[test]
fn newest_and_unknown_epochs_are_not_dropped() {
    let first = keyring();
    let newest = Some(DropEpochError::Newest(BarrierEpoch(1)));
    assert_eq!(first.drop_barrier_epoch(BarrierEpoch(1)).err(), newest);
    assert_eq!(first.drop_audit_epoch(BarrierEpoch(1)).err(), newest);
    for epoch in [BarrierEpoch(0), BarrierEpoch(2)] {
        let unknown = Some(DropEpochError::Unknown(epoch));
        assert_eq!(first.drop_barrier_epoch(epoch).err(), unknown);
        assert_eq!(first.drop_audit_epoch(epoch).err(), unknown);
    }
}

#[test]
fn epochs_are_dropped_one_kind_at_a_time_and_never_used_again() {
    let mut entropy = Counter(9);
    let third = keyring().rotate(&mut entropy).unwrap().rotate(&mut entropy).unwrap();
    assert_eq!(epochs(&third), (vec![1, 2, 3], vec![1, 2, 3]));
    let dropped = third.drop_barrier_epoch(BarrierEpoch(2)).ok().unwrap();
    assert_eq!(epochs(&dropped), (vec![1, 3], vec![1, 2, 3]));
    let dropped = dropped.drop_audit_epoch(BarrierEpoch(1)).ok().unwrap();
    assert_eq!(epochs(&dropped), (vec![1, 3], vec![2, 3]));
    assert_eq!(epochs(&dropped.rotate(&mut entropy).unwrap()), (vec![1, 3, 4], vec![2, 3, 4]));
    assert_eq!(epochs(&third), (vec![1, 2, 3], vec![1, 2, 3]), "the old keyring stays as it was");
}

/// A keyring of [`KEYRING_EPOCHS_MAX`] epochs of each kind.
fn full() -> Keyring {
    let mut entropy = Counter(0);
    let mut full = keyring();
    for _ in 1..KEYRING_EPOCHS_MAX {
        full = full.rotate(&mut entropy).unwrap();
    }
    full
}

#[test]
fn a_keyring_full_of_barrier_epochs_refuses_to_rotate_until_one_is_dropped() {
    let mut entropy = Counter(0);
    let full = full();
    assert_eq!(full.rotate(&mut entropy).err(), Some(KeyringFull));
    let decoded = Keyring::decode(full.encode().expose()).unwrap();
    assert_eq!(epochs(&decoded).0.len(), KEYRING_EPOCHS_MAX);
    let full = full.drop_audit_epoch(BarrierEpoch(7)).ok().unwrap();
    assert_eq!(full.rotate(&mut entropy).err(), Some(KeyringFull), "barrier keys are still full");
    let room = full.drop_barrier_epoch(BarrierEpoch(5)).ok().unwrap();
    let rotated = room.rotate(&mut entropy).unwrap();
    assert_eq!(rotated.barrier_epoch(), BarrierEpoch(257));
    assert_eq!(rotated.audit_epoch(), BarrierEpoch(257));
}

#[test]
fn the_barrier_rotates_alone_while_audit_keys_are_full() {
    let mut entropy = Counter(0);
    let mut keyring = full();
    for epoch in 257..260 {
        keyring = keyring.drop_barrier_epoch(BarrierEpoch(epoch - 256)).ok().unwrap();
        let newest = *keyring.audit[&BarrierEpoch(256)].expose();
        keyring = keyring.rotate(&mut entropy).unwrap();
        assert_eq!(keyring.barrier_epoch(), BarrierEpoch(epoch));
        assert_eq!(keyring.audit_epoch(), BarrierEpoch(256));
        assert_eq!(keyring.audit.len(), KEYRING_EPOCHS_MAX);
        assert_eq!(keyring.audit[&BarrierEpoch(256)].expose(), &newest, "it goes on");
    }
    let decoded = Keyring::decode(keyring.encode().expose()).unwrap();
    assert_eq!(epochs(&decoded), epochs(&keyring));
    let keyring = keyring.drop_barrier_epoch(BarrierEpoch(4)).ok().unwrap();
    let keyring = keyring.drop_audit_epoch(BarrierEpoch(1)).ok().unwrap();
    let rotated = keyring.rotate(&mut entropy).unwrap();
    assert_eq!((rotated.barrier_epoch().0, rotated.audit_epoch().0), (260, 257), "room again");
}

#[test]
fn plaintext_bytes_are_read_exactly_or_not_at_all() {
    let encoded = keyring().rotate(&mut Counter(100)).unwrap().encode();
    let bytes = encoded.expose();
    assert_eq!(bytes.len(), 1 + 4 + 2 * 36 + 4 + 2 * 36 + 64);
    let again = Keyring::decode(bytes).unwrap().encode();
    assert_eq!(again.expose(), bytes);
    for len in 0..bytes.len() {
        assert!(Keyring::decode(&bytes[..len]).is_none(), "{len} bytes");
    }
    assert!(Keyring::decode(&[bytes, &[0]].concat()).is_none());
    let changed = |at: usize, byte: u8| {
        let mut other = bytes.to_vec();
        other[at] = byte;
        Keyring::decode(&other)
    };
    assert!(changed(0, 0x52).is_none(), "another format");
    assert!(changed(4, 0).is_none(), "no barrier key");
    assert!(changed(4, 3).is_none(), "more barrier keys than there are");
    assert!(changed(2, 1).is_none(), "more barrier keys than a keyring may hold");
    assert!(changed(8, 0).is_none(), "epoch zero");
    assert!(changed(8, 2).is_none(), "an epoch twice");
    assert!(changed(8, 3).is_none(), "epochs out of order");
}

#[test]
fn every_key_is_a_key_of_its_own() {
    let keyring = keyring().rotate(&mut Counter(100)).unwrap();
    let keys = [
        keyring.barrier[&BarrierEpoch(1)].expose(),
        keyring.barrier[&BarrierEpoch(2)].expose(),
        keyring.audit[&BarrierEpoch(1)].expose(),
        keyring.audit[&BarrierEpoch(2)].expose(),
        keyring.index.expose(),
        keyring.batch.expose(),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(key), "key {at}");
    }
}
