//! What is looked at now and then on a thread that may wait for the disk, so
//! that whoever asks for metrics waits for none: sizes of files, and a little of
//! the state.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use strongroom_base::{AuditSequence, UnixMillis};

use crate::{core::Core, unseal};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);

/// Folders of the data directory whose sizes are told.
pub(crate) const PARTS: [&str; 3] = ["log", "state", "snapshots"];

/// What was seen last. Where a disk hangs, it stays what it was.
#[derive(Default)]
pub(crate) struct Samples {
    bytes: [AtomicU64; PARTS.len()],
    threshold: AtomicU64,
    last_record_ms: AtomicU64,
    log_overloaded: AtomicU64,
}

impl Samples {
    /// Bytes of the files of each of [`PARTS`]. A snapshot shares files with the
    /// state, so that their sum may be more than is taken.
    #[must_use]
    pub(crate) fn bytes(&self) -> [u64; PARTS.len()] {
        self.bytes.each_ref().map(|bytes| bytes.load(Relaxed))
    }

    /// Shares that unseal; 0 before `init`.
    #[must_use]
    pub(crate) fn threshold(&self) -> u64 {
        self.threshold.load(Relaxed)
    }

    /// Cluster time of the newest audit record; 0 where there is none.
    #[must_use]
    pub(crate) fn last_record(&self) -> UnixMillis {
        UnixMillis(self.last_record_ms.load(Relaxed))
    }

    /// Appends that found too much waiting for the disk of the Raft log.
    #[must_use]
    pub(crate) fn log_overloaded(&self) -> u64 {
        self.log_overloaded.load(Relaxed)
    }

    fn look(&self, core: &Core) {
        for (part, bytes) in PARTS.iter().zip(&self.bytes) {
            match file_bytes(&core.data.path().join(part)) {
                Ok(sum) => bytes.store(sum, Relaxed),
                Err(error) => tracing::debug!(%error, part, "sizes of files can't be read"),
            }
        }
        if let Ok(records) = unseal::records(&core.state) {
            self.threshold.store(records.seal.threshold.into(), Relaxed);
        }
        let state = core.state.latest();
        if let Ok(size) = strongroom_state::audit_size(&state)
            && let Some(last) = size.checked_sub(1)
            && let Ok(Some(leaf)) = strongroom_state::leaf(&state, AuditSequence(last))
        {
            self.last_record_ms.store(leaf.stamp.0, Relaxed);
        }
        self.log_overloaded.store(core.log.stats().overloaded, Relaxed);
    }
}

/// Looks again and again, for ever.
pub(crate) async fn watch(core: Arc<Core>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let looking = Arc::clone(&core);
        let looked = tokio::task::spawn_blocking(move || looking.samples.look(&looking));
        if let Err(error) = looked.await {
            tracing::error!(%error, "a look at sizes and state ended abnormally");
        }
    }
}

/// Bytes of all files below `directory`. What goes while it looks counts as
/// gone.
fn file_bytes(directory: &Path) -> io::Result<u64> {
    let Some(entries) = unless_gone(std::fs::read_dir(directory))? else { return Ok(0) };
    let mut sum = 0;
    for entry in entries {
        let entry = entry?;
        let Some(metadata) = unless_gone(entry.metadata())? else { continue };
        sum += if metadata.is_dir() { file_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(sum)
}

fn unless_gone<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_at_every_depth_and_what_is_not_there_is_nothing() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(file_bytes(&root.path().join("absent")).unwrap(), 0);
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        std::fs::write(root.path().join("one"), [0; 10]).unwrap();
        std::fs::write(root.path().join("a/b/two"), [0; 200]).unwrap();
        assert_eq!(file_bytes(root.path()).unwrap(), 210);
    }
}
