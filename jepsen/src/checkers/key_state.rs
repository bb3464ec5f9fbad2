//! Each key is one object: creation, enabling, disabling, uses and descriptions are
//! linearizable.

use std::collections::{BTreeMap, HashMap};

use crate::{
    history::{History, Operation, Outcome},
    kms::{self, USES},
    models::{Answer, Ask, Key, KeyModel},
    verdict::{Checker, Malformed, Verdict, Violation},
    wgl::{Event, Part, PartsVerdict, Stuck, search_parts},
};

/// Key state, by the search of [`wgl`](crate::wgl).
#[derive(Clone, Copy, Debug)]
pub struct KeyState {
    /// Configurations looked at for one key before the checker gives up.
    pub configurations_max: usize,
}

impl Default for KeyState {
    fn default() -> Self {
        // A configuration takes some hundred bytes.
        Self { configurations_max: 2_000_000 }
    }
}

const LAW: &str = "key state is linearizable";

impl Checker for KeyState {
    fn name(&self) -> &'static str {
        "key state"
    }

    fn law(&self) -> &'static str {
        "Operations on a key could have happened one after another, each while it ran."
    }

    fn check(&self, history: &History) -> Verdict {
        parts(history).map_or_else(Verdict::from, |parts| self.search(history, &parts))
    }
}

impl KeyState {
    fn search(&self, history: &History, parts: &[Part<&str, KeyModel>]) -> Verdict {
        match search_parts(parts, self.configurations_max) {
            PartsVerdict::Linearizable => {
                Verdict::Valid { checked: parts.iter().map(|(.., events)| events.len()).sum() }
            }
            PartsVerdict::Not(key, stuck) => Verdict::Invalid(vec![explain(history, key, &stuck)]),
            PartsVerdict::GaveUp(keys) => Verdict::unknown(
                LAW,
                format!(
                    "not found out within {} configurations, of {} keys: {}",
                    self.configurations_max,
                    keys.len(),
                    keys.join(", ")
                ),
            ),
        }
    }
}

fn parts(history: &History) -> Result<Vec<Part<&str, KeyModel>>, Malformed> {
    // A retry whose answer was lost is known by its client token.
    let mut made: HashMap<&str, &str> = HashMap::new();
    for create in kms::named(history, "create-key").filter(Operation::is_ok) {
        made.insert(kms::text(&create, "token")?, kms::text(&create, "key")?);
    }
    let mut parts: BTreeMap<&str, (KeyModel, Vec<_>)> = BTreeMap::new();
    for operation in history.operations() {
        let (key, ask) = match operation.f() {
            "create-key" => match made.get(kms::text(&operation, "token")?) {
                Some(key) => (*key, Ask::Create),
                None => continue,
            },
            "enable-key" => (kms::text(&operation, "key")?, Ask::Enable),
            "disable-key" => (kms::text(&operation, "key")?, Ask::Disable),
            "describe-key" => (kms::text(&operation, "key")?, Ask::Describe),
            f if USES.contains(&f) => (kms::text(&operation, "key")?, Ask::Use),
            _ => continue,
        };
        let output = match (operation.outcome, operation.error()) {
            (Outcome::Ok, _) => Some(answer(&operation, ask)?),
            (Outcome::Fail, Some("KEY_DISABLED")) => Some(Answer::Disabled),
            (Outcome::Fail, Some("KEY_NOT_FOUND")) => Some(Answer::NotFound),
            // Any other refusal says nothing of the key.
            (Outcome::Fail, _) => continue,
            (Outcome::Unknown | Outcome::Harness, _) => None,
        };
        let whole = KeyModel { initial: Key::Either };
        let (model, events) = parts.entry(key).or_insert_with(|| (whole, Vec::new()));
        if ask == Ask::Create {
            model.initial = Key::Absent;
        }
        events.push(Event {
            input: ask,
            output,
            invoked: operation.invoked,
            ended: operation.ended,
            index: operation.index(),
        });
    }
    Ok(parts.into_iter().map(|(key, (model, events))| (key, model, events)).collect())
}

fn answer(operation: &Operation<'_>, ask: Ask) -> Result<Answer, Malformed> {
    if ask != Ask::Describe {
        return Ok(Answer::Done);
    }
    match kms::text(operation, "state")? {
        "enabled" => Ok(Answer::Is(Key::Enabled)),
        "disabled" => Ok(Answer::Is(Key::Disabled)),
        _ => Err(kms::malformed(operation, "state")),
    }
}

fn explain(history: &History, key: &str, stuck: &Stuck<Key>) -> Violation {
    let named = |indexes: &[u64]| -> Vec<_> {
        let of = |index: &u64| history.operations().find(|other| other.index() == *index);
        indexes.iter().filter_map(of).collect()
    };
    let (last, open) = (named(&stuck.last), named(&stuck.open));
    let operation = named(&[stuck.operation]);
    let list = |operations: &[Operation<'_>]| {
        let texts: Vec<_> = operations.iter().map(ToString::to_string).collect();
        if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
    };
    let explanation = format!(
        "key {key}: no order explains {}. What completed before it can be explained, and leaves \
         the key {:?}; the last in that order: {}; running then: {}",
        list(&operation),
        stuck.state,
        list(&last),
        list(&open)
    );
    Violation::new(LAW, explanation, operation.iter().chain(&last).chain(&open))
}
