//! Whoever writes to one node's disk gains nothing: what was forged, swapped,
//! deleted or put back while the node was down is found before it serves.

use std::{fs, path::Path, time::Duration};

use prost::Message as _;
use strongroom_format::store::{
    Batch, Command, Guard, PlainName, PlainVersion, PlainWrite, RowVersion, RowWrite, Transaction,
    Write, command::Body, guard::Expect, write::Target,
};
use strongroom_state::{Entry, Table, layout};
use strongroom_testkit::{Cluster, Disk, Explain as _, Node, Tenant, faults::copy_folder, wait};
use strongroom_wire::v1::{Role, TakeSnapshotRequest};

const PATIENCE: Duration = Duration::from_secs(30);
/// Exit code of a node whose state is not the cluster's.
const DIVERGED: i32 = 71;

/// Tables of rows (crate `model`).
const KEYS: u8 = 1;
const TOKENS: u8 = 4;

type Change = (Vec<u8>, Option<Vec<u8>>);

/// What a thief at the disk knows and wants.
struct Loot {
    /// Rows as they were when the key was enabled and the token valid.
    earlier: Vec<Entry>,
    /// Rows now.
    rows: Vec<Entry>,
    plain: Vec<Entry>,
    epochs: Vec<Entry>,
    marks: Vec<Entry>,
    leaves: Vec<Entry>,
}

fn of_table(rows: &[Entry], table: u8) -> Vec<&Entry> {
    rows.iter().filter(|(key, _)| key.first() == Some(&table)).collect()
}

fn flipped(entry: &Entry, position: usize) -> Change {
    let mut value = entry.1.clone();
    let position = position.min(value.len() - 1);
    value[position] ^= 1;
    (entry.0.clone(), Some(value))
}

/// Rows of `earlier` that were changed or deleted since.
fn put_back(loot: &Loot) -> Vec<Change> {
    let present = |entry: &&Entry| !loot.rows.contains(entry);
    loot.earlier
        .iter()
        .filter(present)
        .map(|(key, value)| (key.clone(), Some(value.clone())))
        .collect()
}

/// Changes of entries as they stand, each with a name.
fn changes(loot: &Loot) -> Vec<(&'static str, Table, Vec<Change>)> {
    let keys = of_table(&loot.rows, KEYS);
    let tokens = of_table(&loot.rows, TOKENS);
    let plain = |name: PlainName| {
        let key = layout::plain_key(name).unwrap();
        loot.plain.iter().find(|(found, _)| found[..] == key[..]).unwrap()
    };
    let swap = |one: &Entry, other: &Entry| {
        vec![(one.0.clone(), Some(other.1.clone())), (other.0.clone(), Some(one.1.clone()))]
    };
    let added = (layout::row_key(TOKENS, &[9; 32]), Some(tokens[0].1.clone()));
    vec![
        ("a forged row", Table::Rows, vec![flipped(keys[0], 60)]),
        ("a row's revision", Table::Rows, vec![flipped(keys[0], 7)]),
        ("two rows swapped", Table::Rows, swap(keys[0], keys[1])),
        ("a token's row under another id", Table::Rows, vec![added]),
        ("a row deleted", Table::Rows, vec![(tokens[0].0.clone(), None)]),
        ("an epoch's count", Table::Epochs, vec![flipped(&loot.epochs[0], 7)]),
        ("rows put back as they were", Table::Rows, put_back(loot)),
        ("an audit leaf", Table::Leaves, vec![flipped(&loot.leaves[3], 40)]),
        ("an audit leaf deleted", Table::Leaves, vec![(loot.leaves[2].0.clone(), None)]),
        ("the keyring", Table::Plain, vec![flipped(plain(PlainName::Keyring), 100)]),
        ("the seal configuration", Table::Plain, vec![flipped(plain(PlainName::SealConfig), 40)]),
        (
            "the unseal mark deleted",
            Table::Plain,
            vec![(plain(PlainName::UnsealMark).0.clone(), None)],
        ),
    ]
}

