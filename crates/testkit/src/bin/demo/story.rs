//! What the demonstration says on the terminal.

use std::{
    fmt::Display,
    time::{Duration, Instant},
};

use anstream::println;
use anstyle::{AnsiColor, Style};

const HEADING: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const QUIET: Style = Style::new().dimmed();

/// Tells numbered steps with their facts. Colours only where the terminal has
/// them.
pub(crate) struct Story {
    step: u32,
    began: Instant,
}

impl Story {
    /// Begins.
    pub(crate) fn new() -> Self {
        println!("{HEADING}Strongroom, shown with real processes on this machine{HEADING:#}");
        Self { step: 0, began: Instant::now() }
    }

    /// A new step.
    pub(crate) fn step(&mut self, title: &str) {
        self.step += 1;
        println!("\n{HEADING}{}. {title}{HEADING:#}", self.step);
    }

    /// Something that was checked and holds.
    pub(crate) fn holds(&self, fact: impl Display) {
        println!("   {GOOD}✓{GOOD:#} {fact}");
    }

    /// Something worth knowing.
    pub(crate) fn note(&self, fact: impl Display) {
        println!("   {QUIET}{fact}{QUIET:#}");
    }

    /// A command that is run, and what it printed.
    pub(crate) fn command(&self, line: &str, output: &str) {
        println!("   {QUIET}${QUIET:#} strongroom {line}");
        for line in output.lines() {
            println!("     {line}");
        }
    }

    /// How long it took so far.
    pub(crate) fn took(&self) -> Duration {
        self.began.elapsed()
    }
}
