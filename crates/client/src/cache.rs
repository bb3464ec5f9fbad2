//! Data keys that are used more than once.
//!
//! For callers that would rather use one data key for several messages than ask
//! the cluster each time. Each kept key is bounded by age, uses and bytes, all
//! of them by number, and every one is wiped when the cache and its last user
//! let go of it.
//!
//! What is given up: a use out of the cache is in no audit log, and goes on
//! after the key was disabled, for as long as the age that is allowed. What is
//! given up is the caller's to decide; so there is no default age.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use strongroom_base::limits::DATA_KEY_CACHE_ENTRIES_MAX;
use zeroize::Zeroizing;

use crate::{
    client::Client,
    error::Error,
    proto::{DataKeySpec, DecryptRequest, GenerateDataKeyRequest},
};

mod store;

use store::Store;

/// Uses of one data key where nothing else is said: AES-GCM with random IVs
/// allows 2^32 messages under one key (NIST SP 800-38D, section 8.3); far less
/// is enough to make calls rare.
const USES_DEFAULT: u64 = 1 << 20;
/// Most uses of one data key (NIST SP 800-38D, section 8.3).
const USES_MAX: u64 = 1 << 32;
/// Bytes under one data key where nothing else is said: 64 GiB.
const BYTES_DEFAULT: u64 = 1 << 36;
/// Kept data keys where nothing else is said.
const ENTRIES_DEFAULT: usize = 1000;
/// Between two sweeps for keys that are too old.
const SWEEP_LEAST: Duration = Duration::from_secs(1);
const SWEEP_MOST: Duration = Duration::from_secs(60);

/// What a cache may keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Data keys at a time, for encryption and for decryption each.
    pub entries_max: usize,
    /// Age, counted from when the key was asked for.
    pub age_max: Duration,
    /// Messages encrypted under one data key.
    pub uses_max: u64,
    /// Bytes encrypted under one data key.
    pub bytes_max: u64,
}

impl CacheLimits {
    /// Of this age; a thousand keys, 2^20 messages and 64 GiB each.
    #[must_use]
    pub fn new(age_max: Duration) -> Self {
        Self {
            entries_max: ENTRIES_DEFAULT,
            age_max,
            uses_max: USES_DEFAULT,
            bytes_max: BYTES_DEFAULT,
        }
    }

    /// With another bound on messages under one data key.
    #[must_use]
    pub fn with_uses(mut self, uses_max: u64) -> Self {
        self.uses_max = uses_max;
        self
    }

    /// With another bound on bytes under one data key.
    #[must_use]
    pub fn with_bytes(mut self, bytes_max: u64) -> Self {
        self.bytes_max = bytes_max;
        self
    }

    /// With another bound on data keys at a time.
    #[must_use]
    pub fn with_entries(mut self, entries_max: usize) -> Self {
        self.entries_max = entries_max;
        self
    }

    fn check(self) -> Result<Self, CacheLimitError> {
        if self.age_max.is_zero() {
            return Err(CacheLimitError::Age);
        }
        if !(1..=USES_MAX).contains(&self.uses_max) {
            return Err(CacheLimitError::Uses);
        }
        if self.bytes_max == 0 {
            return Err(CacheLimitError::Bytes);
        }
        if !(1..=DATA_KEY_CACHE_ENTRIES_MAX).contains(&self.entries_max) {
            return Err(CacheLimitError::Entries);
        }
        Ok(self)
    }
}

/// Why limits can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CacheLimitError {
    /// An age of zero.
    #[error("the age of cached data keys must be longer than zero")]
    Age,
    /// No use, or more than AES-GCM allows.
    #[error("the uses of a cached data key are from 1 to 2^32")]
    Uses,
    /// No byte.
    #[error("the bytes under a cached data key must be above zero")]
    Bytes,
    /// None, or more than a process should hold.
    #[error("the number of cached data keys is from 1 to {DATA_KEY_CACHE_ENTRIES_MAX}")]
    Entries,
}

/// A data key in both forms. Wiped when dropped; never printed.
pub struct DataKey {
    plaintext: Zeroizing<Vec<u8>>,
    ciphertext_blob: Vec<u8>,
    key_id: String,
}

impl DataKey {
    /// Lends the data key, to encrypt or decrypt with it.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.plaintext
    }

    /// The data key wrapped: to be stored beside what it encrypts.
    #[must_use]
    pub fn ciphertext_blob(&self) -> &[u8] {
        &self.ciphertext_blob
    }

    /// ARN of the key that wraps it.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

/// Under which an encryption key is kept: of the request all that it rests on.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Wanted {
    key_id: String,
    context: BTreeMap<String, String>,
    spec: i32,
}

/// Under which a decryption key is kept.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Wrapped {
    blob: Vec<u8>,
    context: BTreeMap<String, String>,
}

/// A cache of data keys in front of a client. Cheap to clone; clones share it.
///
/// Callers that want the same key at the same time share one call.
#[derive(Clone)]
pub struct DataKeyCache(Arc<Inner>);

struct Inner {
    client: Client,
    made: Shelf<Wanted>,
    opened: Shelf<Wrapped>,
}

impl DataKeyCache {
    /// A cache that holds nothing yet. Must be called within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`CacheLimitError`].
    pub fn new(client: Client, limits: CacheLimits) -> Result<Self, CacheLimitError> {
        let limits = limits.check()?;
        // What a data key opens is not bounded by what was encrypted under it.
        let unbounded = CacheLimits { uses_max: u64::MAX, bytes_max: u64::MAX, ..limits };
        let (made, opened) = (Shelf::new(limits), Shelf::new(unbounded));
        let inner = Arc::new(Inner { client, made, opened });
        let pause = (limits.age_max / 4).clamp(SWEEP_LEAST, SWEEP_MOST);
        tokio::spawn(sweep(Arc::downgrade(&inner), pause));
        Ok(Self(inner))
    }

