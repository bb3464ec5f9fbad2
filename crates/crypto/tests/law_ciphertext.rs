//! Laws of rows, audit bodies, keyring records and blobs: what was encrypted
//! comes back at its own place, and nothing else does.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::{prelude::*, sample::Index};
use strongroom_base::{
    BarrierEpoch, ClusterId, HistoryId, KeyId, KeyVersion, Revision, SealEpoch,
    limits::{BLOB_BYTES_MAX, PLAINTEXT_BYTES_MAX},
};
use strongroom_crypto::{
    AuditKey, BLOB_OVERHEAD_BYTES, BarrierKey, BlobHeader, BlobKey, Context, InvalidCiphertext,
    KeyringAddress, KeyringError, MaterialKey, Nonces, OpenError, PlaintextTooLong, RootKey,
    RowAddress, SEALED_OVERHEAD_BYTES, TAG_BYTES, body_epoch, decrypt_blob, encrypt_blob,
    open_body, open_row, row_epoch, row_tag, seal_body, seal_row, unwrap_keyring, wrap_keyring,
};

type Seed = ([u8; 32], [u8; 16], [u8; 12]);

fn nonces(seed: &Seed) -> Nonces {
    Nonces { n: seed.1, iv: seed.2 }
}

fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..=max)
}

fn flipped(bytes: &[u8], at: Index) -> Vec<u8> {
    let bit = at.index(bytes.len() * 8);
    let mut other = bytes.to_vec();
    other[bit / 8] ^= 1 << (bit % 8);
    other
}

fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    proptest::collection::btree_map(".{0,12}", ".{0,20}", 0..8)
        .prop_map(|map| map.into_iter().collect::<Vec<_>>())
}

/// A place, and another one that differs in exactly one part.
#[derive(Clone, Debug)]
struct Place {
    history: [u8; 16],
    table: u32,
    row_id: Vec<u8>,
    revision: u64,
}

impl Place {
    fn address(&self) -> RowAddress<'_> {
        let history = HistoryId::from_bytes(self.history);
        RowAddress { history, table: self.table, row_id: &self.row_id }
    }

    fn neighbours(&self) -> [Self; 6] {
        let change = |change: fn(&mut Self)| {
            let mut other = self.clone();
            change(&mut other);
            other
        };
        [
            change(|place| place.history[15] ^= 1),
            change(|place| place.table ^= 1),
            change(|place| place.row_id.push(0)),
            change(|place| place.row_id.insert(0, 0)),
            change(|place| place.revision ^= 1),
            change(|place| place.revision ^= 1 << 63),
        ]
    }
}

fn place() -> impl Strategy<Value = Place> {
    (any::<[u8; 16]>(), any::<u32>(), bytes(64), any::<u64>())
        .prop_map(|(history, table, row_id, revision)| Place { history, table, row_id, revision })
}

