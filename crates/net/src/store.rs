//! The credentials in use, replaced when their files change.
//!
//! Files are looked at, not subscribed to: renewal tools replace them by rename,
//! by symbolic link (mounted secrets) or in place, and looking finds each of
//! these. A set that isn't complete and consistent is left aside, with a warning
//! and a count, and looked at again; the set in use goes on. Connections that
//! are open keep the certificate that they were made with, and end when a CA is
//! taken out.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use strongroom_base::UnixMillis;
use tokio::time::MissedTickBehavior;

use crate::{
    clock::now,
    credentials::{Credentials, LoadError, TlsPaths},
    handshake,
    identity::PeerIdentity,
};

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Holds this node's credentials. The identity never changes, the rest may.
pub struct CertStore {
    paths: TlsPaths,
    identity: PeerIdentity,
    current: ArcSwap<Credentials>,
    watch: Mutex<Watch>,
    reloads: AtomicU64,
    failures: AtomicU64,
}

/// Reloads so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReloadCounts {
    /// Times that new credentials were taken into use.
    pub reloaded: u64,
    /// Times that files were read and not taken.
    pub failed: u64,
}

/// What the files looked like when they were last read.
struct Watch {
    seen: [Option<Stamp>; 3],
    /// The last reading was refused: try again at the next look even if
    /// nothing seems to have changed, as a file written twice within the
    /// clock's grain looks the same.
    refused: Option<String>,
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl CertStore {
    /// Reads the files for the first time. Blocks on the disk.
    ///
    /// A certificate outside its validity is taken, with a warning: which clock
    /// is off isn't known here.
    ///
    /// # Errors
    ///
    /// [`LoadError`] names the file.
    pub fn load(paths: TlsPaths) -> Result<Arc<Self>, LoadError> {
        let seen = stamps(&paths);
        let credentials = Credentials::load(&paths)?;
        warn_if_readable_by_others(&paths.key);
        warn_if_cas_ended(&paths.ca, &credentials);
        if !credentials.is_valid_at(now()) {
            tracing::warn!(
                path = %paths.cert.display(),
                not_before_ms = credentials.not_before().0,
                not_after_ms = credentials.not_after().0,
                "the certificate of this node is not valid at this time: peers will refuse it"
            );
        }
        Ok(Arc::new(Self {
            identity: credentials.identity().clone(),
            current: ArcSwap::from_pointee(credentials),
            watch: Mutex::new(Watch { seen, refused: None }),
            paths,
            reloads: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        }))
    }

    /// Who this node is; the same for the life of the store.
    #[must_use]
    pub fn identity(&self) -> &PeerIdentity {
        &self.identity
    }

    /// The credentials for the next connection.
    #[must_use]
    pub fn current(&self) -> Arc<Credentials> {
        self.current.load_full()
    }

    /// Last moment at which the certificate in use is valid.
    #[must_use]
    pub fn not_after(&self) -> UnixMillis {
        self.current.load().not_after()
    }

    /// Reloads so far.
    #[must_use]
    pub fn counts(&self) -> ReloadCounts {
        ReloadCounts { reloaded: self.reloads.load(Relaxed), failed: self.failures.load(Relaxed) }
    }

    /// Reads the files, changed or not. Blocks on the disk.
    ///
    /// Where a CA is no longer among them, or has ended, every connection whose
    /// peer was verified beside it is ended: those under the CAs that stay are
    /// made anew by whoever needs them.
    ///
    /// # Errors
    ///
    /// [`LoadError`], [`LoadError::IdentityChanged`] and
    /// [`LoadError::NotValidNow`] among them; the credentials in use stay.
    pub fn reload(&self) -> Result<(), LoadError> {
        self.reload_locked(&mut self.watch.lock())
    }

    /// Reads the files if they changed, if a CA has ended since, or if they were
    /// refused the last time. Blocks on the disk. Says in the log what came of it.
    pub fn reload_if_changed(&self) {
        let mut watch = self.watch.lock();
        let changed = stamps(&self.paths) != watch.seen;
        let ca_ended = self.current.load().next_ca_end() < now();
        if !changed && !ca_ended && watch.refused.is_none() {
            return;
        }
        let refused_before = watch.refused.clone();
        match self.reload_locked(&mut watch) {
            Ok(()) => tracing::info!(
                not_after_ms = self.not_after().0,
                "certificate files were read again: new connections use them"
            ),
            // The same refusal of the same files is said once.
            Err(_) if !changed && watch.refused == refused_before => {}
            Err(error) => tracing::warn!(
                error = %watch.refused.as_deref().unwrap_or_default(),
                path = %error.path().map(|path| path.display().to_string()).unwrap_or_default(),
                "certificate files can't be used: the present ones stay in use"
            ),
        }
    }

    /// Looks at the files every two seconds, for ever: spawn it, and abort it
    /// when the node stops.
    pub async fn watch(self: Arc<Self>) {
        self.watch_every(LOOK_EVERY).await;
    }

    /// Looks at the files every `period`, for ever.
    pub async fn watch_every(self: Arc<Self>, period: Duration) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let store = Arc::clone(&self);
            // A disk may hang; the runtime's workers must not.
            if let Err(error) = tokio::task::spawn_blocking(move || store.reload_if_changed()).await
            {
                tracing::error!(%error, "the look at the certificate files failed");
            }
        }
    }

    fn reload_locked(&self, watch: &mut Watch) -> Result<(), LoadError> {
        // Stamps first: a change while reading is then found at the next look.
        watch.seen = stamps(&self.paths);
        match self.read() {
            Ok(credentials) => {
                watch.refused = None;
                self.replace(Arc::new(credentials));
                self.reloads.fetch_add(1, Relaxed);
                warn_if_readable_by_others(&self.paths.key);
                Ok(())
            }
            Err(error) => {
                watch.refused = Some(handshake::chain(&error));
                self.failures.fetch_add(1, Relaxed);
                Err(error)
            }
        }
    }

    fn replace(&self, credentials: Arc<Credentials>) {
        warn_if_cas_ended(&self.paths.ca, &credentials);
        let before = self.current.swap(Arc::clone(&credentials));
        if before.trust() != credentials.trust() {
            // After the swap: whoever dials again is verified under the new set.
            before.trust().cancel();
            tracing::info!(
                path = %self.paths.ca.display(),
                "a CA is trusted no longer: connections made before are ended"
            );
        }
    }

    fn read(&self) -> Result<Credentials, LoadError> {
        let mut credentials = Credentials::load(&self.paths)?;
        let path = || self.paths.cert.clone();
        if *credentials.identity() != self.identity {
            return Err(LoadError::IdentityChanged {
                path: path(),
                expected: Box::new(self.identity.clone()),
                got: Box::new(credentials.identity().clone()),
            });
        }
        let (now, present) = (now(), self.current());
        if !credentials.is_valid_at(now) && present.is_valid_at(now) {
            return Err(LoadError::NotValidNow { path: path() });
        }
        credentials.go_on_from(&present);
        Ok(credentials)
    }
}

fn stamps(paths: &TlsPaths) -> [Option<Stamp>; 3] {
    [&paths.cert, &paths.key, &paths.ca].map(|path| stamp(path))
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some(Stamp {
        device: metadata.dev(),
        inode: metadata.ino(),
        length_bytes: metadata.len(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    })
}

fn warn_if_readable_by_others(path: &Path) {
    if let Some(mode) = mode_open_to_others(path) {
        tracing::warn!(
            path = %path.display(),
            mode = %format_args!("{mode:04o}"),
            "the private key is open to other users: set its mode to 0600"
        );
    }
}

fn warn_if_cas_ended(path: &Path, credentials: &Credentials) {
    let ended = credentials.cas_ended();
    if ended > 0 {
        tracing::warn!(
            path = %path.display(),
            ended,
            "CA certificates have ended and are not trusted: take them out"
        );
    }
}

/// The file's mode, where it lets anyone but the owner in.
fn mode_open_to_others(path: &Path) -> Option<u32> {
    let mode = fs::metadata(path).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

#[cfg(test)]
mod tests;
