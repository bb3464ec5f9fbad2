//! What is inside RocksDB's files, read without RocksDB: also what it would no
//! longer show.

use std::{borrow::Cow, fmt, path::Path};

/// Blocks of a RocksDB log (`db/log_format.h`).
const LOG_BLOCK: usize = 32 * 1024;
/// Largest block that is decompressed.
const BLOCK_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Compression types in a table's block trailer: LZ4 and LZ4HC.
const LZ4_TYPES: [u8; 2] = [4, 5];

/// What has to be done to a file to see what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// Nothing.
    AsItIs,
    /// Long records of a RocksDB log are put together again.
    RecordsJoined,
    /// Blocks of a RocksDB table are decompressed.
    Decompressed,
}

impl Layer {
    const ALL: [Self; 3] = [Self::AsItIs, Self::RecordsJoined, Self::Decompressed];

    /// Every layer of a file, as its name tells.
    #[must_use]
    pub fn of(file: &Path) -> Vec<Self> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        Self::ALL.into_iter().filter(|layer| layer.is_in(&name)).collect()
    }

    fn is_in(self, name: &str) -> bool {
        match self {
            Self::AsItIs => true,
            Self::RecordsJoined => is_write_ahead_log(name) || name.starts_with("MANIFEST"),
            Self::Decompressed => name.ends_with(".sst"),
        }
    }

    /// What there is to look through in this layer of a file.
    pub(super) fn parts(self, file: &[u8]) -> Vec<Cow<'_, [u8]>> {
        match self {
            Self::AsItIs => vec![Cow::Borrowed(file)],
            Self::RecordsJoined => vec![Cow::Owned(joined_records(file))],
            Self::Decompressed => lz4_blocks(file).into_iter().map(Cow::Owned).collect(),
        }
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AsItIs => "as it is",
            Self::RecordsJoined => "records joined",
            Self::Decompressed => "decompressed",
        })
    }
}

/// RocksDB's have a number for a name; other logs are text.
fn is_write_ahead_log(name: &str) -> bool {
    let number = name.strip_suffix(".log");
    number.is_some_and(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Payload of all records of a log or manifest, in order, without the headers
/// that split long records at the ends of blocks.
///
/// Record: `checksum(4) ‖ length(2, little endian) ‖ type(1)`, with four bytes
/// more for recycled logs. Checksums are not looked at: a damaged record is read
/// too.
#[must_use]
pub fn joined_records(log: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(log.len());
    for block in log.chunks(LOG_BLOCK) {
        let mut rest = block;
        while let [_, _, _, _, low, high, kind, ..] = rest {
            let header = match kind {
                5..=8 | 11 | 131 => 11,
                _ => 7,
            };
            let end = header + usize::from(u16::from_le_bytes([*low, *high]));
            let Some(record) = rest.get(header..end) else { break };
            joined.extend_from_slice(record);
            rest = &rest[end..];
        }
    }
    joined
}

/// Every LZ4 block of a table file, decompressed.
///
/// Needs no index, and so no knowledge of the table's version: a block is
/// recognised by itself. It begins with its decompressed size (varint), decodes
/// to exactly that size, and its trailer says LZ4.
#[must_use]
pub fn lz4_blocks(table: &[u8]) -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    let mut offset = 0;
    while offset < table.len() {
        match lz4_block(&table[offset..]) {
            Some((block, length)) => {
                blocks.push(block);
                // Not beyond its trailer: in a damaged file a block may begin there.
                offset += length;
            }
            None => offset += 1,
        }
    }
    blocks
}

/// The block at the start of `bytes`, and its compressed length.
fn lz4_block(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let (size, prefix) = varint(bytes)?;
    // An empty or tiny block is not compressed.
    if !(16..=BLOCK_BYTES_MAX).contains(&size) {
        return None;
    }
    let (block, length) = lz4_decode(&bytes[prefix..], size)?;
    let end = prefix + length;
    LZ4_TYPES.contains(bytes.get(end)?).then_some((block, end))
}

fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (position, byte) in bytes.iter().take(5).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * position);
        if byte & 0x80 == 0 {
            return Some((value, position + 1));
        }
    }
    None
}

