//! Plaintext bytes of a keyring; layout in the doc of the module above.

use std::collections::BTreeMap;

use strongroom_base::{BarrierEpoch, limits::KEYRING_EPOCHS_MAX};
use strongroom_crypto::{AuditKey, BarrierKey, BatchKey, IndexKey, SecretBytes};

use super::Keyring;

const FORMAT: u8 = 0x51;
const KEY_BYTES: usize = 32;
const ENTRY_BYTES: usize = 4 + KEY_BYTES;

impl Keyring {
    pub(super) fn encode(&self) -> SecretBytes {
        let entries = self.barrier.len() + self.audit.len();
        let len = 1 + 4 + 4 + entries * ENTRY_BYTES + 2 * KEY_BYTES;
        SecretBytes::init_with(len, |bytes| {
            let mut out = Writer { rest: bytes };
            out.put(&[FORMAT]);
            out.put_count(self.barrier.len());
            for (epoch, key) in &self.barrier {
                out.put(&epoch.0.to_be_bytes());
                out.put(key.expose());
            }
            out.put_count(self.audit.len());
            for (epoch, key) in &self.audit {
                out.put(&epoch.0.to_be_bytes());
                out.put(key.expose());
            }
            out.put(self.index.expose());
            out.put(self.batch.expose());
            assert!(out.rest.is_empty(), "the length was computed from the same parts");
        })
    }

    /// `None` for anything but the exact bytes of some keyring.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        if take::<1>(&mut rest)? != &[FORMAT] {
            return None;
        }
        let barrier = take_epochs(&mut rest, |key| {
            BarrierKey::init_with(|place| place.copy_from_slice(key))
        })?;
        let audit =
            take_epochs(&mut rest, |key| AuditKey::init_with(|place| place.copy_from_slice(key)))?;
        let index = take::<KEY_BYTES>(&mut rest)?;
        let batch = take::<KEY_BYTES>(&mut rest)?;
        rest.is_empty().then(|| Self {
            barrier,
            audit,
            index: IndexKey::init_with(|place| place.copy_from_slice(index)),
            batch: BatchKey::init_with(|place| place.copy_from_slice(batch)),
        })
    }
}

struct Writer<'a> {
    rest: &'a mut [u8],
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let rest = std::mem::take(&mut self.rest);
        let (place, rest) = rest.split_at_mut(bytes.len());
        place.copy_from_slice(bytes);
        self.rest = rest;
    }

    fn put_count(&mut self, count: usize) {
        let count = u32::try_from(count).expect("bounded by KEYRING_EPOCHS_MAX");
        self.put(&count.to_be_bytes());
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(taken)
}

fn take_epochs<K>(
    rest: &mut &[u8],
    key: impl Fn(&[u8; KEY_BYTES]) -> K,
) -> Option<BTreeMap<BarrierEpoch, K>> {
    let count = u32::from_be_bytes(*take(rest)?) as usize;
    if !(1..=KEYRING_EPOCHS_MAX).contains(&count) {
        return None;
    }
    let mut keys = BTreeMap::new();
    let mut last = BarrierEpoch(0);
    for _ in 0..count {
        let epoch = BarrierEpoch(u32::from_be_bytes(*take(rest)?));
        if epoch <= last {
            return None;
        }
        last = epoch;
        keys.insert(epoch, key(take(rest)?));
    }
    Some(keys)
}
