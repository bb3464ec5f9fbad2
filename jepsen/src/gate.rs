//! The coverage gate: a run counts only where enough happened in it. What passes
//! every checker because nothing was tried is *not tested*.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    history::{History, Outcome},
    schedule::{Installed, spans},
    value::Value,
    verdict::Malformed,
};

/// What a run must have had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Least number of successes, by operation.
    pub ok_min: BTreeMap<String, u64>,
    /// Least number of faults that took hold, by kind.
    pub installed_min: BTreeMap<String, u64>,
    /// Least number of times that another node led.
    pub leader_changes_min: u64,
    /// Most faults of the harness.
    pub harness_faults_max: u64,
}

/// How often operations ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// Happened.
    pub ok: u64,
    /// Did not.
    pub fail: u64,
    /// Not known.
    pub info: u64,
    /// The harness failed: counted as none of these.
    pub harness: u64,
}

/// What became of the faults of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installs {
    /// Took hold.
    pub installed: u64,
    /// Could not be tried.
    pub skipped: u64,
    /// May have taken hold.
    pub indeterminate: u64,
}

/// What a run had.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// By operation.
    pub operations: BTreeMap<String, Ends>,
    /// By kind of fault.
    pub faults: BTreeMap<String, Installs>,
    /// How often another node led, as the monitor saw it.
    pub leader_changes: u64,
}

/// What a run lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortfall {
    /// Successes of an operation.
    Ok {
        /// The operation.
        f: String,
        /// There were.
        had: u64,
        /// There should have been.
        min: u64,
    },
    /// Faults of a kind.
    Installed {
        /// The kind.
        kind: String,
        /// There were.
        had: u64,
        /// There should have been.
        min: u64,
    },
    /// Changes of leader.
    LeaderChanges {
        /// There were.
        had: u64,
        /// There should have been.
        min: u64,
    },
    /// The harness failed too often.
    HarnessFaults {
        /// It did.
        had: u64,
        /// It may.
        max: u64,
    },
}

impl fmt::Display for Shortfall {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ok { f, had, min } => write!(out, "{had} ok of {f}, needs {min}"),
            Self::Installed { kind, had, min } => {
                write!(out, "fault {kind} installed {had} times, needs {min}")
            }
            Self::LeaderChanges { had, min } => {
                write!(out, "{had} changes of leader seen, needs {min}")
            }
            Self::HarnessFaults { had, max } => {
                write!(out, "{had} faults of the harness, may have {max}")
            }
        }
    }
}

impl Coverage {
    /// Counts what happened.
    ///
    /// # Errors
    ///
    /// When a note of the nemesis lacks a field.
    pub fn of(history: &History) -> Result<Self, Malformed> {
        let mut coverage = Self { leader_changes: leader_changes(history), ..Self::default() };
        for operation in history.operations() {
            let ends = coverage.operations.entry(operation.f().to_owned()).or_default();
            *match operation.outcome {
                Outcome::Ok => &mut ends.ok,
                Outcome::Fail => &mut ends.fail,
                Outcome::Unknown => &mut ends.info,
                Outcome::Harness => &mut ends.harness,
            } += 1;
        }
        for span in spans(history)? {
            let installs = coverage.faults.entry(span.kind).or_default();
            *match span.outcome {
                Installed::Installed => &mut installs.installed,
                Installed::Skipped => &mut installs.skipped,
                Installed::Indeterminate => &mut installs.indeterminate,
            } += 1;
        }
        Ok(coverage)
    }
}

