//! The audit log: one record for each success, at most one for each call whose
//! outcome is not known, none without a call; one log on all nodes.

use std::collections::{BTreeMap, HashMap};

use crate::{
    history::{History, Operation, Outcome},
    kms::{self, READS},
    value::Value,
    verdict::{Checker, Malformed, Verdict, Violation},
};

/// The audit log.
#[derive(Clone, Copy, Debug, Default)]
pub struct Audit {
    /// Records below this sequence number are of calls from before the history.
    pub first: u64,
}

const ONE: &str = "every success has one record";
const MOST: &str = "no call has more records than it may";
const CALLED: &str = "no record without a call";
const GAPS: &str = "sequence numbers have no gaps";
const PREFIX: &str = "of two nodes' logs one begins with the other";
const ROOTS: &str = "roots are equal at equal size";
const READ: &str = "the whole log was read after the last call";

/// Calls of one request id.
#[derive(Default)]
struct Request<'h> {
    calls: Vec<Operation<'h>>,
}

/// A record, as a log has it.
struct Record<'h> {
    sequence: u64,
    request: &'h str,
    success: bool,
    leaf: &'h str,
}

impl Checker for Audit {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn law(&self) -> &'static str {
        "One record for each success, at most one for each unknown, none without a call; logs of \
         two nodes are prefixes of one another, with equal roots at equal size."
    }

    fn check(&self, history: &History) -> Verdict {
        self.judge(history).unwrap_or_else(Verdict::from)
    }
}

impl Audit {
    fn judge(&self, history: &History) -> Result<Verdict, Malformed> {
        let mut requests: HashMap<&str, Request<'_>> = HashMap::new();
        for operation in history.operations().filter(|op| !READS.contains(&op.f())) {
            if let Some(request) = operation.beside("request").and_then(Value::name) {
                requests.entry(request).or_default().calls.push(operation);
            }
        }
        let tells =
            |op: &Operation<'_>| op.is_ok() && ["read-audit", "audit-root"].contains(&op.f());
        let reads: Vec<_> = history.operations().filter(tells).collect();
        let mut violations = Vec::new();
        let mut leaves = BTreeMap::new();
        let mut roots = BTreeMap::new();
        let mut complete = false;
        let last_call = requests
            .values()
            .flat_map(|request| &request.calls)
            .filter(|call| call.is_ok())
            .map(|call| call.ended)
            .max();
        for read in &reads {
            compare_roots(read, &mut roots, &mut violations)?;
            let Some(records) = records(read)? else { continue };
            complete |= last_call.is_none_or(|at| at < read.invoked);
            compare_leaves(read, &records, &mut leaves, &mut violations);
            self.count(read, &records, &requests, &mut violations);
        }
        if violations.is_empty() && !complete {
            let explanation = "no log was read after the last success".to_owned();
            return Ok(Verdict::unknown(READ, explanation));
        }
        Ok(Verdict::of(leaves.len(), violations))
    }

    /// Holds the records of one log against the calls.
    fn count(
        &self,
        read: &Operation<'_>,
        records: &[Record<'_>],
        requests: &HashMap<&str, Request<'_>>,
        violations: &mut Vec<Violation>,
    ) {
        // Successes and refusals by request.
        let mut found: HashMap<&str, (usize, usize)> = HashMap::new();
        for record in records.iter().filter(|record| !record.request.is_empty()) {
            let counts = found.entry(record.request).or_default();
            if record.success {
                counts.0 += 1
            } else {
                counts.1 += 1
            }
            if record.sequence >= self.first && !requests.contains_key(record.request) {
                let explanation = format!(
                    "record {} in {read} is of request {}, which nobody made",
                    record.sequence, record.request
                );
                violations.push(Violation::new(CALLED, explanation, [read]));
            }
        }
        for (name, request) in requests {
            let (successes, refusals) = found.get(name).copied().unwrap_or_default();
            let count = |outcome: &dyn Fn(&Operation<'_>) -> bool| {
                request.calls.iter().filter(|call| outcome(call)).count()
            };
            let before = count(&|call| call.is_ok() && call.is_before(read));
            let begun = |call: &Operation<'_>| call.invoked < read.ended;
            let unknown =
                |call: &Operation<'_>| matches!(call.outcome, Outcome::Unknown | Outcome::Harness);
            let most = count(&|call| begun(call) && (call.is_ok() || unknown(call)));
            let most_refusals = count(&|call| begun(call) && (call.is_fail() || unknown(call)));
            let shown = || list(&request.calls);
            if successes < before {
                let explanation = format!(
                    "request {name} has {successes} records of success in {read}, and {before} \
                     successes: {}",
                    shown()
                );
                violations.push(Violation::new(
                    ONE,
                    explanation,
                    request.calls.iter().chain([read]),
                ));
            }
            for (records, most, of) in
                [(successes, most, "success"), (refusals, most_refusals, "refusal")]
            {
                if records > most {
                    let explanation = format!(
                        "request {name} has {records} records of {of} in {read}, and may have \
                         {most}: {}",
                        shown()
                    );
                    let shown_by = request.calls.iter().chain([read]);
                    violations.push(Violation::new(MOST, explanation, shown_by));
                }
            }
        }
    }
}

fn list(calls: &[Operation<'_>]) -> String {
    calls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn compare_roots<'h>(
    read: &Operation<'h>,
    roots: &mut BTreeMap<u64, (&'h str, Operation<'h>)>,
    violations: &mut Vec<Violation>,
) -> Result<(), Malformed> {
    let (size, root) = (kms::number(read, "size")?, kms::text(read, "root")?);
    let (first_root, first) = roots.entry(size).or_insert((root, *read));
    if *first_root != root {
        let explanation = format!(
            "at size {size} the root is {first_root} in op {} on node {:?} and {root} in op {} on \
             node {:?}",
            first.index(),
            first.node().unwrap_or_default(),
            read.index(),
            read.node().unwrap_or_default()
        );
        violations.push(Violation::new(ROOTS, explanation, [&*first, read]));
    }
    Ok(())
}

fn compare_leaves<'h>(
    read: &Operation<'h>,
    records: &[Record<'h>],
    leaves: &mut BTreeMap<u64, (&'h str, Operation<'h>)>,
    violations: &mut Vec<Violation>,
) {
    for (position, record) in records.iter().enumerate() {
        let sequence = record.sequence;
        if sequence != position as u64 {
            let explanation =
                format!("op {}: at position {position} is record {sequence}", read.index());
            violations.push(Violation::new(GAPS, explanation, [read]));
            return;
        }
        let (leaf, first) = leaves.entry(sequence).or_insert((record.leaf, *read));
        if *leaf != record.leaf {
            let explanation = format!(
                "record {sequence} is {leaf} in op {} and {} in op {}",
                first.index(),
                record.leaf,
                read.index()
            );
            violations.push(Violation::new(PREFIX, explanation, [&*first, read]));
            return;
        }
    }
}

/// The records of a log; none where only its size and root were read.
fn records<'h>(read: &Operation<'h>) -> Result<Option<Vec<Record<'h>>>, Malformed> {
    let Some(events) = read.field("events") else { return Ok(None) };
    let bad = || kms::malformed(read, "events");
    let record = |event: &'h Value| {
        Some(Record {
            sequence: event.field("sequence")?.unsigned()?,
            request: event.field("request")?.name()?,
            success: event.field("outcome")?.name()? == "success",
            leaf: event.field("leaf")?.name()?,
        })
    };
    let records: Option<Vec<_>> = events.items().ok_or_else(bad)?.iter().map(record).collect();
    records.map(Some).ok_or_else(bad)
}
