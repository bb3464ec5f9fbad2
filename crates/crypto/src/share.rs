//! Shares of the root key: k of n restore it, fewer tell nothing.
//!
//! What is split are the 64 bytes that the sharing scheme takes (sss of D.
//! Sprenkels: a uniform 32-byte key is shared bytewise over GF(2^8), and
//! encrypts the 64 bytes with XSalsa20-Poly1305):
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 32 | root key |
//! | 32 | 16 | cluster id |
//! | 48 | 8 | seal epoch |
//! | 56 | 8 | zeros |
//!
//! A share, 141 bytes in its binary form:
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | format, `0x61` |
//! | 1 | 16 | cluster id |
//! | 17 | 8 | seal epoch |
//! | 25 | 1 | number of shares, n |
//! | 26 | 1 | threshold, k |
//! | 27 | 1 | index, 1 to n |
//! | 28 | 113 | the scheme's share, which begins with the index |
//!
//! ```text
//! digest = SHA-256(label SHARE_DIGEST ‖ 0x00 ‖ binary form)
//! ```
//!
//! Digests may be published: each covers a uniform 32-byte key share, which
//! can't be guessed. Fewer than k shares then hide the root key computationally,
//! no longer unconditionally. The exception is 1 of 1, where the share is the
//! key.
//!
//! The sharing library draws its own randomness, and frees memory with secrets
//! in it: it runs under [`scrubbed`], and on a thread of its own where it draws
//! ([`scrubbed_thread`]).

mod text;

use shamirsecretsharing::{DATA_SIZE, SHARE_SIZE, combine_shares, create_shares};
use strongroom_base::{ClusterId, SealEpoch};
use strongroom_secmem::{Secret, scrubbed, scrubbed_thread};
use zeroize::Zeroize;

use crate::{RootKey, digest, labels};

pub use text::ShareTextError;

const FORMAT: u8 = 0x61;
const HEADER_BYTES: usize = 1 + 16 + 8 + 3;
const BINARY_BYTES: usize = HEADER_BYTES + SHARE_SIZE;

/// How many shares there are, and how many of them unseal.
///
/// Invariant: 2 <= threshold <= shares, or both are 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShareScheme {
    shares: u8,
    threshold: u8,
}

/// Why a number of shares and a threshold make no scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemeError {
    /// No shares at all.
    #[error("there must be at least one share")]
    NoShares,
    /// More than 255 shares.
    #[error("there can be at most 255 shares")]
    TooManyShares,
    /// A threshold of zero.
    #[error("the threshold must be at least one")]
    NoThreshold,
    /// A threshold that all shares together don't reach.
    #[error("the threshold must not exceed the number of shares")]
    ThresholdAboveShares,
    /// Several shares, each of which would be the whole key.
    #[error("a threshold of one is for a single share only")]
    ThresholdOfOne,
}

impl ShareScheme {
    /// Checks n (`shares`) and k (`threshold`).
    ///
    /// # Errors
    ///
    /// [`SchemeError`].
    pub fn new(shares: u32, threshold: u32) -> Result<Self, SchemeError> {
        if shares == 0 {
            return Err(SchemeError::NoShares);
        }
        let shares = u8::try_from(shares).map_err(|_| SchemeError::TooManyShares)?;
        match u8::try_from(threshold) {
            Ok(0) => Err(SchemeError::NoThreshold),
            Ok(threshold) if threshold <= shares => {
                if threshold == 1 && shares > 1 {
                    return Err(SchemeError::ThresholdOfOne);
                }
                Ok(Self { shares, threshold })
            }
            _ => Err(SchemeError::ThresholdAboveShares),
        }
    }

    /// Number of shares, n.
    #[must_use]
    pub const fn shares(self) -> u8 {
        self.shares
    }

    /// Number of shares that unseal, k.
    #[must_use]
    pub const fn threshold(self) -> u8 {
        self.threshold
    }
}

/// One share.
///
/// What it says of itself is checked for consistency, not for truth: that is
/// the digest's part.
pub struct Share {
    cluster: ClusterId,
    seal_epoch: SealEpoch,
    scheme: ShareScheme,
    index: u8,
    value: Secret<SHARE_SIZE>,
}

impl Share {
    /// The cluster that it belongs to.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The root key that it belongs to.
    #[must_use]
    pub fn seal_epoch(&self) -> SealEpoch {
        self.seal_epoch
    }

    /// Its number of shares and threshold.
    #[must_use]
    pub fn scheme(&self) -> ShareScheme {
        self.scheme
    }

    /// Which share it is, from 1 to the number of shares.
    #[must_use]
    pub fn index(&self) -> u8 {
        self.index
    }

