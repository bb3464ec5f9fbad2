//! Frozen vectors: bytes of every format, as they must stay for ever.
//!
//! Each file under `testdata/` names its kind; a file of an unknown kind fails,
//! and so does a kind without a file. Shares are drawn at random, so theirs are
//! read and combined, never made.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, fs, path::Path};

use data_encoding::HEXLOWER;
use serde::Deserialize;
use serde_json::Value;
use strongroom_base::{BarrierEpoch, ClusterId, HistoryId, KeyId, KeyVersion, Revision, SealEpoch};
use strongroom_crypto::{
    AuditKey, BarrierKey, BatchKey, BlobHeader, BlobKey, Context, Entropy, IndexKey, KeyMaterial,
    KeyringAddress, MaterialKey, Nonces, RootKey, RowAddress, Share, TokenSecret, batch_mac,
    combine, commit, decrypt_blob, encrypt_blob, name_row_id, open_body, open_row, seal_body,
    seal_row, token_row_id, unwrap_keyring, verify_batch_mac, wrap_keyring,
};

#[derive(Deserialize)]
struct File {
    kind: String,
    cases: Vec<Case>,
}

/// One case: named values, read by [`Case`]'s methods.
#[derive(Deserialize)]
#[serde(transparent)]
struct Case(Value);

impl Case {
    fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("no text {name:?}"))
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        HEXLOWER.decode(self.text(name).as_bytes()).unwrap()
    }

    fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap_or_else(|_| panic!("{name:?} has another length"))
    }

    fn u32(&self, name: &str) -> u32 {
        self.0[name].as_u64().unwrap().try_into().unwrap()
    }

    /// 64-bit numbers stand in quotes: JSON readers round them otherwise.
    fn u64(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap()
    }

    fn context(&self, name: &str) -> Context {
        let pairs: Vec<(String, String)> = serde_json::from_value(self.0[name].clone()).unwrap();
        Context::new(pairs).unwrap()
    }

    fn nonces(&self) -> Nonces {
        Nonces { n: self.array("n"), iv: self.array("iv") }
    }
}

type Check = fn(&Case);

#[test]
fn bytes_of_every_format_are_what_they_were() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let kinds: [(&str, Check); 11] = [
        ("audit-body", audit_body),
        ("batch-mac", batch),
        ("blob", blob),
        ("commitment", commitment),
        ("context", context),
        ("index", index),
        ("keyring-record", keyring_record),
        ("material", material),
        ("sealed-row", sealed_row),
        ("share", share),
        ("token", token),
    ];
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let file: File = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let kind = kinds.iter().find(|(kind, _)| *kind == file.kind);
        let (kind, check) = kind.unwrap_or_else(|| panic!("{} is of no kind", path.display()));
        assert!(!file.cases.is_empty(), "{} has no case", path.display());
        file.cases.iter().for_each(check);
        seen.insert(*kind);
    }
    assert_eq!(seen.len(), kinds.len(), "a kind has no vectors: {seen:?}");
}

fn sealed_row(case: &Case) {
    let key = BarrierKey::init_with(|key| *key = case.array("key"));
    let row_id = case.bytes("row_id");
    let address = RowAddress {
        history: HistoryId::from_bytes(case.array("history")),
        table: case.u32("table"),
        row_id: &row_id,
    };
    let (epoch, revision) = (BarrierEpoch(case.u32("epoch")), Revision(case.u64("revision")));
    let (plaintext, sealed) = (case.bytes("plaintext"), case.bytes("sealed"));
    assert_eq!(seal_row(&key, epoch, case.nonces(), &address, revision, &plaintext), sealed);
    assert_eq!(open_row(&key, &address, revision, &sealed).ok().unwrap().expose(), plaintext);
}

fn audit_body(case: &Case) {
    let key = AuditKey::init_with(|key| *key = case.array("key"));
    let history = HistoryId::from_bytes(case.array("history"));
    let leaf = case.array("leaf_digest");
    let (plaintext, sealed) = (case.bytes("plaintext"), case.bytes("sealed"));
    let epoch = BarrierEpoch(case.u32("epoch"));
    assert_eq!(seal_body(&key, epoch, case.nonces(), history, &leaf, &plaintext), sealed);
    assert_eq!(open_body(&key, history, &leaf, &sealed).ok().unwrap().expose(), plaintext);
}

