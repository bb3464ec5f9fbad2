//! EDN: the notation in which Clojure programs write data
//! (<https://github.com/edn-format/edn>).
//!
//! Reads everything of that page. Writes one line a value.

mod reader;
mod writer;

pub use reader::{EdnError, Fault, read, read_all};
