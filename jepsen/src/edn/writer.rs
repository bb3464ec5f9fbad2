//! From values to text.

use std::fmt::{self, Write as _};

use crate::value::Value;

impl fmt::Display for Value {
    /// EDN on one line.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => out.write_str("nil"),
            Self::Bool(truth) => write!(out, "{truth}"),
            Self::Int(number) => write!(out, "{number}"),
            Self::Decimal(text) | Self::Symbol(text) => out.write_str(text),
            Self::Char(c) => character(*c, out),
            Self::Text(text) => quoted(text, out),
            Self::Keyword(name) => write!(out, ":{name}"),
            Self::List(items) => row("(", items, ")", out),
            Self::Vector(items) => row("[", items, "]", out),
            Self::Set(items) => row("#{", items, "}", out),
            Self::Map(map) => {
                out.write_char('{')?;
                for (position, (key, value)) in map.iter().enumerate() {
                    let comma = if position == 0 { "" } else { ", " };
                    write!(out, "{comma}{key} {value}")?;
                }
                out.write_char('}')
            }
            Self::Tagged(tag, value) => write!(out, "#{tag} {value}"),
        }
    }
}

fn row<'v>(
    open: &str,
    items: impl IntoIterator<Item = &'v Value>,
    close: &str,
    out: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    out.write_str(open)?;
    for (position, item) in items.into_iter().enumerate() {
        let blank = if position == 0 { "" } else { " " };
        write!(out, "{blank}{item}")?;
    }
    out.write_str(close)
}

fn character(c: char, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    match c {
        '\n' => out.write_str("\\newline"),
        '\r' => out.write_str("\\return"),
        ' ' => out.write_str("\\space"),
        '\t' => out.write_str("\\tab"),
        // A blank, a comma or a control character would not be read back.
        ',' => out.write_str("\\u002c"),
        c if (c.is_whitespace() || c.is_control()) && u32::from(c) <= 0xffff => {
            write!(out, "\\u{:04x}", u32::from(c))
        }
        c => write!(out, "\\{c}"),
    }
}

fn quoted(text: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use crate::edn::read;

    #[test]
    fn every_kind_of_value_is_read_back_and_written_alike() {
        for text in [
            "nil",
            "-3",
            "1.5e3M",
            "22/7",
            "\\newline",
            "\\[",
            "\\u",
            "\\u002c",
            "\"a \\\"b\\\" \\\\ \\n\"",
            ":a/b",
            "+",
            "-x",
            "(1 [2 #{3 4}] {\"b\" true, :a nil})",
            "#inst \"2020-01-01\"",
        ] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn commas_comments_and_discarded_forms_are_blank() {
        let read = read("; first\n[1,,2 #_(3 4) #_#_5 6 7];last").unwrap();
        assert_eq!(read.to_string(), "[1 2 7]");
    }
}