/// Decodes one LZ4 block (LZ4 Block Format Description) of `size` bytes; gives
/// how many bytes it took. `None` where the bytes are no such block.
fn lz4_decode(input: &[u8], size: usize) -> Option<(Vec<u8>, usize)> {
    let mut output = Vec::new();
    let mut at = 0;
    let length = |nibble: u8, at: &mut usize| -> Option<usize> {
        let mut length = usize::from(nibble);
        if nibble == 15 {
            loop {
                let more = *input.get(*at)?;
                *at += 1;
                length += usize::from(more);
                if more != 255 {
                    break;
                }
            }
        }
        Some(length)
    };
    loop {
        let token = *input.get(at)?;
        at += 1;
        let literals = length(token >> 4, &mut at)?;
        output.extend_from_slice(input.get(at..at + literals)?);
        at += literals;
        if output.len() >= size {
            // The last sequence is literals only.
            return (output.len() == size && token & 15 == 0).then_some((output, at));
        }
        let distance = usize::from(u16::from_le_bytes([*input.get(at)?, *input.get(at + 1)?]));
        at += 2;
        let matched = length(token & 15, &mut at)? + 4;
        if distance == 0 || distance > output.len() || output.len() + matched > size {
            return None;
        }
        let start = output.len() - distance;
        for position in start..start + matched {
            output.push(output[position]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_go_by_the_name() {
        for (name, more) in [
            ("000012.log", Some(Layer::RecordsJoined)),
            ("MANIFEST-000004", Some(Layer::RecordsJoined)),
            ("000013.sst", Some(Layer::Decompressed)),
            ("server.log", None),
            ("LOG", None),
            ("identity.json", None),
        ] {
            let layers = Layer::of(&Path::new("/data/state/7").join(name));
            assert_eq!(layers[0], Layer::AsItIs, "{name}");
            assert_eq!(layers.get(1).copied(), more, "{name}");
        }
    }

    #[test]
    fn records_are_joined_over_block_ends() {
        let secret = b"a secret that is split in two";
        let (first, last) = secret.split_at(10);
        let mut log = Vec::new();
        let record = |log: &mut Vec<u8>, kind: u8, payload: &[u8]| {
            let length = u16::try_from(payload.len()).unwrap();
            log.extend_from_slice(&[0xee; 4]);
            log.extend_from_slice(&length.to_le_bytes());
            log.push(kind);
            log.extend_from_slice(payload);
        };
        record(&mut log, 1, &vec![b'.'; LOG_BLOCK - 7 - 7 - first.len()]);
        record(&mut log, 2, first);
        assert_eq!(log.len(), LOG_BLOCK);
        record(&mut log, 4, last);
        assert!(!log.windows(secret.len()).any(|window| window == secret));
        let joined = joined_records(&log);
        assert!(joined.windows(secret.len()).any(|window| window == secret));
    }

    #[test]
    fn blocks_are_found_behind_other_bytes_and_decoded() {
        // "abcd" eight times and "tail!": 4 literals, a match at distance 4.
        let mut block = vec![37, 0x4f];
        block.extend_from_slice(b"abcd");
        block.extend_from_slice(&[4, 0, 28 - 4 - 15]);
        block.push(0x50);
        block.extend_from_slice(b"tail!");
        let mut table = vec![0xff; 11];
        table.extend_from_slice(&block);
        table.extend_from_slice(&[4, 1, 2, 3, 4]);
        table.extend_from_slice(&[0xff; 30]);
        let expected = [b"abcd".repeat(8).as_slice(), b"tail!"].concat();
        assert_eq!(lz4_blocks(&table), [expected]);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..2000),
        ) {
            let _blocks = lz4_blocks(&bytes);
            let _records = joined_records(&bytes);
        }
    }
}
