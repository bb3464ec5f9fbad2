//! From text to values.

use crate::value::Value;

/// Nesting beyond this is refused: the reader recurses.
const DEPTH_MAX: usize = 128;

/// Why a text is no EDN, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {fault}")]
pub struct EdnError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The text ends within a value.
    #[error("the text ends within a value")]
    End,
    /// A closing bracket without its opening one.
    #[error("a closing bracket without its opening one")]
    Bracket,
    /// A map with a key and no value.
    #[error("a map has a key without a value")]
    OddMap,
    /// A map or set with the same key twice.
    #[error("a map or set has an element twice")]
    Twice,
    /// A word that is none of EDN's.
    #[error("a word that EDN doesn't know")]
    Word,
    /// An escape in a text or a character that EDN doesn't know.
    #[error("an escape that EDN doesn't know")]
    Escape,
    /// Brackets within brackets, too many.
    #[error("nested more than {DEPTH_MAX} deep")]
    Depth,
    /// More than the one value that was expected.
    #[error("more than one value")]
    More,
}

/// Reads one value.
///
/// # Errors
///
/// When the text holds none, more than one, or is no EDN.
pub fn read(text: &str) -> Result<Value, EdnError> {
    let mut values = read_all(text)?;
    let line = text.lines().count().max(1);
    match values.pop() {
        None => Err(EdnError { line, fault: Fault::End }),
        Some(value) if values.is_empty() => Ok(value),
        Some(_) => Err(EdnError { line, fault: Fault::More }),
    }
}

/// Reads all values of a text.
///
/// # Errors
///
/// When the text is no EDN.
pub fn read_all(text: &str) -> Result<Vec<Value>, EdnError> {
    let mut reader = Reader { rest: text, depth: 0 };
    let mut values = Vec::new();
    let mut read = || -> Result<(), Fault> {
        while let Some(form) = reader.form()? {
            match form {
                Form::Value(value) => values.push(value),
                Form::Close(_) => return Err(Fault::Bracket),
            }
        }
        Ok(())
    };
    match read() {
        Ok(()) => Ok(values),
        Err(fault) => {
            let read = &text[..text.len() - reader.rest.len()];
            Err(EdnError { line: read.matches('\n').count() + 1, fault })
        }
    }
}

/// What comes next.
enum Form {
    Value(Value),
    Close(char),
}

struct Reader<'t> {
    rest: &'t str,
    depth: usize,
}

impl<'t> Reader<'t> {
    /// The next value or closing bracket; none at the end.
    fn form(&mut self) -> Result<Option<Form>, Fault> {
        self.skip_blank();
        let mut rest = self.rest.chars();
        let Some(first) = rest.next() else { return Ok(None) };
        let after = rest.as_str();
        let value = match first {
            ')' | ']' | '}' => {
                self.rest = after;
                return Ok(Some(Form::Close(first)));
            }
            '(' => Value::List(self.items(after, ')')?),
            '[' => Value::Vector(self.items(after, ']')?),
            '{' => self.map(after)?,
            '"' => self.text(after)?,
            '\\' => self.character(after)?,
            '#' => match rest.next() {
                Some('{') => self.set(rest.as_str())?,
                Some('_') => {
                    self.rest = rest.as_str();
                    self.value()?;
                    return self.form();
                }
                _ => {
                    self.rest = after;
                    let tag = self.word();
                    if !tag.starts_with(char::is_alphabetic) {
                        // Clojure prints objects as `#<Thing>`: no EDN.
                        return Err(Fault::Word);
                    }
                    Value::Tagged(tag.to_owned(), Box::new(self.nested(Self::value)?))
                }
            },
            _ => word(self.word())?,
        };
        Ok(Some(Form::Value(value)))
    }

