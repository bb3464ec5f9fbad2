//! Laws of the leaf: one encoding each, frozen, and no other is taken.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, fs, path::Path};

use proptest::prelude::*;
use strongroom_audit::{
    Commitments, Detail, FURTHER_KEYS_MAX, Fact, FactName, Kind, Leaf, LeafError, LeafIndexes,
    LeafOutcome, Operation, Reason,
};
use strongroom_base::{AttemptId, KeyId, KeyVersion, NodeId, PrincipalId, UnixMillis, limits};

/// The leaves behind the frozen vectors, by name.
fn frozen() -> Vec<(&'static str, Leaf)> {
    let data_key = Leaf {
        kind: Kind::Use,
        operation: Operation::GenerateDataKey,
        outcome: LeafOutcome::Success,
        attempt: AttemptId::from_bytes([0x11; 16]),
        principal: Some(PrincipalId::from_bytes([0x22; 16])),
        key: Some(KeyId::from_bytes([0x33; 16])),
        key_version: Some(KeyVersion(1)),
        node: NodeId::new(3).unwrap(),
        boot_count: 4,
        node_time: UnixMillis(1_795_400_000_123),
        item_count: 0,
        further_keys: Vec::new(),
        commitments: Some(Commitments {
            context: [0x44; 32],
            source_address: [0x55; 32],
            principal_name: [0x66; 32],
            request_id: [0x77; 32],
        }),
        detail: Detail::default(),
    };
    let batch = Leaf {
        operation: Operation::DecryptBatch,
        outcome: LeafOutcome::Refused(Reason::KeyDisabled),
        item_count: 256,
        further_keys: vec![KeyId::from_bytes([0x01; 16]), KeyId::from_bytes([0x34; 16])],
        ..data_key.clone()
    };
    let share = Leaf {
        kind: Kind::Ceremony,
        operation: Operation::SubmitShare,
        principal: None,
        key: None,
        key_version: None,
        commitments: None,
        detail: Detail::new(vec![
            Fact::Number(FactName::ShareIndex, 2),
            Fact::Number(FactName::Progress, 1),
            Fact::Number(FactName::Threshold, 3),
            Fact::Id(FactName::Cluster, [0x88; 16]),
        ])
        .unwrap(),
        ..data_key.clone()
    };
    vec![("data_key", data_key), ("decrypt_batch_refused", batch), ("share", share)]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn frozen_leaves_are_written_and_read_as_ever() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/leaf");
    let files: BTreeSet<String> = fs::read_dir(&directory)
        .unwrap()
        .map(|file| file.unwrap().file_name().into_string().unwrap())
        .collect();
    let names: BTreeSet<String> = frozen().iter().map(|(name, _)| format!("{name}.hex")).collect();
    assert_eq!(files, names);
    for (name, leaf) in frozen() {
        let bytes = leaf.encode().unwrap();
        let vector = fs::read_to_string(directory.join(format!("{name}.hex"))).unwrap();
        assert_eq!(hex(&bytes), vector.split_whitespace().collect::<String>(), "{name}");
        assert_eq!(Leaf::decode(&bytes), Ok(leaf), "{name}");
    }
}

#[test]
fn leaves_that_would_read_otherwise_are_not_written() {
    let (_, leaf) = frozen().remove(1);
    let keys =
        |count: u8| (1..=count).map(|byte| KeyId::from_bytes([byte; 16])).collect::<Vec<_>>();
    let (further, zeros) = (LeafError::FurtherKeys, KeyId::from_bytes([0; 16]));
    for (changed, error) in [
        (Leaf { further_keys: keys(255), ..leaf.clone() }, further),
        (Leaf { further_keys: vec![keys(1)[0]; 2], ..leaf.clone() }, further),
        (Leaf { further_keys: keys(2).into_iter().rev().collect(), ..leaf.clone() }, further),
        (Leaf { further_keys: vec![leaf.key.unwrap()], ..leaf.clone() }, further),
        (Leaf { further_keys: vec![zeros], ..leaf.clone() }, further),
        (Leaf { further_keys: vec![zeros, keys(1)[0]], ..leaf.clone() }, further),
        (Leaf { further_keys: vec![zeros], key: None, ..leaf.clone() }, further),
        (
            Leaf { principal: Some(PrincipalId::from_bytes([0; 16])), ..leaf.clone() },
            LeafError::Field("principal"),
        ),
        (Leaf { key: Some(KeyId::from_bytes([0; 16])), ..leaf.clone() }, LeafError::Field("key")),
        (
            Leaf { key_version: Some(KeyVersion(0)), ..leaf.clone() },
            LeafError::Field("key version"),
        ),
        (Leaf { node_time: UnixMillis(u64::MAX), ..leaf.clone() }, LeafError::Field("node time")),
    ] {
        assert_eq!(changed.encode(), Err(error));
    }
}

