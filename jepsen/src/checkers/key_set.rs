//! Keys as a set: none is lost, none is there twice, and a creation that is
//! repeated under its client token makes one key.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    history::{History, Operation},
    kms,
    value::Value,
    verdict::{Checker, Malformed, Verdict, Violation},
};

/// Keys as a set.
#[derive(Clone, Copy, Debug, Default)]
pub struct KeySet;

const LOST: &str = "no acknowledged key is lost";
const TWICE: &str = "no key is listed twice";
const ONE: &str = "one client token makes one key";
const NONE: &str = "no key comes from nowhere";
const LISTED: &str = "keys were listed after the last creation";

impl Checker for KeySet {
    fn name(&self) -> &'static str {
        "key set"
    }

    fn law(&self) -> &'static str {
        "No acknowledged key is lost, none is listed twice, and repeats of a creation make one key."
    }

    fn check(&self, history: &History) -> Verdict {
        judge(history).unwrap_or_else(Verdict::from)
    }
}

/// What is known of one key.
struct Known<'h> {
    token: &'h str,
    by: Operation<'h>,
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let creations: Vec<_> = kms::named(history, "create-key").collect();
    let mut violations = Vec::new();
    let mut keys: BTreeMap<&str, Known<'_>> = BTreeMap::new();
    let mut made: BTreeMap<&str, (&str, Operation<'_>)> = BTreeMap::new();
    for create in creations.iter().filter(|create| create.is_ok()) {
        let (token, key) = (kms::text(create, "token")?, kms::text(create, "key")?);
        let (first_key, first) = made.entry(token).or_insert((key, *create));
        let known = keys.entry(key).or_insert(Known { token, by: *create });
        if *first_key != key {
            let explanation =
                format!("token {token} made {first_key} and {key}: {first}, {create}");
            violations.push(Violation::new(ONE, explanation, [&*first, create]));
        } else if known.token != token {
            let explanation =
                format!("key {key} was made under two tokens: {}, {create}", known.by);
            violations.push(Violation::new(ONE, explanation, [&known.by, create]));
        }
    }
    // Tokens under which a key may have been made that nobody was told of, with
    // the first call that may have.
    let mut untold: BTreeMap<&str, Operation<'_>> = BTreeMap::new();
    for create in creations.iter().filter(|create| !create.is_ok() && !create.is_fail()) {
        let token = kms::text(create, "token")?;
        if !made.contains_key(token) {
            untold.entry(token).or_insert(*create);
        }
    }
    let listings = kms::named(history, "list-keys").filter(Operation::is_ok);
    let Some(first_listing) = listings.clone().min_by_key(|list| list.ended) else {
        return Ok(Verdict::unknown(LISTED, "no listing succeeded".to_owned()));
    };
    // Keys from before the history stand in the first listing, if nothing was asked
    // for yet.
    let began = creations.iter().map(|create| create.invoked).min().unwrap_or(usize::MAX);
    let before = if first_listing.ended < began { ids(&first_listing)? } else { Vec::new() };
    let before: BTreeSet<_> = before.into_iter().collect();
    for list in listings.clone() {
        let listed = ids(&list)?;
        let set: BTreeSet<_> = listed.iter().copied().collect();
        if set.len() != listed.len() {
            let mut seen = BTreeSet::new();
            let twice = listed.iter().find(|key| !seen.insert(**key)).copied().unwrap_or_default();
            let explanation = format!("{list} has {twice} twice");
            violations.push(Violation::new(TWICE, explanation, [&list]));
        }
        for (key, known) in &keys {
            if known.by.is_before(&list) && !set.contains(key) {
                let explanation = format!("key {key} of {} is not in {list}", known.by);
                violations.push(Violation::new(LOST, explanation, [&known.by, &list]));
            }
        }
        for key in before.iter().filter(|key| !set.contains(*key)) {
            let explanation = format!("key {key} of {first_listing} is not in {list}");
            violations.push(Violation::new(LOST, explanation, [&first_listing, &list]));
        }
        let strangers: Vec<_> =
            set.iter().filter(|key| !keys.contains_key(*key) && !before.contains(*key)).collect();
        let possible = untold.values().filter(|create| create.invoked < list.ended).count();
        if strangers.len() > possible {
            let explanation = format!(
                "{list} has {} keys that no creation answered with, such as {}; {possible} tokens \
                 may have made one each",
                strangers.len(),
                strangers[0]
            );
            violations.push(Violation::new(NONE, explanation, [&list]));
        }
    }
    let last = creations.iter().filter(|create| create.is_ok()).map(|create| create.ended).max();
    if violations.is_empty()
        && !listings.clone().any(|list| last.is_none_or(|at| at < list.invoked))
    {
        let explanation = "no listing was invoked after the last acknowledged creation".to_owned();
        return Ok(Verdict::unknown(LISTED, explanation));
    }
    Ok(Verdict::of(keys.len(), violations))
}

fn ids<'h>(list: &Operation<'h>) -> Result<Vec<&'h str>, Malformed> {
    let items = list.field("keys").and_then(Value::items);
    let items = items.ok_or_else(|| kms::malformed(list, "keys"))?;
    items.iter().map(|id| id.name().ok_or_else(|| kms::malformed(list, "keys"))).collect()
}
