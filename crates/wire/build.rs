//! Compiles `proto/strongroom/v1` and `proto/strongroom/peer/v1` without `protoc`.

use std::{
    env,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
};

/// Messages that carry plaintext, shares, tokens or an encryption context. The
/// crate writes their `Debug` itself, so that none of it is printed.
const REDACTED: &[&str] = &[
    "strongroom.v1.CreateTokenResponse",
    "strongroom.v1.DataKeyPair",
    "strongroom.v1.DecryptRequest",
    "strongroom.v1.DecryptResponse",
    "strongroom.v1.EncryptRequest",
    "strongroom.v1.GenerateDataKeyRequest",
    "strongroom.v1.GenerateDataKeyResponse",
    "strongroom.v1.GenerateDataKeyWithoutPlaintextRequest",
    "strongroom.v1.GenerateDataKeysRequest",
    "strongroom.v1.GenerateRandomResponse",
    "strongroom.v1.InitRequest",
    "strongroom.v1.InitResponse",
    "strongroom.v1.ReEncryptRequest",
    "strongroom.v1.SubmitShareRequest",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    println!("cargo::rerun-if-changed=build.rs");

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(protos(&root.join("strongroom/v1"))?)?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Before the peers' protocol is there: callers are told of theirs only.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    compiler.open_files(protos(&root.join("strongroom/peer/v1"))?)?;
    tonic_prost_build::configure()
        // Borrowed from the received buffer instead of copied.
        .bytes(".strongroom.peer.v1")
        // In one order for every reader: the canonical encryption context is sorted.
        .btree_map(".")
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
