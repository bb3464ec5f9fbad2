//! State hashes: equal on all nodes at equal index, and compared after healing.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    history::{History, Operation},
    kms,
    schedule::spans,
    verdict::{Checker, Malformed, Verdict, Violation},
};

/// State hashes.
#[derive(Clone, Debug, Default)]
pub struct Hashes {
    /// Nodes that must agree at one index after the last fault was healed.
    pub nodes: Vec<u64>,
}

const EQUAL: &str = "state hashes are equal at equal index";
const COMPARED: &str = "all nodes told a state hash at one index after healing";

impl Checker for Hashes {
    fn name(&self) -> &'static str {
        "state hashes"
    }

    fn law(&self) -> &'static str {
        "At the same log index every node has the same state, also after the last fault is healed."
    }

    fn check(&self, history: &History) -> Verdict {
        self.judge(history).unwrap_or_else(Verdict::from)
    }
}

impl Hashes {
    fn judge(&self, history: &History) -> Result<Verdict, Malformed> {
        let mut violations = Vec::new();
        let mut hashes: BTreeMap<u64, (&str, Operation<'_>)> = BTreeMap::new();
        let mut told: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        let faults = spans(history)?;
        // A fault that was never healed leaves nothing to compare.
        let healed = faults.iter().map(|span| span.healed.map_or(usize::MAX, |at| at.position));
        let healed = healed.max();
        for operation in kms::named(history, "state-hash").filter(Operation::is_ok) {
            let (index, hash) = (kms::number(&operation, "index")?, kms::text(&operation, "hash")?);
            let node = kms::node(&operation)?;
            let (first_hash, first) = hashes.entry(index).or_insert((hash, operation));
            if *first_hash != hash {
                let explanation = format!("at index {index}: {first}, {operation}");
                violations.push(Violation::new(EQUAL, explanation, [&*first, &operation]));
            }
            if healed.is_none_or(|at| at < operation.invoked) {
                told.entry(index).or_default().insert(node);
            }
        }
        let all = |nodes: &BTreeSet<u64>| self.nodes.iter().all(|node| nodes.contains(node));
        if violations.is_empty() && !told.values().any(all) {
            let explanation = format!(
                "no index after healing for which nodes {:?} all told their hash",
                self.nodes
            );
            return Ok(Verdict::unknown(COMPARED, explanation));
        }
        Ok(Verdict::of(hashes.len(), violations))
    }
}