/// Commands that were never committed, each with a name: what they leave behind
/// contradicts nothing on this disk.
fn forged_commands(loot: &Loot, applied: u64) -> Vec<(&'static str, Vec<u8>)> {
    let command = |guard: Expect, target: Target| {
        let batch = Batch {
            node_id: 3,
            boot_count: 1 << 40,
            boot_nonce: 1,
            sequence: 1,
            guards: vec![Guard { expect: Some(guard) }],
            transactions: vec![Transaction {
                decided_at: applied - 1,
                reads: vec![0],
                writes: vec![Write { target: Some(target) }],
                ..Transaction::default()
            }],
        };
        let body = Some(Body::Batch(batch.encode_to_vec()));
        Command { format: 1, body, ..Command::default() }.encode_to_vec()
    };
    let versioned = |entry: &Entry| {
        let (revision, sealed) = entry.1.split_first_chunk::<8>().unwrap();
        let tag = sealed.last_chunk::<{ layout::TAG_BYTES }>().unwrap().to_vec();
        (u64::from_be_bytes(*revision), sealed.to_vec(), tag)
    };
    let token = of_table(&loot.rows, TOKENS)[0];
    let (revision, _, tag) = versioned(token);
    let row_id = token.0[1..].to_vec();
    let table = u32::from(TOKENS);
    let delete = command(
        Expect::Row(RowVersion { table, row_id: row_id.clone(), revision, tag }),
        Target::Row(RowWrite { table, row_id, sealed: Vec::new() }),
    );
    // The key's row as it was while the key was enabled, under a new revision.
    let key = of_table(&loot.rows, KEYS)
        .into_iter()
        .find(|now| loot.earlier.iter().any(|then| then.0 == now.0 && then.1 != now.1))
        .unwrap();
    let earlier = loot.earlier.iter().find(|then| then.0 == key.0).unwrap();
    let (revision, _, tag) = versioned(key);
    let (table, row_id) = (u32::from(KEYS), key.0[1..].to_vec());
    let old_row = command(
        Expect::Row(RowVersion { table, row_id: row_id.clone(), revision, tag }),
        Target::Row(RowWrite { table, row_id, sealed: versioned(earlier).1 }),
    );
    let mark = layout::plain_key(PlainName::UnsealMark).unwrap();
    let mark = loot.plain.iter().find(|(key, _)| key[..] == mark[..]).unwrap();
    let revision = u64::from_be_bytes(*mark.1.first_chunk().unwrap());
    let name = PlainName::UnsealMark.into();
    let plain = command(
        Expect::Plain(PlainVersion { name, revision }),
        Target::Plain(PlainWrite { name, value: vec![8, 9] }),
    );
    vec![
        ("a token deleted, and all that is kept with it", delete),
        ("a key's row put back, and all that is kept with it", old_row),
        ("a plain record changed, and all that is kept with it", plain),
    ]
}

/// What became of a start on a disk that was tampered with.
async fn found(cluster: &Cluster, node: &Node, case: &str) -> String {
    let served = || async { node.status().await.is_ok_and(|status| status.is_unsealed()) };
    if let Err(error) = node.start().await {
        // It ended before it listened: the first look found it.
        assert!(!node.is_running(), "{case}: {error:#}");
    } else {
        for share in cluster.ceremony().enough() {
            // Refused, or unanswered by a node that ends meanwhile.
            let _answer = node.submit_share(share).await;
            assert!(!served().await, "{case}: it serves");
        }
    }
    let ended = wait::until(&format!("{case}: it is found"), PATIENCE, || async {
        assert!(!served().await, "{case}: it serves");
        node.exited()?.ok_or_else(|| anyhow::anyhow!("the node still runs"))
    })
    .await
    .unwrap_or_else(|error| panic!("{error:#}\n{}", node.last_lines(10)));
    assert_eq!(ended.code(), Some(DIVERGED), "{case}: {}", node.last_lines(10));
    let last = node.last_lines(1);
    assert!(node.last_lines(5).contains("Remedy"), "{case}: no remedy is named: {last}");
    format!("found: exit code {DIVERGED}")
}

/// Puts the disk as it was before the tampering. Only where the node has
/// acknowledged nothing since: else it would be an old disk, which is refused as
/// such.
fn restore(copy: &Path, data: &Path) {
    fs::remove_dir_all(data).unwrap();
    copy_folder(copy, data).unwrap();
}

/// Makes things worth stealing; gives the rows as they were before a key was
/// disabled and a token revoked.
async fn prepare(cluster: &Cluster, tenant: &Tenant, node: &Node) -> Vec<Entry> {
    let administrator = cluster.administrator(cluster.node(1));
    administrator.create_key("another").await.unwrap();
    let token = administrator.create_token("thief", Role::User).await.unwrap();
    settle(cluster, node).await;
    node.stop(PATIENCE).await.unwrap();
    let earlier = Disk::open(node, cluster.pki()).unwrap().entries(Table::Rows).unwrap();
    node.start().await.unwrap();
    cluster.unseal(node).await.unwrap();
    administrator.set_enabled(&tenant.key_id, false).await.explain("DisableKey").unwrap();
    administrator.revoke_token(&token.metadata.unwrap().token_id).await.unwrap();
    settle(cluster, node).await;
    earlier
}

/// All that was acknowledged is in the node's tables on disk.
async fn settle(cluster: &Cluster, node: &Node) {
    cluster.caught_up().await.unwrap();
    let administrator = cluster.administrator(node);
    administrator.cluster().take_snapshot(TakeSnapshotRequest {}).await.unwrap();
}

