//! The figures that the design sets goals for, with how far they can be trusted.

use std::fmt;

use serde_json::{Map, Value, json};
use strongroom_benches::{
    draw::Kept,
    origin::Origin,
    rounds::Thrown,
    stats::{Estimate, Sample},
};

use crate::report::Figures;

/// With fewer good rounds a figure is said to rest on too few.
const ROUNDS_MIN: usize = 6;
/// A wider spread is said to be too wide.
const SPREAD_MAX: f64 = 0.15;

/// What a figure is to reach, first and then.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// So much or more.
    AtLeast(f64, f64),
    /// So much or less.
    AtMost(f64, f64),
}

/// One figure.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    /// For programs; its unit is the end, where it has one.
    name: &'static str,
    /// For people.
    what: &'static str,
    /// Empty for a count.
    unit: &'static str,
    /// `None` where nothing that was measured counts.
    estimate: Option<Estimate>,
    /// Rounds, or runs, that it rests on.
    kept: usize,
    /// Rounds that were thrown away; `None` where it rests on runs, all of which
    /// count.
    thrown: Option<Thrown>,
    /// Of the design.
    goal: Option<Goal>,
    /// How it was taken, where that must be known.
    note: Option<String>,
}

impl Measured {
    /// Nothing measured yet.
    pub(crate) fn new(name: &'static str, what: &'static str, unit: &'static str) -> Self {
        Self { name, what, unit, estimate: None, kept: 0, thrown: None, goal: None, note: None }
    }

    /// Of the rounds that count, which gave `sample`.
    pub(crate) fn of(mut self, kept: &Kept, sample: &Sample) -> Self {
        self.thrown = Some(kept.thrown);
        self.of_runs(kept.len(), sample.estimate())
    }

    /// Of so many runs, none of which was thrown away.
    pub(crate) fn of_runs(mut self, runs: usize, estimate: Option<Estimate>) -> Self {
        (self.kept, self.estimate) = (runs, estimate);
        self
    }

    /// Of two kinds of rounds: as many as there are of both.
    pub(crate) fn of_both(mut self, a: &Kept, b: &Kept, estimate: Option<Estimate>) -> Self {
        let (stolen, foreign) =
            (a.thrown.stolen + b.thrown.stolen, a.thrown.foreign + b.thrown.foreign);
        self.thrown = Some(Thrown { stolen, foreign });
        self.of_runs(a.len().min(b.len()), estimate)
    }

    /// With what the design wants.
    pub(crate) fn with_goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// With a word on how it was taken.
    pub(crate) fn with_note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// Whether it rests on as much as it should: some rounds, or any run.
    fn is_enough(&self) -> bool {
        self.kept >= if self.thrown.is_some() { ROUNDS_MIN } else { 1 }
    }

    fn spread(&self) -> Option<f64> {
        self.estimate.and_then(|estimate| estimate.spread)
    }

    fn goals(&self) -> [Option<(f64, bool)>; 2] {
        let value = self.estimate.map(|estimate| estimate.value);
        match self.goal {
            Some(Goal::AtLeast(first, then)) => {
                [first, then].map(|goal| Some((goal, value.is_some_and(|value| value >= goal))))
            }
            Some(Goal::AtMost(first, then)) => {
                [first, then].map(|goal| Some((goal, value.is_some_and(|value| value <= goal))))
            }
            None => [None, None],
        }
    }

    fn to_json(&self) -> Value {
        let thrown = self.thrown.unwrap_or_default();
        let [first, then] = self.goals().map(|goal| goal.map(|(goal, _)| goal));
        json!({
            "value": self.estimate.map(|estimate| estimate.value),
            "unit": self.unit,
            "spread": self.spread(),
            "rounds_kept": self.kept,
            "rounds_thrown_away": { "stolen": thrown.stolen, "foreign": thrown.foreign },
            "enough_rounds": self.is_enough(),
            "to_reach": first,
            "then": then,
            "note": self.note,
        })
    }