#[test]
fn zeros_among_the_further_keys_are_not_read_whether_there_is_a_first_key_or_not() {
    let (_, leaf) = frozen().remove(1);
    for key in [leaf.key, None] {
        let mut bytes = Leaf { key, ..leaf.clone() }.encode().unwrap();
        // The first of the further keys, right behind the header.
        bytes[92..108].fill(0);
        assert_eq!(LeafIndexes::parse(&bytes), Err(LeafError::FurtherKeys));
        assert_eq!(Leaf::decode(&bytes), Err(LeafError::FurtherKeys));
    }
}

#[test]
fn the_largest_leaf_fits_its_bound() {
    let (_, leaf) = frozen().remove(0);
    let key = |number: usize| KeyId::from_bytes((number as u128).to_be_bytes());
    let numbers = FactName::ALL.iter().filter(|name| (**name as u8) < 128);
    let leaf = Leaf {
        further_keys: (1..=FURTHER_KEYS_MAX).map(key).collect(),
        detail: Detail::new(numbers.map(|name| Fact::Number(*name, 1)).collect()).unwrap(),
        ..leaf
    };
    let bytes = leaf.encode().unwrap();
    assert!(bytes.len() <= limits::LEAF_BYTES_MAX);
    assert!(bytes.len() + 16 + Detail::BYTES_MAX > limits::LEAF_BYTES_MAX);
    assert_eq!(LeafIndexes::parse(&bytes).unwrap().keys().count(), 1 + FURTHER_KEYS_MAX);
}

#[test]
fn look_ups_do_not_depend_on_what_operations_are_known() {
    let (_, leaf) = frozen().remove(1);
    let bytes = leaf.encode().unwrap();
    let indexes = LeafIndexes::parse(&bytes).unwrap();
    let mut newer = bytes.clone();
    newer[2..4].copy_from_slice(&u16::MAX.to_be_bytes());
    assert_eq!(Leaf::decode(&newer), Err(LeafError::Operation(u16::MAX)));
    assert_eq!(LeafIndexes::parse(&newer), Ok(indexes));
    let mut newer = bytes.clone();
    newer[5..7].copy_from_slice(&u16::MAX.to_be_bytes());
    assert_eq!(Leaf::decode(&newer), Err(LeafError::Reason(u16::MAX)));
    assert_eq!(LeafIndexes::parse(&newer), Ok(indexes));
    assert_eq!(indexes.principal, leaf.principal);
    let keys = [leaf.key.unwrap(), leaf.further_keys[0], leaf.further_keys[1]];
    assert_eq!(indexes.keys().collect::<Vec<_>>(), keys);
}

/// Any 16 bytes that stand for an id.
fn id() -> impl Strategy<Value = [u8; 16]> {
    any::<[u8; 16]>().prop_filter("zeros stand for none", |id| *id != [0; 16])
}

fn detail() -> impl Strategy<Value = Detail> {
    let names = prop::sample::subsequence(FactName::ALL.to_vec(), 0..=FactName::ALL.len());
    (names, any::<u64>(), any::<[u8; 16]>()).prop_map(|(names, number, id)| {
        let fact = |name: FactName| match name as u8 {
            ..128 => Fact::Number(name, number),
            128.. => Fact::Id(name, id),
        };
        Detail::new(names.into_iter().map(fact).collect()).unwrap()
    })
}

