//! A file encrypted under a data key: the plainest envelope that is sound.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `SRDEMO01` |
//! | 4 | length of the wrapped data key, big endian |
//! | … | the wrapped data key, a ciphertext blob of Strongroom |
//! | … | chunks: 65,536 bytes of ciphertext and a tag of 16; the last one shorter |
//!
//! Each chunk is AES-256-GCM under the data key, which encrypts this file and
//! nothing else. Nonce: chunk number (11 bytes, big endian) ‖ 1 for the last
//! chunk, else 0 (STREAM: Hoang, Reyhanitabar, Rogaway, Vizár 2015), so that
//! chunks can't be dropped, added or moved. Limit: 2^32 chunks, 256 TiB.

use std::io::{self, Read, Write};

use aes_gcm::{Aes256Gcm, KeyInit as _, aead::Aead as _};
use anyhow::{Context as _, ensure};

const MAGIC: &[u8; 8] = b"SRDEMO01";
const CHUNK_BYTES: usize = 64 * 1024;
const TAG_BYTES: usize = 16;
/// Largest wrapped key that is read.
const WRAPPED_BYTES_MAX: usize = 6144;

/// Encrypts all of `plain` under `data_key`, and keeps `wrapped` beside it.
///
/// # Errors
///
/// When reading or writing fails.
pub(crate) fn encrypt(
    data_key: &[u8; 32],
    wrapped: &[u8],
    mut plain: impl Read,
    mut sealed: impl Write,
) -> anyhow::Result<()> {
    let cipher = Aes256Gcm::new(data_key.into());
    sealed.write_all(MAGIC)?;
    sealed.write_all(&u32::try_from(wrapped.len())?.to_be_bytes())?;
    sealed.write_all(wrapped)?;
    let mut chunk = read_chunk(&mut plain, CHUNK_BYTES)?;
    for number in 0..=u32::MAX {
        // A chunk is the last one when nothing comes after it.
        let next = read_chunk(&mut plain, CHUNK_BYTES)?;
        let last = next.is_empty();
        let ciphertext = cipher.encrypt(&nonce(number, last).into(), chunk.as_slice());
        sealed.write_all(&ciphertext.ok().context("a chunk is within the cipher's bounds")?)?;
        if last {
            sealed.flush()?;
            return Ok(());
        }
        chunk = next;
    }
    anyhow::bail!("the file is larger than 256 TiB")
}

/// Reads the wrapped data key at the start of an encrypted file.
///
/// # Errors
///
/// When it is no such file.
pub(crate) fn wrapped_key(mut sealed: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut magic = [0; 8];
    let mut length = [0; 4];
    sealed.read_exact(&mut magic)?;
    ensure!(&magic == MAGIC, "not a file of this demonstration");
    sealed.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length))?;
    ensure!(length <= WRAPPED_BYTES_MAX, "the wrapped key is too long");
    let mut wrapped = vec![0; length];
    sealed.read_exact(&mut wrapped)?;
    Ok(wrapped)
}

/// Decrypts what follows the wrapped key.
///
/// # Errors
///
/// When a chunk was changed, dropped, added or moved; what was written so far is
/// no result then.
pub(crate) fn decrypt(
    data_key: &[u8; 32],
    mut sealed: impl Read,
    mut plain: impl Write,
) -> anyhow::Result<()> {
    let cipher = Aes256Gcm::new(data_key.into());
    let mut chunk = read_chunk(&mut sealed, CHUNK_BYTES + TAG_BYTES)?;
    for number in 0..=u32::MAX {
        let next = read_chunk(&mut sealed, CHUNK_BYTES + TAG_BYTES)?;
        let last = next.is_empty();
        let text = cipher.decrypt(&nonce(number, last).into(), chunk.as_slice());
        plain.write_all(&text.ok().context("the file was tampered with")?)?;
        if last {
            plain.flush()?;
            return Ok(());
        }
        chunk = next;
    }
    anyhow::bail!("the file is larger than 256 TiB")
}

fn nonce(number: u32, last: bool) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[7..11].copy_from_slice(&number.to_be_bytes());
    nonce[11] = u8::from(last);
    nonce
}

/// Up to `bytes` bytes; fewer only at the end.
fn read_chunk(source: &mut impl Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(bytes);
    source.take(bytes as u64).read_to_end(&mut chunk)?;
    Ok(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [7; 32];

    fn sealed(plain: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        encrypt(&KEY, b"wrapped", plain, &mut sealed).unwrap();
        sealed
    }

    fn opened(mut sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
        assert_eq!(wrapped_key(&mut sealed)?, b"wrapped");
        let mut plain = Vec::new();
        decrypt(&KEY, sealed, &mut plain)?;
        Ok(plain)
    }

    #[test]
    fn a_changed_dropped_or_moved_chunk_is_refused() {
        let plain = vec![1; 3 * CHUNK_BYTES];
        let good = sealed(&plain);
        let start = MAGIC.len() + 4 + b"wrapped".len();
        let step = CHUNK_BYTES + TAG_BYTES;
        let mut changed = good.clone();
        changed[start + 10] ^= 1;
        let dropped_last = good[..start + 2 * step].to_vec();
        let mut moved = good.clone();
        moved[start..start + 2 * step].rotate_left(step);
        let mut added = good.clone();
        added.extend_from_slice(&[0; 40]);
        for (kind, bytes) in [
            ("changed", &changed),
            ("last dropped", &dropped_last),
            ("moved", &moved),
            ("added", &added),
        ] {
            assert!(opened(bytes).is_err(), "{kind}");
        }
        assert!(wrapped_key(&b"SRDEMO02\0\0\0\0"[..]).is_err());
        assert!(wrapped_key(&b"SRDEMO01\xff\0\0\0"[..]).is_err());
    }

    #[test]
    fn files_of_every_size_come_back() {
        for size in [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES] {
            let plain: Vec<u8> = (0..size).map(|i| i.to_le_bytes()[0]).collect();
            assert_eq!(opened(&sealed(&plain)).unwrap(), plain, "size {size}");
        }
    }
}
