//! Whoever stole a sealed node's certificate proposes nothing with it.

use std::time::Duration;

use prost::Message as _;
use strongroom_format::store::{
    AuditRecord, Batch, Command, Guard, PlainName, PlainVersion, PlainWrite, RowAbsent, RowWrite,
    Transaction, Write, command::Body, guard::Expect, write::Target,
};
use strongroom_testkit::{Cluster, Explain as _, PeerCaller, Who, evidence, wait};
use strongroom_wire::peer::{
    ProposeRequest, RaftRequest, not_proposed::Cause, propose_response::Result as Answer,
};
use uuid::Uuid;

fn batch(node_id: u64, sequence: u64, transaction: Transaction, guards: Vec<Guard>) -> Vec<u8> {
    let batch = Batch {
        node_id,
        // Newer than any boot of the real node.
        boot_count: 1 << 40,
        boot_nonce: 7,
        sequence,
        guards,
        transactions: vec![transaction],
    };
    batch.encode_to_vec()
}

fn row_write(table: u32, row_id: &[u8], sealed: Vec<u8>) -> Write {
    Write { target: Some(Target::Row(RowWrite { table, row_id: row_id.to_vec(), sealed })) }
}

fn plain_write(name: PlainName) -> Write {
    let value = vec![1; 64];
    Write { target: Some(Target::Plain(PlainWrite { name: name.into(), value })) }
}

