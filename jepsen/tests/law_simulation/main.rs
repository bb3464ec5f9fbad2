//! Histories of a simulated system that keeps all laws are accepted, and refused
//! after each change that breaks one.

#![allow(clippy::unwrap_used, reason = "tests")]

mod system;

use proptest::prelude::*;
use strongroom_jepsen::{
    checkers::{Audit, Envelope, KeySet, KeyState, Revoke, Rotation},
    history::{Entry, History, Kind, Process},
    kms::READS,
    value::Value,
    verdict::{Checker, Verdict},
};

use system::{Size, simulate};

const SMALL: Size = Size { processes: 6, keys: 3, steps: 400 };

fn envelope() -> Envelope {
    Envelope { nodes: vec![1, 2, 3], sweeps: vec!["end".to_owned()] }
}

fn all() -> [Box<dyn Checker>; 6] {
    [
        Box::new(KeyState::default()),
        Box::new(Revoke),
        Box::new(envelope()),
        Box::new(KeySet),
        Box::new(Audit::default()),
        Box::new(Rotation),
    ]
}

/// The same entries, changed.
fn changed(history: &History, change: impl FnOnce(&mut Vec<Entry>)) -> History {
    let mut entries = history.entries().to_vec();
    change(&mut entries);
    for (index, entry) in entries.iter_mut().enumerate() {
        entry.index = index as u64;
    }
    History::new(entries).unwrap()
}

/// Appends an operation that nothing overlaps.
fn append(entries: &mut Vec<Entry>, kind: Kind, f: &str, asked: Value, answered: Value) {
    let time_ns = entries.last().map_or(0, |entry| entry.time_ns);
    let mut push = |kind, value| {
        entries.push(Entry {
            index: 0,
            time_ns,
            process: Process::Client(1_000_000),
            kind,
            f: f.to_owned(),
            value,
            more: std::collections::BTreeMap::new(),
        });
    };
    push(Kind::Invoke, asked);
    push(kind, answered);
}

/// Positions of entries of this kind.
fn positions(history: &History, f: &str, kind: Kind) -> Vec<usize> {
    let fits = |entry: &Entry| entry.f == f && entry.kind == kind;
    (0..history.entries().len()).filter(|at| fits(&history.entries()[*at])).collect()
}

/// Edits the vector in a field of the last entry of this kind.
fn edit_last(
    history: &History,
    f: &str,
    field: &str,
    edit: impl FnOnce(&mut Vec<Value>),
) -> History {
    let last = *positions(history, f, Kind::Ok).last().unwrap();
    changed(history, |entries| {
        let mut items = entries[last].value.field(field).unwrap().items().unwrap().to_vec();
        edit(&mut items);
        entries[last].value.set_field(field, Value::Vector(items));
    })
}

