//! The picture: time from left to right; faults, nodes, rate of answers, and each
//! operation in the row of its process.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use super::{Escaped, seconds};
use crate::{
    history::{History, Operation, Outcome},
    run::Run,
    schedule::{Installed, spans},
    value::Value,
};

/// Width of the time axis, in units of the picture.
const WIDTH: f64 = 1000.0;
/// Room for names to the left of it.
const LEFT: f64 = 120.0;
const ROW: f64 = 18.0;
const RATE_HEIGHT: f64 = 60.0;
const BUCKETS: usize = 200;
/// Operations drawn: a browser is slow with more.
const OPERATIONS_MAX: usize = 4000;

/// Draws from top to bottom.
struct Picture {
    svg: String,
    y: f64,
    end_ns: u64,
}

/// What a monitor saw of a node, until the next note.
struct Seen<'h> {
    from_ns: u64,
    state: &'h str,
    leads: bool,
}

pub(super) fn write(out: &mut String, run: &Run) -> fmt::Result {
    let history = &run.history;
    let mut picture = Picture { svg: String::new(), y: 24.0, end_ns: history.end_ns().max(1) };
    picture.faults(history)?;
    picture.nodes(run)?;
    picture.rate(history)?;
    let hidden = picture.operations(run)?;
    let height = picture.y + 10.0;
    writeln!(
        out,
        "<div class=\"scroll\"><svg viewBox=\"0 0 {:.0} {height:.0}\" role=\"img\" \
         aria-label=\"Timeline of operations, faults, leaders and seal states\">",
        LEFT + WIDTH + 20.0
    )?;
    picture.axis(out, height)?;
    writeln!(out, "{}</svg></div>", picture.svg)?;
    write!(out, "<p class=\"legend\">")?;
    for (class, text) in [
        ("ok", "ok"),
        ("fail", "fail"),
        ("info", "info (not known)"),
        ("harness", "harness fault"),
        ("named", "named by a violation"),
        ("unsealed", "unsealed"),
        ("leader", "unsealed, leads"),
        ("verifying", "verifying"),
        ("sealed", "sealed"),
        ("down", "down"),
        ("installed", "fault installed"),
        ("indeterminate", "fault indeterminate"),
        ("skipped", "fault skipped"),
    ] {
        write!(out, "<span><i class=\"{class}\"></i>{text}</span> ")?;
    }
    writeln!(out, "</p>")?;
    if hidden > 0 {
        writeln!(
            out,
            "<p class=\"small\">{hidden} operations that are ok are not drawn one by one; the \
             rate counts them.</p>"
        )?;
    }
    Ok(())
}

impl Picture {
    fn x(&self, ns: u64) -> f64 {
        LEFT + WIDTH * seconds(ns.min(self.end_ns)) / seconds(self.end_ns)
    }

    fn axis(&self, out: &mut String, height: f64) -> fmt::Result {
        let length = seconds(self.end_ns);
        // A round step that gives at most a dozen marks.
        let steps = [0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 3600.0];
        let step = steps.into_iter().find(|step| length / step <= 12.0).unwrap_or(length / 12.0);
        let mut mark = 0.0;
        while mark <= length {
            let x = LEFT + WIDTH * mark / length;
            writeln!(
                out,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"18\" y2=\"{height:.0}\"/>\
                 <text x=\"{x:.1}\" y=\"12\" text-anchor=\"middle\">{} s</text>",
                (mark * 1000.0).round() / 1000.0
            )?;
            mark += step;
        }
        Ok(())
    }