impl Gate {
    /// What the run lacks; nothing where it counts.
    #[must_use]
    pub fn shortfalls(&self, coverage: &Coverage) -> Vec<Shortfall> {
        let mut shortfalls = Vec::new();
        for (f, min) in &self.ok_min {
            let had = coverage.operations.get(f).map_or(0, |ends| ends.ok);
            if had < *min {
                shortfalls.push(Shortfall::Ok { f: f.clone(), had, min: *min });
            }
        }
        for (kind, min) in &self.installed_min {
            let had = coverage.faults.get(kind).map_or(0, |installs| installs.installed);
            if had < *min {
                shortfalls.push(Shortfall::Installed { kind: kind.clone(), had, min: *min });
            }
        }
        let (had, min) = (coverage.leader_changes, self.leader_changes_min);
        if had < min {
            shortfalls.push(Shortfall::LeaderChanges { had, min });
        }
        let (had, max) =
            (coverage.operations.values().map(|ends| ends.harness).sum(), self.harness_faults_max);
        if had > max {
            shortfalls.push(Shortfall::HarnessFaults { had, max });
        }
        shortfalls
    }
}

/// Terms in which the monitor saw another leader than in the one before.
fn leader_changes(history: &History) -> u64 {
    let mut leaders = BTreeMap::new();
    for (_, note) in history.notes("monitor") {
        let field = |name| note.value.field(name);
        let leads = field("role").and_then(Value::name) == Some("leader");
        let term = field("term").and_then(Value::unsigned);
        let node = field("node").and_then(Value::unsigned);
        if let (true, Some(term), Some(node)) = (leads, term, node) {
            leaders.insert(term, node);
        }
    }
    let nodes: Vec<_> = leaders.values().collect();
    nodes.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::read_edn;

    fn history() -> History {
        read_edn(
            "[{:process 1, :type :invoke, :f :encrypt} {:process 1, :type :ok, :f :encrypt}
              {:process 1, :type :invoke, :f :encrypt}
              {:process 1, :type :info, :f :encrypt, :harness \"no socket\"}
              {:process :nemesis, :type :info, :f :kill, :value {:fault 0, :phase :install,
               :outcome :installed, :nodes [1]}}
              {:process :nemesis, :type :info, :f :kill, :value {:fault 1, :phase :install,
               :outcome :skipped, :nodes []}}
              {:process :monitor, :type :info, :f :node, :value {:node 1, :role :leader, :term 1}}
              {:process :monitor, :type :info, :f :node, :value {:node 1, :role :leader, :term 3}}
              {:process :monitor, :type :info, :f :node, :value {:node 2, :role :leader, :term 4}}]",
        )
        .unwrap()
    }

    fn gate(ok: u64, installed: u64, leader_changes_min: u64, harness_faults_max: u64) -> Gate {
        Gate {
            ok_min: BTreeMap::from([("encrypt".to_owned(), ok)]),
            installed_min: BTreeMap::from([("kill".to_owned(), installed)]),
            leader_changes_min,
            harness_faults_max,
        }
    }

    #[test]
    fn each_lack_makes_a_run_not_tested() {
        let coverage = Coverage::of(&history()).unwrap();
        let lacks = |gate: Gate| -> Vec<_> {
            gate.shortfalls(&coverage).iter().map(ToString::to_string).collect()
        };
        assert_eq!(lacks(gate(2, 1, 1, 1)), ["1 ok of encrypt, needs 2"]);
        assert_eq!(lacks(gate(1, 2, 1, 1)), ["fault kill installed 1 times, needs 2"]);
        assert_eq!(lacks(gate(1, 1, 2, 1)), ["1 changes of leader seen, needs 2"]);
        assert_eq!(lacks(gate(1, 1, 1, 0)), ["1 faults of the harness, may have 0"]);
        let other =
            Gate { ok_min: BTreeMap::from([("decrypt".to_owned(), 1)]), ..gate(1, 1, 1, 1) };
        assert_eq!(lacks(other), ["0 ok of decrypt, needs 1"]);
    }

    #[test]
    fn a_run_with_enough_of_all_counts() {
        let coverage = Coverage::of(&history()).unwrap();
        assert_eq!(gate(1, 1, 1, 1).shortfalls(&coverage), []);
    }

    #[test]
    fn a_fault_of_the_harness_is_counted_as_nothing_else() {
        let coverage = Coverage::of(&history()).unwrap();
        let ends = Ends { ok: 1, fail: 0, info: 0, harness: 1 };
        assert_eq!(coverage.operations["encrypt"], ends);
    }
}