fn refused(checker: &dyn Checker, history: &History, law: &str) -> Result<(), TestCaseError> {
    let verdict = checker.check(history);
    let Verdict::Invalid(violations) = &verdict else {
        return Err(TestCaseError::fail(format!("{}: {verdict:?}", checker.name())));
    };
    prop_assert!(violations.iter().any(|violation| violation.law == law), "{:?}", violations);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_system_that_keeps_the_laws_is_accepted(seed: u64) {
        let history = simulate(seed, SMALL);
        for checker in all() {
            let verdict = checker.check(&history);
            prop_assert!(verdict.is_valid(), "{}: {:#?}", checker.name(), verdict);
        }
    }

    #[test]
    fn a_use_after_an_acknowledged_disabling_is_refused(seed: u64) {
        let history = changed(&simulate(seed, SMALL), |entries| {
            let key = || Value::map([("key", "fresh".into())]);
            let blob = Value::map([("key", "fresh".into()), ("blob", "x".into()), ("digest", "x".into())]);
            let made = Value::map([("key", "fresh".into()), ("token", "fresh".into())]);
            append(entries, Kind::Ok, "create-key", Value::map([("token", "fresh".into())]), made);
            append(entries, Kind::Ok, "disable-key", key(), key());
            append(entries, Kind::Ok, "encrypt", key(), blob);
        });
        refused(&KeyState::default(), &history, "key state is linearizable")?;
        refused(&Revoke, &history, "nothing invoked after an acknowledged revocation succeeds")?;
    }

    #[test]
    fn a_description_that_differs_from_the_one_before_is_refused(seed: u64) {
        // The simulation ends with two descriptions of each key, and nothing else.
        let history = simulate(seed, SMALL);
        let last = *positions(&history, "describe-key", Kind::Ok).last().unwrap();
        let flipped = changed(&history, |entries| {
            let state = entries[last].value.field("state").and_then(Value::name);
            let other = if state == Some("enabled") { "disabled" } else { "enabled" };
            entries[last].value.set_field("state", Value::keyword(other));
        });
        let key = history.entries()[last].value.field("key").cloned();
        let unknown = history.operations().any(|op| {
            let changes = op.f() == "enable-key" || op.f() == "disable-key";
            changes && !op.is_ok() && !op.is_fail() && op.field("key") == key.as_ref()
        });
        prop_assume!(!unknown);
        refused(&KeyState::default(), &flipped, "key state is linearizable")?;
    }

    #[test]
    fn a_key_that_vanishes_or_is_there_twice_is_refused(seed: u64, which: prop::sample::Index) {
        let history = simulate(seed, SMALL);
        let created = positions(&history, "create-key", Kind::Ok);
        let key = history.entries()[created[which.index(created.len())]].value.field("key").unwrap();
        let gone = edit_last(&history, "list-keys", "keys", |keys| keys.retain(|id| id != key));
        refused(&KeySet, &gone, "no acknowledged key is lost")?;
        let twice = edit_last(&history, "list-keys", "keys", |keys| keys.push(key.clone()));
        refused(&KeySet, &twice, "no key is listed twice")?;
        let more = edit_last(&history, "list-keys", "keys", |keys| {
            keys.extend((0..100).map(|stranger| Value::Text(format!("stranger-{stranger}"))));
        });
        refused(&KeySet, &more, "no key comes from nowhere")?;
    }

    #[test]
    fn a_blob_that_changes_is_refused(seed: u64, which: prop::sample::Index) {
        let history = simulate(seed, SMALL);
        let decrypted = positions(&history, "decrypt", Kind::Ok);
        let at = decrypted[which.index(decrypted.len())];
        let other = changed(&history, |entries| entries[at].value.set_field("digest", "other".into()));
        refused(&envelope(), &other, "a blob decrypts to what it was made of")?;
        let lost = changed(&history, |entries| {
            entries[at].kind = Kind::Fail;
            entries[at].more.insert("error".to_owned(), "INVALID_CIPHERTEXT".into());
        });
        refused(&envelope(), &lost, "no blob is lost")?;
        refused(&Rotation, &lost, "a rotation loses no key and no blob")?;
    }

    #[test]
    fn an_audit_log_that_lacks_repeats_or_swaps_a_record_is_refused(seed: u64, which: prop::sample::Index) {
        let history = simulate(seed, SMALL);
        let renumber = |events: &mut Vec<Value>| {
            for (sequence, event) in (0_u64..).zip(events) {
                event.set_field("sequence", sequence.into());
            }
        };
        let recorded = history.operations().filter(|op| op.is_ok() && !READS.contains(&op.f()));
        let ok: Vec<_> = recorded.filter_map(|op| op.beside("request")).collect();
        let request = ok[which.index(ok.len())];
        let is = |event: &Value| event.field("request") == Some(request);
        let lacks = edit_last(&history, "read-audit", "events", |events| {
            let at = events.iter().position(is).unwrap();
            events.remove(at);
            renumber(events);
        });
        refused(&Audit::default(), &lacks, "every success has one record")?;
        let twice = edit_last(&history, "read-audit", "events", |events| {
            let again = events.iter().find(|event| is(event)).unwrap().clone();
            events.push(again);
            renumber(events);
        });
        refused(&Audit::default(), &twice, "no call has more records than it may")?;
        let swapped = edit_last(&history, "read-audit", "events", |events| {
            let at = events.iter().position(is).unwrap();
            events[at].set_field("leaf", "forged".into());
        });
        refused(&Audit::default(), &swapped, "of two nodes' logs one begins with the other")?;
        let stranger = edit_last(&history, "read-audit", "events", |events| {
            let at = events.iter().position(is).unwrap();
            events[at].set_field("request", "nobody".into());
        });
        refused(&Audit::default(), &stranger, "no record without a call")?;
    }

    #[test]
    fn an_epoch_that_is_made_twice_is_refused(seed: u64) {
        let history = changed(&simulate(seed, SMALL), |entries| {
            for _ in 0..2 {
                let epoch = Value::map([("epoch", 900_u64.into())]);
                append(entries, Kind::Ok, "rotate-barrier", Value::Nil, epoch);
            }
        });
        refused(&Rotation, &history, "no barrier epoch is made twice")?;
    }
}

#[test]
fn ten_thousand_operations_on_a_hundred_keys_need_little_of_the_bound() {
    let history = simulate(7, Size { processes: 40, keys: 100, steps: 30_000 });
    let count = history.operations().count();
    assert!(count > 10_000, "{count} operations");
    // A configuration takes about a microsecond.
    let checker = KeyState { configurations_max: 20_000 };
    let verdict = checker.check(&history);
    assert!(verdict.is_valid(), "{verdict:#?}");
    for checker in all() {
        assert!(checker.check(&history).is_valid(), "{}", checker.name());
    }
}
