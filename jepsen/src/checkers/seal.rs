//! The seal: a sealed node answers nothing else from its first accept on, and only
//! as many right shares as the threshold asks for, all of them new, unseal it.

use std::collections::BTreeMap;

use crate::{
    history::{History, Operation, Outcome},
    kms::{self, OF_A_SEALED_NODE},
    value::Value,
    verdict::{Checker, Malformed, Verdict, Violation},
};

/// Seal states.
#[derive(Clone, Copy, Debug)]
pub struct Seal {
    /// Shares that unseal.
    pub threshold: usize,
}

const SILENT: &str = "a sealed node answers nothing else";
const SHARES: &str = "only the threshold of right shares unseals";
const BAD: &str = "no wrong, repeated or old share is accepted";
const COUNTED: &str = "progress counts right shares once each";
const KEPT: &str = "a refused share leaves the progress as it was";

/// When a node became sealed.
#[derive(Clone, Copy)]
struct Sealing {
    /// It may be sealed from here on: shares given later may count.
    from: usize,
    /// It is sealed from here on; `usize::MAX` where that is not known.
    by: usize,
}

/// What happened to the seal of one node.
#[derive(Default)]
struct Node<'h> {
    sealings: Vec<Sealing>,
    /// Where progress may be forgotten while the node stays sealed.
    resets: Vec<Operation<'h>>,
    /// Shares that were taken or may have been.
    right: Vec<(u64, Operation<'h>)>,
}

impl Checker for Seal {
    fn name(&self) -> &'static str {
        "seal"
    }

    fn law(&self) -> &'static str {
        "A sealed node answers nothing else from its first accept; wrong, repeated and old shares \
         never unseal."
    }

    fn check(&self, history: &History) -> Verdict {
        self.judge(history).unwrap_or_else(Verdict::from)
    }
}

impl Seal {
    fn judge(&self, history: &History) -> Result<Verdict, Malformed> {
        let mut violations = Vec::new();
        let nodes = nodes(history, &mut violations)?;
        let mut checked = 0;
        for operation in history.operations().filter(Operation::is_ok) {
            let Some(node) = operation.node().and_then(|node| nodes.get(&node)) else { continue };
            let given = node.given(&operation);
            let state = match operation.f() {
                "seal-status" | "submit-share" => kms::text(&operation, "state")?,
                f if OF_A_SEALED_NODE.contains(&f) => continue,
                _ => "serves",
            };
            let Some(given) = given else { continue };
            checked += 1;
            let few = given.len() < self.threshold;
            let shares = || {
                let shares: Vec<_> = given.values().map(ToString::to_string).collect();
                if shares.is_empty() { "none".to_owned() } else { shares.join(", ") }
            };
            match state {
                "serves" if few => {
                    let explanation = format!(
                        "{operation} was answered while the node was sealed; right shares given \
                         to it since: {}",
                        shares()
                    );
                    violations.push(Violation::new(SILENT, explanation, [&operation]));
                }
                "unsealed" | "verifying" if few => {
                    let explanation = format!(
                        "{operation}: {} of {} shares were given to the node: {}",
                        given.len(),
                        self.threshold,
                        shares()
                    );
                    violations.push(Violation::new(SHARES, explanation, [&operation]));
                }
                "sealed" => node.progress(&operation, given.len(), &mut violations)?,
                _ => {}
            }
        }
        Ok(Verdict::of(checked, violations))
    }
}

impl<'h> Node<'h> {
    /// Right shares that may have counted by the end of `operation`, by index; none
    /// where the node was not certainly sealed before it.
    fn given(&self, operation: &Operation<'_>) -> Option<BTreeMap<u64, Operation<'h>>> {
        let sealed = self.sealings.iter().filter(|sealing| sealing.by < operation.invoked);
        let since = sealed.map(|sealing| sealing.from).max()?;
        let counts =
            |share: &Operation<'_>| share.invoked > since && share.invoked < operation.ended;
        Some(self.right.iter().filter(|(_, share)| counts(share)).copied().collect())
    }

    /// Holds the progress that a sealed node tells against the shares it was given.
    fn progress(
        &self,
        operation: &Operation<'_>,
        most: usize,
        violations: &mut Vec<Violation>,
    ) -> Result<(), Malformed> {
        let progress = kms::number(operation, "progress")?;
        if progress > most as u64 {
            let explanation =
                format!("{operation}: the node counts {progress} shares and was given {most}");
            violations.push(Violation::new(COUNTED, explanation, [operation]));
        }
        // What may have forgotten the progress before the operation ended.
        let sealings = self.sealings.iter().filter(|sealing| sealing.from < operation.ended);
        let resets = self.resets.iter().filter(|reset| reset.invoked < operation.ended);
        let since = sealings.map(|sealing| sealing.by).chain(resets.map(|reset| reset.ended)).max();
        let Some(since) = since else { return Ok(()) };
        let kept: BTreeMap<_, _> = self
            .right
            .iter()
            .filter(|(_, share)| share.is_ok() && share.invoked > since)
            .filter(|(_, share)| share.is_before(operation))
            .copied()
            .collect();
        if progress < kept.len() as u64 {
            let shares: Vec<_> = kept.values().map(ToString::to_string).collect();
            let explanation = format!(
                "{operation}: the node counts {progress} shares and had accepted {}",
                shares.join(", ")
            );
            violations.push(Violation::new(KEPT, explanation, kept.values().chain([operation])));
        }
        Ok(())
    }
}

fn nodes<'h>(
    history: &'h History,
    violations: &mut Vec<Violation>,
) -> Result<BTreeMap<u64, Node<'h>>, Malformed> {
    let mut nodes: BTreeMap<u64, Node<'_>> = BTreeMap::new();
    for (position, note) in history.notes("cluster").filter(|(_, note)| note.f == "started") {
        let node = note.value.field("node").and_then(Value::unsigned);
        let malformed = || Malformed { index: note.index, f: note.f.clone(), field: "node" };
        let node = nodes.entry(node.ok_or_else(malformed)?).or_default();
        node.sealings.push(Sealing { from: position, by: position });
    }
    for operation in history.operations().filter(|op| !op.is_fail()) {
        let entry = |nodes: &mut BTreeMap<u64, Node<'h>>, change: &dyn Fn(&mut Node<'h>)| {
            kms::node(&operation).map(|node| change(nodes.entry(node).or_default()))
        };
        match operation.f() {
            "seal-node" => {
                let sealing = Sealing { from: operation.invoked, by: operation.ended };
                entry(&mut nodes, &|node| node.sealings.push(sealing))?;
            }
            "reset-unseal" => entry(&mut nodes, &|node| node.resets.push(operation))?,
            "submit-share" => {
                let share = kms::number(&operation, "share")?;
                if kms::text(&operation, "kind")? == "right" {
                    entry(&mut nodes, &|node| node.right.push((share, operation)))?;
                } else if operation.outcome == Outcome::Ok {
                    let explanation = format!("{operation} was accepted");
                    violations.push(Violation::new(BAD, explanation, [&operation]));
                }
            }
            _ => {}
        }
    }
    Ok(nodes)
}
