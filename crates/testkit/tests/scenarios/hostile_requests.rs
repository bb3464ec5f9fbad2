//! Malformed and oversized requests on every RPC: a clear refusal.

use std::{collections::BTreeMap, time::Duration};

use hyper::body::Bytes;
use prost::Message as _;
use strongroom_testkit::{
    Caller, Cluster, Failure,
    hostile::{all_methods, frame, raw_call},
};
use strongroom_wire::v1::{
    CreateKeyRequest, CreateTokenRequest, DecryptBatchRequest, DecryptRequest, DropEpochRequest,
    EncryptRequest, GenerateDataKeyRequest, GenerateDataKeysRequest, GenerateRandomRequest,
    ListEventsRequest, ListKeysRequest, ListTokensRequest, ReEncryptRequest, SubmitShareRequest,
};
use tonic::Code;

/// Bodies that hold no message of any method, each with a name.
fn malformed() -> Vec<(&'static str, Bytes)> {
    let with_prefix = |prefix: [u8; 5], body: &[u8]| Bytes::from([&prefix[..], body].concat());
    vec![
        ("no body", Bytes::new()),
        ("half a frame header", Bytes::from_static(&[0, 0])),
        ("a frame cut short", with_prefix([0, 0, 0, 1, 0], b"short")),
        ("a frame of 4 GiB", with_prefix([0, 0xff, 0xff, 0xff, 0xff], b"short")),
        ("a compressed frame", with_prefix([1, 0, 0, 0, 4], b"1234")),
        ("an unknown frame flag", with_prefix([7, 0, 0, 0, 4], b"1234")),
        ("a field cut short", frame(&[0x0a, 0x7f, 1, 2])),
        ("a varint without end", frame(&[0xff; 64])),
        ("a group", frame(&[0x0b, 0x0b, 0x0b])),
        ("field number zero", frame(&[0x02, 0x00])),
    ]
}

