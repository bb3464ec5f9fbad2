//! Small files of our own: checked, and replaced durably.
//!
//! Layout of a checked file, integers big endian:
//!
//! | bytes | content |
//! |---|---|
//! | 1 | format of the body |
//! | 1 | kind of file ([`Kind`]) |
//! | 4 | length n of the body |
//! | n | body |
//! | 32 | SHA-256 of all that precedes |
//!
//! Every format keeps this frame, so that a damaged file is told from a newer
//! one.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use sha2::{Digest, Sha256};

use crate::error::{Damage, StorageError};

/// Bytes around the body of a checked file.
pub(crate) const FRAME_BYTES: usize = 1 + 1 + 4 + 32;
/// Ending of a file that is being written; such files are leftovers at start.
pub(crate) const TEMPORARY: &str = "tmp";

/// Kinds of checked files. The numbers are a stored format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Starts of the node so far.
    Boot = 1,
    /// Which generation of the state database is the current one.
    Current = 2,
    /// Ceremony records that wait for a quorum.
    Ceremony = 3,
    /// Manifest of a snapshot.
    Manifest = 4,
    /// What the Raft log had synced.
    Watermark = 5,
}

/// Puts `body` into the frame of a checked file.
pub(crate) fn frame(kind: Kind, format: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("bodies of own files are bounded far below");
    let mut bytes = Vec::with_capacity(body.len() + FRAME_BYTES);
    bytes.extend([format, kind as u8]);
    bytes.extend(length.to_be_bytes());
    bytes.extend(body);
    let digest = Sha256::digest(&bytes);
    bytes.extend(digest);
    bytes
}

/// Takes the body out of the frame of the file at `path`.
///
/// # Errors
///
/// [`StorageError::Corrupt`], or [`StorageError::NewerFormat`] where the frame
/// is whole and its format beyond `known`.
pub(crate) fn unframe<'a>(
    path: &Path,
    kind: Kind,
    known: u8,
    bytes: &'a [u8],
) -> Result<&'a [u8], StorageError> {
    let corrupt = |damage| StorageError::corrupt(path, damage);
    let framed = bytes.len().checked_sub(32).ok_or_else(|| corrupt(Damage::Length))?;
    let (framed, digest) = bytes.split_at(framed);
    if Sha256::digest(framed).as_slice() != digest {
        return Err(corrupt(Damage::Checksum));
    }
    let (head, body) = framed.split_first_chunk::<6>().ok_or_else(|| corrupt(Damage::Length))?;
    let [format, found_kind, length @ ..] = *head;
    if format > known {
        let (found, known) = (u32::from(format), u32::from(known));
        return Err(StorageError::NewerFormat { file: path.to_owned(), found, known });
    }
    let whole = usize::try_from(u32::from_be_bytes(length)) == Ok(body.len());
    if format == 0 || found_kind != kind as u8 || !whole {
        return Err(corrupt(Damage::Shape));
    }
    Ok(body)
}

/// Reads a checked file; `None` where there is none.
///
/// # Errors
///
/// As [`unframe`], or the system's error.
pub(crate) fn read_checked(
    path: &Path,
    kind: Kind,
    known: u8,
) -> Result<Option<Vec<u8>>, StorageError> {
    match fs::read(path) {
        Ok(bytes) => unframe(path, kind, known, &bytes).map(|body| Some(body.to_vec())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StorageError::io(path, "reading", error)),
    }
}

/// Replaces a checked file; durable on return.
///
/// # Errors
///
/// The system's error: the old content, or the new one, is there.
pub(crate) fn write_checked(
    path: &Path,
    kind: Kind,
    format: u8,
    body: &[u8],
) -> Result<(), StorageError> {
    replace(path, &frame(kind, format, body))
}

/// Replaces a file as a whole; durable on return. After a crash the file has
/// the old content or the new one.
///
/// # Errors
///
/// The system's error.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let temporary = path.with_extension(TEMPORARY);
    let wrap = |operation| move |error| StorageError::io(path, operation, error);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(wrap("creating"))?;
    file.write_all(bytes).map_err(wrap("writing"))?;
    file.sync_all().map_err(wrap("syncing"))?;
    drop(file);
    fs::rename(&temporary, path).map_err(wrap("renaming"))?;
    sync_parent(path)
}

/// Syncs the directory that holds `path`, so that creations, renames and
/// removals in it are durable.
///
/// # Errors
///
/// The system's error.
pub(crate) fn sync_parent(path: &Path) -> Result<(), StorageError> {
    path.parent().map_or(Ok(()), sync_directory)
}

/// Syncs a directory.
///
/// # Errors
///
/// The system's error.
pub(crate) fn sync_directory(path: &Path) -> Result<(), StorageError> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| StorageError::io(path, "syncing the directory", error))
}

/// Makes a directory of mode 0700, where it isn't there.
///
/// # Errors
///
/// The system's error.
pub(crate) fn make_directory(path: &Path) -> Result<(), StorageError> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| StorageError::io(path, "making the directory", error))
}

/// Removes a file or a whole directory, where it is there.
///
/// # Errors
///
/// The system's error.
pub(crate) fn remove(path: &Path) -> Result<(), StorageError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StorageError::io(path, "removing", error))
        }
        _ => Ok(()),
    }
}

/// Names in a directory, ascending; names that are no UTF-8 are left out.
///
/// # Errors
///
/// The system's error.
pub(crate) fn names(path: &Path) -> Result<Vec<String>, StorageError> {
    let wrap = |error| StorageError::io(path, "listing the directory", error);
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(wrap)? {
        names.extend(entry.map_err(wrap)?.file_name().into_string());
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let path = Path::new("/x");
        let whole = frame(Kind::Boot, 1, b"body");
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[position] ^= 1 << bit;
                assert!(unframe(path, Kind::Boot, 1, &flipped).is_err(), "{position}.{bit}");
            }
            assert!(unframe(path, Kind::Boot, 1, &whole[..position]).is_err());
        }
        assert_eq!(unframe(path, Kind::Boot, 1, &whole).unwrap(), b"body");
    }

    #[test]
    fn a_newer_format_and_another_kind_are_told_apart_from_damage() {
        let path = Path::new("/x");
        let newer = unframe(path, Kind::Boot, 1, &frame(Kind::Boot, 2, b"")).unwrap_err();
        assert!(matches!(newer, StorageError::NewerFormat { found: 2, known: 1, .. }), "{newer}");
        let other = unframe(path, Kind::Boot, 1, &frame(Kind::Current, 1, b"")).unwrap_err();
        assert!(matches!(other, StorageError::Corrupt { damage: Damage::Shape, .. }), "{other}");
    }

    #[test]
    fn a_replaced_file_has_the_new_content_and_leaves_no_temporary_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("boot");
        assert!(read_checked(&path, Kind::Boot, 1).unwrap().is_none());
        write_checked(&path, Kind::Boot, 1, b"old").unwrap();
        write_checked(&path, Kind::Boot, 1, b"new").unwrap();
        assert_eq!(read_checked(&path, Kind::Boot, 1).unwrap().unwrap(), b"new");
        assert_eq!(names(directory.path()).unwrap(), ["boot"]);
    }
}
