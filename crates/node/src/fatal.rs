//! The end of a process that must not go on.
//!
//! A failed write of vote, Raft log or state has no known outcome, and RocksDB
//! would go on by itself after a full disk; a state that differs from the
//! quorum's would answer wrongly. Both end the process at once, with the reason
//! as its last word and in its exit code.

use strongroom_storage::StorageError;

/// Exit code after a clean shutdown.
pub(crate) const EXIT_CLEAN: i32 = 0;
/// Exit code where the node could not start.
pub(crate) const EXIT_START: i32 = 1;
/// Exit code where storage failed: a write, a sync, or a disk that hangs.
pub(crate) const EXIT_STORAGE: i32 = 70;
/// Exit code where the state is corrupt or differs from the quorum's.
pub(crate) const EXIT_DIVERGED: i32 = 71;

/// The last words reach the log within this time, or not at all.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(1);

/// Ends the process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fatal;

impl Fatal {
    /// Storage failed.
    pub(crate) fn storage(&self, error: &(dyn std::error::Error + 'static)) -> ! {
        let mut reason = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            reason.push_str(": ");
            reason.push_str(&cause.to_string());
            source = cause.source();
        }
        end(EXIT_STORAGE, &format!("storage failed: {reason}"))
    }

    /// The log of this leader does not reach its disk in time.
    pub(crate) fn hung_disk(&self, reason: &str) -> ! {
        end(EXIT_STORAGE, reason)
    }

    /// The state is corrupt or differs from the quorum's.
    pub(crate) fn diverged(&self, reason: &str) -> ! {
        end(EXIT_DIVERGED, reason)
    }
}

/// What the storage crate calls on its first failed write.
#[must_use]
pub(crate) fn hook() -> strongroom_storage::FatalHook {
    std::sync::Arc::new(|error: &StorageError| Fatal.storage(error))
}

/// `_exit` and not `exit`: destructors of a database whose disk hangs would
/// hang too, and nothing that is not durable by now may become so.
fn end(code: i32, reason: &str) -> ! {
    // The log may go to the very disk that hangs: the last words have a moment,
    // on a thread that nobody waits for longer.
    let (said, heard) = std::sync::mpsc::channel();
    let words = reason.to_owned();
    let speaker = std::thread::Builder::new().spawn(move || {
        tracing::error!(exit_code = code, "{words}");
        // Whoever waited has ended the process by now, or hears it.
        let _ = said.send(());
    });
    if speaker.is_ok() {
        // Said, or not in time: the end is the same.
        let _ = heard.recv_timeout(LAST_WORDS);
    }
    strongroom_secmem::exit_now(code)
}
