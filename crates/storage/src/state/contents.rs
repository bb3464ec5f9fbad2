//! What a snapshot holds: its manifest, checked, and the manifest's file.
//!
//! A manifest comes from a peer: names, counts and lengths are checked before
//! anything is written under them.

use std::path::Path;

use strongroom_base::ClusterId;
pub use strongroom_format::store::SnapshotManifest;
use strongroom_format::{
    FormatError, SNAPSHOT_FORMAT, STATE_FORMAT, cluster_id, decode, encode, version,
};

use super::SnapshotError;
use crate::{
    error::{Damage, StorageError},
    files::{self, Kind},
};

/// Name of the manifest's file beside the files that it lists.
pub(super) const CONTENTS: &str = "CONTENTS";
/// Format of that file's body, a `SnapshotManifest`.
const CONTENTS_FORMAT: u8 = 1;
/// Most files of a snapshot: a tebibyte of table files of 64 MiB. Empty ones
/// are made and synced without a byte sent, so a manifest alone costs that much.
const FILES_MAX: usize = 16_384;
/// Longest name of a file; RocksDB's have some twenty bytes.
const NAME_BYTES_MAX: usize = 64;

/// Checks a manifest that a peer sent, or that a file held.
pub(super) fn check(manifest: &SnapshotManifest, expected: ClusterId) -> Result<(), SnapshotError> {
    let wrong = |detail| SnapshotError::Manifest { detail };
    version("the snapshot", manifest.format, SNAPSHOT_FORMAT).map_err(newer)?;
    version("the snapshot's state", manifest.state_format, STATE_FORMAT).map_err(newer)?;
    let found =
        cluster_id("cluster_id", &manifest.cluster_id).map_err(|_| wrong("no cluster id"))?;
    if found != expected {
        return Err(SnapshotError::ForeignCluster { found, expected });
    }
    if manifest.files.is_empty() || manifest.files.len() > FILES_MAX {
        return Err(wrong("no files, or too many"));
    }
    if !manifest.files.is_sorted_by(|one, other| one.name < other.name) {
        return Err(wrong("its files are not in the order of their names"));
    }
    if manifest.files.iter().any(|file| !is_name(&file.name)) {
        return Err(wrong("a file has a name that no database gives"));
    }
    if manifest.files.iter().any(|file| file.sha256.len() != 32) {
        return Err(wrong("a digest has not 32 bytes"));
    }
    let mut lengths = manifest.files.iter().map(|file| file.length);
    if lengths.try_fold(0_u64, u64::checked_add).is_none() {
        return Err(wrong("its lengths are no lengths of files"));
    }
    Ok(())
}

fn newer(error: FormatError) -> SnapshotError {
    SnapshotError::Format { source: error }
}

fn is_name(name: &str) -> bool {
    let allowed = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-' | b'.');
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(allowed)
        && !name.starts_with('.')
        && name != CONTENTS
}

/// Bytes of all files; the manifest was checked.
pub(super) fn bytes(manifest: &SnapshotManifest) -> u64 {
    manifest.files.iter().map(|file| file.length).sum()
}

/// Reads and checks the manifest in the directory of a snapshot.
pub(super) fn read(directory: &Path) -> Result<SnapshotManifest, StorageError> {
    let path = directory.join(CONTENTS);
    let corrupt = |damage| StorageError::corrupt(&path, damage);
    let body = files::read_checked(&path, Kind::Manifest, CONTENTS_FORMAT)?
        .ok_or_else(|| corrupt(Damage::Missing))?;
    decode("SnapshotManifest", &body).map_err(|_| corrupt(Damage::Shape))
}

/// Writes the manifest into the directory of a snapshot; durable on return.
pub(super) fn write(directory: &Path, manifest: &SnapshotManifest) -> Result<(), StorageError> {
    let path = directory.join(CONTENTS);
    files::write_checked(&path, Kind::Manifest, CONTENTS_FORMAT, &encode(manifest))
}

#[cfg(test)]
mod tests {
    use strongroom_format::store::SnapshotFile;

    use super::*;

    fn cluster() -> ClusterId {
        ClusterId::from_random([1; 16])
    }

    fn manifest(names: &[&str]) -> SnapshotManifest {
        let file =
            |name: &&str| SnapshotFile { name: (*name).to_owned(), length: 1, sha256: vec![0; 32] };
        SnapshotManifest {
            format: SNAPSHOT_FORMAT,
            state_format: STATE_FORMAT,
            cluster_id: cluster().as_bytes().to_vec(),
            applied_index: 9,
            raft_meta: Vec::new(),
            files: names.iter().map(file).collect(),
        }
    }

    #[test]
    fn names_that_leave_the_directory_are_refused() {
        for name in ["", ".", "..", "../x", "a/b", "a\0", "CONTENTS", ".hidden", "ä"] {
            assert!(check(&manifest(&[name]), cluster()).is_err(), "{name:?}");
        }
        assert!(check(&manifest(&["CURRENT", "MANIFEST-000004"]), cluster()).is_ok());
    }

    #[test]
    fn more_files_than_a_database_has_are_refused() {
        let names: Vec<String> = (0..=FILES_MAX).map(|file| format!("{file:06}.sst")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert!(check(&manifest(&names), cluster()).is_err());
        assert!(check(&manifest(&names[1..]), cluster()).is_ok());
    }

    #[test]
    fn foreign_newer_unordered_and_overflowing_manifests_are_refused() {
        let good = manifest(&["a", "b"]);
        assert!(matches!(
            check(&good, ClusterId::from_random([2; 16])),
            Err(SnapshotError::ForeignCluster { .. })
        ));
        let newer = SnapshotManifest { state_format: STATE_FORMAT + 1, ..good.clone() };
        assert!(matches!(check(&newer, cluster()), Err(SnapshotError::Format { .. })));
        assert!(check(&manifest(&["b", "a"]), cluster()).is_err());
        assert!(check(&manifest(&["a", "a"]), cluster()).is_err());
        assert!(check(&manifest(&[]), cluster()).is_err());
        let mut long = good;
        long.files.iter_mut().for_each(|file| file.length = u64::MAX);
        assert!(check(&long, cluster()).is_err());
    }
}
