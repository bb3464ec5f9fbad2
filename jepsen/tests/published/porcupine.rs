//! Porcupine: a list of verdicts, and names that are verdicts.

use std::{collections::BTreeMap, fs};

use strongroom_jepsen::{
    history::{Entry, History, Kind, Operation, Outcome, Process, read_edn},
    models::{FailedCas, Register, TextAccess, TextMap, register_events},
    value::Value,
    wgl::{Event, PartsVerdict, search_parts},
};

use crate::{CONFIGURATIONS_MAX, agree, files, folder, linearizable};

#[test]
fn porcupine_verdicts_on_etcd_are_ours() {
    let Some(folder) = folder() else { return };
    let folder = folder.join("porcupine");
    let verdicts = fs::read_to_string(folder.join("etcd-verdicts.txt")).unwrap();
    let (mut differ, mut checked) = (Vec::new(), 0);
    for line in verdicts.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (name, expected) = line.split_once(' ').expect("a line is name and verdict");
        let path = folder.join("test_data/jepsen").join(name);
        let history = read_log(&fs::read_to_string(&path).unwrap());
        // A failed compare-and-set of etcd is an answer.
        let events = register_events(&history, FailedCas::Differed).unwrap();
        checked += 1;
        if linearizable(&Register, &events, &path).to_string() != expected {
            differ.push(line.to_owned());
        }
    }
    assert!(checked > 0, "no verdicts");
    agree(&differ, checked, "etcd");
}

#[test]
fn porcupine_verdicts_on_a_map_of_texts_are_ours() {
    let Some(folder) = folder() else { return };
    let (mut differ, mut checked) = (Vec::new(), 0);
    for path in files(&folder.join("porcupine/test_data/kv"), ".txt") {
        let expected = path.to_string_lossy().ends_with("-ok.txt");
        let history = read_edn(&fs::read_to_string(&path).unwrap()).unwrap();
        let mut keys: BTreeMap<Value, Vec<Event<TextAccess, String>>> = BTreeMap::new();
        for operation in history.operations() {
            let key = operation.beside("key").expect("an operation names its key").clone();
            keys.entry(key).or_default().push(text_event(&operation));
        }
        checked += 1;
        let parts: Vec<_> = keys.into_iter().map(|(key, events)| (key, TextMap, events)).collect();
        let found = match search_parts(&parts, CONFIGURATIONS_MAX) {
            PartsVerdict::Linearizable => true,
            PartsVerdict::Not(..) => false,
            PartsVerdict::GaveUp(keys) => panic!("{}: gave up on {keys:?}", path.display()),
        };
        if found != expected {
            differ.push(path.display().to_string());
        }
    }
    agree(&differ, checked, "map of texts");
}

fn text_event(operation: &Operation<'_>) -> Event<TextAccess, String> {
    let text = |value: &Value| value.name().unwrap_or_default().to_owned();
    let input = match operation.f() {
        "get" => TextAccess::Get,
        "put" => TextAccess::Put(text(&operation.invoke.value)),
        "append" => TextAccess::Append(text(&operation.invoke.value)),
        other => panic!("an operation '{other}'"),
    };
    Event {
        input,
        output: (operation.outcome == Outcome::Ok).then(|| text(operation.value())),
        invoked: operation.invoked,
        ended: operation.ended,
        index: operation.index(),
    }
}

/// Jepsen's log: `INFO  jepsen.util - 4  :invoke  :cas  [1 2]`, tabs between.
fn read_log(text: &str) -> History {
    let mut entries: Vec<Entry> = Vec::new();
    for line in text.lines() {
        let Some((_, line)) = line.split_once(" - ") else { continue };
        let fields: Vec<_> = line.split('\t').map(str::trim).collect();
        let [process, kind, f, value] = fields[..] else { continue };
        let Ok(process) = process.parse() else { continue };
        let kind = match kind {
            ":invoke" => Kind::Invoke,
            ":ok" => Kind::Ok,
            ":fail" => Kind::Fail,
            ":info" => Kind::Info,
            other => panic!("a type '{other}'"),
        };
        entries.push(Entry {
            index: entries.len() as u64,
            time_ns: 0,
            process: Process::Client(process),
            kind,
            f: f.trim_start_matches(':').to_owned(),
            value: strongroom_jepsen::edn::read(value).unwrap(),
            more: BTreeMap::new(),
        });
    }
    History::new(entries).unwrap()
}
