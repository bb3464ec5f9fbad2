//! Where the program under test is.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

/// Environment variable that names the program instead.
const VARIABLE: &str = "STRONGROOM_BIN";

/// The `strongroom` program that belongs to the running test or demo.
///
/// `STRONGROOM_BIN` where it is set; else the program beside the running
/// executable, one or two folders up (`target/debug/deps/…`), or in the
/// checkout's `target/debug`.
///
/// # Errors
///
/// When there is none: says how to build it.
pub fn server_binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = env::var_os(VARIABLE) {
        let path = PathBuf::from(path);
        if path.is_file() {
            return Ok(path);
        }
        bail!("{VARIABLE} names {}, which is no file", path.display());
    }
    let own = env::current_exe().context("the running executable has no path")?;
    let beside = own.ancestors().skip(1).take(3).map(|folder| folder.join("strongroom"));
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/debug/strongroom");
    beside.chain([checkout]).find(|path| path.is_file()).with_context(|| {
        format!(
            "the program `strongroom` is not built: run `cargo build --workspace`, \
             or set {VARIABLE} to it"
        )
    })
}
