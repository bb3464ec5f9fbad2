//! A key management service that keeps all laws, and callers that overlap.
//!
//! Each operation takes effect at one moment between its invocation and its
//! completion; some answers are lost, before or after that moment.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use strongroom_jepsen::{
    history::{Entry, History, Kind, Process},
    value::Value,
};

/// How much happens.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) processes: u64,
    /// Keys that are made before the callers begin.
    pub(crate) keys: u64,
    /// Invocations, effects and completions.
    pub(crate) steps: usize,
}

/// A call that runs.
struct Running {
    f: &'static str,
    asked: Value,
    request: String,
    /// Once it took effect: the answer, or the reason of a refusal.
    result: Option<Result<Value, &'static str>>,
}

struct System {
    random: StdRng,
    entries: Vec<Entry>,
    /// By id: whether it is enabled.
    keys: BTreeMap<String, bool>,
    /// Client tokens, and their keys.
    tokens: BTreeMap<String, String>,
    /// Blobs: key and digest.
    blobs: Vec<(String, String, String)>,
    /// Blobs that a caller was given.
    given: Vec<(String, String)>,
    events: Vec<Value>,
    epoch: u64,
    requests: u64,
}

pub(crate) fn simulate(seed: u64, size: Size) -> History {
    let mut system = System {
        random: StdRng::seed_from_u64(seed),
        entries: Vec::new(),
        keys: BTreeMap::new(),
        tokens: BTreeMap::new(),
        blobs: Vec::new(),
        given: Vec::new(),
        events: Vec::new(),
        epoch: 1,
        requests: 0,
    };
    for key in 0..size.keys {
        system.alone("create-key", Value::map([("token", format!("setup-{key}").into())]));
    }
    let key = Value::map([("key", system.keys.keys().next().unwrap().as_str().into())]);
    system.alone("encrypt", key);
    system.alone("rotate-barrier", Value::Nil);
    system.callers(size);
    system.end();
    History::new(system.entries).unwrap()
}

impl System {
    fn callers(&mut self, size: Size) {
        let mut running: BTreeMap<u64, Running> = BTreeMap::new();
        for _ in 0..size.steps {
            let process = self.random.random_range(0..size.processes);
            let Some(mut call) = running.remove(&process) else {
                let (f, asked) = self.question();
                running.insert(process, self.invoke(process, f, asked));
                continue;
            };
            // One answer of thirty is lost, wherever the call is.
            if self.random.random_range(0..30) == 0 {
                self.lose(process, &call);
                if call.result.is_none() && self.random.random() {
                    // It takes effect after its caller gave up.
                    let _nobody_sees = self.effect(&call);
                }
            } else if call.result.is_some() {
                self.complete(process, call);
            } else {
                call.result = Some(self.effect(&call));
                running.insert(process, call);
            }
        }
        for (process, mut call) in running {
            if call.result.is_none() {
                call.result = Some(self.effect(&call));
            }
            self.complete(process, call);
        }
    }

    /// Reads everything, with nothing else at work.
    fn end(&mut self) {
        for key in self.keys.keys().cloned().collect::<Vec<_>>() {
            for _ in 0..2 {
                self.alone("describe-key", Value::map([("key", key.as_str().into())]));
            }
            self.alone("enable-key", Value::map([("key", key.as_str().into())]));
        }
        for (key, blob) in std::mem::take(&mut self.given) {
            for node in 1..=3 {
                let asked = Value::map([
                    ("key", key.as_str().into()),
                    ("blob", blob.as_str().into()),
                    ("sweep", Value::keyword("end")),
                ]);
                self.alone_on(node, "decrypt", asked);
            }
        }
        // After the sweep's enabling: descriptions that nothing changes any more.
        for key in self.keys.keys().cloned().collect::<Vec<_>>() {
            for _ in 0..2 {
                self.alone("describe-key", Value::map([("key", key.as_str().into())]));
            }
        }
        for f in ["list-keys", "read-audit", "read-audit"] {
            self.alone(f, Value::Nil);
        }
    }

    fn question(&mut self) -> (&'static str, Value) {
        let ids: Vec<_> = self.keys.keys().cloned().collect();
        let id = ids[self.random.random_range(0..ids.len())].as_str();
        let key = Value::map([("key", id.into())]);
        match self.random.random_range(0..100) {
            0..5 => {
                let token = self.random.random_range(0..self.requests + 20) / 10;
                ("create-key", Value::map([("token", format!("t{token}").into())]))
            }
            5..15 => ("disable-key", key),
            15..30 => ("enable-key", key),
            30..45 => ("describe-key", key),
            45..60 => ("encrypt", key),
            60..65 => ("list-keys", Value::Nil),
            65..66 => ("rotate-barrier", Value::Nil),
            66..67 => ("read-audit", Value::Nil),
            _ if self.given.is_empty() => ("generate-data-key", key),
            67..80 => ("generate-data-key", key),
            _ => {
                let (key, blob) = &self.given[self.random.random_range(0..self.given.len())];
                let (key, blob) = (key.as_str().into(), blob.as_str().into());
                ("decrypt", Value::map([("key", key), ("blob", blob)]))
            }
        }
    }

