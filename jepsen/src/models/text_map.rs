//! One key of a map of texts with put, get and append, as Porcupine's published
//! histories have it.

use crate::wgl::Model;

/// A text that is empty first.
#[derive(Clone, Copy, Debug, Default)]
pub struct TextMap;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextAccess {
    /// The text.
    Get,
    /// To hold this.
    Put(String),
    /// To hold what it holds and then this.
    Append(String),
}

impl Model for TextMap {
    type State = String;
    type Input = TextAccess;
    /// The text, of a get; anything, of the others.
    type Output = String;

    fn initial(&self) -> String {
        String::new()
    }

    fn step(&self, state: &String, input: &TextAccess, output: Option<&String>) -> Option<String> {
        match input {
            TextAccess::Get => output.is_none_or(|read| read == state).then(|| state.clone()),
            TextAccess::Put(text) => Some(text.clone()),
            TextAccess::Append(text) => Some(format!("{state}{text}")),
        }
    }
}
