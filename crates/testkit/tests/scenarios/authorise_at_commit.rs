//! What was disabled or revoked is so for every call invoked later, anywhere.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use strongroom_testkit::{
    Caller, Cluster, Explain as _, Node, StatusExt as _, evidence, rounds::rounds, wait,
};
use strongroom_wire::v1::{Event, Role};
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);
/// Calls that are seen to begin after an acknowledgement, on each node.
const CALLS_AFTER: usize = 5;

/// One call: when it was invoked, when answered, and the reason of its refusal.
#[derive(Clone, Debug)]
struct Call {
    node: u64,
    invoked: Instant,
    answered: Instant,
    refused: Option<String>,
}

/// Callers on all nodes that repeat one call.
struct Callers {
    calls: Arc<Mutex<Vec<Call>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Callers {
    fn start<F, Fut>(callers: Vec<Caller>, call: F) -> Self
    where
        F: Fn(Caller) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<(), tonic::Status>> + Send,
    {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let tasks = callers
            .into_iter()
            .map(|caller| {
                let (calls, call) = (Arc::clone(&calls), call.clone());
                tokio::spawn(async move {
                    loop {
                        let invoked = Instant::now();
                        let result = call(caller.clone()).await;
                        let refused = result.err().map(|status| status.reason());
                        let failed = refused.is_some();
                        let answered = Instant::now();
                        calls.lock().push(Call { node: caller.node, invoked, answered, refused });
                        if failed {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    }
                })
            })
            .collect();
        Self { calls, tasks }
    }

    /// Waits until every node of `nodes` answered some calls that were invoked
    /// after `moment`.
    async fn after(&self, moment: Instant, nodes: &[u64]) {
        wait::until("calls on every node", PATIENCE, || async {
            let calls = self.calls.lock();
            let later = calls.iter().filter(|call| call.invoked >= moment);
            let later: Vec<_> = later.filter(|call| answered_by_node(call)).collect();
            for node in nodes {
                let of = later.iter().filter(|call| call.node == *node).count();
                anyhow::ensure!(of >= CALLS_AFTER, "node {node}: {of}");
            }
            Ok(())
        })
        .await
        .unwrap();
    }

    fn stop(self) -> Vec<Call> {
        self.tasks.iter().for_each(JoinHandle::abort);
        std::mem::take(&mut self.calls.lock())
    }
}

/// Not a word of the transport, nor of a cluster that elects.
fn answered_by_node(call: &Call) -> bool {
    let transient = [
        "NOT_SENT",
        "NO_ANSWER",
        "NO_QUORUM",
        "OUTCOME_UNKNOWN",
        "DEADLINE_EXCEEDED",
        "SEALED",
        "CONTENTION",
    ];
    !call.refused.as_deref().is_some_and(|reason| transient.contains(&reason))
}

/// Two callers of each node: while one call of a node is decided, another one
/// is already invoked there.
fn two_each(cluster: &Cluster, token: &str) -> Vec<Caller> {
    let one_each = cluster.callers(token);
    [one_each.clone(), one_each].concat()
}

/// The leader, in every third round: the one that is to be killed.
async fn victim(cluster: &Cluster, round: usize) -> Option<Arc<Node>> {
    if round % 3 == 2 { Some(cluster.leader().await.unwrap()) } else { None }
}

/// Kills the victim, waits until the others answered calls that were invoked
/// later, and brings the victim back; without a victim, waits for all nodes.
async fn after_a_kill(cluster: &Cluster, victim: Option<&Arc<Node>>, callers: &Callers) {
    if let Some(victim) = victim {
        victim.kill().unwrap();
    }
    let running: Vec<u64> = cluster.running().iter().map(|node| node.id).collect();
    callers.after(Instant::now(), &running).await;
    if let Some(victim) = victim {
        cluster.revive(victim).await.unwrap();
        cluster.leader().await.unwrap();
    }
}

/// A change that was acknowledged: invoked and answered when.
struct Change {
    disabled: bool,
    invoked: Instant,
    acknowledged: Instant,
}

/// Repeats an idempotent change until it is acknowledged.
async fn acknowledged(cluster: &Cluster, key_id: &str, enabled: bool, first: usize) -> Change {
    let invoked = Instant::now();
    let callers = cluster.callers(&cluster.ceremony().administrator_token);
    let mut turn = first;
    wait::until("a change of the key is acknowledged", PATIENCE, || {
        turn += 1;
        let caller = callers[turn % callers.len()].clone();
        async move { caller.set_enabled(key_id, enabled).await.explain("a change") }
    })
    .await
    .unwrap();
    Change { disabled: !enabled, invoked, acknowledged: Instant::now() }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_decrypt_invoked_after_an_acknowledged_disable_succeeds() {
    let cluster = Cluster::builder("disable").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let user = cluster.node(1).caller().with_token(&tenant.user);
    let (blob, plaintext) = user.data_key(&tenant.key_id, &[]).await.unwrap();

    let callers = Callers::start(two_each(&cluster, &tenant.user), move |caller| {
        let (blob, plaintext) = (blob.clone(), plaintext.clone());
        async move {
            let decrypted = caller.decrypt(&blob, &[]).await?;
            assert_eq!(decrypted, plaintext);
            Ok(())
        }
    });
    let mut changes = Vec::new();
    for round in 0..rounds(6) {
        // Every third round changes the leader between the two changes.
        let victim = victim(&cluster, round).await;
        changes.push(acknowledged(&cluster, &tenant.key_id, false, round).await);
        after_a_kill(&cluster, victim.as_ref(), &callers).await;
        changes.push(acknowledged(&cluster, &tenant.key_id, true, round + 1).await);
        callers.after(Instant::now(), &[1, 2, 3]).await;
    }
    let calls = callers.stop();

    for (position, change) in changes.iter().enumerate() {
        let until = changes.get(position + 1).map_or_else(Instant::now, |next| next.invoked);
        let within = calls
            .iter()
            .filter(|call| call.invoked >= change.acknowledged && call.answered <= until);
        for call in within {
            if change.disabled {
                assert!(
                    call.refused.is_some(),
                    "change {position}: a disabled key decrypts: {call:?}"
                );
            } else {
                let refused = call.refused.as_deref();
                assert_ne!(refused, Some("KEY_DISABLED"), "change {position}: {call:?}");
            }
        }
    }
    // The audit log says the same, by its own order and without any clock.
    let auditor = cluster.node(2).caller().with_token(&tenant.auditor);
    let events = evidence::all_events(&auditor).await.unwrap();
    let mut disabled = false;
    for event in events.iter().filter(|event| event.outcome == "success") {
        match event.operation.as_str() {
            "DisableKey" => disabled = true,
            "EnableKey" => disabled = false,
            "Decrypt" => assert!(!disabled, "a use of a disabled key is recorded: {event:?}"),
            _ => {}
        }
    }
    cluster.finish().await.unwrap();
}

/// What was invoked after `revoked` and answered by a node was refused, and for
/// the one reason that it may have.
fn all_unauthenticated(calls: &[Call], revoked: Instant) {
    let later = calls.iter().filter(|call| call.invoked >= revoked);
    for call in later.filter(|call| answered_by_node(call)) {
        assert_eq!(call.refused.as_deref(), Some("UNAUTHENTICATED"), "{call:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_use_invoked_after_an_acknowledged_revocation_succeeds() {
    let cluster = Cluster::builder("revoke").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    for round in 0..rounds(4) {
        let administrator = cluster.administrator(&cluster.nodes()[round % 3]);
        let token = administrator.create_token("short-lived", Role::User).await.unwrap();
        let key = tenant.key_id.clone();
        let callers = Callers::start(two_each(&cluster, &token.token), move |caller| {
            let key = key.clone();
            async move { caller.data_key(&key, &[]).await.map(drop) }
        });
        callers.after(Instant::now(), &[1, 2, 3]).await;
        let id = token.metadata.unwrap().token_id;
        // Every third round loses its leader right after the revocation.
        let victim = victim(&cluster, round).await;
        cluster.administrator(&cluster.nodes()[(round + 1) % 3]).revoke_token(&id).await.unwrap();
        let revoked = Instant::now();
        after_a_kill(&cluster, victim.as_ref(), &callers).await;
        callers.after(Instant::now(), &[1, 2, 3]).await;
        let calls = callers.stop();
        assert!(calls.iter().any(|call| call.invoked < revoked && call.refused.is_none()));
        all_unauthenticated(&calls, revoked);
    }
    cluster.finish().await.unwrap();
}

/// The audit log shows nothing that succeeded for `principal` after its token
/// was revoked.
fn nothing_after_revocation(events: &[Event], principal: &str) {
    let revoked = events
        .iter()
        .rfind(|event| event.operation == "RevokeToken" && event.outcome == "success")
        .expect("the revocation is recorded")
        .sequence;
    let later = events.iter().find(|event| {
        event.sequence > revoked && event.principal_name == principal && event.outcome == "success"
    });
    assert!(later.is_none(), "recorded after the revocation at {revoked}: {later:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_administrator_revoked_in_the_middle_of_a_call_finishes_nothing_more() {
    let cluster = Cluster::builder("revoke-administrator").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    for round in 0..rounds(3) {
        let name = format!("administrator-{round}");
        let root = cluster.administrator(&cluster.nodes()[round % 3]);
        let token = root.create_token(&name, Role::Administrator).await.unwrap();
        let callers = Callers::start(two_each(&cluster, &token.token), |caller| async move {
            caller.create_key("made by the one who is revoked").await.map(drop)
        });
        callers.after(Instant::now(), &[1, 2, 3]).await;
        // Every third round loses its leader right after the revocation.
        let victim = victim(&cluster, round).await;
        root.revoke_token(&token.metadata.unwrap().token_id).await.unwrap();
        let revoked = Instant::now();
        after_a_kill(&cluster, victim.as_ref(), &callers).await;
        callers.after(Instant::now(), &[1, 2, 3]).await;
        all_unauthenticated(&callers.stop(), revoked);
        let auditor = cluster.node(3).caller().with_token(&tenant.auditor);
        let events = evidence::all_events(&auditor).await.unwrap();
        nothing_after_revocation(&events, &name);
    }
    cluster.finish().await.unwrap();
}
