//! Envelope: every blob that was ever handed out decrypts to the same bytes: on
//! each node, after a full restart, after a snapshot.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    history::{History, Operation},
    kms::{self, LOSSES, MAKES},
    value::Value,
    verdict::{Checker, Malformed, Verdict, Violation},
};

/// Blobs decrypt for ever.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    /// Nodes that every sweep asks.
    pub nodes: Vec<u64>,
    /// Sweeps over all blobs that must have been made, by the name in `:sweep`:
    /// `end`, `restart`, `snapshot`.
    pub sweeps: Vec<String>,
}

const SAME: &str = "a blob decrypts to what it was made of";
const KEPT: &str = "no blob is lost";
const SWEPT: &str = "every blob was decrypted in every sweep on every node";

impl Checker for Envelope {
    fn name(&self) -> &'static str {
        "envelope"
    }

    fn law(&self) -> &'static str {
        "Every blob ever handed out decrypts to the same bytes, on each node and after each \
         restart and snapshot."
    }

    fn check(&self, history: &History) -> Verdict {
        self.judge(history).unwrap_or_else(Verdict::from)
    }
}

impl Envelope {
    fn judge(&self, history: &History) -> Result<Verdict, Malformed> {
        // Of each blob: its digest and the operation that gave or showed it first.
        let mut digests: BTreeMap<&str, (&str, Operation<'_>)> = BTreeMap::new();
        let mut handed_out: BTreeSet<&str> = BTreeSet::new();
        let mut swept: BTreeSet<(&str, u64, &str)> = BTreeSet::new();
        let mut violations = Vec::new();
        for operation in history.operations() {
            let makes = MAKES.contains(&operation.f());
            if !makes && operation.f() != "decrypt" {
                continue;
            }
            if operation.is_fail() && !makes {
                let reason = operation.error().unwrap_or_default();
                if LOSSES.contains(&reason) {
                    let blob = kms::text(&operation, "blob")?;
                    let explanation = format!("blob {blob} is lost: {operation}");
                    violations.push(Violation::new(KEPT, explanation, [&operation]));
                }
            }
            if !operation.is_ok() {
                continue;
            }
            let (blob, digest) = (kms::text(&operation, "blob")?, kms::text(&operation, "digest")?);
            let (first_digest, first) = digests.entry(blob).or_insert((digest, operation));
            if *first_digest != digest {
                let explanation =
                    format!("blob {blob}: {first} shows {first_digest}, {operation} {digest}");
                violations.push(Violation::new(SAME, explanation, [&*first, &operation]));
            }
            if makes {
                handed_out.insert(blob);
            } else if let Some(sweep) = operation.field("sweep").and_then(Value::name) {
                swept.insert((sweep, kms::node(&operation)?, blob));
            }
        }
        if !violations.is_empty() {
            return Ok(Verdict::Invalid(violations));
        }
        for sweep in &self.sweeps {
            for node in &self.nodes {
                let missing = |blob: &&&str| !swept.contains(&(sweep.as_str(), *node, **blob));
                if let Some(blob) = handed_out.iter().find(missing) {
                    let count = handed_out.iter().filter(missing).count();
                    let explanation = format!(
                        "sweep '{sweep}' on node {node} lacks {count} of {} blobs, such as {blob}",
                        handed_out.len()
                    );
                    return Ok(Verdict::unknown(SWEPT, explanation));
                }
            }
        }
        Ok(Verdict::Valid { checked: handed_out.len() })
    }
}