fn keyring_record(case: &Case) {
    let root = RootKey::init_with(|key| *key = case.array("root"));
    let address = KeyringAddress {
        cluster: ClusterId::from_bytes(case.array("cluster")),
        seal_epoch: SealEpoch(case.u64("seal_epoch")),
        revision: Revision(case.u64("revision")),
    };
    let (plaintext, record) = (case.bytes("plaintext"), case.bytes("record"));
    assert_eq!(wrap_keyring(&root, &address, case.nonces(), &plaintext), record);
    assert_eq!(unwrap_keyring(&root, &address, &record).ok().unwrap().expose(), plaintext);
}

fn blob(case: &Case) {
    let material = MaterialKey::init_with(|key| *key = case.array("material"));
    let key = BlobKey {
        key_id: KeyId::from_bytes(case.array("key_id")),
        version: KeyVersion(case.u32("version")),
    };
    let context = case.context("context");
    let (plaintext, blob) = (case.bytes("plaintext"), case.bytes("blob"));
    assert_eq!(encrypt_blob(&material, key, case.nonces(), &context, &plaintext).unwrap(), blob);
    assert_eq!(BlobHeader::parse(&blob).unwrap().key, key);
    assert_eq!(decrypt_blob(&material, &context, &blob).ok().unwrap().expose(), plaintext);
}

fn context(case: &Case) {
    assert_eq!(case.context("pairs").canonical_bytes(), case.bytes("canonical"));
}

fn material(case: &Case) {
    let material = KeyMaterial::from_key(MaterialKey::init_with(|key| *key = case.array("key")));
    assert_eq!(material.id().0, case.array("material_id"));
    assert_eq!(material.encode().expose(), case.bytes("plaintext"));
    assert_eq!(KeyMaterial::decode(&case.bytes("plaintext")).ok().unwrap().id(), material.id());
}

fn index(case: &Case) {
    let key = IndexKey::init_with(|key| *key = case.array("key"));
    let row_id = name_row_id(&key, case.u32("table"), &case.bytes("name"));
    assert_eq!(row_id, case.array("name_row_id"));
    let token = TokenSecret::generate(&mut Given(case.bytes("token")));
    assert_eq!(token_row_id(&key, &token), case.array("token_row_id"));
}

fn batch(case: &Case) {
    let key = BatchKey::init_with(|key| *key = case.array("key"));
    assert_eq!(batch_mac(&key, &case.bytes("batch")), case.array("mac"));
    assert_eq!(verify_batch_mac(&key, &case.bytes("batch"), &case.bytes("mac")), Ok(()));
}

fn commitment(case: &Case) {
    assert_eq!(commit(&case.array("salt"), &case.bytes("value")), case.array("commitment"));
}

fn token(case: &Case) {
    let token = TokenSecret::generate(&mut Given(case.bytes("secret")));
    assert_eq!(token.expose_text().expose(), case.text("text"));
    let parsed = TokenSecret::parse(case.text("text")).unwrap();
    assert_eq!(parsed.expose(), token.expose());
}

fn share(case: &Case) {
    let listed: Vec<Case> = serde_json::from_value(case.0["shares"].clone()).unwrap();
    let mut shares = Vec::new();
    for listed in &listed {
        let share = Share::parse(listed.text("text")).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(u32::from(share.index()), listed.u32("index"));
        assert_eq!(share.cluster(), ClusterId::from_bytes(case.array("cluster")));
        assert_eq!(share.seal_epoch(), SealEpoch(case.u64("seal_epoch")));
        assert_eq!(u32::from(share.scheme().shares()), case.u32("shares_made"));
        assert_eq!(u32::from(share.scheme().threshold()), case.u32("threshold"));
        assert_eq!(share.digest(), listed.array("digest"));
        assert_eq!(share.expose_text().expose(), listed.text("text"));
        shares.push(share);
    }
    assert_eq!(shares.len(), case.u32("shares_made") as usize);
    // Every run of neighbours that reaches the threshold.
    for quorum in shares.windows(case.u32("threshold") as usize) {
        let root = combine(quorum).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(root.expose(), &case.array("root"));
    }
}

/// Entropy that gives exactly the bytes of a vector.
struct Given(Vec<u8>);

impl Entropy for Given {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.0);
    }
}
