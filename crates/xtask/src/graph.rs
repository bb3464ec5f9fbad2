//! The crate graph, held against the architecture's table of crates.
//!
//! What a row does not list, the crate may not import. Tests may import a little
//! more: `testkit`, which starts real clusters, and what [`IN_TESTS`] lists.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::cargo::cargo;

/// A row of the table: what a crate may import, and what it never may.
struct Row {
    /// Directory; the package is `strongroom-<directory>`.
    name: &'static str,
    ours: Ours,
    external: External,
}

/// Our crates that may be imported.
enum Ours {
    /// These.
    Only(&'static [&'static str]),
    /// Whatever is built or measured.
    Any,
}

/// External crates.
enum External {
    /// No other than these.
    Only(&'static [&'static str]),
    /// None of these.
    Never(&'static [&'static str]),
}

use External::{Never, Only};

/// What may enter one crate alone, whoever else would like it: the Raft
/// library's API is unstable, and storage is replaceable while it has one owner.
const OWNED: [(&str, &str); 3] =
    [("openraft", "raft"), ("rocksdb", "storage"), ("librocksdb-sys", "storage")];

/// What a crate's tests may import beyond its row, and why.
const IN_TESTS: [(&str, &str); 1] = [
    // Decisions are tried on the state machine that they are made for.
    ("model", "state"),
];

const ASYNC: [&str; 3] = ["tokio", "tokio-stream", "tokio-util"];
const PURE_NEVER: &[&str] = &["tokio", "tokio-stream", "tokio-util", "tracing", "tonic"];
const STATE_NEVER: &[&str] = &[
    "aes-gcm",
    "aws-lc-rs",
    "getrandom",
    "jiff",
    "rand",
    "tokio",
    "tokio-stream",
    "tokio-util",
    "tonic",
];

/// The table. `policy` stands here for the day it comes.
const TABLE: &[Row] = &[
    row("base", &[], Only(&["serde", "thiserror", "uuid"])),
    row("secmem", &[], Only(&["libc"])),
    row("crypto", &["base", "secmem"], Never(PURE_NEVER)),
    row("barrier", &["base", "crypto"], Never(PURE_NEVER)),
    row("model", &["base", "format", "crypto", "policy", "audit"], Never(PURE_NEVER)),
    row("policy", &["base"], Never(&["tokio", "tracing", "tonic", "jiff"])),
    row("audit", &["base"], Never(&ASYNC)),
    row("format", &["base"], Never(&["tonic"])),
    row("state", &["base", "format", "audit"], Never(STATE_NEVER)),
    row("wire", &["base", "format"], Never(&[])),
    row("net", &["base"], Never(&[])),
    row("storage", &["base", "format", "state"], Never(&["tonic"])),
    row("raft", &["base", "format", "state", "wire", "net", "storage"], Never(&[])),
    row(
        "node",
        &[
            "base", "secmem", "crypto", "barrier", "model", "policy", "audit", "format", "state",
            "wire", "net", "storage", "raft",
        ],
        Never(&[]),
    ),
    row("front", &["base", "wire", "net", "client"], Never(&[])),
    row("client", &["base", "wire", "crypto"], Never(&[])),
    row("cli", &["node", "front", "client"], Never(&[])),
    Row { name: "testkit", ours: Ours::Any, external: Never(&[]) },
    Row { name: "benches", ours: Ours::Any, external: Never(&[]) },
    Row { name: "jepsen", ours: Ours::Any, external: Never(&[]) },
    row("xtask", &[], Only(&["anyhow", "serde_json"])),
];

