//! Every secret of a cluster that a test can come by.

use std::fs;

use data_encoding::{BASE64, BASE64URL_NOPAD};
use prost::Message as _;
use strongroom_base::{HistoryId, Revision};
use strongroom_crypto::{
    BarrierKey, KeyMaterial, KeyringAddress, RootKey, RowAddress, Share, combine, open_row,
    unwrap_keyring,
};
use strongroom_format::store::{ClusterRecord, KeyRow, PlainName};
use strongroom_state::{Table, layout};
use strongroom_testkit::{Cluster, Disk, Who, scan::Canary};

/// Tables of rows (crate `model`).
const KEYS: u8 = 1;
const MATERIALS: u8 = 2;

/// The 32 bytes in a token's text.
pub(super) fn token_bytes(text: &str) -> Vec<u8> {
    let body = text.strip_prefix("srt_").unwrap();
    BASE64URL_NOPAD.decode(body.as_bytes()).unwrap()[..32].to_vec()
}

/// The symbols of a share are five bits each.
fn share_bytes(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "0123456789abcdefghjkmnpqrstvwxyz";
    let symbols = text.strip_prefix("strongroom-share-").unwrap().replace('-', "");
    let bits = symbols.chars().flat_map(|symbol| {
        let value = ALPHABET.find(symbol).unwrap();
        (0..5).rev().map(move |bit| value >> bit & 1 == 1)
    });
    let bits: Vec<_> = bits.collect();
    bits.chunks_exact(8)
        .map(|byte| byte.iter().fold(0, |sum, bit| sum << 1 | u8::from(*bit)))
        .collect()
}

/// A share whose last symbol is another one.
pub(super) fn mistyped(text: &str) -> String {
    let (rest, last) = text.split_at(text.len() - 1);
    format!("{rest}{}", if last == "x" { "y" } else { "x" })
}

fn root_key(cluster: &Cluster) -> RootKey {
    let ceremony = cluster.ceremony();
    let shares = ceremony.enough().iter().map(|text| Share::parse(text).unwrap());
    combine(&shares.collect::<Vec<_>>()).unwrap()
}

/// What `init` gave, and the private keys of the certificates.
pub(super) fn of_ceremony(cluster: &Cluster) -> Vec<Canary> {
    let ceremony = cluster.ceremony();
    let token = &ceremony.administrator_token;
    let mut canaries = vec![
        Canary::new("the root key", root_key(cluster).expose()),
        Canary::new("the administrator's token", token.as_bytes()),
        Canary::new("the administrator's token", &token_bytes(token)),
        Canary::new("the init token", &ceremony.init_token),
    ];
    for text in &ceremony.shares {
        // What comes before is public: cluster, epoch, number of the share.
        let value = &share_bytes(text)[28 + 1..28 + 1 + 32];
        canaries.push(Canary::new("a share", value));
        canaries.push(Canary::new("a share", &text.as_bytes()[text.len() - 60..]));
    }
    for who in [Who::Node(1), Who::Node(2), Who::Node(3), Who::Client, Who::Operator] {
        let pem = fs::read_to_string(cluster.pki().files(who).key).unwrap();
        let body: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        let der = BASE64.decode(body.as_bytes()).unwrap();
        // PKCS #8 of a P-256 key: the scalar follows its version and length.
        let start = der.windows(5).position(|bytes| bytes == [2, 1, 1, 4, 32]).unwrap() + 5;
        canaries.push(Canary::new("a private key", &der[start..start + 32]));
        let line = pem.lines().nth(1).unwrap();
        canaries.push(Canary::new("a private key", line.as_bytes()));
    }
    canaries
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

fn number(bytes: &mut &[u8]) -> u32 {
    u32::from_be_bytes(take(bytes, 4).try_into().unwrap())
}

/// The root key, every key in the keyring, and every key's material.
pub(super) fn inside(cluster: &Cluster, disk: &Disk) -> Vec<Canary> {
    let root = root_key(cluster);
    let plain = disk.entries(Table::Plain).unwrap();
    let record = |name| {
        let key = layout::plain_key(name).unwrap();
        let (_, value) = plain.iter().find(|(found, _)| found[..] == key[..]).unwrap();
        let (revision, record) = value.split_first_chunk::<8>().unwrap();
        (Revision(u64::from_be_bytes(*revision)), record.to_vec())
    };
    let (revision, wrapped) = record(PlainName::Keyring);
    let (_, identity) = record(PlainName::Cluster);
    let identity = ClusterRecord::decode(identity.as_slice()).unwrap();
    let history = HistoryId::from_slice(&identity.history_id).unwrap();
    let address = KeyringAddress {
        cluster: cluster.pki().cluster(),
        seal_epoch: strongroom_base::SealEpoch(cluster.ceremony().seal_epoch),
        revision,
    };
    let keyring = unwrap_keyring(&root, &address, &wrapped).unwrap();
    let mut rest = &keyring.expose()[1..];
    let mut canaries = vec![Canary::new("the root key", root.expose())];
    let mut barrier = Vec::new();
    for name in ["a barrier key", "an audit key"] {
        for _ in 0..number(&mut rest) {
            let epoch = number(&mut rest);
            let key = take(&mut rest, 32);
            canaries.push(Canary::new(name, key));
            if name == "a barrier key" {
                barrier.push((epoch, BarrierKey::init_with(|bytes| bytes.copy_from_slice(key))));
            }
        }
    }
    for name in ["the index key", "the batch key"] {
        canaries.push(Canary::new(name, take(&mut rest, 32)));
    }
    assert!(rest.is_empty(), "the keyring has another layout than this test knows");

    let mut materials = 0;
    for (key, value) in disk.entries(Table::Rows).unwrap() {
        let (table, row_id) = key.split_first().unwrap();
        let (revision, sealed) = value.split_first_chunk::<8>().unwrap();
        let revision = Revision(u64::from_be_bytes(*revision));
        let epoch = layout::sealed_epoch(sealed).unwrap();
        let (_, barrier_key) = barrier.iter().find(|(of, _)| *of == epoch.0).unwrap();
        let address = RowAddress { history, table: u32::from(*table), row_id };
        let row = open_row(barrier_key, &address, revision, sealed).unwrap();
        if *table == MATERIALS {
            let material = KeyMaterial::decode(row.expose()).unwrap();
            canaries.push(Canary::new("a key's material", material.key().expose()));
            materials += 1;
        } else if *table == KEYS {
            // It opens as what it is: the canaries above are the real keys.
            KeyRow::decode(row.expose()).unwrap();
        }
    }
    assert!(materials > 0, "no material is found");
    canaries
}
