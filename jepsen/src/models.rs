//! Sequential objects for the search of [`wgl`](crate::wgl).

mod key;
mod register;
mod text_map;

pub use key::{Answer, Ask, Key, KeyModel};
pub use register::{Access, FailedCas, Read, Register, register_events};
pub use text_map::{TextAccess, TextMap};
