//! System packages that a build needs: a C++ compiler and make for RocksDB, and
//! libclang for its bindings. Missing ones are installed where that is possible.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use crate::steps;

const PACKAGES: [&str; 3] = ["libclang-dev", "g++", "make"];
/// Where distributions put libclang; `*` stands for any name.
const LIBRARY_DIRECTORIES: [&str; 9] = [
    "/usr/lib/llvm-*/lib",
    "/usr/lib/llvm/*/lib64",
    "/usr/lib/llvm*/lib64",
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
    "/usr/local/llvm*/lib",
];

/// Makes sure that all is there, or says what to install.
///
/// # Errors
///
/// When something is missing and can't be installed from here.
pub(crate) fn ensure() -> anyhow::Result<()> {
    let missing = missing();
    if missing.is_empty() {
        return Ok(());
    }
    println!("==> missing on this machine: {}", missing.join(", "));
    install()?;
    let still = self::missing();
    if still.is_empty() {
        return Ok(());
    }
    bail!("still missing after the installation: {}", still.join(", "))
}

/// What is missing, in words.
fn missing() -> Vec<&'static str> {
    let mut missing = Vec::new();
    if !has_libclang() {
        missing.push("libclang (for RocksDB's bindings)");
    }
    let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    if !(works(&compiler) || works("g++".as_ref()) || works("clang++".as_ref())) {
        missing.push("a C++ compiler (for RocksDB)");
    }
    if !works("make".as_ref()) {
        missing.push("make");
    }
    missing
}

/// Whether a program answers `--version`.
fn works(program: &OsStr) -> bool {
    Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

fn has_libclang() -> bool {
    if let Some(path) = env::var_os("LIBCLANG_PATH") {
        let path = PathBuf::from(path);
        return is_libclang(&path) || holds_libclang(&path);
    }
    let directories = LIBRARY_DIRECTORIES.iter().flat_map(|pattern| expand(pattern));
    directories.into_iter().any(|directory| holds_libclang(&directory)) || linker_knows_libclang()
}

fn is_libclang(path: &Path) -> bool {
    path.file_name().and_then(OsStr::to_str).is_some_and(is_libclang_name) && path.is_file()
}

/// `libclang.so`, `libclang.so.14`, `libclang-14.so.1` and the like; not
/// `libclang-cpp.so`, another library.
fn is_libclang_name(name: &str) -> bool {
    name.strip_prefix("libclang").is_some_and(|rest| {
        let rest = rest.trim_start_matches(|c: char| c == '-' || c == '.' || c.is_ascii_digit());
        rest == "so" || rest.starts_with("so.")
    })
}

fn holds_libclang(directory: &Path) -> bool {
    fs::read_dir(directory)
        .is_ok_and(|entries| entries.flatten().any(|entry| is_libclang(&entry.path())))
}

/// The directories that a pattern with at most one `*` a component stands for.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        found = match part.split_once('*') {
            None => found.into_iter().map(|directory| directory.join(part)).collect(),
            Some((before, after)) => found
                .iter()
                .filter_map(|directory| fs::read_dir(directory).ok())
                .flat_map(|entries| entries.flatten())
                .filter(|entry| {
                    entry.file_name().to_str().is_some_and(|name| {
                        name.len() >= before.len() + after.len()
                            && name.starts_with(before)
                            && name.ends_with(after)
                    })
                })
                .map(|entry| entry.path())
                .collect(),
        };
    }
    found.retain(|directory| directory.is_dir());
    found
}

fn linker_knows_libclang() -> bool {
    ["ldconfig", "/sbin/ldconfig"].iter().any(|ldconfig| {
        Command::new(ldconfig).arg("-p").output().is_ok_and(|output| {
            String::from_utf8_lossy(&output.stdout).split_whitespace().any(is_libclang_name)
        })
    })
}

fn install() -> anyhow::Result<()> {
    let packages = PACKAGES.join(" ");
    let Some(prefix) = privilege().filter(|_| works("apt-get".as_ref())) else {
        bail!(
            "install a C++ compiler, make and libclang and try again; on Debian and Ubuntu:\n    \
             apt-get install {packages}"
        );
    };
    println!("    installing with apt-get: {packages}");
    steps::run(apt_get(prefix, &["update"])).context("the package lists can't be updated")?;
    let install = ["install", "--yes", "--no-install-recommends"];
    steps::run(apt_get(prefix, &[&install[..], &PACKAGES[..]].concat()))
        .with_context(|| format!("install by hand and try again: {packages}"))
}

/// What to put before a command that only root may run; none if there is no way.
fn privilege() -> Option<&'static [&'static str]> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
    if root {
        return Some(&[]);
    }
    let sudo = Command::new("sudo")
        .args(["-n", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    sudo.then_some(&["sudo", "-n"])
}

fn apt_get(prefix: &[&str], args: &[&str]) -> Command {
    // No question may be asked: nobody may be there to answer.
    let words = [prefix, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], args].concat();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libclang_is_told_from_its_neighbours() {
        for name in ["libclang.so", "libclang.so.1", "libclang-14.so.14.0.6", "libclang-14.so"] {
            assert!(is_libclang_name(name), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclang.a", "libclangAST.so", "liblang.so", "so"] {
            assert!(!is_libclang_name(name), "{name}");
        }
    }

    #[test]
    fn a_program_that_does_not_exist_does_not_work() {
        assert!(!works("no-such-program-anywhere".as_ref()));
        assert!(works("rustc".as_ref()));
    }

    #[test]
    fn a_pattern_stands_for_the_directories_that_exist() {
        assert!(expand("/no/such/*/directory").is_empty());
        assert_eq!(expand("/"), [PathBuf::from("/")]);
        let top = crate::root();
        let pattern = format!("{}/cra*s/xtask", top.display());
        assert_eq!(expand(&pattern), [top.join("crates/xtask")]);
    }
}