    fn label(&mut self, text: &str) -> fmt::Result {
        let (x, y) = (LEFT - 6.0, self.y + ROW * 0.7);
        let text = Escaped(text);
        writeln!(self.svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{text}</text>")
    }

    /// A bar in the row `y` from one time to another, with words that show when a
    /// pointer rests on it.
    fn bar(
        &mut self,
        class: &str,
        (from_ns, to_ns): (u64, u64),
        y: f64,
        title: &str,
    ) -> fmt::Result {
        let (x, end) = (self.x(from_ns), self.x(to_ns));
        let width = (end - x).max(1.0);
        writeln!(
            self.svg,
            "<rect class=\"{class}\" x=\"{x:.2}\" y=\"{y:.1}\" width=\"{width:.2}\" \
             height=\"{:.1}\"><title>{}</title></rect>",
            ROW - 6.0,
            Escaped(title)
        )
    }

    fn faults(&mut self, history: &History) -> fmt::Result {
        // A run with a note that can't be read was never judged.
        let spans = spans(history).unwrap_or_default();
        let kinds: BTreeSet<_> = spans.iter().map(|span| span.kind.clone()).collect();
        for kind in kinds {
            self.label(&kind)?;
            for span in spans.iter().filter(|span| span.kind == kind) {
                let class = match span.outcome {
                    Installed::Installed => "installed",
                    Installed::Skipped => "skipped",
                    Installed::Indeterminate => "indeterminate",
                };
                let until = span.healed.map_or(self.end_ns, |at| at.ns);
                self.bar(class, (span.installed.ns, until), self.y + 3.0, &span.to_string())?;
            }
            self.y += ROW;
        }
        Ok(())
    }

    fn nodes(&mut self, run: &Run) -> fmt::Result {
        let mut nodes: BTreeMap<u64, Vec<Seen<'_>>> =
            run.header.nodes.iter().map(|node| (*node, Vec::new())).collect();
        for (_, note) in run.history.notes("monitor") {
            let name = |field| note.value.field(field).and_then(Value::name);
            let Some(node) = note.value.field("node").and_then(Value::unsigned) else { continue };
            nodes.entry(node).or_default().push(Seen {
                from_ns: note.time_ns,
                state: name("state").unwrap_or_default(),
                leads: name("role") == Some("leader"),
            });
        }
        for (node, seen) in nodes {
            self.label(&format!("node {node}"))?;
            // Equal neighbours make one bar.
            let mut from = 0;
            for position in 0..seen.len() {
                let Seen { from_ns, state, leads } = &seen[from];
                let next = seen.get(position + 1);
                if next.is_some_and(|next| next.state == *state && next.leads == *leads) {
                    continue;
                }
                let until = next.map_or(self.end_ns, |next| next.from_ns);
                let class = match *state {
                    "unsealed" if *leads => "leader",
                    "unsealed" => "unsealed",
                    "verifying" => "verifying",
                    "sealed" | "uninitialised" => "sealed",
                    _ => "down",
                };
                let leads = if *leads { ", leads" } else { "" };
                let title = format!("node {node}: {state}{leads}");
                self.bar(class, (*from_ns, until), self.y + 3.0, &title)?;
                from = position + 1;
            }
            self.y += ROW;
        }
        Ok(())
    }

    /// Ends of operations over time: ok upwards first, then fail, then info.
    fn rate(&mut self, history: &History) -> fmt::Result {
        let mut buckets = vec![[0_u32; 4]; BUCKETS];
        for operation in history.operations() {
            let Some(end) = operation.completion else { continue };
            let bucket = u128::from(end.time_ns) * BUCKETS as u128 / (u128::from(self.end_ns) + 1);
            let bucket = usize::try_from(bucket).unwrap_or(BUCKETS).min(BUCKETS - 1);
            buckets[bucket][lane(operation.outcome)] += 1;
        }
        let most =
            buckets.iter().map(|bucket| bucket.iter().sum::<u32>()).max().unwrap_or(0).max(1);
        self.y += 8.0;
        self.label("answers")?;
        let width = WIDTH / BUCKETS as f64;
        for (position, bucket) in buckets.iter().enumerate() {
            let mut bottom = self.y + RATE_HEIGHT;
            for (count, class) in bucket.iter().zip(["ok", "fail", "info", "harness"]) {
                if *count == 0 {
                    continue;
                }
                let height = RATE_HEIGHT * f64::from(*count) / f64::from(most);
                bottom -= height;
                writeln!(
                    self.svg,
                    "<rect class=\"{class}\" x=\"{:.2}\" y=\"{bottom:.2}\" width=\"{width:.2}\" \
                     height=\"{height:.2}\"><title>{count} {class}</title></rect>",
                    LEFT + width * position as f64
                )?;
            }
        }
        self.y += RATE_HEIGHT + 8.0;
        Ok(())
    }

    /// Gives how many are not drawn.
    fn operations(&mut self, run: &Run) -> Result<usize, fmt::Error> {
        let named: BTreeSet<u64> = run
            .judgements
            .iter()
            .flat_map(|judgement| judgement.verdict.violations())
            .flat_map(|violation| violation.entries.iter().copied())
            .collect();
        let all: Vec<_> = run.history.operations().collect();
        // What is not ok, or named, goes first; of the rest every so many.
        let plain = |op: &Operation<'_>| op.is_ok() && !named.contains(&op.index());
        let special = all.iter().filter(|op| !plain(op)).count();
        let plain_count = all.len() - special;
        let room = OPERATIONS_MAX.saturating_sub(special).max(1);
        let every = plain_count.div_ceil(room).max(1);
        let mut rows: BTreeMap<_, Vec<&Operation<'_>>> = BTreeMap::new();
        let (mut number, mut hidden) = (0, 0);
        for operation in &all {
            if plain(operation) {
                number += 1;
                if number % every != 0 {
                    hidden += 1;
                    continue;
                }
            }
            rows.entry(&operation.invoke.process).or_default().push(operation);
        }
        for (process, operations) in rows {
            self.label(&process.to_string())?;
            for operation in operations {
                let mut class =
                    ["ok", "fail", "info", "harness"][lane(operation.outcome)].to_owned();
                if named.contains(&operation.index()) {
                    class.push_str(" named");
                }
                let from = operation.invoke.time_ns;
                let until = operation.completion.map_or(self.end_ns, |entry| entry.time_ns);
                self.bar(&class, (from, until), self.y + 3.0, &operation.to_string())?;
            }
            self.y += ROW;
        }
        Ok(hidden)
    }
}

fn lane(outcome: Outcome) -> usize {
    match outcome {
        Outcome::Ok => 0,
        Outcome::Fail => 1,
        Outcome::Unknown => 2,
        Outcome::Harness => 3,
    }
}
