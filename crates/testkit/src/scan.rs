//! Looks for secrets where none may be.
//!
//! A [`Canary`] is a secret that a test knows. It is looked for as raw bytes and
//! in every spelling that a log line, a metric or a page would give it; in files
//! as they are, in RocksDB's logs with their fragments joined, and in table
//! files with their LZ4 blocks decompressed: what was deleted and not compacted
//! away is found too.
//!
//! Every file is looked through, whatever its name; [`kind`] and [`Layer::of`]
//! tell a test what it has to plant a canary in, to see that it is found.

mod layers;
mod spelling;

use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

pub use layers::{Layer, joined_records, lz4_blocks};

/// A secret to look for.
#[derive(Clone)]
pub struct Canary {
    name: String,
    bytes: Vec<u8>,
}

/// Where one was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Name of the canary.
    pub canary: String,
    /// Spelling in which it stands there.
    pub spelling: &'static str,
    /// File, or name of the text.
    pub place: PathBuf,
    /// What had to be done to see it.
    pub layer: Layer,
    /// Offset in that layer.
    pub offset: usize,
}

impl Canary {
    /// Shorter ones are found by chance.
    pub const BYTES_MIN: usize = 8;

    /// A secret by name, for reports.
    ///
    /// # Panics
    ///
    /// When it is shorter than [`Canary::BYTES_MIN`].
    #[must_use]
    pub fn new(name: &str, bytes: &[u8]) -> Self {
        assert!(bytes.len() >= Self::BYTES_MIN, "{name} is too short to be a canary");
        Self { name: name.to_owned(), bytes: bytes.to_vec() }
    }
}

/// Looks for a set of canaries.
pub struct Scanner {
    needles: Vec<Needle>,
    /// Needles by their first bytes.
    by_prefix: HashMap<[u8; PREFIX], Vec<usize>>,
    /// First two bytes of any needle: what rules most offsets out.
    begins: Box<[bool; 1 << 16]>,
}

const PREFIX: usize = 8;

struct Needle {
    canary: String,
    spelling: &'static str,
    bytes: Vec<u8>,
}

impl Scanner {
    /// Looks for these.
    #[must_use]
    pub fn new(canaries: &[Canary]) -> Self {
        let mut needles = Vec::new();
        for canary in canaries {
            for (spelling, bytes) in spelling::spellings(&canary.bytes) {
                if bytes.len() >= PREFIX {
                    needles.push(Needle { canary: canary.name.clone(), spelling, bytes });
                }
            }
        }
        let mut by_prefix: HashMap<_, Vec<usize>> = HashMap::new();
        let mut begins = vec![false; 1 << 16].into_boxed_slice();
        for (position, needle) in needles.iter().enumerate() {
            let prefix = needle.bytes[..PREFIX].try_into().expect("PREFIX bytes");
            by_prefix.entry(prefix).or_default().push(position);
            begins[pair(&needle.bytes)] = true;
        }
        Self { needles, by_prefix, begins: begins.try_into().expect("65,536 of them") }
    }

    /// Looks through a text or a block of bytes.
    #[must_use]
    pub fn bytes(&self, place: &Path, bytes: &[u8]) -> Vec<Finding> {
        self.layer(place, Layer::AsItIs, bytes)
    }

    /// Looks through a file in every layer that its kind has.
    ///
    /// # Errors
    ///
    /// When it can't be read.
    pub fn file(&self, path: &Path) -> anyhow::Result<Vec<Finding>> {
        let bytes = fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
        let mut found = Vec::new();
        for layer in Layer::of(path) {
            for part in layer.parts(&bytes) {
                found.extend(self.layer(path, layer, &part));
            }
        }
        Ok(found)
    }

    /// Looks through every file under a folder; gives how many those were, too.
    ///
    /// # Errors
    ///
    /// When one can't be read.
    pub fn folder(&self, folder: &Path) -> anyhow::Result<(Vec<Finding>, usize)> {
        let files = crate::faults::files_under(folder)?;
        let mut found = Vec::new();
        for file in &files {
            found.extend(self.file(file)?);
        }
        Ok((found, files.len()))
    }

