//! A run: what it was made of, what came of it, and the files that keep it.

use std::{collections::BTreeMap, fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::{
    gate::{Coverage, Gate, Shortfall},
    history::{History, write_edn, write_json_lines},
    report,
    schedule::Schedule,
    verdict::{Checker, Malformed, Verdict},
};

/// What a run was made of: enough to do it again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Name of the workload.
    pub workload: String,
    /// Seed of all random choices.
    pub seed: u64,
    /// Commit of the program under test.
    pub commit: String,
    /// Versions of what took part, by name.
    pub versions: BTreeMap<String, String>,
    /// Ids of the nodes.
    pub nodes: Vec<u64>,
    /// When it began, for people: RFC 3339.
    pub began: String,
    /// The planned faults.
    pub schedule: Schedule,
    /// What it must have had to count.
    pub gate: Gate,
}

/// What a checker said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The checker.
    pub checker: &'static str,
    /// Its law.
    pub law: &'static str,
    /// What it said.
    pub verdict: Verdict,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Result {
    /// Enough happened, and every checker is content.
    Passed,
    /// A law was broken: whatever else the run lacks.
    Failed,
    /// No law was seen broken, and too little happened, or a checker can't tell.
    NotTested,
}

/// A run that was judged.
#[derive(Clone, Debug)]
pub struct Run {
    /// What it was made of.
    pub header: Header,
    /// What happened.
    pub history: History,
    /// What there was of it.
    pub coverage: Coverage,
    /// What it lacks.
    pub shortfalls: Vec<Shortfall>,
    /// What the checkers said.
    pub judgements: Vec<Judgement>,
}

impl Result {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotTested => "not tested",
        }
    }
}

impl Run {
    /// Holds a history against the gate and all checkers.
    ///
    /// # Errors
    ///
    /// When a note of the nemesis lacks a field: a fault of the harness.
    pub fn judge(
        header: Header,
        history: History,
        checkers: &[&dyn Checker],
    ) -> std::result::Result<Self, Malformed> {
        let coverage = Coverage::of(&history)?;
        let shortfalls = header.gate.shortfalls(&coverage);
        let judgements = checkers
            .iter()
            .map(|checker| Judgement {
                checker: checker.name(),
                law: checker.law(),
                verdict: checker.check(&history),
            })
            .collect();
        Ok(Self { header, history, coverage, shortfalls, judgements })
    }

    /// How it ended.
    #[must_use]
    pub fn result(&self) -> Result {
        let any = |found: &dyn Fn(&Verdict) -> bool| {
            self.judgements.iter().any(|judgement| found(&judgement.verdict))
        };
        if any(&|verdict| matches!(verdict, Verdict::Invalid(_))) {
            Result::Failed
        } else if self.judgements.is_empty()
            || !self.shortfalls.is_empty()
            || any(&|verdict| matches!(verdict, Verdict::Unknown(_)))
        {
            Result::NotTested
        } else {
            Result::Passed
        }
    }

    /// Writes `run.json`, `history.edn`, `history.jsonl` and `report.html` into a
    /// folder, which is made.
    ///
    /// # Errors
    ///
    /// When the folder can't be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        fs::write(folder.join("history.edn"), write_edn(&self.history))?;
        fs::write(folder.join("history.jsonl"), write_json_lines(&self.history))?;
        fs::write(folder.join("run.json"), format!("{:#}\n", self.json()))?;
        fs::write(folder.join("report.html"), report::html(self))
    }

    /// Header, counts and verdicts.
    fn json(&self) -> serde_json::Value {
        let verdicts: Vec<_> = self
            .judgements
            .iter()
            .map(|judgement| {
                let violations: Vec<_> = judgement
                    .verdict
                    .violations()
                    .iter()
                    .map(|violation| {
                        serde_json::json!({"law": violation.law, "entries": violation.entries,
                            "explanation": violation.explanation})
                    })
                    .collect();
                serde_json::json!({"checker": judgement.checker,
                    "verdict": judgement.verdict.word(), "violations": violations})
            })
            .collect();
        let lacks: Vec<_> = self.shortfalls.iter().map(ToString::to_string).collect();
        serde_json::json!({"result": self.result().name(), "header": self.header,
            "coverage": self.coverage, "lacks": lacks, "verdicts": verdicts})
    }
}
