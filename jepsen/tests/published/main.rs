//! The linearizability checker held against published histories with known
//! verdicts: those of Porcupine and Knossos, in a folder named by the environment
//! variable `STRONGROOM_HISTORIES`.
//!
//! | path in the folder | is |
//! |---|---|
//! | `porcupine/test_data/jepsen/*.log`, verdicts in `porcupine/etcd-verdicts.txt` | a register of etcd, in Jepsen's log form |
//! | `porcupine/test_data/kv/*-{ok,bad}.txt` | a map of texts, in EDN |
//! | `knossos/data/cas-register/{good,bad}/*.edn` | a register, in EDN |

#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(clippy::print_stdout, reason = "says what was not checked")]

mod knossos;
mod porcupine;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use strongroom_jepsen::wgl::{Event, Model, Search, search};

/// No history of the folder needs a tenth of it.
const CONFIGURATIONS_MAX: usize = 3_000_000;

/// The folder; none where the variable is not set or names no folder.
fn folder() -> Option<PathBuf> {
    let Some(path) = env::var_os("STRONGROOM_HISTORIES") else {
        println!("STRONGROOM_HISTORIES is not set: published histories are not checked");
        return None;
    };
    let path = PathBuf::from(path);
    if !path.is_dir() {
        println!("STRONGROOM_HISTORIES names no folder: published histories are not checked");
        return None;
    }
    Some(path)
}

/// Files of a folder with this ending, sorted; never none.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no {ending} in {}", folder.display());
    files
}

/// Whether an order was found.
fn linearizable<M: Model>(model: &M, events: &[Event<M::Input, M::Output>], what: &Path) -> bool {
    match search(model, events, CONFIGURATIONS_MAX) {
        Search::Linearizable(_) => true,
        Search::Not(_) => false,
        Search::GaveUp { configurations } => {
            panic!("{}: gave up after {configurations} configurations", what.display())
        }
    }
}

/// Requires the verdict, and says which file differs.
fn agree(differ: &[String], checked: usize, of: &str) {
    assert!(differ.is_empty(), "{of}: other verdicts than published:\n{}", differ.join("\n"));
    println!("{of}: {checked} histories, all verdicts agree");
}