fn is_clear(failure: &Failure) -> bool {
    !failure.reason.is_empty() && !matches!(failure.code, Code::Unknown | Code::Internal)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_refuses_what_is_no_message() {
    let cluster = Cluster::builder("malformed").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let node = cluster.node(1);
    let callers = [
        node.caller(),
        node.caller().with_token("srt_nonsense"),
        node.caller().with_token(&tenant.user),
        node.caller().with_token(&tenant.administrator),
    ];
    for path in all_methods().unwrap() {
        for caller in &callers {
            let caller = caller.clone().with_deadline(Duration::from_secs(2));
            for (name, body) in malformed() {
                let answer = raw_call(&caller, &path, body, &[]).await;
                let answer = answer.unwrap_or_else(|error| panic!("{path}: {name}: {error:#}"));
                assert!(answer.is_refusal(), "{path}: {name}: {answer:?}");
                if let Some(failure) = &answer.failure {
                    assert!(is_clear(failure), "{path}: {name}: {failure:?}");
                }
            }
        }
    }
    // Text that is no UTF-8. (A message without fields skips it as unknown.)
    for path in ["Crypto/Encrypt", "Crypto/GenerateDataKey", "Keys/CreateKey", "Seal/SubmitShare"] {
        let path = format!("/strongroom.v1.{path}");
        let body = frame(&[0x0a, 0x02, 0xff, 0xfe]);
        let answer = raw_call(&callers[2], &path, body, &[]).await.unwrap();
        let failure = answer.failure.unwrap_or_else(|| panic!("{path}: let in"));
        assert_eq!(failure.code, Code::InvalidArgument, "{path}: {failure:?}");
        assert!(is_clear(&failure), "{path}: {failure:?}");
    }
    for (header, value) in [
        ("content-type", "text/plain".to_owned()),
        ("grpc-encoding", "gzip".to_owned()),
        ("grpc-timeout", "nonsense".to_owned()),
        ("authorization", "Basic dXNlcjpwYXNz".to_owned()),
        ("x-request-id", "no UUID".to_owned()),
        ("x-request-id", "x".repeat(8 * 1024)),
    ] {
        let body = frame(&GenerateRandomRequest { number_of_bytes: 8 }.encode_to_vec());
        let path = "/strongroom.v1.Crypto/GenerateRandom";
        let answer = raw_call(&callers[2], path, body, &[(header, value.clone())]).await;
        let answer = answer.unwrap_or_else(|error| panic!("{header}: {error:#}"));
        if let Some(failure) = &answer.failure {
            assert!(is_clear(failure), "{header}: {value}: {failure:?}");
        }
    }
    let user = node.caller().with_token(&tenant.user);
    user.data_key(&tenant.key_id, &[]).await.unwrap();
    cluster.finish().await.unwrap();
}

fn long_context(pairs: usize, value: usize) -> BTreeMap<String, String> {
    (0..pairs).map(|number| (format!("key {number}"), "v".repeat(value))).collect()
}

/// One field out of its bound each.
fn out_of_bounds(key: &str) -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let key_id = || key.to_owned();
    let data_key = |change: fn(&mut GenerateDataKeyRequest)| {
        let mut request = GenerateDataKeyRequest {
            key_id: key.to_owned(),
            number_of_bytes: 32,
            ..GenerateDataKeyRequest::default()
        };
        change(&mut request);
        request.encode_to_vec()
    };
    let several = |count| {
        let number_of_bytes = 32;
        GenerateDataKeysRequest { key_id: key_id(), number_of_bytes, count, ..Default::default() }
            .encode_to_vec()
    };
    let encrypt = |bytes: usize| {
        EncryptRequest { key_id: key_id(), plaintext: vec![1; bytes], ..Default::default() }
            .encode_to_vec()
    };
    let blob = |bytes: usize| DecryptRequest {
        ciphertext_blob: vec![1; bytes],
        ..DecryptRequest::default()
    };
    let (generate, keys) = ("Crypto/GenerateDataKey", "Crypto/GenerateDataKeys");
    vec![
        (generate, "no key", data_key(|request| request.key_id.clear())),
        (generate, "a long key id", data_key(|request| request.key_id = "k".repeat(4000))),
        (generate, "no size", data_key(|request| request.number_of_bytes = 0)),
        (generate, "two sizes", data_key(|request| request.key_spec = 1)),
        (generate, "a large size", data_key(|request| request.number_of_bytes = 1025)),
        (
            generate,
            "an unknown spec",
            data_key(|request| (request.number_of_bytes, request.key_spec) = (0, 99)),
        ),
        (
            generate,
            "65 pairs",
            data_key(|request| request.encryption_context = long_context(65, 1)),
        ),
        (
            generate,
            "9 KiB of context",
            data_key(|request| request.encryption_context = long_context(9, 1024)),
        ),
        (keys, "none", several(0)),
        (keys, "257", several(257)),
        ("Crypto/Encrypt", "nothing", encrypt(0)),
        ("Crypto/Encrypt", "4,097 bytes", encrypt(4097)),
        ("Crypto/Decrypt", "no blob", blob(0).encode_to_vec()),
        ("Crypto/Decrypt", "6,145 bytes", blob(6145).encode_to_vec()),
        ("Crypto/DecryptBatch", "none", DecryptBatchRequest { items: vec![] }.encode_to_vec()),
        (
            "Crypto/DecryptBatch",
            "257 items",
            DecryptBatchRequest { items: vec![blob(9); 257] }.encode_to_vec(),
        ),
        (
            "Crypto/ReEncrypt",
            "no blob",
            ReEncryptRequest { destination_key_id: key_id(), ..Default::default() }.encode_to_vec(),
        ),
        (
            "Crypto/GenerateRandom",
            "0 bytes",
            GenerateRandomRequest { number_of_bytes: 0 }.encode_to_vec(),
        ),
        (
            "Crypto/GenerateRandom",
            "1,025 bytes",
            GenerateRandomRequest { number_of_bytes: 1025 }.encode_to_vec(),
        ),
    ]
}