    /// The next value: neither the end nor a bracket.
    fn value(&mut self) -> Result<Value, Fault> {
        match self.form()? {
            Some(Form::Value(value)) => Ok(value),
            Some(Form::Close(_)) => Err(Fault::Bracket),
            None => Err(Fault::End),
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == DEPTH_MAX {
            return Err(Fault::Depth);
        }
        self.depth += 1;
        let read = read(self);
        self.depth -= 1;
        read
    }

    fn items(&mut self, after: &'t str, close: char) -> Result<Vec<Value>, Fault> {
        self.rest = after;
        self.nested(|reader| {
            let mut items = Vec::new();
            loop {
                match reader.form()? {
                    Some(Form::Value(value)) => items.push(value),
                    Some(Form::Close(bracket)) if bracket == close => return Ok(items),
                    Some(Form::Close(_)) => return Err(Fault::Bracket),
                    None => return Err(Fault::End),
                }
            }
        })
    }

    fn map(&mut self, after: &'t str) -> Result<Value, Fault> {
        let mut items = self.items(after, '}')?.into_iter();
        let mut map = std::collections::BTreeMap::new();
        while let Some(key) = items.next() {
            let value = items.next().ok_or(Fault::OddMap)?;
            if map.insert(key, value).is_some() {
                return Err(Fault::Twice);
            }
        }
        Ok(Value::Map(map))
    }

    fn set(&mut self, after: &'t str) -> Result<Value, Fault> {
        let mut set = std::collections::BTreeSet::new();
        for item in self.items(after, '}')? {
            if !set.insert(item) {
                return Err(Fault::Twice);
            }
        }
        Ok(Value::Set(set))
    }

    fn text(&mut self, after: &'t str) -> Result<Value, Fault> {
        let mut text = String::new();
        let mut rest = after.chars();
        loop {
            match rest.next().ok_or(Fault::End)? {
                '"' => break,
                '\\' => text.push(match rest.next().ok_or(Fault::End)? {
                    't' => '\t',
                    'r' => '\r',
                    'n' => '\n',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    same @ ('\\' | '"') => same,
                    'u' => {
                        let hex = rest.as_str().get(..4).ok_or(Fault::Escape)?;
                        rest = rest.as_str()[4..].chars();
                        unicode(hex)?
                    }
                    _ => return Err(Fault::Escape),
                }),
                other => text.push(other),
            }
        }
        self.rest = rest.as_str();
        Ok(Value::Text(text))
    }

    fn character(&mut self, after: &'t str) -> Result<Value, Fault> {
        let first = after.chars().next().ok_or(Fault::End)?;
        // The first may be any, a bracket too; what follows ends as a word does.
        self.rest = &after[first.len_utf8()..];
        let tail = self.word();
        let name = &after[..first.len_utf8() + tail.len()];
        let named = match name {
            _ if tail.is_empty() => first,
            "newline" => '\n',
            "return" => '\r',
            "space" => ' ',
            "tab" => '\t',
            _ if first == 'u' && tail.len() == 4 => unicode(tail)?,
            _ => return Err(Fault::Escape),
        };
        Ok(Value::Char(named))
    }

    /// Up to the next blank, bracket or quote.
    fn word(&mut self) -> &'t str {
        let end = self
            .rest
            .find(|c: char| {
                is_blank(c) || matches!(c, '(' | ')' | '[' | ']' | '{' | '}' | '"' | ';')
            })
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn skip_blank(&mut self) {
        loop {
            self.rest = self.rest.trim_start_matches(is_blank);
            let Some(comment) = self.rest.strip_prefix(';') else { return };
            self.rest = comment.find('\n').map_or("", |end| &comment[end..]);
        }
    }
}

fn is_blank(c: char) -> bool {
    // A comma is blank in EDN.
    c.is_whitespace() || c == ','
}

fn unicode(hex: &str) -> Result<char, Fault> {
    u32::from_str_radix(hex, 16).ok().and_then(char::from_u32).ok_or(Fault::Escape)
}

fn word(word: &str) -> Result<Value, Fault> {
    match word {
        "" => return Err(Fault::Word),
        "nil" => return Ok(Value::Nil),
        "true" => return Ok(Value::Bool(true)),
        "false" => return Ok(Value::Bool(false)),
        _ => {}
    }
    if let Some(name) = word.strip_prefix(':') {
        return match name {
            "" => Err(Fault::Word),
            name if name.starts_with(':') => Err(Fault::Word),
            name => Ok(Value::keyword(name)),
        };
    }
    let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
    if digits.starts_with(|c: char| c.is_ascii_digit()) {
        return number(word);
    }
    Ok(Value::Symbol(word.to_owned()))
}

fn number(word: &str) -> Result<Value, Fault> {
    // `N` asks for any precision, and changes no value that fits.
    if let Ok(number) = word.strip_suffix('N').unwrap_or(word).parse() {
        return Ok(Value::Int(number));
    }
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E' | '/');
    let bare = word.strip_suffix(['N', 'M']).unwrap_or(word);
    if bare.chars().all(numeric) { Ok(Value::Decimal(word.to_owned())) } else { Err(Fault::Word) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (usize, Fault) {
        let error = read_all(text).unwrap_err();
        (error.line, error.fault)
    }

    #[test]
    fn what_is_no_edn_is_refused_with_its_line() {
        assert_eq!(fault("[1 2"), (1, Fault::End));
        assert_eq!(fault("[1\n 2)"), (2, Fault::Bracket));
        assert_eq!(fault("1 ]"), (1, Fault::Bracket));
        assert_eq!(fault("{:a 1\n\n :b}"), (3, Fault::OddMap));
        assert_eq!(fault("{:a 1 :a 2}"), (1, Fault::Twice));
        assert_eq!(fault("#{1 1}"), (1, Fault::Twice));
        assert_eq!(fault("\"a"), (1, Fault::End));
        assert_eq!(fault("\"\\q\""), (1, Fault::Escape));
        assert_eq!(fault("\\nope"), (1, Fault::Escape));
        assert_eq!(fault(": "), (1, Fault::Word));
        assert_eq!(fault("12abc"), (1, Fault::Word));
        assert_eq!(fault("#<Object>"), (1, Fault::Word));
        assert_eq!(fault("#_"), (1, Fault::End));
        assert_eq!(fault(&"[".repeat(1000)), (1, Fault::Depth));
        assert_eq!(read("1 2").unwrap_err().fault, Fault::More);
        assert_eq!(read(" ; nothing").unwrap_err().fault, Fault::End);
    }
}
