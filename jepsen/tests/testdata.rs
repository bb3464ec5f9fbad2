//! Each checker on the histories in `testdata/<checker>/`. The name of a file is
//! the verdict: `good-…`, `bad-…`, `unknown-…`. Its first lines say what it shows,
//! and of those that are not good which law the verdict names, and a part of what
//! it says.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use strongroom_jepsen::{
    checkers::{Audit, Envelope, Hashes, KeySet, KeyState, Liveness, Revoke, Rotation, Seal},
    history::{read_edn, read_json_lines, write_edn, write_json_lines},
    verdict::Checker,
};

/// Folder, checker, and every law that it says is broken.
fn checkers() -> Vec<(&'static str, Box<dyn Checker>, Vec<&'static str>)> {
    vec![
        ("key-state", Box::new(KeyState::default()), vec!["key state is linearizable"]),
        (
            "revoke",
            Box::new(Revoke),
            vec![
                "nothing invoked after an acknowledged enabling is refused as disabled",
                "nothing invoked after an acknowledged revocation succeeds",
            ],
        ),
        (
            "envelope",
            Box::new(Envelope { nodes: vec![1, 2], sweeps: vec!["end".to_owned()] }),
            vec!["a blob decrypts to what it was made of", "no blob is lost"],
        ),
        (
            "key-set",
            Box::new(KeySet),
            vec![
                "no acknowledged key is lost",
                "no key comes from nowhere",
                "no key is listed twice",
                "one client token makes one key",
            ],
        ),
        (
            "audit",
            Box::new(Audit { first: 1 }),
            vec![
                "every success has one record",
                "no call has more records than it may",
                "no record without a call",
                "of two nodes' logs one begins with the other",
                "roots are equal at equal size",
                "sequence numbers have no gaps",
            ],
        ),
        (
            "seal",
            Box::new(Seal { threshold: 2 }),
            vec![
                "a refused share leaves the progress as it was",
                "a sealed node answers nothing else",
                "no wrong, repeated or old share is accepted",
                "only the threshold of right shares unseals",
                "progress counts right shares once each",
            ],
        ),
        (
            "rotation",
            Box::new(Rotation),
            vec![
                "a rotation loses no key and no blob",
                "barrier epochs ascend",
                "no barrier epoch is made twice",
            ],
        ),
        (
            "hashes",
            Box::new(Hashes { nodes: vec![1, 2] }),
            vec!["state hashes are equal at equal index"],
        ),
        (
            "liveness",
            Box::new(Liveness { recovery_ms: 1000, latency_ms: 500, grace_ms: 100 }),
            vec![
                "the cluster recovers within its bound after healing",
                "with one node dead or paused the others answer within their bound",
            ],
        ),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")
}

/// Paths in a folder, sorted, without their folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = entries.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
}

#[test]
fn every_checker_says_of_each_history_what_its_file_says() {
    for (folder_name, checker, laws) in checkers() {
        let (mut kinds, mut broken) = (BTreeMap::new(), BTreeSet::new());
        let folder = folder().join(folder_name);
        for name in names(&folder) {
            let text = fs::read_to_string(folder.join(&name)).unwrap();
            let place = format!("{folder_name}/{name}");
            let history = read_edn(&text).unwrap_or_else(|error| panic!("{place}: {error:?}"));
            let verdict = checker.check(&history);
            let word = match name.split('-').next() {
                Some("good") => "valid",
                Some("bad") => "invalid",
                Some("unknown") => "unknown",
                _ => panic!("{place}: the name has no verdict"),
            };
            assert_eq!(verdict.word(), word, "{place}: {verdict:#?}");
            *kinds.entry(word).or_insert(0) += 1;
            let line = |mark: &str| text.lines().find_map(|line| line.strip_prefix(mark));
            for violation in verdict.violations() {
                let (law, says) = (line("; law: "), line("; says: "));
                assert_eq!(law, Some(violation.law), "{place}: {violation}");
                // Where one fault shows in more than one operation, one of them.
                let said = |says| verdict.violations().iter().any(|v| v.explanation.contains(says));
                assert!(says.is_some_and(said), "{place}: {violation}");
                let indexes: BTreeSet<_> = history.entries().iter().map(|e| e.index).collect();
                assert!(violation.entries.iter().all(|entry| indexes.contains(entry)));
                if word == "invalid" {
                    assert!(!violation.entries.is_empty(), "{place} names no operation");
                    broken.insert(violation.law);
                }
            }
        }
        assert!(kinds.contains_key("valid") && kinds.contains_key("invalid"), "{folder_name}");
        assert_eq!(broken.into_iter().collect::<Vec<_>>(), laws, "{folder_name}: laws broken");
    }
}

#[test]
fn every_folder_has_its_checker() {
    let known: BTreeSet<_> = checkers().iter().map(|(name, ..)| (*name).to_owned()).collect();
    assert_eq!(names(&folder()).into_iter().collect::<BTreeSet<_>>(), known);
}

#[test]
fn histories_come_back_from_both_notations_as_they_were() {
    for (folder_name, ..) in checkers() {
        let folder = folder().join(folder_name);
        for name in names(&folder) {
            let history = read_edn(&fs::read_to_string(folder.join(name)).unwrap()).unwrap();
            assert_eq!(read_edn(&write_edn(&history)).unwrap(), history);
            assert_eq!(read_json_lines(&write_json_lines(&history)).unwrap(), history);
        }
    }
}
