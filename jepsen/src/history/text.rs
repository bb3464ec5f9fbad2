//! Histories as files: EDN as Jepsen, Knossos and Porcupine have it, and JSON
//! lines.

use std::{collections::BTreeMap, fmt::Write as _};

use serde_json::{Map, Value as Json};

use super::{Entry, History, HistoryError, Kind, Process};
use crate::{
    edn::{self, EdnError},
    json::{JsonError, from_json, to_json},
    value::Value,
};

/// Why a file is no history.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It is no EDN.
    #[error("the file is no EDN")]
    Edn(#[from] EdnError),
    /// A line is no JSON.
    #[error("line {line} is no JSON")]
    Json {
        /// Counted from 1.
        line: usize,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A line has a mark that is none of ours.
    #[error("line {line} has a value that can't be read")]
    Mark {
        /// Counted from 1.
        line: usize,
        /// Which.
        source: JsonError,
    },
    /// An entry without a field that it needs, or with another kind of value.
    #[error("entry {position} is no operation: its {field} is missing or of another kind")]
    Field {
        /// Counted from 0.
        position: usize,
        /// The field.
        field: &'static str,
    },
    /// Entries that do not fit together.
    #[error("the entries are no history")]
    History(#[from] HistoryError),
}

/// Reads operations in EDN: one vector or list of maps, or maps one after another.
/// Where `:index` is missing it is counted, where `:time` is missing it is 0.
///
/// # Errors
///
/// When the text is no EDN, or holds something else.
pub fn read_edn(text: &str) -> Result<History, ReadError> {
    let mut forms = edn::read_all(text)?;
    if forms.len() == 1
        && let Some(items) = forms[0].items()
    {
        forms = items.to_vec();
    }
    let entries = forms.into_iter().enumerate().map(|(position, form)| {
        let Value::Map(map) = form else {
            return Err(ReadError::Field { position, field: "map" });
        };
        let fields = map.into_iter().filter_map(|(key, value)| match key {
            Value::Keyword(name) => Some((name, value)),
            _ => None,
        });
        entry(position, fields.collect())
    });
    Ok(History::new(entries.collect::<Result<_, _>>()?)?)
}

/// Reads operations as JSON, one a line.
///
/// # Errors
///
/// When a line is no JSON, or something else than an operation.
pub fn read_json_lines(text: &str) -> Result<History, ReadError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let entries = lines.enumerate().map(|(position, (number, line))| {
        let line_number = number + 1;
        let fields: Map<String, Json> = serde_json::from_str(line)
            .map_err(|source| ReadError::Json { line: line_number, source })?;
        let fields = fields
            .iter()
            .map(|(name, json)| Ok((name.clone(), from_json(json)?)))
            .collect::<Result<_, _>>()
            .map_err(|source| ReadError::Mark { line: line_number, source })?;
        entry(position, fields)
    });
    Ok(History::new(entries.collect::<Result<_, _>>()?)?)
}

/// Writes a vector of maps, one a line.
#[must_use]
pub fn write_edn(history: &History) -> String {
    let mut out = String::from("[");
    for (position, entry) in history.entries().iter().enumerate() {
        let before = if position == 0 { "" } else { "\n " };
        let Entry { index, time_ns, kind, f, value, .. } = entry;
        let process = match &entry.process {
            Process::Client(number) => number.to_string(),
            Process::Named(name) => format!(":{name}"),
        };
        let kind = kind.name();
        write!(
            out,
            "{before}{{:index {index}, :time {time_ns}, :process {process}, :type :{kind}, \
             :f :{f}, :value {value}"
        )
        .expect("writing to a string succeeds");
        for (name, value) in &entry.more {
            write!(out, ", :{name} {value}").expect("writing to a string succeeds");
        }
        out.push('}');
    }
    out.push_str("]\n");
    out
}

/// Writes one object a line. Values are as `json` says; names of types, functions
/// and processes are plain strings.
#[must_use]
pub fn write_json_lines(history: &History) -> String {
    let mut out = String::new();
    for entry in history.entries() {
        let mut fields = Map::new();
        fields.insert("index".to_owned(), entry.index.into());
        fields.insert("time".to_owned(), entry.time_ns.into());
        let process = match &entry.process {
            Process::Client(number) => (*number).into(),
            Process::Named(name) => name.as_str().into(),
        };
        fields.insert("process".to_owned(), process);
        fields.insert("type".to_owned(), entry.kind.name().into());
        fields.insert("f".to_owned(), entry.f.as_str().into());
        fields.insert("value".to_owned(), to_json(&entry.value));
        for (name, value) in &entry.more {
            fields.insert(name.clone(), to_json(value));
        }
        writeln!(out, "{}", Json::Object(fields)).expect("writing to a string succeeds");
    }
    out
}

fn entry(position: usize, mut fields: BTreeMap<String, Value>) -> Result<Entry, ReadError> {
    let missing = |field| ReadError::Field { position, field };
    let mut number = |name: &'static str, otherwise: u64| match fields.remove(name) {
        None | Some(Value::Nil) => Ok(otherwise),
        Some(value) => value.unsigned().ok_or(missing(name)),
    };
    let index = number("index", position as u64)?;
    let time_ns = number("time", 0)?;
    let process = match fields.remove("process").ok_or(missing("process"))? {
        Value::Int(number) => {
            Process::Client(number.try_into().map_err(|_negative| missing("process"))?)
        }
        value => Process::Named(value.name().ok_or(missing("process"))?.to_owned()),
    };
    let word = fields.remove("type").ok_or(missing("type"))?;
    let kind = Kind::ALL.iter().find(|(_, name)| word.name() == Some(name));
    let kind = kind.ok_or(missing("type"))?.0;
    let f = fields.remove("f").ok_or(missing("f"))?;
    let f = f.name().ok_or(missing("f"))?.to_owned();
    let value = fields.remove("value").unwrap_or_default();
    Ok(Entry { index, time_ns, process, kind, f, value, more: fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_operation_is_refused_by_field() {
        for (text, field) in [
            ("[1]", "map"),
            ("[{:type :ok, :f :read}]", "process"),
            ("[{:process -1, :type :ok, :f :read}]", "process"),
            ("[{:process 1, :f :read}]", "type"),
            ("[{:process 1, :type :done, :f :read}]", "type"),
            ("[{:process 1, :type :ok}]", "f"),
            ("[{:process 1, :type :ok, :f :read, :time \"now\"}]", "time"),
        ] {
            match read_edn(text).unwrap_err() {
                ReadError::Field { position: 0, field: named } => assert_eq!(named, field),
                other => panic!("{text}: {other}"),
            }
        }
        assert!(matches!(read_json_lines("{}\nx"), Err(ReadError::Field { .. })));
        assert!(matches!(read_json_lines("\nx"), Err(ReadError::Json { line: 2, .. })));
    }

    #[test]
    fn a_history_comes_back_from_both_forms_as_it_was() {
        let text = r#"[{:index 3, :time 10, :process 1, :type :invoke, :f :use, :value {:key "~k"}, :node 2}
 {:index 4, :time 11, :process :nemesis, :type :info, :f :kill, :value #{1 2}}
 {:index 9, :time 11, :process 1, :type :fail, :f :use, :value [:a (b) 1.5], :error ["NO" nil]}]
"#;
        let history = read_edn(text).unwrap();
        assert_eq!(write_edn(&history), text);
        assert_eq!(read_json_lines(&write_json_lines(&history)).unwrap(), history);
    }

    #[test]
    fn json_lines_have_the_names_of_jepsen_as_plain_strings() {
        let history = read_edn("{:process :nemesis :type :info :f :kill :value :x}").unwrap();
        let json: Json = serde_json::from_str(&write_json_lines(&history)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({"index": 0, "time": 0, "process": "nemesis", "type": "info",
                "f": "kill", "value": "~:x"})
        );
    }
}
