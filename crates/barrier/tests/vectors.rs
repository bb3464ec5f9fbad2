//! A frozen keyring record: what was wrapped once must open for ever.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::{fs, path::Path};

use data_encoding::HEXLOWER;
use serde_json::Value;
use strongroom_barrier::{Keyring, KeyringAddress, Nonces, RootKey, RowAddress};
use strongroom_base::{ClusterId, HistoryId, Revision, SealEpoch};

fn bytes(case: &Value, name: &str) -> Vec<u8> {
    let text = case[name].as_str().unwrap_or_else(|| panic!("no text {name:?}"));
    HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn array<const N: usize>(case: &Value, name: &str) -> [u8; N] {
    bytes(case, name).try_into().unwrap()
}

fn number(case: &Value, name: &str) -> u64 {
    case[name].as_str().unwrap().parse().unwrap()
}

fn check(case: &Value) {
    let root = RootKey::init_with(|key| *key = array(case, "root"));
    let address = KeyringAddress {
        cluster: ClusterId::from_bytes(array(case, "cluster")),
        seal_epoch: SealEpoch(number(case, "seal_epoch")),
        revision: Revision(number(case, "revision")),
    };
    let record = bytes(case, "record");
    let keyring = Keyring::unwrap(&root, &address, &record).unwrap_or_else(|e| panic!("{e}"));
    let nonces = Nonces { n: array(case, "n"), iv: array(case, "iv") };
    assert_eq!(keyring.wrap(&root, &address, nonces), record);

    let barrier: Vec<u32> = keyring.barrier_epochs().map(|epoch| epoch.0).collect();
    let audit: Vec<u32> = keyring.audit_epochs().map(|epoch| epoch.0).collect();
    assert_eq!(Value::from(barrier), case["barrier_epochs"]);
    assert_eq!(Value::from(audit), case["audit_epochs"]);

    let history = HistoryId::from_bytes(array(case, "history"));
    for row in case["rows"].as_array().unwrap() {
        let row_id = bytes(row, "row_id");
        let table = row["table"].as_u64().unwrap().try_into().unwrap();
        let address = RowAddress { history, table, row_id: &row_id };
        let revision = Revision(number(row, "revision"));
        let opened = keyring.open_row(&address, revision, &bytes(row, "sealed")).ok().unwrap();
        assert_eq!(opened.expose(), bytes(row, "plaintext"));
    }
    for body in case["bodies"].as_array().unwrap() {
        let leaf = array(body, "leaf_digest");
        let opened = keyring.open_body(history, &leaf, &bytes(body, "sealed")).ok().unwrap();
        assert_eq!(opened.expose(), bytes(body, "plaintext"));
    }
    let table = case["table"].as_u64().unwrap().try_into().unwrap();
    assert_eq!(keyring.name_row_id(table, &bytes(case, "name")), array(case, "name_row_id"));
    assert_eq!(keyring.batch_mac(&bytes(case, "batch")), array(case, "batch_mac"));
}

#[test]
fn keyrings_wrapped_once_open_for_ever() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut cases = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let file: Value =
            serde_json::from_slice(&fs::read(entry.unwrap().path()).unwrap()).unwrap();
        assert_eq!(file["kind"], "keyring");
        for case in file["cases"].as_array().unwrap() {
            check(case);
            cases += 1;
        }
    }
    assert!(cases > 0, "no vectors");
}
