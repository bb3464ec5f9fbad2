//! Two administrators at the same row at once: one wins, the other decides again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use strongroom_testkit::{Cluster, Explain as _, StatusExt as _, evidence, rounds::rounds, wait};
use strongroom_wire::v1::{
    AttachRoleRequest, CreateKeyRequest, DetachRoleRequest, Event, EventFilter, KeyState,
    ListKeysRequest, RevokeTokenRequest, Role, revoke_token_request,
};
use tokio::task::JoinSet;

const PATIENCE: Duration = Duration::from_secs(30);

/// Successes of these operations, in the order of the audit log.
fn successes<'a>(events: &'a [Event], operations: &[&str]) -> Vec<&'a Event> {
    events
        .iter()
        .filter(|event| event.outcome == "success")
        .filter(|event| operations.contains(&event.operation.as_str()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_of_one_key_the_later_record_is_its_state() {
    let cluster = Cluster::builder("one-key").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let administrators = cluster.callers(&tenant.administrator);
    for round in 0..rounds(6) {
        // From one node: one batch. From several: across nodes.
        let nodes = if round % 2 == 0 { [0, 0, 0, 0] } else { [0, 1, 2, 1] };
        let calls = nodes.iter().enumerate().map(|(position, node)| {
            let administrator = &administrators[*node];
            administrator.set_enabled(&tenant.key_id, position % 2 == 0)
        });
        let results = join_all(calls).await;
        let acknowledged = results.iter().filter(|result| result.is_ok()).count();
        assert!(acknowledged > 0, "one wins: {results:?}");
        for status in results.into_iter().filter_map(Result::err) {
            assert_eq!(status.reason(), "CONTENTION", "{status:?}");
        }
        let auditor = cluster.node(1).caller().with_token(&tenant.auditor);
        let events = evidence::all_events(&auditor).await.unwrap();
        let last = *successes(&events, &["EnableKey", "DisableKey"]).last().unwrap();
        let expected = match last.operation.as_str() {
            "EnableKey" => KeyState::Enabled,
            _ => KeyState::Disabled,
        };
        for node in cluster.nodes() {
            let state = node.caller().with_token(&tenant.auditor).key_state(&tenant.key_id).await;
            assert_eq!(state.explain("DescribeKey").unwrap(), expected, "node {}", node.id);
        }
    }
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_token_makes_one_key_however_many_ask() {
    let cluster = Cluster::builder("client-token").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let administrators = cluster.callers(&tenant.administrator);
    for round in 0..rounds(3) {
        let request = |description: &str| CreateKeyRequest {
            description: description.to_owned(),
            client_token: format!("token {round}"),
            ..CreateKeyRequest::default()
        };
        let calls = (0..9).map(|position| {
            let administrator: &strongroom_testkit::Caller = &administrators[position % 3];
            let request = request("one");
            async move { administrator.keys().create_key(request).await }
        });
        let made: BTreeSet<String> = join_all(calls)
            .await
            .into_iter()
            .map(|result| result.explain("CreateKey").unwrap().into_inner())
            .map(|response| response.key_metadata.unwrap().key_id)
            .collect();
        assert_eq!(made.len(), 1, "one key: {made:?}");
        let other = administrators[0].keys().create_key(request("another")).await.unwrap_err();
        assert_eq!(other.reason(), "IDEMPOTENCY_MISMATCH");
    }
    let keys = ListKeysRequest { limit: 1000, ..ListKeysRequest::default() };
    let keys = administrators[1].keys().list_keys(keys).await.unwrap().into_inner().keys;
    assert_eq!(keys.len(), rounds(3) + 1, "and the tests' own");
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_name_taken_at_once_by_several_is_one_principal() {
    let cluster = Cluster::builder("one-name").serving().await.unwrap();
    let administrators = cluster.callers(&cluster.ceremony().administrator_token);
    for round in 0..rounds(3) {
        let name = format!("name-{round}");
        let calls =
            (0..6).map(|position| administrators[position % 3].create_token(&name, Role::User));
        let mut principals = BTreeSet::new();
        for result in join_all(calls).await {
            match result {
                Ok(response) => {
                    principals.insert(response.metadata.unwrap().principal_id);
                }
                Err(status) => assert_eq!(status.reason(), "CONTENTION", "{status:?}"),
            }
        }
        assert_eq!(principals.len(), 1, "one principal of one name");
    }
    cluster.finish().await.unwrap();
}

/// Tokens are made while all of their role are revoked: each token whose making
/// is recorded before the revocation is dead, each one after it lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_by_role_covers_exactly_the_tokens_recorded_before_it() {
    let cluster = Cluster::builder("revoke-role").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let administrators = cluster.callers(&tenant.administrator);
    let mut making = JoinSet::new();
    for (position, caller) in administrators.iter().enumerate() {
        let caller = caller.clone();
        making.spawn(async move {
            let mut made = Vec::new();
            for number in 0..15 {
                let name = format!("user-{position}-{number}");
                match caller.create_token(&name, Role::User).await {
                    Ok(response) => made.push((name, response)),
                    Err(status) => assert_eq!(status.reason(), "CONTENTION", "{status:?}"),
                }
            }
            made
        });
    }
    for administrator in &administrators {
        wait::until("a revocation by role", PATIENCE, || async {
            let target = Some(revoke_token_request::Target::Role(Role::User.into()));
            let request = RevokeTokenRequest { target };
            // Superseded too often by the makers: asked again, as a caller would.
            administrator.access().revoke_token(request).await.explain("RevokeToken")
        })
        .await
        .unwrap();
    }
    let made = making.join_all().await.concat();

    let auditor = cluster.node(1).caller().with_token(&tenant.auditor);
    let events = evidence::all_events(&auditor).await.unwrap();
    let last_revocation = successes(&events, &["RevokeToken"]).last().unwrap().sequence;
    let made_at: BTreeMap<_, _> = successes(&events, &["CreateToken"])
        .into_iter()
        .filter_map(|event| Some((event.detail.get("token")?.clone(), event.sequence)))
        .collect();
    for (name, response) in made {
        let token_id = response.metadata.unwrap().token_id;
        let made_at = made_at[&token_id];
        let used = cluster.node(2).caller().with_token(&response.token);
        let result = used.data_key(&tenant.key_id, &[]).await;
        assert_eq!(
            result.is_ok(),
            made_at > last_revocation,
            "{name}: made at {made_at}, the last revocation at {last_revocation}"
        );
    }
    cluster.finish().await.unwrap();
}

/// A role is given and taken while its holder uses it: no use is recorded
/// between the record of the taking and that of the next giving.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_taken_supersedes_uses_decided_with_it() {
    let cluster = Cluster::builder("role-taken").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let administrators = cluster.callers(&tenant.administrator);
    let principal = "role-taken".to_owned();
    let role = Role::User.into();
    for round in 0..rounds(5) {
        let administrator = &administrators[round % 3];
        let token = administrator.create_token(&principal, Role::User).await;
        let token = token.explain("a token of the role").unwrap().token;
        let mut using = JoinSet::new();
        let used = Arc::new(AtomicUsize::new(0));
        for caller in cluster.callers(&token) {
            let (key_id, used) = (tenant.key_id.clone(), Arc::clone(&used));
            // Ends with its first refusal: the token is not valid again.
            using.spawn(async move {
                while caller.data_key(&key_id, &[]).await.is_ok() {
                    used.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        wait::until("the role is used", PATIENCE, || async {
            anyhow::ensure!(used.load(Ordering::Relaxed) >= 10);
            Ok(())
        })
        .await
        .unwrap();
        let detach = DetachRoleRequest { principal: principal.clone(), role };
        administrator.access().detach_role(detach).await.explain("DetachRole").unwrap();
        using.join_all().await;
        let attach = AttachRoleRequest { principal: principal.clone(), role };
        administrator.access().attach_role(attach).await.explain("AttachRole").unwrap();
        let revived = cluster.node(1).caller().with_token(&token);
        let status = revived.data_key(&tenant.key_id, &[]).await.unwrap_err();
        assert_eq!(status.reason(), "UNAUTHENTICATED", "a re-attachment revives no token");
    }
    let auditor = cluster.node(3).caller().with_token(&tenant.auditor);
    let events = evidence::events(&auditor, EventFilter::default()).await.unwrap();
    let mut taken = false;
    let of_interest = ["AttachRole", "DetachRole", "GenerateDataKey"];
    for event in successes(&events, &of_interest) {
        match event.operation.as_str() {
            "AttachRole" => taken = false,
            "DetachRole" => taken = true,
            _ if event.principal_name == principal => {
                assert!(!taken, "used without the role: {event:?}");
            }
            _ => {}
        }
    }
    cluster.finish().await.unwrap();
}