    fn alone(&mut self, f: &'static str, asked: Value) {
        let node = self.random.random_range(1..=3);
        self.alone_on(node, f, asked);
    }

    fn alone_on(&mut self, node: u64, f: &'static str, asked: Value) {
        const PROCESS: u64 = 999_999;
        let mut call = self.invoke(PROCESS, f, asked);
        let last = self.entries.last_mut().unwrap();
        last.more.insert("node".to_owned(), node.into());
        call.result = Some(self.effect(&call));
        self.complete(PROCESS, call);
    }

    fn invoke(&mut self, process: u64, f: &'static str, asked: Value) -> Running {
        self.requests += 1;
        let request = format!("r{}", self.requests);
        let node = self.random.random_range(1..=3_u64);
        let more = [("request", request.as_str().into()), ("node", node.into())];
        self.push(process, Kind::Invoke, f, asked.clone(), more);
        Running { f, asked, request, result: None }
    }

    fn complete(&mut self, process: u64, call: Running) {
        match call.result.unwrap() {
            Ok(answer) => {
                if let (Some(blob), "encrypt" | "generate-data-key") =
                    (answer.field("blob"), call.f)
                {
                    let key = answer.field("key").and_then(Value::name).unwrap().to_owned();
                    self.given.push((key, blob.name().unwrap().to_owned()));
                }
                self.push(process, Kind::Ok, call.f, answer, []);
            }
            Err(reason) => {
                self.push(process, Kind::Fail, call.f, call.asked, [("error", reason.into())]);
            }
        }
    }

    fn lose(&mut self, process: u64, call: &Running) {
        let error = [("error", "NO_ANSWER".into())];
        self.push(process, Kind::Info, call.f, call.asked.clone(), error);
    }

    fn push<'a>(
        &mut self,
        process: u64,
        kind: Kind,
        f: &str,
        value: Value,
        more: impl IntoIterator<Item = (&'a str, Value)>,
    ) {
        let index = self.entries.len() as u64;
        self.entries.push(Entry {
            index,
            time_ns: index * 1_000_000,
            process: Process::Client(process),
            kind,
            f: f.to_owned(),
            value,
            more: more.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
        });
    }

    /// The moment at which a call happens.
    fn effect(&mut self, call: &Running) -> Result<Value, &'static str> {
        let result = self.decide(call);
        if !matches!(call.f, "describe-key" | "list-keys" | "read-audit") {
            let outcome = if result.is_ok() { "success" } else { "refused" };
            let sequence = self.events.len() as u64;
            self.events.push(Value::map([
                ("sequence", sequence.into()),
                ("request", call.request.as_str().into()),
                ("outcome", Value::keyword(outcome)),
                ("leaf", format!("leaf-{sequence}").into()),
            ]));
        }
        result
    }

    fn decide(&mut self, call: &Running) -> Result<Value, &'static str> {
        let field = |name| call.asked.field(name).and_then(Value::name).unwrap_or_default();
        let key = field("key").to_owned();
        let mut answer = call.asked.clone();
        match call.f {
            "create-key" => {
                let fresh = format!("key-{}", self.keys.len());
                let id = self.tokens.entry(field("token").to_owned()).or_insert(fresh);
                self.keys.entry(id.clone()).or_insert(true);
                answer.set_field("key", id.as_str().into());
            }
            "enable-key" | "disable-key" => {
                self.keys.insert(key, call.f == "enable-key");
            }
            "describe-key" => {
                let state = if self.keys[&key] { "enabled" } else { "disabled" };
                answer.set_field("state", Value::keyword(state));
            }
            "list-keys" => {
                let keys: Vec<_> = self.keys.keys().cloned().collect();
                answer = Value::map([("keys", keys.into())]);
            }
            "rotate-barrier" => {
                self.epoch += 1;
                answer = Value::map([("epoch", self.epoch.into())]);
            }
            "read-audit" => {
                let size = self.events.len() as u64;
                answer = Value::map([
                    ("size", size.into()),
                    ("root", format!("root-{size}").into()),
                    ("events", Value::Vector(self.events.clone())),
                ]);
            }
            _ if !self.keys[&key] => return Err("KEY_DISABLED"),
            "decrypt" => {
                let blob = field("blob");
                let found = self.blobs.iter().find(|(_, name, _)| name == blob).unwrap();
                answer.set_field("digest", found.2.as_str().into());
            }
            _ => {
                let (blob, digest) =
                    (format!("b{}", self.blobs.len()), self.random.random::<u64>());
                self.blobs.push((key, blob.clone(), digest.to_string()));
                answer.set_field("blob", blob.into());
                answer.set_field("digest", digest.to_string().into());
            }
        }
        Ok(answer)
    }
}