    /// A data key for one message of `message_bytes`: one that is kept, or a new
    /// one of the cluster.
    ///
    /// A message that alone is above the bound on bytes gets a key of its own.
    ///
    /// # Errors
    ///
    /// [`Error`] of `GenerateDataKey`; an old key never stands in for a new one.
    pub async fn data_key(
        &self,
        key_id: &str,
        encryption_context: &BTreeMap<String, String>,
        key_spec: DataKeySpec,
        message_bytes: u64,
    ) -> Result<Arc<DataKey>, Error> {
        let wanted = Wanted {
            key_id: key_id.to_owned(),
            context: encryption_context.clone(),
            spec: key_spec.into(),
        };
        let make = || async {
            let request = GenerateDataKeyRequest {
                key_id: wanted.key_id.clone(),
                encryption_context: wanted.context.clone(),
                key_spec: wanted.spec,
                number_of_bytes: 0,
            };
            let response = self.0.client.generate_data_key(request).await?;
            Ok(DataKey {
                plaintext: response.plaintext.into(),
                ciphertext_blob: response.ciphertext_blob,
                key_id: response.key_id,
            })
        };
        self.0.made.take_or(&wanted, message_bytes, make).await
    }

    /// Unwraps a data key: one that is kept, or by the cluster.
    ///
    /// # Errors
    ///
    /// [`Error`] of `Decrypt`.
    pub async fn unwrap(
        &self,
        ciphertext_blob: &[u8],
        encryption_context: &BTreeMap<String, String>,
    ) -> Result<Arc<DataKey>, Error> {
        let context = encryption_context.clone();
        let wrapped = Wrapped { blob: ciphertext_blob.to_vec(), context };
        let open = || async {
            let request = DecryptRequest {
                ciphertext_blob: wrapped.blob.clone(),
                encryption_context: wrapped.context.clone(),
                key_id: String::new(),
            };
            let response = self.0.client.decrypt(request).await?;
            Ok(DataKey {
                plaintext: response.plaintext.into(),
                ciphertext_blob: wrapped.blob.clone(),
                key_id: response.key_id,
            })
        };
        self.0.opened.take_or(&wrapped, 0, open).await
    }

    /// Lets go of every kept key: when a key was disabled, say.
    pub fn clear(&self) {
        self.0.made.store().clear();
        self.0.opened.store().clear();
    }

    /// Data keys that are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.made.store().len() + self.0.opened.store().len()
    }

    /// True where none is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for DataKeyCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKeyCache").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Lets go of keys that nobody asks for any more.
async fn sweep(cache: Weak<Inner>, pause: Duration) {
    loop {
        tokio::time::sleep(pause).await;
        let Some(cache) = cache.upgrade() else { return };
        let now = Instant::now();
        cache.made.store().sweep(now);
        cache.opened.store().sweep(now);
    }
}

/// A store, and the calls that are under way to fill it.
struct Shelf<K> {
    store: Mutex<Store<K, DataKey>>,
    under_way: Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>,
}

impl<K: Clone + Eq + Hash> Shelf<K> {
    fn new(limits: CacheLimits) -> Self {
        Self { store: Mutex::new(Store::new(limits)), under_way: Mutex::new(HashMap::new()) }
    }

    fn store(&self) -> MutexGuard<'_, Store<K, DataKey>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what is kept, or makes it; one at a time for each key.
    async fn take_or<F>(
        &self,
        key: &K,
        bytes: u64,
        make: impl FnOnce() -> F,
    ) -> Result<Arc<DataKey>, Error>
    where
        F: Future<Output = Result<DataKey, Error>>,
    {
        if let Some(kept) = self.store().take(key, bytes, Instant::now()) {
            return Ok(kept);
        }
        let turn = Turn::of(&self.under_way, key);
        let _mine = turn.lock.lock().await;
        // Whoever was before us may have made it.
        let asked = Instant::now();
        if let Some(kept) = self.store().take(key, bytes, asked) {
            return Ok(kept);
        }
        let value = Arc::new(make().await?);
        self.store().put(key.clone(), Arc::clone(&value), bytes, asked);
        Ok(value)
    }
}

/// A place in the queue of those who want the same key; the last one to leave
/// takes the queue away.
struct Turn<'a, K: Eq + Hash> {
    queues: &'a Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>,
    key: &'a K,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl<'a, K: Clone + Eq + Hash> Turn<'a, K> {
    fn of(queues: &'a Mutex<HashMap<K, Arc<tokio::sync::Mutex<()>>>>, key: &'a K) -> Self {
        let mut all = queues.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = Arc::clone(all.entry(key.clone()).or_default());
        drop(all);
        Self { queues, key, lock }
    }
}

impl<K: Eq + Hash> Drop for Turn<'_, K> {
    fn drop(&mut self) {
        let mut all = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's own, and ours.
        if Arc::strong_count(&self.lock) <= 2 {
            all.remove(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_bound_nothing_are_refused() {
        let good = CacheLimits::new(Duration::from_secs(60));
        assert_eq!(good.check(), Ok(good));
        assert_eq!(CacheLimits::new(Duration::ZERO).check(), Err(CacheLimitError::Age));
        assert_eq!(good.with_uses(USES_MAX + 1).check(), Err(CacheLimitError::Uses));
        assert_eq!(good.with_bytes(0).check(), Err(CacheLimitError::Bytes));
        assert_eq!(good.with_entries(0).check(), Err(CacheLimitError::Entries));
    }
}
