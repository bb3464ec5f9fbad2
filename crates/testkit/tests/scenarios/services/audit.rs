//! The audit log as its readers find, page and follow it.

use std::time::{Duration, Instant};

use strongroom_testkit::{Caller, Cluster, Explain as _, StatusExt as _, Tenant, evidence};
use strongroom_wire::v1::{
    Event, EventFilter, ListEventsRequest, Role, TailEventsRequest, TailEventsResponse,
};
use tonic::{Code, Status, Streaming};

use super::use_key;

const PATIENCE: Duration = Duration::from_secs(60);
/// A tail that has nothing to tell is authorised again every five seconds.
const ENDS_WITHIN: Duration = Duration::from_secs(20);
/// Events in a page.
const PAGE: u32 = 7;
/// Pages that hold whatever a test here makes, many times over.
const PAGES_MAX: usize = 200;

async fn tail(auditor: &Caller, request: TailEventsRequest) -> Streaming<TailEventsResponse> {
    let stream = auditor.audit().tail_events(request).await;
    stream.explain("TailEvents").unwrap().into_inner()
}

/// Follows a tail until it gave `count` events; gives those, and where to
/// resume.
async fn follow(tail: &mut Streaming<TailEventsResponse>, count: usize) -> (Vec<Event>, u64) {
    let (mut events, mut next) = (Vec::new(), 0);
    let following = async {
        while events.len() < count {
            let part = tail.message().await.explain("a part of a tail").unwrap();
            let part = part.expect("a tail goes on for as long as its caller likes");
            events.extend(part.events);
            next = part.next_sequence;
        }
    };
    tokio::time::timeout(PATIENCE, following).await.expect("events come in time");
    (events, next)
}

