//! `identity.json`: whose a data directory is.
//!
//! Text that a person can read, and of which no byte can change unseen: the
//! last field is SHA-256, in hexadecimal, of all bytes before its line. Every
//! format keeps `format` first and the checksum last.

use std::{fs, io, path::Path};

use data_encoding::HEXLOWER;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use strongroom_base::{ClusterId, Incarnation, NodeId};
use strongroom_format::DIRECTORY_FORMAT;

use crate::{
    error::{Damage, StorageError},
    files,
};

/// Whose a data directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) cluster: ClusterId,
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
}

/// The file's fields, in order.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    #[serde(rename = "format")]
    _format: u32,
    cluster: ClusterId,
    node: NodeId,
    incarnation: Incarnation,
    #[serde(rename = "checksum")]
    _checksum: String,
}

/// What every format has.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// Start of the checksum's line.
const CHECKSUM: &str = "  \"checksum\": \"";

impl Identity {
    /// Reads the file; `None` where there is none.
    pub(crate) fn read(path: &Path) -> Result<Option<Self>, StorageError> {
        match fs::read(path) {
            Ok(bytes) => Self::parse(path, &bytes).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StorageError::io(path, "reading", error)),
        }
    }

    /// Writes the file; durable on return.
    pub(crate) fn write(&self, path: &Path) -> Result<(), StorageError> {
        files::replace(path, self.render().as_bytes())
    }

    fn render(&self) -> String {
        let Self { cluster, node, incarnation } = self;
        with_checksum(&format!(
            "{{\n  \"format\": {DIRECTORY_FORMAT},\n  \"cluster\": \"{cluster}\",\n  \"node\": \
             {node},\n  \"incarnation\": \"{incarnation}\",\n"
        ))
    }

    fn parse(path: &Path, bytes: &[u8]) -> Result<Self, StorageError> {
        let corrupt = |damage| StorageError::corrupt(path, damage);
        let text = std::str::from_utf8(bytes).map_err(|_| corrupt(Damage::Checksum))?;
        let start = text.find(CHECKSUM).ok_or_else(|| corrupt(Damage::Length))?;
        if text != with_checksum(&text[..start]) {
            return Err(corrupt(Damage::Checksum));
        }
        let Format { format: found } =
            serde_json::from_str(text).map_err(|_| corrupt(Damage::Shape))?;
        if found > DIRECTORY_FORMAT {
            let (file, known) = (path.to_owned(), DIRECTORY_FORMAT);
            return Err(StorageError::NewerFormat { file, found, known });
        }
        let Fields { cluster, node, incarnation, .. } =
            serde_json::from_str(text).map_err(|_| corrupt(Damage::Shape))?;
        Ok(Self { cluster, node, incarnation })
    }
}

/// `head`, then its checksum and the end of the file.
fn with_checksum(head: &str) -> String {
    let digest = HEXLOWER.encode(&Sha256::digest(head));
    format!("{head}{CHECKSUM}{digest}\"\n}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity {
            cluster: ClusterId::from_random([1; 16]),
            node: NodeId::new(3).unwrap(),
            incarnation: Incarnation::from_random([2; 16]),
        }
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let whole = identity().render().into_bytes();
        for position in 0..whole.len() {
            for bit in 0..8 {
                let mut flipped = whole.clone();
                flipped[position] ^= 1 << bit;
                assert!(Identity::parse(Path::new("/x"), &flipped).is_err(), "{position}.{bit}");
            }
            assert!(Identity::parse(Path::new("/x"), &whole[..position]).is_err());
        }
    }

    #[test]
    fn a_newer_format_is_told_by_its_number() {
        let newer = with_checksum("{\n  \"format\": 9,\n  \"colour\": \"blue\",\n");
        let error = Identity::parse(Path::new("/x"), newer.as_bytes()).unwrap_err();
        assert!(matches!(error, StorageError::NewerFormat { found: 9, .. }), "{error}");
    }

    #[test]
    fn an_identity_is_read_as_it_was_written() {
        let text = identity().render();
        assert_eq!(Identity::parse(Path::new("/x"), text.as_bytes()).unwrap(), identity());
    }

    #[test]
    fn the_file_is_frozen() {
        assert_eq!(identity().render(), include_str!("../testdata/format/v1/identity.json"),);
    }
}
