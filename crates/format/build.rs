//! Compiles `proto/strongroom/store/v1` without `protoc`.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

/// Messages that carry names, addresses or an encryption context in the clear.
/// The crate writes their `Debug` itself, so that none of it is printed.
const REDACTED: &[&str] = &[
    "strongroom.store.v1.AuditBody",
    "strongroom.store.v1.ContextPair",
    "strongroom.store.v1.KeyRow",
    "strongroom.store.v1.PrincipalRow",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let package = root.join("strongroom/store/v1");
    println!("cargo::rerun-if-changed={}", package.display());
    println!("cargo::rerun-if-changed=build.rs");

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true).open_files(protos(&package)?)?;
    prost_build::Config::new()
        // In one order for every reader: stored bytes are the same everywhere.
        .btree_map(["."])
        .skip_debug(REDACTED)
        .compile_fds(compiler.file_descriptor_set())?;
    Ok(())
}

/// The `.proto` files of a directory in a fixed order.
fn protos(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "proto"));
    paths.sort();
    Ok(paths)
}