/// Follows a tail to its end; gives its last word.
async fn last_word(tail: &mut Streaming<TailEventsResponse>) -> Status {
    let ending = async {
        loop {
            match tail.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the tail ended without a word"),
                Err(status) => return status,
            }
        }
    };
    tokio::time::timeout(ENDS_WITHIN, ending).await.expect("the tail ends in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_resumes_and_follows_without_gap_or_repeat() {
    let cluster = Cluster::builder("tail").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let auditors = cluster.callers(&tenant.auditor);
    use_key(&cluster, &tenant, 4).await;
    let size = evidence::all_events(&auditors[0]).await.unwrap().len();

    // From the middle on, what there is.
    let (first, from_sequence) = (3, 3);
    let request = TailEventsRequest { from_sequence, ..TailEventsRequest::default() };
    let mut stream = tail(&auditors[0], request).await;
    let (mut seen, next) = follow(&mut stream, size - first).await;
    drop(stream);
    assert_eq!(next, from_sequence + seen.len() as u64);

    // Resumed on another node, while all nodes go on adding to it.
    let request = TailEventsRequest { from_sequence: next, ..TailEventsRequest::default() };
    let mut stream = tail(&auditors[1], request).await;
    let ((), (live, next)) = tokio::join!(use_key(&cluster, &tenant, 10), follow(&mut stream, 30));
    seen.extend(live);
    assert_eq!(next, from_sequence + seen.len() as u64);
    for (event, expected) in seen.iter().zip(from_sequence..) {
        assert_eq!(event.sequence, expected, "a gap or a repeat");
    }
    let all = evidence::all_events(&auditors[2]).await.unwrap();
    assert!(all.len() >= first + seen.len());
    for (told, listed) in seen.iter().zip(&all[first..]) {
        assert_eq!(told, listed, "a tail tells what a list shows");
    }

    // From the end on: nothing that was there before.
    let request = TailEventsRequest { from_end: true, ..TailEventsRequest::default() };
    let mut stream = tail(&auditors[2], request).await;
    use_key(&cluster, &tenant, 1).await;
    let (new, _) = follow(&mut stream, 1).await;
    assert!(new[0].sequence >= all.len() as u64, "{:?}", new[0]);
    cluster.finish().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_ends_soon_after_its_token_is_revoked() {
    let cluster = Cluster::builder("tail-revoked").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let user = cluster.node(1).caller().with_token(&tenant.user);
    let status = user.audit().tail_events(TailEventsRequest::default()).await.unwrap_err();
    assert_eq!(status.reason(), "ACCESS_DENIED");

    let administrator = cluster.administrator(cluster.node(1));
    let token = administrator.create_token("follower", Role::Auditor).await.unwrap();
    let followers = cluster.callers(&token.token);
    let mut tails = Vec::new();
    for follower in &followers {
        let request = TailEventsRequest { from_end: true, ..TailEventsRequest::default() };
        tails.push(tail(follower, request).await);
    }
    use_key(&cluster, &tenant, 1).await;
    for tail in &mut tails {
        follow(tail, 1).await;
    }
    administrator.revoke_token(&token.metadata.unwrap().token_id).await.unwrap();
    let revoked = Instant::now();
    for tail in &mut tails {
        let status = last_word(tail).await;
        assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        assert_eq!(status.reason(), "UNAUTHENTICATED");
    }
    assert!(revoked.elapsed() < ENDS_WITHIN, "{:?}", revoked.elapsed());
    cluster.finish().await.unwrap();
}

/// Makes events of all kinds and both outcomes, by several principals, of two
/// keys; gives the second key.
async fn happen(cluster: &Cluster, tenant: &Tenant) -> String {
    let user = cluster.node(1).caller().with_token(&tenant.user);
    let second = cluster.administrator(cluster.node(2)).create_key("the second").await.unwrap();
    for key in [&tenant.key_id, &second, &second] {
        user.data_key(key, &[("table", "orders")]).await.unwrap();
    }
    let blob = user.encrypt(&second, b"text", &[]).await.unwrap();
    user.decrypt(&blob, &[]).await.unwrap();
    let status = user.decrypt(&blob, &[("table", "other")]).await.unwrap_err();
    assert_eq!(status.reason(), "INVALID_CIPHERTEXT");
    let status = user.create_key("none").await.unwrap_err();
    assert_eq!(status.reason(), "ACCESS_DENIED");
    let auditor = cluster.node(3).caller().with_token(&tenant.auditor);
    let status = auditor.data_key(&second, &[]).await.unwrap_err();
    assert_eq!(status.reason(), "ACCESS_DENIED");
    second
}

/// What `audit.proto` says of a filter, in other words.
fn fits(filter: &EventFilter, event: &Event) -> bool {
    let asked = |wanted: &str, is: &str| wanted.is_empty() || wanted == is;
    asked(&filter.key_id, &event.key_id)
        && (asked(&filter.principal, &event.principal_id)
            || filter.principal == event.principal_name)
        && (filter.operations.is_empty() || filter.operations.contains(&event.operation))
        && asked(&filter.outcome, &event.outcome)
        && asked(&filter.kind, &event.kind)
        && event.committed_ms >= filter.from_ms
        && (filter.to_ms == 0 || event.committed_ms < filter.to_ms)
}

/// Filters that each find some of what [`happen`] made, and not all of it.
fn filters(all: &[Event], second: &str) -> Vec<EventFilter> {
    let none = EventFilter::default;
    let operations =
        |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
    let first = |operation: &str| {
        all.iter().find(|event| event.operation == operation).expect("it happened")
    };
    let (created, encrypted) = (first("CreateKey"), first("Encrypt"));
    let mut filters = vec![
        EventFilter { operations: operations(&["GenerateDataKey"]), ..none() },
        EventFilter { operations: operations(&["Encrypt", "Decrypt"]), ..none() },
        EventFilter { principal: "application".to_owned(), ..none() },
        EventFilter { principal: encrypted.principal_id.clone(), ..none() },
        EventFilter { key_id: second.to_owned(), ..none() },
        EventFilter { from_ms: encrypted.committed_ms, ..none() },
        EventFilter { to_ms: encrypted.committed_ms, ..none() },
        EventFilter { from_ms: created.committed_ms, to_ms: encrypted.committed_ms, ..none() },
        EventFilter {
            key_id: second.to_owned(),
            principal: "application".to_owned(),
            outcome: "refused".to_owned(),
            kind: "use".to_owned(),
            operations: operations(&["Decrypt"]),
            from_ms: created.committed_ms,
            ..none()
        },
    ];
    for outcome in ["success", "refused"] {
        filters.push(EventFilter { outcome: outcome.to_owned(), ..none() });
    }
    for kind in ["use", "denial", "administration", "ceremony"] {
        filters.push(EventFilter { kind: kind.to_owned(), ..none() });
    }
    filters
}

/// Sequence numbers below `end` of the events that fit: steps of the ceremony
/// may still be added to the log.
async fn found(auditor: &Caller, filter: &EventFilter, end: usize) -> Vec<u64> {
    let events = evidence::events(auditor, filter.clone()).await.unwrap();
    let sequences = events.iter().map(|event| event.sequence);
    sequences.filter(|sequence| *sequence < end as u64).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_finds_exactly_the_events_that_fit_it() {
    let cluster = Cluster::builder("filters").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let auditors = cluster.callers(&tenant.auditor);
    let none = EventFilter::default;
    for filter in [
        EventFilter { kind: "nonsense".to_owned(), ..none() },
        EventFilter { outcome: "maybe".to_owned(), ..none() },
        EventFilter { operations: vec!["encrypt".to_owned()], ..none() },
        EventFilter { key_id: "no key".to_owned(), ..none() },
    ] {
        let request = ListEventsRequest { filter: Some(filter), ..ListEventsRequest::default() };
        let status = auditors[0].audit().list_events(request).await.unwrap_err();
        assert_eq!(status.reason(), "INVALID_ARGUMENT", "{status:?}");
    }

    let second = happen(&cluster, &tenant).await;
    let all = evidence::all_events(&auditors[0]).await.unwrap();
    for filter in filters(&all, &second) {
        let fitting = all.iter().filter(|event| fits(&filter, event));
        let expected: Vec<u64> = fitting.map(|event| event.sequence).collect();
        assert!(!expected.is_empty() && expected.len() < all.len(), "no test: {filter:?}");
        for auditor in &auditors {
            assert_eq!(found(auditor, &filter, all.len()).await, expected, "{filter:?}");
        }
    }
    let by_arn = format!("arn:aws:kms:local:000000000000:key/{second}");
    let by_arn = EventFilter { key_id: by_arn, ..none() };
    let by_id = EventFilter { key_id: second, ..none() };
    assert_eq!(
        found(&auditors[1], &by_arn, all.len()).await,
        found(&auditors[2], &by_id, all.len()).await
    );
    let nobody = EventFilter { principal: "nobody".to_owned(), ..none() };
    assert!(found(&auditors[1], &nobody, all.len()).await.is_empty());
    cluster.finish().await.unwrap();
}

/// Sequence numbers of all pages, each page asked of another node.
async fn paged(auditors: &[Caller], filter: &EventFilter, ascending: bool) -> Vec<u64> {
    let (mut sequences, mut page_token) = (Vec::new(), String::new());
    for auditor in auditors.iter().cycle().take(PAGES_MAX) {
        let filter = Some(filter.clone());
        let request = ListEventsRequest { filter, limit: PAGE, page_token, ascending };
        let page = auditor.audit().list_events(request).await;
        let page = page.explain("ListEvents").unwrap().into_inner();
        assert!(page.events.len() <= PAGE as usize, "{} in a page", page.events.len());
        sequences.extend(page.events.iter().map(|event| event.sequence));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return sequences;
        }
    }
    panic!("pages without end: {sequences:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_each_event_once_in_both_orders() {
    let cluster = Cluster::builder("pages").serving().await.unwrap();
    let tenant = cluster.tenant().await.unwrap();
    let auditors = cluster.callers(&tenant.auditor);
    use_key(&cluster, &tenant, 5).await;
    let request = |ascending, page_token: &str| ListEventsRequest {
        limit: 1,
        page_token: page_token.to_owned(),
        ascending,
        ..ListEventsRequest::default()
    };
    let page = auditors[0].audit().list_events(request(true, "")).await;
    let token = page.explain("ListEvents").unwrap().into_inner().next_page_token;
    let status = auditors[0].audit().list_events(request(false, &token)).await.unwrap_err();
    assert_eq!(status.reason(), "INVALID_ARGUMENT", "a token of the other order");

    let all = evidence::all_events(&auditors[0]).await.unwrap();
    for operations in [Vec::new(), vec!["GenerateDataKey".to_owned()]] {
        let filter = EventFilter { operations, ..EventFilter::default() };
        let fitting = all.iter().filter(|event| fits(&filter, event));
        let mut expected: Vec<u64> = fitting.map(|event| event.sequence).collect();
        assert!(expected.len() > PAGE as usize, "more than a page");
        for ascending in [true, false] {
            let mut found = paged(&auditors, &filter, ascending).await;
            found.retain(|sequence| *sequence < all.len() as u64);
            assert_eq!(found, expected, "ascending: {ascending}");
            expected.reverse();
        }
    }
    cluster.finish().await.unwrap();
}