/// A cluster with node 3 down, and what stands on its disk; the newest index
/// applied there.
async fn robbed(name: &str) -> (Cluster, Loot, u64) {
    let cluster = Cluster::builder(name).serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let node = cluster.node(3);
    let earlier = prepare(&cluster, &tenant, node).await;
    node.stop(PATIENCE).await.unwrap();
    let (loot, applied) = {
        let disk = Disk::open(node, cluster.pki()).unwrap();
        let loot = Loot {
            earlier,
            rows: disk.entries(Table::Rows).unwrap(),
            plain: disk.entries(Table::Plain).unwrap(),
            epochs: disk.entries(Table::Epochs).unwrap(),
            marks: disk.entries(Table::Deduplication).unwrap(),
            leaves: disk.entries(Table::Leaves).unwrap(),
        };
        assert!(disk.scrub().unwrap().is_clean(), "the disk was clean before");
        (loot, disk.applied().unwrap().0)
    };
    assert!(put_back(&loot).len() > 1, "a key's row and a token's row changed");
    (cluster, loot, applied)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_contradicts_itself_on_a_disk_is_found_before_the_node_serves() {
    let (cluster, loot, _) = robbed("tampering").await;
    let tenant = cluster.tenant().await.unwrap();
    let node = cluster.node(3);
    let copy = cluster.folder().join("copy");
    copy_folder(node.data_dir(), &copy).unwrap();
    for (case, table, changes) in changes(&loot) {
        restore(&copy, node.data_dir());
        Disk::open(node, cluster.pki()).unwrap().overwrite(table, &changes).unwrap();
        println!("{case}: {}", found(&cluster, node, case).await);
    }
    // As it was, it serves, and what was taken away is taken away.
    restore(&copy, node.data_dir());
    node.start().await.unwrap();
    cluster.unseal(node).await.unwrap();
    let user = node.caller().with_token(&tenant.user);
    assert!(user.data_key(&tenant.key_id, &[]).await.is_err(), "the key is disabled");
    cluster.equal_hashes().await.unwrap();
    cluster.finish().await.unwrap();
}

/// Forged so well that the disk agrees with itself: the others don't.
#[tokio::test(flavor = "multi_thread")]
async fn what_differs_from_the_others_disks_is_found_before_the_node_serves() {
    for position in 0..4 {
        let (cluster, loot, applied) = robbed("forgery").await;
        let node = cluster.node(3);
        let disk = Disk::open(node, cluster.pki()).unwrap();
        let before = disk.hash().unwrap();
        let case = if position == 0 {
            let changes = [flipped(&loot.marks[0], 7)];
            disk.overwrite(Table::Deduplication, &changes).unwrap();
            "a deduplication mark"
        } else {
            let (case, command) = forged_commands(&loot, applied).swap_remove(position - 1);
            disk.apply_forged(&command).unwrap();
            case
        };
        assert_ne!(disk.hash().unwrap(), before, "{case}: the forgery changed nothing");
        assert!(disk.scrub().unwrap().is_clean(), "{case}: the forgery contradicts itself");
        drop(disk);
        println!("{case}: {}", found(&cluster, node, case).await);
        cluster.finish().await.unwrap();
    }
}

/// A whole directory put back, log and all, while the others run: they remember
/// more than it holds, and it takes no part in anything.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_disk_put_back_is_found_by_what_the_others_remember() {
    let (cluster, _) = rolled_back("rollback").await;
    let node = cluster.node(3);
    println!("{}", found(&cluster, node, "a whole disk put back").await);
    assert!(node.last_lines(3).contains("put back"), "{}", node.last_lines(3));
    cluster.finish().await.unwrap();
}

/// Where all others have restarted since, none of them remembers; the replicated
/// state does: the node's newest boot is in it.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_disk_put_back_is_found_by_the_state_where_the_others_have_forgotten() {
    let (cluster, _) = rolled_back("rollback-forgotten").await;
    for id in [1, 2] {
        cluster.node(id).kill().unwrap();
    }
    for id in [1, 2] {
        cluster.node(id).start().await.unwrap();
    }
    cluster.unseal_all().await.unwrap();
    let node = cluster.node(3);
    println!("{}", found(&cluster, node, "a whole disk put back").await);
    assert!(node.last_lines(3).contains("put back"), "{}", node.last_lines(3));
    cluster.finish().await.unwrap();
}

/// A cluster whose node 3 is down, with its disk as it was before the tenant's
/// key was disabled; and what the key has encrypted.
async fn rolled_back(name: &str) -> (Cluster, Vec<u8>) {
    let cluster = Cluster::builder(name).serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let node = cluster.node(3);
    let user = node.caller().with_token(&tenant.user);
    let (blob, _) = user.data_key(&tenant.key_id, &[]).await.unwrap();
    settle(&cluster, node).await;
    node.stop(PATIENCE).await.unwrap();
    let copy = cluster.folder().join("copy");
    copy_folder(node.data_dir(), &copy).unwrap();
    node.start().await.unwrap();
    cluster.unseal(node).await.unwrap();
    let administrator = cluster.administrator(cluster.node(1));
    administrator.set_enabled(&tenant.key_id, false).await.explain("DisableKey").unwrap();
    settle(&cluster, node).await;
    node.kill().unwrap();
    restore(&copy, node.data_dir());
    (cluster, blob)
}