    fn row(&self) -> [String; 6] {
        let value = self.estimate.map_or("–".to_owned(), |estimate| {
            format!("{} {}", number(estimate.value), self.unit).trim_end().to_owned()
        });
        let spread = match self.spread() {
            _ if !self.is_enough() => "too few".to_owned(),
            Some(spread) if spread > SPREAD_MAX => {
                format!("± {:.0} %, too wide", 100.0 * spread)
            }
            Some(spread) => format!("± {:.1} %", 100.0 * spread),
            None => String::new(),
        };
        let thrown = self.thrown.unwrap_or_default();
        let rounds = match thrown.all() {
            0 => self.kept.to_string(),
            all => format!("{}; {all}, {} of them stolen", self.kept, thrown.stolen),
        };
        let sign = if matches!(self.goal, Some(Goal::AtLeast(..))) { '≥' } else { '≤' };
        let goal = |goal: Option<(f64, bool)>| {
            goal.map_or(String::new(), |(goal, reached)| {
                format!("{sign} {}: {}", number(goal), if reached { "yes" } else { "no" })
            })
        };
        let [first, then] = self.goals().map(goal);
        [self.what.to_owned(), value, spread, rounds, first, then]
    }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// All figures of a run.
pub(crate) struct Report {
    pub(crate) origin: Origin,
    pub(crate) measured: Vec<Measured>,
    /// What else was seen, absolute.
    pub(crate) figures: Figures,
    /// Points of the plots.
    pub(crate) curves: Option<Value>,
    /// Parts of the run that failed, with why.
    pub(crate) failed: Vec<String>,
}

impl Report {
    /// Nothing measured yet.
    pub(crate) fn new(origin: Origin) -> Self {
        let figures = Figures::default();
        Self { origin, measured: Vec::new(), figures, curves: None, failed: Vec::new() }
    }

    /// The figures under their names; beside them `run`, `figures`, `curves`.
    pub(crate) fn to_json(&self) -> Value {
        let mut all: Map<_, _> = self
            .measured
            .iter()
            .map(|measured| (measured.name.to_owned(), measured.to_json()))
            .collect();
        all.insert("run".to_owned(), self.origin.to_json());
        all.insert("figures".to_owned(), self.figures.to_json());
        all.insert("curves".to_owned(), json!(self.curves));
        all.insert("failed".to_owned(), json!(self.failed));
        Value::Object(all)
    }
}

impl fmt::Display for Report {
    /// A table that is Markdown too, so that it can go into `RESULTS.md` as it is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const HEAD: [&str; 6] =
            ["what", "measured", "spread", "rounds kept; thrown away", "to reach", "then"];
        writeln!(
            f,
            "{}\ncommit {}\n{}\n",
            self.origin.machine, self.origin.commit, self.origin.build
        )?;
        let rows: Vec<_> = std::iter::once(HEAD.map(str::to_owned))
            .chain(self.measured.iter().map(Measured::row))
            .collect();
        let width =
            |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: [usize; 6] = std::array::from_fn(width);
        for (position, row) in rows.iter().enumerate() {
            for (cell, width) in row.iter().zip(widths) {
                write!(f, "| {cell:<width$} ")?;
            }
            writeln!(f, "|")?;
            if position == 0 {
                for width in widths {
                    write!(f, "|-{:-<width$}-", "")?;
                }
                writeln!(f, "|")?;
            }
        }
        for measured in &self.measured {
            if let Some(note) = &measured.note {
                writeln!(f, "\n{}: {note}", measured.what)?;
            }
        }
        writeln!(f, "\n{}", self.figures)?;
        for failed in &self.failed {
            writeln!(f, "FAILED: {failed}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(value: f64, spread: Option<f64>, kept: usize, goal: Goal) -> Measured {
        let thrown = Thrown { stolen: 1, foreign: 2 };
        let measured = Measured::new("a_over_b", "a, of b", "x")
            .of_runs(kept, Some(Estimate { value, spread }))
            .with_goal(goal);
        Measured { thrown: Some(thrown), ..measured }
    }

    #[test]
    fn too_few_rounds_and_too_wide_a_spread_are_said() {
        let goal = Goal::AtLeast(0.3, 0.6);
        assert_eq!(measured(0.4, Some(0.01), 5, goal).row()[2], "too few");
        assert_eq!(measured(0.4, Some(0.2), 6, goal).row()[2], "± 20 %, too wide");
        assert_eq!(measured(0.4, Some(0.02), 6, goal).row()[2], "± 2.0 %");
        assert_eq!(measured(0.4, Some(0.02), 6, goal).row()[3], "6; 3, 1 of them stolen");
        let runs = |runs| Measured::new("a", "a", "").of_runs(runs, None).row();
        assert_eq!((runs(0)[2].as_str(), runs(1)[2].as_str()), ("too few", ""));
    }

    #[test]
    fn goals_hold_in_their_own_direction_and_nothing_reaches_none() {
        let row = measured(0.4, None, 9, Goal::AtLeast(0.3, 0.6)).row();
        assert_eq!(row[4..], ["≥ 0.30: yes", "≥ 0.60: no"]);
        let row = measured(1.5, None, 9, Goal::AtMost(2.0, 1.3)).row();
        assert_eq!(row[4..], ["≤ 2.00: yes", "≤ 1.30: no"]);
        let none = Measured { estimate: None, ..measured(0.0, None, 0, Goal::AtMost(2.0, 1.3)) };
        assert_eq!((none.row()[1].as_str(), none.row()[4].as_str()), ("–", "≤ 2.00: no"));
        assert_eq!(none.to_json()["value"], Value::Null);
    }
}
