//! What goes to standard output: tables for people, JSON for programs.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::ColorChoice;
use anyhow::Context as _;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Table, presets};
use serde::Serialize;
use zeroize::Zeroizing;

/// How results and errors are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Aligned columns
    #[default]
    Table,
    /// JSON: field names as in the protocol, bytes in base64
    Json,
}

/// Standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    pub(crate) format: Format,
    terminal: bool,
    colours: bool,
}

/// Meaning of a cell, shown as a colour where there are colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    Warning,
    Bad,
    Faint,
}

impl Output {
    /// Looks at standard output; colours only on a terminal, and not where
    /// `NO_COLOR` and its kin forbid them.
    pub(crate) fn new(format: Format) -> Self {
        let stdout = io::stdout();
        let colours = anstream::AutoStream::choice(&stdout) != ColorChoice::Never;
        let terminal = stdout.is_terminal();
        Self { format, terminal, colours: colours && terminal }
    }

    /// True where a person reads along.
    pub(crate) fn is_terminal(self) -> bool {
        self.terminal
    }

    pub(crate) fn is_json(self) -> bool {
        self.format == Format::Json
    }

    /// A cell of a table.
    pub(crate) fn cell(self, text: impl ToString, tone: Tone) -> Cell {
        let cell = Cell::new(printable(&text.to_string()));
        let colour = match tone {
            _ if !self.colours => return cell,
            Tone::Plain => return cell,
            Tone::Good => Color::Green,
            Tone::Warning => Color::Yellow,
            Tone::Bad => Color::Red,
            Tone::Faint => Color::DarkGrey,
        };
        cell.fg(colour)
    }

    /// An empty table with these column titles.
    pub(crate) fn table<const N: usize>(self, titles: [&str; N]) -> Table {
        let mut table = self.bare();
        let title = |title: &str| {
            let cell = Cell::new(title);
            if self.colours { cell.add_attribute(Attribute::Bold) } else { cell }
        };
        table.set_header(titles.map(title));
        pad(table)
    }

    /// Names and values below one another.
    pub(crate) fn facts<'a>(self, facts: impl IntoIterator<Item = (&'a str, Cell)>) -> Table {
        let mut table = self.bare();
        for (name, value) in facts {
            table.add_row([self.cell(name, Tone::Faint), value]);
        }
        pad(table)
    }

    fn bare(self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        // Never folded: an id that is cut in two can't be copied.
        table.set_content_arrangement(ContentArrangement::Disabled);
        if !self.terminal {
            table.force_no_tty();
        }
        table
    }

    /// Writes a table.
    pub(crate) fn show(self, table: &Table) -> anyhow::Result<()> {
        let text = Zeroizing::new(table.to_string());
        let mut lines = Zeroizing::new(String::with_capacity(text.len() + 1));
        for line in text.lines() {
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
        write_all(lines.as_bytes())
    }

    /// Writes one JSON document.
    pub(crate) fn json(self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut text = Zeroizing::new(Vec::new());
        serde_json::to_writer_pretty(&mut *text, value).context("can't write JSON")?;
        text.push(b'\n');
        write_all(&text)
    }

    /// Writes one JSON document on one line: for streams.
    pub(crate) fn json_line(self, value: &impl Serialize) -> anyhow::Result<()> {
        let mut text = serde_json::to_vec(value).context("can't write JSON")?;
        text.push(b'\n');
        write_all(&text)
    }

    /// Writes a line for people; nothing where programs read.
    pub(crate) fn say(self, text: impl AsRef<str>) -> anyhow::Result<()> {
        if self.is_json() {
            return Ok(());
        }
        write_all(format!("{}\n", text.as_ref()).as_bytes())
    }
}

/// Two spaces between columns, none before the first.
fn pad(mut table: Table) -> Table {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

/// Right-aligns columns: numbers.
pub(crate) fn right(table: &mut Table, columns: &[usize]) {
    for &index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// Writes bytes to standard output as they are.
pub(crate) fn write_all(bytes: &[u8]) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).context("can't write to standard output")
}

/// The text on one line and without control characters, so that what another
/// caller chose (a description, a context) can't drive this terminal or forge a
/// line of its own.
pub(crate) fn printable(text: &str) -> String {
    let harmless = |c: char| match c {
        '\n' | '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(harmless).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piped() -> Output {
        Output { format: Format::Table, terminal: false, colours: false }
    }

    #[test]
    fn escape_sequences_of_others_never_reach_the_terminal() {
        assert_eq!(printable("a\u{1b}[31mb\u{7}"), "a\u{fffd}[31mb\u{fffd}");
        assert_eq!(printable("one\ntwo"), "one two");
    }

    #[test]
    fn without_colours_a_tone_changes_nothing() {
        let mut table = piped().table(["NAME", "STATE"]);
        table.add_row([piped().cell("a", Tone::Plain), piped().cell("sealed", Tone::Bad)]);
        assert!(!table.to_string().contains('\u{1b}'));
    }

    #[test]
    fn a_row_is_one_line_however_long() {
        let mut table = piped().table(["NAME", "TEXT"]);
        table.add_row(["a".to_owned(), "x ".repeat(500)]);
        assert_eq!(table.to_string().lines().count(), 2);
    }
}
