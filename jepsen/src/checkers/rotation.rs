//! Rotation of the barrier against creation and use of keys: epochs ascend, and
//! nothing that was acknowledged before is refused as lost.

use std::collections::{BTreeMap, HashMap};

use crate::{
    history::{History, Operation},
    kms::{self, LOSSES},
    value::Value,
    verdict::{Checker, Malformed, Verdict, Violation},
};

/// Barrier rotation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rotation;

const ASCEND: &str = "barrier epochs ascend";
const TWICE: &str = "no barrier epoch is made twice";
const KEPT: &str = "a rotation loses no key and no blob";
const TESTED: &str = "keys were made and used before and after a rotation";

impl Checker for Rotation {
    fn name(&self) -> &'static str {
        "rotation"
    }

    fn law(&self) -> &'static str {
        "Barrier epochs ascend, and while they change no key or blob acknowledged before is \
         refused as lost."
    }

    fn check(&self, history: &History) -> Verdict {
        judge(history).unwrap_or_else(Verdict::from)
    }
}

fn judge(history: &History) -> Result<Verdict, Malformed> {
    let mut violations = Vec::new();
    let rotations = epochs(history, &mut violations)?;
    let mut made: HashMap<&str, Operation<'_>> = HashMap::new();
    for operation in history.operations().filter(Operation::is_ok) {
        for field in ["key", "blob"] {
            if (operation.f() == "create-key" || field == "blob")
                && let Some(name) = operation.value().field(field).and_then(Value::name)
            {
                made.entry(name).or_insert(operation);
            }
        }
    }
    let mut checked = 0;
    for operation in history.operations() {
        let acknowledged = ["blob", "key"]
            .into_iter()
            .filter_map(|field| operation.invoke.value.field(field).and_then(Value::name))
            .filter_map(|name| made.get(name))
            .find(|by| by.is_before(&operation));
        let Some(by) = acknowledged else { continue };
        checked += 1;
        if operation.is_fail() && operation.error().is_some_and(|error| LOSSES.contains(&error)) {
            let explanation = format!("{operation}, after {by}");
            violations.push(Violation::new(KEPT, explanation, [&operation, by]));
        }
    }
    let around = rotations.iter().any(|rotation| {
        let created = made.values().any(|by| by.is_before(rotation));
        let used = |operation: Operation<'_>| {
            operation.is_ok()
                && kms::USES.contains(&operation.f())
                && rotation.is_before(&operation)
        };
        created && history.operations().any(used)
    });
    if violations.is_empty() && !around {
        let explanation = "no rotation has an acknowledged key before and a use after it";
        return Ok(Verdict::unknown(TESTED, explanation.to_owned()));
    }
    Ok(Verdict::of(checked, violations))
}

fn epochs<'h>(
    history: &'h History,
    violations: &mut Vec<Violation>,
) -> Result<Vec<Operation<'h>>, Malformed> {
    let rotations: Vec<_> =
        kms::named(history, "rotate-barrier").filter(Operation::is_ok).collect();
    let mut seen: BTreeMap<u64, Operation<'_>> = BTreeMap::new();
    for rotation in &rotations {
        let epoch = kms::number(rotation, "epoch")?;
        if let Some(other) = seen.insert(epoch, *rotation) {
            let explanation = format!("epoch {epoch} in {other} and {rotation}");
            violations.push(Violation::new(TWICE, explanation, [&other, rotation]));
        }
        for (other, by) in seen.range(epoch + 1..) {
            if by.is_before(rotation) {
                let explanation = format!("{rotation} gives epoch {epoch} after {other} in {by}");
                violations.push(Violation::new(ASCEND, explanation, [by, rotation]));
            }
        }
    }
    Ok(rotations)
}
