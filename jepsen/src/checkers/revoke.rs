//! Revocation: after an acknowledged disabling nothing invoked later succeeds,
//! anywhere; after an acknowledged enabling nothing invoked later is refused.
//!
//! Weaker than linearizability of a key, and independent of it: no search, no
//! bound, and it knows tokens too.

use std::collections::BTreeMap;

use crate::{
    history::{History, Operation},
    kms::{self, USES},
    value::Value,
    verdict::{Checker, Malformed, Verdict, Violation},
};

/// Revocation of keys and tokens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Revoke;

const USED: &str = "nothing invoked after an acknowledged revocation succeeds";
const REFUSED: &str = "nothing invoked after an acknowledged enabling is refused as disabled";

/// What happened to one key or token.
#[derive(Default)]
struct Subject<'h> {
    /// Revocations that happened or may have.
    off: Vec<Operation<'h>>,
    /// Enablings that happened or may have.
    on: Vec<Operation<'h>>,
    /// Uses that succeeded.
    used: Vec<Operation<'h>>,
    /// Uses that were refused because of the revocation.
    refused: Vec<Operation<'h>>,
}

impl Checker for Revoke {
    fn name(&self) -> &'static str {
        "revoke"
    }

    fn law(&self) -> &'static str {
        "After an acknowledged disabling no use invoked later succeeds on any node; after an \
         acknowledged enabling none is refused."
    }

    fn check(&self, history: &History) -> Verdict {
        judge(history).unwrap_or_else(Verdict::from)
    }
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut subjects: BTreeMap<(&str, &str), Subject<'_>> = BTreeMap::new();
    for operation in history.operations() {
        let f = operation.f();
        if f == "disable-key" || f == "enable-key" {
            if !operation.is_fail() {
                let subject = subjects.entry(("key", kms::text(&operation, "key")?)).or_default();
                let list = if f == "enable-key" { &mut subject.on } else { &mut subject.off };
                list.push(operation);
            }
        } else if f == "revoke-token" && !operation.is_fail() {
            let token = kms::text(&operation, "credential")?;
            subjects.entry(("token", token)).or_default().off.push(operation);
        } else if USES.contains(&f) {
            let key = subjects.entry(("key", kms::text(&operation, "key")?)).or_default();
            match operation.error() {
                _ if operation.is_ok() => key.used.push(operation),
                Some("KEY_DISABLED") if operation.is_fail() => key.refused.push(operation),
                _ => {}
            }
        }
        let credential = operation.beside("credential").and_then(Value::name);
        if let Some(token) = credential
            && operation.is_ok()
        {
            subjects.entry(("token", token)).or_default().used.push(operation);
        }
    }
    let mut violations = Vec::new();
    let mut checked = 0;
    for ((what, name), subject) in &subjects {
        checked += subject.used.len() + subject.refused.len();
        for (uses, set, unset, law, did) in [
            (&subject.used, &subject.off, &subject.on, USED, "succeeded"),
            (&subject.refused, &subject.on, &subject.off, REFUSED, "was refused"),
        ] {
            for used in uses {
                if let Some(by) = forbidden_by(used, set, unset) {
                    let explanation =
                        format!("{what} {name}: {used} {did} after {by} was acknowledged");
                    violations.push(Violation::new(law, explanation, [used, by]));
                }
            }
        }
    }
    Ok(Verdict::of(checked, violations))
}

/// The acknowledged change that `used` came after and that nothing can have undone
/// in between.
fn forbidden_by<'o, 'h>(
    used: &Operation<'h>,
    set: &'o [Operation<'h>],
    unset: &[Operation<'h>],
) -> Option<&'o Operation<'h>> {
    // Of those that ended before it: the one that began last leaves least room.
    let by = set.iter().filter(|by| by.is_before(used)).max_by_key(|by| by.invoked)?;
    let undone = unset.iter().any(|undo| undo.ended > by.invoked && undo.invoked < used.ended);
    (!undone).then_some(by)
}
