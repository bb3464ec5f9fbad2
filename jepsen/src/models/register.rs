//! A register with compare-and-set, as Knossos and Porcupine know it.

use crate::{
    history::{History, Outcome},
    value::Value,
    verdict::Malformed,
    wgl::{Event, Model},
};

/// A register that holds `nil` first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

/// What is asked of a register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its value.
    Read,
    /// To hold this.
    Write(Value),
    /// To hold the second, if it holds the first.
    Cas(Value, Value),
}

/// What a register answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// It held this.
    Value(Value),
    /// Written; or compared, found equal and set.
    Done,
    /// Compared and found to differ.
    Differs,
}

/// What a failed compare-and-set says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailedCas {
    /// It did not happen (Knossos).
    DidNotHappen,
    /// The register held another value at some moment of it (Porcupine).
    Differed,
}

impl Model for Register {
    type State = Value;
    type Input = Access;
    type Output = Read;

    fn initial(&self) -> Value {
        Value::Nil
    }

    fn step(&self, state: &Value, input: &Access, output: Option<&Read>) -> Option<Value> {
        match (input, output) {
            (Access::Read, None) => Some(state.clone()),
            (Access::Read, Some(Read::Value(read))) => (read == state).then(|| state.clone()),
            (Access::Write(value), None | Some(Read::Done)) => Some(value.clone()),
            (Access::Cas(old, new), Some(Read::Done)) => (old == state).then(|| new.clone()),
            (Access::Cas(old, _), Some(Read::Differs)) => (old != state).then(|| state.clone()),
            (Access::Cas(old, new), None) => {
                Some(if old == state { new.clone() } else { state.clone() })
            }
            (Access::Read, Some(_)) | (Access::Write(_) | Access::Cas(..), Some(_)) => None,
        }
    }
}

/// The operations `read`, `write` and `cas` of a history. A failed read did not
/// happen, a failed write neither.
///
/// # Errors
///
/// When an operation is none of these.
pub fn register_events(
    history: &History,
    failed: FailedCas,
) -> Result<Vec<Event<Access, Read>>, Malformed> {
    let mut events = Vec::new();
    for operation in history.operations() {
        let malformed =
            |field| Malformed { index: operation.index(), f: operation.f().to_owned(), field };
        let asked = &operation.invoke.value;
        let input = match (operation.f(), asked.items()) {
            ("read", _) => Access::Read,
            ("write", _) => Access::Write(asked.clone()),
            ("cas", Some([old, new])) => Access::Cas(old.clone(), new.clone()),
            ("cas", _) => return Err(malformed("value")),
            _ => return Err(malformed("f")),
        };
        let output = match (operation.outcome, &input) {
            (Outcome::Ok, Access::Read) => Some(Read::Value(operation.value().clone())),
            (Outcome::Ok, _) => Some(Read::Done),
            (Outcome::Fail, Access::Cas(..)) if failed == FailedCas::Differed => {
                Some(Read::Differs)
            }
            (Outcome::Fail, _) => continue,
            (Outcome::Unknown | Outcome::Harness, _) => None,
        };
        events.push(Event {
            input,
            output,
            invoked: operation.invoked,
            ended: operation.ended,
            index: operation.index(),
        });
    }
    Ok(events)
}