    /// SHA-256 of the binary form under a label of its own.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        let binary = self.binary();
        digest::sha256(labels::SHARE_DIGEST, &[binary.expose()])
    }

    fn binary(&self) -> Secret<BINARY_BYTES> {
        Secret::init_with(|bytes| {
            bytes[0] = FORMAT;
            bytes[1..17].copy_from_slice(self.cluster.as_bytes());
            bytes[17..25].copy_from_slice(&self.seal_epoch.0.to_be_bytes());
            bytes[25..28].copy_from_slice(&[self.scheme.shares, self.scheme.threshold, self.index]);
            bytes[28..].copy_from_slice(self.value.expose());
        })
    }

    /// Reads a binary form whose format byte and checksum have been checked.
    /// `None`: its parts contradict one another.
    fn from_binary(bytes: &[u8; BINARY_BYTES]) -> Option<Self> {
        let scheme = ShareScheme::new(bytes[25].into(), bytes[26].into()).ok()?;
        let index = bytes[27];
        let value: &[u8; SHARE_SIZE] = bytes.last_chunk()?;
        if index == 0 || index > scheme.shares || value[0] != index {
            return None;
        }
        Some(Self {
            cluster: ClusterId::from_bytes(bytes[1..17].try_into().ok()?),
            seal_epoch: SealEpoch(u64::from_be_bytes(bytes[17..25].try_into().ok()?)),
            scheme,
            index,
            value: Secret::copy_from(value),
        })
    }
}

/// Splits the root key. The shares come in the order of their indexes, from 1.
///
/// Draws randomness by itself: the named exception of this crate. The sharing
/// library draws the key that wraps the root key, and the coefficients, from a
/// generator that lives in its thread and remembers them: hence a thread of its
/// own, which is wiped with all that it kept.
///
/// # Panics
///
/// When the system has no thread left.
#[must_use]
pub fn split_root(
    root: &RootKey,
    cluster: ClusterId,
    seal_epoch: SealEpoch,
    scheme: ShareScheme,
) -> Vec<Share> {
    let data = Secret::<DATA_SIZE>::init_with(|data| {
        data[..32].copy_from_slice(root.expose());
        data[32..48].copy_from_slice(cluster.as_bytes());
        data[48..56].copy_from_slice(&seal_epoch.0.to_be_bytes());
    });
    scrubbed_thread(|| {
        let mut values = create_shares(data.expose(), scheme.shares, scheme.threshold)
            .expect("the data has 64 bytes and the scheme is a valid one");
        let shares = (1..=scheme.shares).zip(&values).map(|(index, value)| {
            let value = value.as_slice().try_into().expect("a share has SHARE_SIZE bytes");
            Share { cluster, seal_epoch, scheme, index, value: Secret::copy_from(value) }
        });
        let shares: Vec<Share> = shares.collect();
        values.iter_mut().for_each(Zeroize::zeroize);
        shares
    })
}

/// Why shares don't restore a root key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CombineError {
    /// Fewer than the threshold.
    #[error("{missing} more shares are needed")]
    TooFew {
        /// How many more.
        missing: u8,
    },
    /// Of different clusters, seal epochs or schemes.
    #[error("the shares do not belong together")]
    Mixed,
    /// One index twice.
    #[error("share {index} was given twice")]
    Repeated {
        /// The index.
        index: u8,
    },
    /// At least one is forged or damaged, or says of itself what is not true.
    #[error("the shares restore no root key")]
    NotAuthentic,
}

/// Restores the root key from at least `threshold` shares, in any order. Checks
/// that what was split is of the cluster and seal epoch that the shares name.
///
/// # Errors
///
/// [`CombineError`].
pub fn combine(shares: &[Share]) -> Result<RootKey, CombineError> {
    let Some(first) = shares.first() else {
        return Err(CombineError::TooFew { missing: 1 });
    };
    let place = |share: &Share| (share.cluster, share.seal_epoch, share.scheme);
    if shares.iter().any(|share| place(share) != place(first)) {
        return Err(CombineError::Mixed);
    }
    let mut seen = [false; 256];
    for share in shares {
        if std::mem::replace(&mut seen[usize::from(share.index)], true) {
            return Err(CombineError::Repeated { index: share.index });
        }
    }
    let threshold = usize::from(first.scheme.threshold);
    if shares.len() < threshold {
        let missing = u8::try_from(threshold - shares.len()).expect("less than the threshold");
        return Err(CombineError::TooFew { missing });
    }
    scrubbed(|| {
        let mut values: Vec<Vec<u8>> =
            shares[..threshold].iter().map(|share| share.value.expose().to_vec()).collect();
        let outcome = combine_shares(&values);
        values.iter_mut().for_each(Zeroize::zeroize);
        let mut data = outcome.ok().flatten().ok_or(CombineError::NotAuthentic)?;
        let root = read_root(&data, first);
        data.zeroize();
        root.ok_or(CombineError::NotAuthentic)
    })
}

fn read_root(data: &[u8], share: &Share) -> Option<RootKey> {
    let (root, place) = data.split_first_chunk::<{ RootKey::LEN }>()?;
    let epoch = share.seal_epoch.0.to_be_bytes();
    let expected = [share.cluster.as_bytes(), &epoch[..], &[0; 8]].concat();
    (place == expected).then(|| RootKey::init_with(|key| key.copy_from_slice(root)))
}

#[cfg(test)]
mod tests;