/// The same for administrators.
fn out_of_bounds_of_administration() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let create = |change: fn(&mut CreateKeyRequest)| {
        let mut request = CreateKeyRequest::default();
        change(&mut request);
        request.encode_to_vec()
    };
    let token = |name: &str, role, ttl_seconds| {
        CreateTokenRequest { principal_name: name.to_owned(), role, ttl_seconds }.encode_to_vec()
    };
    let (keys, tokens) = ("Keys/CreateKey", "Access/CreateToken");
    vec![
        (keys, "a long description", create(|request| request.description = "d".repeat(8193))),
        (keys, "an unknown spec", create(|request| request.key_spec = 77)),
        (keys, "an unknown usage", create(|request| request.key_usage = -1)),
        (keys, "a long client token", create(|request| request.client_token = "t".repeat(129))),
        (
            "Keys/ListKeys",
            "a page of 1,001",
            ListKeysRequest { limit: 1001, ..Default::default() }.encode_to_vec(),
        ),
        (
            "Keys/ListKeys",
            "a marker that is none",
            ListKeysRequest { marker: "?".into(), ..Default::default() }.encode_to_vec(),
        ),
        (tokens, "no name", token("", 2, 0)),
        (tokens, "a long name", token(&"n".repeat(65), 2, 0)),
        (tokens, "a name with a space", token("a b", 2, 0)),
        (tokens, "no role", token("name", 0, 0)),
        (tokens, "an unknown role", token("name", 9, 0)),
        (tokens, "a long life", token("name", 2, u64::MAX)),
        (
            "Access/ListTokens",
            "a page of 1,001",
            ListTokensRequest { limit: 1001, ..Default::default() }.encode_to_vec(),
        ),
        (
            "Audit/ListEvents",
            "a page of 1,001",
            ListEventsRequest { limit: 1001, ..Default::default() }.encode_to_vec(),
        ),
        (
            "Audit/ListEvents",
            "a page token that is none",
            ListEventsRequest { page_token: "?".into(), ..Default::default() }.encode_to_vec(),
        ),
        (
            "Cluster/DropEpoch",
            "an unknown kind",
            DropEpochRequest { kind: 9, epoch: 1 }.encode_to_vec(),
        ),
        (
            "Seal/SubmitShare",
            "a long share",
            SubmitShareRequest { share: "s".repeat(100_000) }.encode_to_vec(),
        ),
    ]
}

async fn refused(caller: &Caller, cases: Vec<(&'static str, &'static str, Vec<u8>)>) {
    for (method, case, message) in cases {
        let path = format!("/strongroom.v1.{method}");
        let answer = raw_call(caller, &path, frame(&message), &[]).await.unwrap();
        let failure = answer.failure.unwrap_or_else(|| panic!("{method}: {case}: let in"));
        assert_eq!(failure.code, Code::InvalidArgument, "{method}: {case}: {failure:?}");
        assert!(is_clear(&failure), "{method}: {case}: {failure:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_field_out_of_its_bound_is_refused_as_an_invalid_argument() {
    let cluster = Cluster::builder("bounds").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let user = cluster.node(2).caller().with_token(&tenant.user);
    refused(&user, out_of_bounds(&tenant.key_id)).await;
    let administrator = cluster.administrator(cluster.node(2));
    refused(&administrator, out_of_bounds_of_administration()).await;
    // At the bound itself all is well.
    let plaintext = vec![7; 4096];
    let context: Vec<_> = [("a", "b"); 1].to_vec();
    let blob = user.encrypt(&tenant.key_id, &plaintext, &context).await.unwrap();
    assert_eq!(user.decrypt(&blob, &context).await.unwrap(), plaintext);
    let random = GenerateRandomRequest { number_of_bytes: 1024 };
    let random = user.crypto().generate_random(random).await.unwrap().into_inner();
    assert_eq!(random.plaintext.len(), 1024);
    cluster.finish().await.unwrap();
}
