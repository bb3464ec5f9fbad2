//! The state of one KMS key, as its callers see it.

use crate::wgl::Model;

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct KeyModel {
    /// Its state before the history: [`Key::Absent`] where its creation is in it.
    pub initial: Key,
}

/// State of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Key {
    /// It is there, and the history has not said yet in which state: what is seen
    /// first decides.
    Either,
    /// Never made.
    Absent,
    /// May be used.
    Enabled,
    /// Refuses to be used.
    Disabled,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// To be there; a repeat under the same client token changes nothing.
    Create,
    /// To be enabled.
    Enable,
    /// To be disabled.
    Disable,
    /// To be used: encrypt, decrypt, a data key.
    Use,
    /// Its state.
    Describe,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Done.
    Done,
    /// `KEY_DISABLED`.
    Disabled,
    /// `KEY_NOT_FOUND`.
    NotFound,
    /// It is in this state.
    Is(Key),
}

impl Model for KeyModel {
    type State = Key;
    type Input = Ask;
    type Output = Answer;

    fn initial(&self) -> Key {
        self.initial
    }

    fn step(&self, state: &Key, input: &Ask, output: Option<&Answer>) -> Option<Key> {
        let (state, there) = (*state, *state != Key::Absent);
        let is = |seen: Key| (state == seen || (state == Key::Either && there)).then_some(seen);
        let Some(answer) = output else {
            return Some(match input {
                Ask::Create if !there => Key::Enabled,
                Ask::Enable if there => Key::Enabled,
                Ask::Disable if there => Key::Disabled,
                _ => state,
            });
        };
        match (input, answer) {
            (_, Answer::NotFound) => (!there).then_some(state),
            (Ask::Create, Answer::Done) => Some(if there { state } else { Key::Enabled }),
            (Ask::Enable, Answer::Done) => there.then_some(Key::Enabled),
            (Ask::Disable, Answer::Done) => there.then_some(Key::Disabled),
            (Ask::Use, Answer::Done) => is(Key::Enabled),
            (Ask::Use, Answer::Disabled) => is(Key::Disabled),
            (Ask::Describe, Answer::Is(seen)) if *seen != Key::Absent => is(*seen),
            _ => None,
        }
    }
}