proptest! {
    #[test]
    fn a_row_opens_at_its_own_place_and_revision_only(
        seed: Seed, other_key: [u8; 32], epoch: u32, place in place(), text in bytes(600),
        at: Index,
    ) {
        let key = BarrierKey::init_with(|key| *key = seed.0);
        let (epoch, revision) = (BarrierEpoch(epoch), Revision(place.revision));
        let row = seal_row(&key, epoch, nonces(&seed), &place.address(), revision, &text);
        prop_assert_eq!(row.len(), text.len() + SEALED_OVERHEAD_BYTES);
        for other in place.neighbours() {
            let outcome = open_row(&key, &other.address(), Revision(other.revision), &row);
            prop_assert_eq!(outcome.err(), Some(OpenError::NotAuthentic));
        }
        let open = |key: &BarrierKey, row: &[u8]| open_row(key, &place.address(), revision, row);
        prop_assert!(open(&key, &flipped(&row, at)).is_err());
        prop_assert!(open(&key, &row[..at.index(row.len())]).is_err());
        prop_assert!(open(&key, &[&row[..], &[0]].concat()).is_err());
        let wrong = BarrierKey::init_with(|key| *key = other_key);
        prop_assert_eq!(open(&wrong, &row).err(), Some(OpenError::NotAuthentic));
        let opened = open(&key, &row).unwrap_or_else(|error| panic!("{error}"));
        prop_assert_eq!(opened.expose(), &text[..]);
        prop_assert_eq!(row_epoch(&row), Ok(epoch));
        prop_assert_eq!(&row_tag(&row).unwrap()[..], &row[row.len() - TAG_BYTES..]);
    }

    #[test]
    fn a_body_opens_for_its_own_leaf_only(
        seed: Seed, epoch: u32, history: [u8; 16], leaf: [u8; 32], text in bytes(600), at: Index,
    ) {
        let key = AuditKey::init_with(|key| *key = seed.0);
        let history = HistoryId::from_bytes(history);
        let body = seal_body(&key, BarrierEpoch(epoch), nonces(&seed), history, &leaf, &text);
        let other_leaf: [u8; 32] = flipped(&leaf, at).try_into().unwrap();
        let moved = open_body(&key, history, &other_leaf, &body).err();
        prop_assert_eq!(moved, Some(OpenError::NotAuthentic));
        let other = HistoryId::from_slice(&flipped(history.as_bytes(), at)).unwrap();
        let moved = open_body(&key, other, &leaf, &body).err();
        prop_assert_eq!(moved, Some(OpenError::NotAuthentic));
        prop_assert!(open_body(&key, history, &leaf, &flipped(&body, at)).is_err());
        prop_assert!(open_body(&key, history, &leaf, &body[..at.index(body.len())]).is_err());
        let opened = open_body(&key, history, &leaf, &body);
        let opened = opened.unwrap_or_else(|error| panic!("{error}"));
        prop_assert_eq!(opened.expose(), &text[..]);
        prop_assert_eq!(body_epoch(&body), Ok(BarrierEpoch(epoch)));
    }

    #[test]
    fn a_row_is_no_body_and_a_body_no_row_even_under_equal_keys(
        seed: Seed, place in place(), leaf: [u8; 32], text in bytes(60),
    ) {
        let barrier = BarrierKey::init_with(|key| *key = seed.0);
        let audit = AuditKey::init_with(|key| *key = seed.0);
        let (address, revision) = (place.address(), Revision(place.revision));
        let row = seal_row(&barrier, BarrierEpoch(1), nonces(&seed), &address, revision, &text);
        let body =
            seal_body(&audit, BarrierEpoch(1), nonces(&seed), address.history, &leaf, &text);
        prop_assert_eq!(body_epoch(&row), Err(OpenError::UnsupportedFormat { format: row[0] }));
        prop_assert_eq!(row_epoch(&body), Err(OpenError::UnsupportedFormat { format: body[0] }));
        // The same nonces under the same key, and yet other ciphertext: the
        // label is part of the derivation.
        prop_assume!(text.len() >= 8);
        prop_assert_ne!(&row[33..33 + text.len()], &body[33..33 + text.len()]);
    }

    #[test]
    fn a_keyring_record_opens_whole_or_not_at_all(
        seed: Seed, epoch: u64, revision: u64, text in bytes(600), at: Index,
    ) {
        let root = RootKey::init_with(|key| *key = seed.0);
        let address = KeyringAddress {
            cluster: ClusterId::from_bytes([1; 16]),
            seal_epoch: SealEpoch(epoch),
            revision: Revision(revision),
        };
        let record = wrap_keyring(&root, &address, nonces(&seed), &text);
        prop_assert!(unwrap_keyring(&root, &address, &flipped(&record, at)).is_err());
        let short = unwrap_keyring(&root, &address, &record[..at.index(record.len())]).err();
        let named = matches!(short, Some(KeyringError::Malformed | KeyringError::NotAuthentic));
        prop_assert!(named, "{:?}", short);
        let opened = unwrap_keyring(&root, &address, &record);
        let opened = opened.unwrap_or_else(|error| panic!("{error}"));
        prop_assert_eq!(opened.expose(), &text[..]);
    }

    #[test]
    fn a_blob_decrypts_under_its_own_key_and_context_only(
        seed: Seed, key_id: [u8; 16], version: u32, pairs in pairs(), text in bytes(600), at: Index,
    ) {
        let material = MaterialKey::init_with(|key| *key = seed.0);
        let key = BlobKey { key_id: KeyId::from_bytes(key_id), version: KeyVersion(version) };
        let context = Context::new(pairs.clone()).unwrap();
        let blob = encrypt_blob(&material, key, nonces(&seed), &context, &text).unwrap();
        prop_assert_eq!(blob.len(), text.len() + BLOB_OVERHEAD_BYTES);
        let refused = Some(InvalidCiphertext);
        prop_assert_eq!(decrypt_blob(&material, &context, &flipped(&blob, at)).err(), refused);
        let short = &blob[..at.index(blob.len())];
        prop_assert_eq!(decrypt_blob(&material, &context, short).err(), refused);
        let other: [u8; 32] = flipped(&seed.0, at).try_into().unwrap();
        let other = MaterialKey::init_with(|key| *key = other);
        prop_assert_eq!(decrypt_blob(&other, &context, &blob).err(), refused);
        let mut more = pairs.clone();
        more.push(("one key more than 12 characters".to_owned(), String::new()));
        let more = Context::new(more).unwrap();
        prop_assert_eq!(decrypt_blob(&material, &more, &blob).err(), refused);

        let header = BlobHeader::parse(&blob).unwrap();
        prop_assert_eq!((header.key, header.n, header.iv), (key, seed.1, seed.2));
        let plaintext = decrypt_blob(&material, &context, &blob);
        let plaintext = plaintext.unwrap_or_else(|error| panic!("{error}"));
        prop_assert_eq!(plaintext.expose(), &text[..]);
    }

    #[test]
    fn a_context_is_the_same_in_any_order_and_another_with_any_other_pair(
        (given, shuffled) in pairs().prop_flat_map(|p| (Just(p.clone()), Just(p).prop_shuffle())),
        at: Index,
    ) {
        let context = Context::new(given.clone()).unwrap();
        prop_assert_eq!(&Context::new(shuffled).unwrap(), &context);
        prop_assume!(!given.is_empty());
        let at = at.index(given.len());
        let mut swapped = given.clone();
        let (key, value) = swapped[at].clone();
        swapped[at] = (value.clone(), key.clone());
        if let Ok(swapped) = Context::new(swapped) {
            prop_assert_eq!(key == value, swapped.canonical_bytes() == context.canonical_bytes());
        }
        let mut fewer = given;
        fewer.remove(at);
        let fewer = Context::new(fewer).unwrap();
        prop_assert_ne!(fewer.canonical_bytes(), context.canonical_bytes());
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(
        junk in bytes(200), format in proptest::sample::select(&[0x11, 0x21, 0x31, 0x71][..]),
    ) {
        let mut junk = junk;
        if let Some(first) = junk.first_mut() {
            *first = format;
        }
        let place = Place { history: [0; 16], table: 0, row_id: vec![], revision: 0 };
        let barrier = BarrierKey::init_with(|_| ());
        prop_assert!(open_row(&barrier, &place.address(), Revision(0), &junk).is_err());
        let audit = AuditKey::init_with(|_| ());
        prop_assert!(open_body(&audit, place.address().history, &[0; 32], &junk).is_err());
        let address = KeyringAddress {
            cluster: ClusterId::from_bytes([0; 16]),
            seal_epoch: SealEpoch(0),
            revision: Revision(0),
        };
        prop_assert!(unwrap_keyring(&RootKey::init_with(|_| ()), &address, &junk).is_err());
        let material = MaterialKey::init_with(|_| ());
        prop_assert!(decrypt_blob(&material, &Context::default(), &junk).is_err());
    }
}

#[test]
fn a_plaintext_beyond_the_bound_is_refused_and_the_largest_fits_in_a_blob() {
    let material = MaterialKey::init_with(|key| key.fill(1));
    let key = BlobKey { key_id: KeyId::from_bytes([2; 16]), version: KeyVersion::FIRST };
    let encrypt = |len| {
        let nonces = Nonces { n: [3; 16], iv: [4; 12] };
        encrypt_blob(&material, key, nonces, &Context::default(), &vec![5; len])
    };
    assert_eq!(encrypt(PLAINTEXT_BYTES_MAX + 1), Err(PlaintextTooLong));
    let blob = encrypt(PLAINTEXT_BYTES_MAX).unwrap();
    assert!(blob.len() <= BLOB_BYTES_MAX);
    assert!(decrypt_blob(&material, &Context::default(), &blob).is_ok());
    assert_eq!(BlobHeader::parse(&vec![0x71; BLOB_BYTES_MAX + 1]), Err(InvalidCiphertext));
    let mut other_suite = blob;
    other_suite[1] = 2;
    assert_eq!(BlobHeader::parse(&other_suite), Err(InvalidCiphertext));
}