prop_compose! {
    fn leaf()(
        kind in prop::sample::select(
            vec![Kind::Use, Kind::Denial, Kind::Administration, Kind::Ceremony],
        ),
        operation in prop::sample::select(Operation::ALL),
        reason in prop::option::of(prop::sample::select(Reason::ALL)),
        attempt in any::<[u8; 16]>(),
        principal in prop::option::of(id()),
        keys in prop::option::of((id(), prop::collection::btree_set(id(), 0..4))),
        key_version in prop::option::of(1..=u32::MAX),
        node in 1..=u64::from(u32::MAX),
        (boot_count, node_time) in (any::<u64>(), 0..=UnixMillis::MAX.0),
        item_count in any::<u32>(),
        commitments in prop::option::of(any::<[[u8; 32]; 4]>()),
        detail in detail(),
    ) -> Leaf {
        let (key, mut further) = keys.unzip();
        if let (Some(key), Some(further)) = (&key, &mut further) {
            further.remove(key);
        }
        Leaf {
            kind,
            operation,
            outcome: reason.map_or(LeafOutcome::Success, LeafOutcome::Refused),
            attempt: AttemptId::from_bytes(attempt),
            principal: principal.map(PrincipalId::from_bytes),
            key: key.map(KeyId::from_bytes),
            key_version: key_version.map(KeyVersion),
            node: NodeId::new(node).unwrap(),
            boot_count,
            node_time: UnixMillis(node_time),
            item_count,
            further_keys: further.into_iter().flatten().map(KeyId::from_bytes).collect(),
            commitments: commitments.map(|[context, source_address, principal_name, request_id]| {
                Commitments { context, source_address, principal_name, request_id }
            }),
            detail,
        }
    }
}

/// What may befall an encoding. Whole ids and few bits, so that much of what comes
/// of it is a leaf again.
#[derive(Clone, Debug)]
enum Edit {
    Flip(prop::sample::Index, u8),
    Overwrite(prop::sample::Index, [u8; 16]),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
}

impl Edit {
    fn apply(self, bytes: &mut Vec<u8>) {
        // Never empty: a leaf is longer than what its edits remove.
        let len = bytes.len();
        match self {
            Self::Flip(at, bit) => bytes[at.index(len)] ^= 1_u8 << bit,
            Self::Overwrite(at, with) => {
                let at = at.index(len);
                let end = len.min(at + with.len());
                bytes[at..end].copy_from_slice(&with[..end - at]);
            }
            Self::Insert(at, more) => {
                let at = at.index(len);
                bytes.splice(at..at, more);
            }
            Self::Remove(at, count) => {
                let at = at.index(len);
                bytes.drain(at..len.min(at + count));
            }
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), 0..8_u8).prop_map(|(at, bit)| Edit::Flip(at, bit)),
        4 => (at(), any::<[u8; 16]>()).prop_map(|(at, with)| Edit::Overwrite(at, with)),
        1 => (at(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(at, more)| Edit::Insert(at, more)),
        1 => (at(), 1..20_usize).prop_map(|(at, count)| Edit::Remove(at, count)),
    ]
}

proptest! {
    #[test]
    fn edited_bytes_are_refused_or_are_the_one_encoding(
        leaf in leaf(),
        edits in prop::collection::vec(edit(), 0..4),
    ) {
        let mut bytes = leaf.encode().unwrap();
        edits.into_iter().for_each(|edit| edit.apply(&mut bytes));
        if let Ok(leaf) = Leaf::decode(&bytes) {
            prop_assert_eq!(leaf.encode(), Ok(bytes));
        }
    }

    #[test]
    fn a_changed_leaf_is_refused_or_another_leaf(
        leaf in leaf(),
        position in any::<prop::sample::Index>(),
        value in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let bytes = leaf.encode().unwrap();
        prop_assert_eq!(Leaf::decode(&bytes), Ok(leaf.clone()));
        let mut changed = bytes.clone();
        changed[position.index(bytes.len())] = value;
        if let Ok(other) = Leaf::decode(&changed) {
            prop_assert_eq!(other == leaf, changed == bytes);
            prop_assert_eq!(other.encode(), Ok(changed));
        }
        prop_assert!(Leaf::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }
}
