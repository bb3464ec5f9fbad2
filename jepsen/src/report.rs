//! The report of a run: one page without anything from elsewhere, for people.

mod latency;
mod timeline;

use std::fmt::{self, Display, Write as _};

use crate::{
    run::{Result, Run},
    verdict::{Verdict, Violation},
};

const STYLE: &str = include_str!("report/style.css");
/// Violations shown of one checker; the rest are counted.
const VIOLATIONS_MAX: usize = 20;

/// The page.
#[must_use]
pub fn html(run: &Run) -> String {
    let mut page = String::new();
    write_page(&mut page, run).expect("writing to a string succeeds");
    page
}

/// Text in HTML, also within quotes.
struct Escaped<T>(T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.to_string().chars() {
            match c {
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '&' => out.write_str("&amp;")?,
                '"' => out.write_str("&quot;")?,
                c => out.write_char(c)?,
            }
        }
        Ok(())
    }
}

fn write_page(out: &mut String, run: &Run) -> fmt::Result {
    let header = &run.header;
    let result = run.result();
    let title = Escaped(format!("{}, seed {}: {}", header.workload, header.seed, result.name()));
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
    )?;
    let class = match result {
        Result::Passed => "good",
        Result::Failed => "bad",
        Result::NotTested => "doubt",
    };
    writeln!(
        out,
        "<h1>{} <span class=\"mark {class}\">{}</span></h1>",
        Escaped(&header.workload),
        result.name()
    )?;
    write_header(out, run)?;
    write_verdicts(out, run)?;
    write_gate(out, run)?;
    writeln!(out, "<h2>Timeline</h2>")?;
    timeline::write(out, run)?;
    write_operations(out, run)?;
    write_faults(out, run)?;
    writeln!(out, "</main>\n</body>\n</html>")
}

fn write_header(out: &mut String, run: &Run) -> fmt::Result {
    let header = &run.header;
    let nodes: Vec<_> = header.nodes.iter().map(ToString::to_string).collect();
    let rows = [
        ("Began", header.began.clone()),
        ("Lasted", format!("{:.1} s", seconds(run.history.end_ns()))),
        ("Seed", header.seed.to_string()),
        ("Commit", header.commit.clone()),
        ("Nodes", nodes.join(", ")),
    ];
    let versions = header.versions.iter().map(|(name, version)| (name.as_str(), version.clone()));
    writeln!(out, "<dl>")?;
    for (name, value) in rows.into_iter().chain(versions) {
        writeln!(out, "<dt>{}</dt><dd>{}</dd>", Escaped(name), Escaped(value))?;
    }
    writeln!(out, "</dl>")
}

fn write_verdicts(out: &mut String, run: &Run) -> fmt::Result {
    writeln!(out, "<h2>Laws</h2>\n<table>")?;
    writeln!(out, "<tr><th>Checker</th><th>Verdict</th><th>Law</th></tr>")?;
    for judgement in &run.judgements {
        let (class, text) = match &judgement.verdict {
            Verdict::Valid { checked } => ("good", format!("holds, {checked} checked")),
            Verdict::Invalid(violations) => ("bad", format!("broken, {} times", violations.len())),
            Verdict::Unknown(_) => ("doubt", "not known".to_owned()),
        };
        writeln!(
            out,
            "<tr><td>{}</td><td><span class=\"mark {class}\">{text}</span></td><td>{}</td></tr>",
            Escaped(judgement.checker),
            Escaped(judgement.law)
        )?;
    }
    writeln!(out, "</table>")?;
    for judgement in &run.judgements {
        let violations = judgement.verdict.violations();
        if violations.is_empty() {
            continue;
        }
        writeln!(out, "<h3>{}</h3>\n<ul class=\"violations\">", Escaped(judgement.checker))?;
        for Violation { law, explanation, .. } in violations.iter().take(VIOLATIONS_MAX) {
            writeln!(
                out,
                "<li><strong>{}</strong> {}</li>",
                Escaped(format!("{law}:")),
                Escaped(explanation)
            )?;
        }
        if let Some(more) = violations.len().checked_sub(VIOLATIONS_MAX).filter(|more| *more > 0) {
            writeln!(out, "<li>and {more} more: see run.json</li>")?;
        }
        writeln!(out, "</ul>")?;
    }
    Ok(())
}

fn write_gate(out: &mut String, run: &Run) -> fmt::Result {
    writeln!(out, "<h2>Coverage</h2>")?;
    let changes = run.coverage.leader_changes;
    if run.shortfalls.is_empty() {
        return writeln!(
            out,
            "<p>Enough happened for the run to count; {changes} changes of leader.</p>"
        );
    }
    writeln!(out, "<p>Too little happened for the run to count:</p>\n<ul>")?;
    for shortfall in &run.shortfalls {
        writeln!(out, "<li>{}</li>", Escaped(shortfall))?;
    }
    writeln!(out, "</ul>")
}

fn write_operations(out: &mut String, run: &Run) -> fmt::Result {
    writeln!(
        out,
        "<h2>Operations</h2>\n<table class=\"numbers\">\n<tr><th>Operation</th><th>ok</th>\
         <th>fail</th><th>info</th><th>harness</th><th>median ms</th><th>99% ms</th>\
         <th>longest ms</th></tr>"
    )?;
    let latencies = latency::by_operation(&run.history);
    for (f, ends) in &run.coverage.operations {
        write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>",
            Escaped(f),
            ends.ok,
            ends.fail,
            ends.info,
            ends.harness
        )?;
        match latencies.get(f.as_str()) {
            Some(latency) => {
                for ms in [latency.median_ms, latency.most_ms, latency.longest_ms] {
                    write!(out, "<td>{ms:.1}</td>")?;
                }
            }
            None => write!(out, "<td></td><td></td><td></td>")?,
        }
        writeln!(out, "</tr>")?;
    }
    writeln!(out, "</table>\n<p class=\"small\">Latencies are of operations that are ok.</p>")
}

fn write_faults(out: &mut String, run: &Run) -> fmt::Result {
    writeln!(
        out,
        "<h2>Faults</h2>\n<table class=\"numbers\">\n<tr><th>Fault</th><th>installed</th>\
         <th>skipped</th><th>indeterminate</th></tr>"
    )?;
    for (kind, installs) in &run.coverage.faults {
        writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            Escaped(kind),
            installs.installed,
            installs.skipped,
            installs.indeterminate
        )?;
    }
    writeln!(out, "</table>")
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests;
