//! Knossos: a folder is the verdict.

use std::fs;

use strongroom_jepsen::{
    history::{History, read_edn},
    models::{FailedCas, Register, register_events},
};

use crate::{agree, files, folder, linearizable};

#[test]
fn knossos_verdicts_on_registers_are_ours() {
    let Some(folder) = folder() else { return };
    let folder = folder.join("knossos/data/cas-register");
    let (mut differ, mut checked) = (Vec::new(), 0);
    for (name, expected) in [("good", true), ("bad", false)] {
        for path in files(&folder.join(name), ".edn") {
            let text = fs::read_to_string(&path).unwrap();
            let history: History =
                read_edn(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let events = register_events(&history, FailedCas::DidNotHappen).unwrap();
            checked += 1;
            if linearizable(&Register, &events, &path) != expected {
                differ.push(path.display().to_string());
            }
        }
    }
    agree(&differ, checked, "Knossos");
}