/// What a thief would like to propose: each with a name.
fn wishes(node: u64) -> Vec<(&'static str, Vec<u8>)> {
    let absent =
        Guard { expect: Some(Expect::Absent(RowAbsent { table: 1, row_id: vec![9; 16] })) };
    let plain = |name: PlainName, revision| Guard {
        expect: Some(Expect::Plain(PlainVersion { name: name.into(), revision })),
    };
    let write = |writes: Vec<Write>, reads: Vec<u32>| Transaction {
        decided_at: 1,
        reads,
        writes,
        ..Transaction::default()
    };
    let record = AuditRecord { leaf: vec![1; 200], body: Vec::new() };
    let seal_records = [PlainName::Cluster, PlainName::SealConfig, PlainName::Keyring];
    vec![
        (
            "a new row",
            batch(
                node,
                1,
                write(vec![row_write(1, &[9; 16], vec![1; 64])], vec![0]),
                vec![absent.clone()],
            ),
        ),
        (
            "a deleted row",
            batch(node, 2, write(vec![row_write(4, &[9; 32], Vec::new())], vec![]), vec![]),
        ),
        (
            "another keyring",
            batch(
                node,
                3,
                write(vec![plain_write(PlainName::Keyring)], vec![0]),
                vec![plain(PlainName::Keyring, 1)],
            ),
        ),
        (
            "another formation",
            batch(
                node,
                4,
                write(seal_records.into_iter().map(plain_write).collect(), vec![0]),
                vec![plain(PlainName::UnsealMark, 0)],
            ),
        ),
        (
            "a record that is no ceremony's",
            batch(node, 5, Transaction { records: vec![record], ..Transaction::default() }, vec![]),
        ),
        ("a batch in another node's name", batch(node % 3 + 1, 6, Transaction::default(), vec![])),
        ("bytes that are no batch", vec![0xff; 100]),
        ("more than a batch may have", vec![0; 2 * 1024 * 1024]),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_certificate_of_a_sealed_node_proposes_nothing() {
    let cluster = Cluster::builder("stolen-certificate").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let leader = cluster.leader().await.unwrap();
    let robbed = cluster.follower().await.unwrap();
    robbed.restart().await.unwrap();
    cluster.caught_up().await.unwrap();
    let auditor = leader.caller().with_token(&tenant.auditor);
    let before = evidence::all_events(&auditor).await.unwrap().len();

    let thief = PeerCaller::new(&robbed, &leader, cluster.pki()).unwrap();
    for mac in [Vec::new(), vec![0; 32], vec![1; 5]] {
        for (wish, batch) in wishes(robbed.id) {
            let request = ProposeRequest { batch: batch.into(), mac: mac.clone().into() };
            match thief.node().propose(request).await {
                // Too large for the listener, even.
                Err(status) => {
                    assert_ne!(status.code(), tonic::Code::Unknown, "{wish}: {status:?}")
                }
                Ok(response) => match response.into_inner().result {
                    Some(Answer::NotProposed(not)) => {
                        assert_eq!(not.cause(), Cause::Refused, "{wish}");
                    }
                    other => panic!("{wish} was let in: {other:?}"),
                },
            }
        }
    }
    cluster.caught_up().await.unwrap();
    assert_eq!(evidence::all_events(&auditor).await.unwrap().len(), before);
    // The robbed node's own records still count: no boot was put above its own.
    cluster.unseal(&robbed).await.unwrap();
    robbed.caller().with_token(&tenant.user).data_key(&tenant.key_id, &[]).await.unwrap();
    cluster.equal_hashes().await.unwrap();
    cluster.finish().await.unwrap();
}

/// An AppendEntries of whoever claims to lead in `term`: one entry, after nothing
/// (postcard: numbers as varints, fields in order).
fn append(term: u8, leader: u64, entry: &[u8]) -> RaftRequest {
    let leader = u8::try_from(leader).unwrap();
    let payload = [&[term, leader, 1, 0, 1, term, leader, 0][..], entry, &[0]].concat();
    RaftRequest { format: 1, payload: payload.into() }
}

/// A command's entry: its number among the kinds of entries, length, bytes.
fn normal(command: &[u8]) -> Vec<u8> {
    let mut entry = vec![1];
    let mut rest = command.len();
    while rest > 0x7f {
        entry.push(u8::try_from(rest & 0x7f).unwrap() | 0x80);
        rest >>= 7;
    }
    entry.push(u8::try_from(rest).unwrap());
    [&entry, command].concat()
}

/// Raft's own service asks for no MAC: an unsealed member looks for it in each
/// entry, whoever claims to lead.
#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_certificate_of_a_sealed_node_appends_nothing_as_a_leader() {
    let cluster = Cluster::builder("stolen-leader").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let leader = cluster.leader().await.unwrap();
    let robbed = cluster.follower().await.unwrap();
    robbed.restart().await.unwrap();
    cluster.caught_up().await.unwrap();
    let term = u8::try_from(leader.status().await.unwrap().raft.term + 1).unwrap();
    let thief = PeerCaller::new(&robbed, &leader, cluster.pki()).unwrap();

    for mac in [Vec::new(), vec![0; 32], vec![1; 5]] {
        for (wish, batch) in wishes(robbed.id) {
            // A batch that writes and records nothing needs no MAC.
            let harmless = wish == "a batch in another node's name" && mac.is_empty();
            if harmless || batch.len() > 1024 * 1024 {
                continue;
            }
            let body = Some(Body::Batch(batch));
            let command = Command { format: 1, body, mac: mac.clone(), ..Command::default() };
            let request = append(term, robbed.id, &normal(&command.encode_to_vec()));
            let status = thief.raft().append_entries(request).await.expect_err(wish);
            assert_eq!(status.code(), tonic::Code::PermissionDenied, "{wish}: {status:?}");
            let text = status.message();
            assert!(text.contains("not proposed by an unsealed member"), "{wish}: {text}");
        }
    }
    assert_eq!(leader.status().await.unwrap().raft.term + 1, u64::from(term), "none was heard");
    // The same without a command gets as far as Raft: the refusals were of these.
    let blank = append(term, robbed.id, &[0]);
    thief.raft().append_entries(blank).await.unwrap();

    // That disturbed; it changed nothing.
    cluster.unseal(&robbed).await.unwrap();
    let user = robbed.caller().with_token(&tenant.user);
    wait::until("the cluster serves again", Duration::from_secs(60), || async {
        user.data_key(&tenant.key_id, &[]).await.explain("a data key").map(drop)
    })
    .await
    .unwrap();
    cluster.equal_hashes().await.unwrap();
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_peer_listener_lets_in_none_but_the_members_data_directories() {
    let cluster = Cluster::builder("peer-identity").serving().await.unwrap();
    let (node, other) = (cluster.node(1), cluster.node(2));
    let peer = PeerCaller::new(other, node, cluster.pki()).unwrap();
    // A data directory that the cluster does not know.
    let foreign = peer.clone().with_incarnation(Uuid::from_bytes(rand::random()));
    let nonsense = || RaftRequest { format: 1, payload: Vec::new().into() };
    let status = foreign.raft().vote(nonsense()).await.unwrap_err();
    assert_ne!(status.code(), tonic::Code::Internal, "{status:?}");
    // A member's certificate, and a request that is none: refused, and no panic.
    for format in [0, 1, 2] {
        for payload in [vec![], vec![0xff; 64], vec![0; 1000]] {
            let request = RaftRequest { format, payload: payload.into() };
            let vote = peer.raft().vote(request.clone()).await;
            let append = peer.raft().append_entries(request).await;
            assert!(vote.is_err() || append.is_err(), "format {format}");
        }
    }
    // No certificate of a caller's opens the peer listener.
    for who in [Who::Client, Who::Operator] {
        assert!(PeerCaller::probe(node, who).await.is_err(), "{who:?}");
    }
    let tenant = cluster.tenant().await.unwrap();
    node.caller().with_token(&tenant.user).data_key(&tenant.key_id, &[]).await.unwrap();
    cluster.finish().await.unwrap();
}
