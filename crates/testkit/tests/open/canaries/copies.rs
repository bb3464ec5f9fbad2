//! Canaries in copies of real files and pages: one of each kind, in each layer
//! that the scanner looks at.

use std::collections::{BTreeMap, BTreeSet};

use data_encoding::HEXLOWER;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use strongroom_testkit::{
    rounds::seed,
    scan::{Canary, Layer, Scanner},
};

use super::places::Place;

/// Records of a log of RocksDB lie in blocks of this size (`db/log_format.h`).
const LOG_BLOCK_BYTES: usize = 32 * 1024;
/// Checksum, length and type before each record.
const RECORD_HEADER_BYTES: usize = 7;
/// Types of records: not split, first part, last part.
const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;
/// Twice what a match in [`lz4_block`] is long.
const CANARY_BYTES: usize = 24;

/// Plants a canary in a copy of one place of each kind, once for each layer that
/// it has, in a form that is seen in this layer. Gives kinds and layers in which
/// it is found.
pub(super) fn proved(places: &[Place]) -> BTreeSet<(String, Layer)> {
    let folder = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(seed("canaries in copies"));
    // A text, as pages are.
    let canary = HEXLOWER.encode(&random.random::<[u8; CANARY_BYTES / 2]>());
    let scanner = Scanner::new(&[Canary::new("planted", canary.as_bytes())]);
    let mut proved = BTreeSet::new();
    for (kind, places) in by_kind(places) {
        let place = places[random.random_range(0..places.len())];
        for layer in place.layers() {
            let content = planted(&place.content(), layer, canary.as_bytes(), &mut random);
            let copy = place.copy(folder.path(), content);
            assert_eq!(copy.kind(), kind);
            if copy.scan(&scanner).iter().any(|finding| finding.layer == layer) {
                proved.insert((kind.clone(), layer));
            }
        }
    }
    proved
}

fn by_kind(places: &[Place]) -> BTreeMap<String, Vec<&Place>> {
    let mut kinds: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for place in places {
        kinds.entry(place.kind()).or_default().push(place);
    }
    kinds
}

/// What the file or page holds, with the canary at a random place in it.
fn planted(content: &[u8], layer: Layer, canary: &[u8], random: &mut StdRng) -> Vec<u8> {
    let (dressed, unit) = match layer {
        Layer::AsItIs => (canary.to_vec(), 1),
        Layer::RecordsJoined => (split_record(canary), LOG_BLOCK_BYTES),
        Layer::Decompressed => (lz4_block(canary), 1),
    };
    let at = unit * random.random_range(0..=content.len() / unit);
    let (before, after) = content.split_at(at);
    [before, &dressed, after].concat()
}

/// A record of a log, to stand at the start of a block, of which the end of that
/// block lies between the halves of the canary.
fn split_record(canary: &[u8]) -> Vec<u8> {
    let (first, last) = canary.split_at(canary.len() / 2);
    let filler = vec![b'.'; LOG_BLOCK_BYTES - 2 * RECORD_HEADER_BYTES - first.len()];
    [record(WHOLE, &filler), record(FIRST, first), record(LAST, last)].concat()
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut record: Vec<u8> = vec![0xee; 4];
    record.extend(u16::try_from(payload.len()).unwrap().to_le_bytes());
    record.push(kind);
    record.extend(payload);
    record
}

/// A compressed block of a table that holds the halves of the canary the wrong way
/// round, and refers back to them: the whole stands nowhere in it.
fn lz4_block(canary: &[u8]) -> Vec<u8> {
    assert_eq!(canary.len(), CANARY_BYTES);
    let (first, last) = canary.split_at(12);
    // Decompressed size.
    let mut block: Vec<u8> = vec![24 + 12 + 12 + 5];
    // 15 + 9 literals; then 4 + 8 bytes from 12 bytes back: the first half.
    block.extend([0xf8, 9]);
    block.extend([last, first].concat());
    block.extend([12, 0]);
    // No literals; 4 + 8 bytes from 36 bytes back: the last half.
    block.extend([0x08, 36, 0]);
    // 5 literals, with which every block ends.
    block.push(0x50);
    block.extend(b"tail!");
    // Trailer: LZ4, checksum.
    block.extend([4, 0xee, 0xee, 0xee, 0xee]);
    block
}