const fn row(name: &'static str, ours: &'static [&'static str], external: External) -> Row {
    Row { name, ours: Ours::Only(ours), external }
}

/// One of our packages, and what it imports.
#[derive(Debug, Default, PartialEq, Eq)]
struct Package {
    /// Of the table: the directory's name.
    name: String,
    /// Ours, for the crate itself and its build script.
    ours: BTreeSet<String>,
    /// Ours, for its tests.
    ours_dev: BTreeSet<String>,
    /// Others, for the crate itself.
    external: BTreeSet<String>,
    /// Others, for its tests and its build script.
    external_other: BTreeSet<String>,
}

/// Prints each crate and what it imports of ours.
pub(crate) fn print() -> anyhow::Result<bool> {
    for package in read()? {
        let ours: Vec<_> = package.ours.iter().map(String::as_str).collect();
        println!("{:<10} -> {}", package.name, ours.join(", "));
        let dev: Vec<_> = package.ours_dev.iter().map(String::as_str).collect();
        if !dev.is_empty() {
            println!("{:<10}    in tests: {}", "", dev.join(", "));
        }
    }
    Ok(true)
}

/// Holds the workspace against the table.
///
/// # Errors
///
/// Names each import that the table doesn't allow.
pub(crate) fn check() -> anyhow::Result<()> {
    let faults: Vec<String> = read()?.iter().flat_map(faults).collect();
    if faults.is_empty() {
        return Ok(());
    }
    bail!("imports against the table of crates:\n      {}", faults.join("\n      "))
}

fn faults(package: &Package) -> Vec<String> {
    let name = package.name.as_str();
    let Some(row) = TABLE.iter().find(|row| row.name == name) else {
        return vec![format!("`{name}` has no row in the table")];
    };
    let allowed = |ours: &str| match row.ours {
        Ours::Only(list) => list.contains(&ours),
        Ours::Any => ours != "xtask",
    };
    let mut faults = Vec::new();
    for ours in package.ours.iter().filter(|ours| !allowed(ours)) {
        faults.push(format!("`{name}` may not import `{ours}`"));
    }
    let in_tests = |ours: &str| ours == "testkit" || IN_TESTS.contains(&(name, ours));
    for ours in package.ours_dev.iter().filter(|ours| !allowed(ours) && !in_tests(ours)) {
        faults.push(format!("`{name}` may not import `{ours}`, in its tests either"));
    }
    for external in &package.external {
        let refused = match row.external {
            Only(list) => !list.contains(&external.as_str()),
            Never(list) => list.contains(&external.as_str()),
        };
        if refused {
            faults.push(format!("`{name}` may not import `{external}`"));
        }
    }
    for (owned, owner) in OWNED.iter().filter(|(_, owner)| *owner != name) {
        if package.external.contains(*owned) || package.external_other.contains(*owned) {
            faults.push(format!("`{name}` may not import `{owned}`: only `{owner}` may"));
        }
    }
    faults
}

fn read() -> anyhow::Result<Vec<Package>> {
    let output = cargo(["metadata", "--offline", "--no-deps", "--format-version", "1"])
        .output()
        .context("cargo can't be started")?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    let metadata = serde_json::from_slice(&output.stdout).context("cargo metadata is no JSON")?;
    packages(&metadata).context("cargo metadata has another form than expected")
}

fn packages(metadata: &Value) -> Option<Vec<Package>> {
    metadata.get("packages")?.as_array()?.iter().map(package).collect()
}

fn package(value: &Value) -> Option<Package> {
    let directory = value.get("manifest_path")?.as_str()?.rsplit(['/', '\\']).nth(1)?;
    let mut package = Package { name: directory.to_owned(), ..Package::default() };
    for dependency in value.get("dependencies")?.as_array()? {
        let name = dependency.get("name")?.as_str()?;
        let kind = dependency.get("kind")?.as_str();
        // Ours are those with a path; a package's name is its directory's with
        // the product's before it.
        let ours = dependency.get("path").and_then(Value::as_str);
        match (ours.map(|_| name.strip_prefix("strongroom-").unwrap_or(name)), kind) {
            (Some(name), Some("dev")) => package.ours_dev.insert(name.to_owned()),
            (Some(name), _) => package.ours.insert(name.to_owned()),
            (None, None) => package.external.insert(name.to_owned()),
            (None, Some(_)) => package.external_other.insert(name.to_owned()),
        };
    }
    Some(package)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn an_import_that_the_table_lacks_is_named() {
        let package =
            Package { name: "state".to_owned(), ours: set(&["crypto"]), ..<_>::default() };
        assert_eq!(faults(&package), ["`state` may not import `crypto`"]);
        let package = Package { ours: <_>::default(), ours_dev: set(&["node"]), ..package };
        assert_eq!(faults(&package), ["`state` may not import `node`, in its tests either"]);
        let package = Package { ours_dev: set(&["testkit"]), ..package };
        assert_eq!(faults(&package), <[String; 0]>::default());
        let package = Package { name: "model".to_owned(), ours_dev: set(&["state"]), ..package };
        assert_eq!(faults(&package), <[String; 0]>::default());
        let package = Package { ours: set(&["state"]), ..package };
        assert_eq!(faults(&package), ["`model` may not import `state`"]);
    }

    #[test]
    fn an_external_crate_that_is_banned_or_unlisted_is_named() {
        let package =
            Package { name: "state".to_owned(), external: set(&["rand"]), ..<_>::default() };
        assert_eq!(faults(&package), ["`state` may not import `rand`"]);
        let package =
            Package { name: "base".to_owned(), external: set(&["serde", "http"]), ..package };
        assert_eq!(faults(&package), ["`base` may not import `http`"]);
    }

    #[test]
    fn an_owned_crate_is_refused_to_others_even_in_tests() {
        let package = Package {
            name: "node".to_owned(),
            external_other: set(&["rocksdb"]),
            ..<_>::default()
        };
        assert_eq!(faults(&package), ["`node` may not import `rocksdb`: only `storage` may"]);
        let package = Package { name: "storage".to_owned(), ..package };
        assert_eq!(faults(&package), <[String; 0]>::default());
    }

    #[test]
    fn a_crate_without_a_row_is_a_fault() {
        let package = Package { name: "misc".to_owned(), ..<_>::default() };
        assert_eq!(faults(&package), ["`misc` has no row in the table"]);
    }

    #[test]
    fn the_table_has_no_cycle_and_names_no_stranger() {
        let mut placed = BTreeSet::new();
        let only = |row: &Row| match row.ours {
            Ours::Only(list) => list.to_vec(),
            Ours::Any => Vec::new(),
        };
        while placed.len() < TABLE.len() {
            let next: Vec<_> = TABLE
                .iter()
                .filter(|row| !placed.contains(row.name))
                .filter(|row| only(row).iter().all(|ours| placed.contains(ours)))
                .map(|row| row.name)
                .collect();
            assert!(!next.is_empty(), "a cycle or a stranger beyond {placed:?}");
            placed.extend(next);
        }
    }

    #[test]
    fn kinds_of_imports_are_told_apart() {
        let metadata = serde_json::json!({ "packages": [{
            "name": "strongroom-x",
            "manifest_path": "/w/crates/x/Cargo.toml",
            "dependencies": [
                { "name": "strongroom-base", "path": "/w/crates/base", "kind": null },
                { "name": "strongroom-testkit", "path": "/w/crates/testkit", "kind": "dev" },
                { "name": "serde", "kind": null },
                { "name": "prost-build", "kind": "build" },
            ],
        }] });
        let expected = Package {
            name: "x".to_owned(),
            ours: set(&["base"]),
            ours_dev: set(&["testkit"]),
            external: set(&["serde"]),
            external_other: set(&["prost-build"]),
        };
        assert_eq!(packages(&metadata), Some(vec![expected]));
    }

    #[test]
    fn this_workspace_is_as_the_table_says() {
        let packages = read().unwrap();
        assert!(packages.iter().any(|package| package.name == "xtask"));
        check().unwrap();
    }
}