    fn layer(&self, place: &Path, layer: Layer, bytes: &[u8]) -> Vec<Finding> {
        let mut found = Vec::new();
        for (offset, window) in bytes.windows(PREFIX).enumerate() {
            if !self.begins[pair(window)] {
                continue;
            }
            let Some(positions) = self.by_prefix.get(window) else { continue };
            for needle in positions.iter().map(|position| &self.needles[*position]) {
                if bytes[offset..].starts_with(&needle.bytes) {
                    found.push(Finding {
                        canary: needle.canary.clone(),
                        spelling: needle.spelling,
                        place: place.to_owned(),
                        layer,
                        offset,
                    });
                }
            }
        }
        found
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { canary, spelling, place, layer, offset } = self;
        write!(f, "{canary} ({spelling}) in {} ({layer}, offset {offset})", place.display())
    }
}

/// Kind of a file below `root`, or of a page: its path or name with `#` for each
/// number, as in `data/state/#/MANIFEST-#`.
#[must_use]
pub fn kind(root: &Path, place: &Path) -> String {
    let name = place.strip_prefix(root).unwrap_or(place).to_string_lossy();
    let mut text = String::with_capacity(name.len());
    for symbol in name.chars() {
        if !symbol.is_ascii_digit() {
            text.push(symbol);
        } else if !text.ends_with('#') {
            text.push('#');
        }
    }
    text
}

fn pair(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(canary: &[u8], text: &[u8]) -> Vec<&'static str> {
        let scanner = Scanner::new(&[Canary::new("c", canary)]);
        scanner.bytes(Path::new("text"), text).iter().map(|finding| finding.spelling).collect()
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        assert!(found(b"a canary of many bytes", &[0; 4096]).is_empty());
        assert!(found(b"a canary of many bytes", b"a canary of many byte").is_empty());
        assert!(found(b"a canary of many bytes", b"").is_empty());
    }

    #[test]
    fn a_canary_is_found_at_every_offset() {
        let canary = b"0123456789abcdef";
        for offset in 0..64 {
            let mut text = vec![b'.'; 100];
            text[offset..offset + canary.len()].copy_from_slice(canary);
            assert_eq!(found(canary, &text), ["raw"], "offset {offset}");
        }
    }

    #[test]
    fn a_kind_is_a_path_without_its_numbers() {
        let root = Path::new("/tmp/node-3");
        for (place, expected) in [
            ("/tmp/node-3/server.log", "server.log"),
            ("/tmp/node-3/data/log/LOG.old.1754061234", "data/log/LOG.old.#"),
            ("/tmp/node-3/data/state/CURRENT", "data/state/CURRENT"),
            ("/tmp/node-3/data/state/7/CURRENT", "data/state/#/CURRENT"),
            ("/tmp/node-3/data/snapshots/12/MANIFEST-000004", "data/snapshots/#/MANIFEST-#"),
            ("node 2 /metrics", "node # /metrics"),
        ] {
            assert_eq!(kind(root, Path::new(place)), expected);
        }
    }

    #[test]
    fn a_file_is_looked_through_in_all_of_its_layers() {
        let folder = tempfile::tempdir().unwrap();
        let canary = b"a canary of many bytes";
        let scanner = Scanner::new(&[Canary::new("c", canary)]);
        let layers = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            fs::write(&path, content).unwrap();
            let found = scanner.file(&path).unwrap();
            found.iter().map(|finding| finding.layer).collect::<Vec<_>>()
        };
        // One whole record of a log.
        let length = u8::try_from(canary.len()).unwrap();
        let record = [&[0xee, 0xee, 0xee, 0xee, length, 0, 1][..], canary].concat();
        assert_eq!(layers("000012.log", &record), [Layer::AsItIs, Layer::RecordsJoined]);
        assert_eq!(layers("server.log", &record), [Layer::AsItIs]);
        assert_eq!(layers("IDENTITY", canary), [Layer::AsItIs]);
    }
}
