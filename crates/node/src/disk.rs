//! Free space of the data disk, and the reserve below which uses are refused.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

/// Between two looks at the disk.
const EVERY: Duration = Duration::from_secs(1);

/// What is known of the data disk.
pub(crate) struct Disk {
    path: PathBuf,
    reserve_bytes: u64,
    free_bytes: AtomicU64,
    low: AtomicBool,
}

impl Disk {
    /// Looks at the disk that holds `path`.
    ///
    /// # Errors
    ///
    /// What the system reports.
    pub(crate) fn new(path: &Path, reserve_bytes: u64) -> std::io::Result<Self> {
        let disk = Self {
            path: path.to_owned(),
            reserve_bytes,
            free_bytes: AtomicU64::new(0),
            low: AtomicBool::new(false),
        };
        disk.look()?;
        Ok(disk)
    }

    /// Free bytes at the last look.
    pub(crate) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    /// True while less than the reserve is free: uses are refused, while
    /// revoking, sealing and pruning go on.
    pub(crate) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// Looks again, for ever.
    pub(crate) async fn watch(&self) {
        let mut tick = tokio::time::interval(EVERY);
        loop {
            tick.tick().await;
            if let Err(error) = self.look() {
                tracing::warn!(%error, "the free space of the data disk can't be read");
            }
        }
    }

    fn look(&self) -> std::io::Result<()> {
        let stat = rustix::fs::statvfs(&self.path)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        self.free_bytes.store(free, Ordering::Relaxed);
        let low = free < self.reserve_bytes;
        if low != self.low.swap(low, Ordering::Relaxed) {
            let reserve_bytes = self.reserve_bytes;
            if low {
                tracing::error!(
                    free_bytes = free,
                    reserve_bytes,
                    "data disk below its reserve: uses of keys are refused"
                );
            } else {
                tracing::info!(
                    free_bytes = free,
                    reserve_bytes,
                    "data disk above its reserve again"
                );
            }
        }
        Ok(())
    }
}
