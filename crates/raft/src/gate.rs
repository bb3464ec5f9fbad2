//! Holds `apply` back until an entry is durable in this node's own log.
//!
//! The library applies what a quorum has made durable, which may leave out this
//! node. State that ran ahead of the own log would, after a crash, be ahead of
//! the log that it is rebuilt from.

use strongroom_storage::RaftLog;

/// What `apply` waits for. Injected, because openraft's own storage suite
/// applies entries that it never appended.
pub trait ApplyGate: Send + 'static {
    /// Whether each entry must follow the last applied one. The suite leaves
    /// entries out.
    const CONSECUTIVE: bool = true;

    /// Returns when the entry at `index` is durable in the own log: true; or
    /// when it never will be, because the log has stopped: false.
    fn wait_durable(&mut self, index: u64) -> bool;
}

/// Waits for the log. The wait ends when the log is closed or has failed.
pub struct LogGate(RaftLog);

impl LogGate {
    /// A gate on `log`.
    #[must_use]
    pub fn new(log: RaftLog) -> Self {
        Self(log)
    }
}

impl ApplyGate for LogGate {
    fn wait_durable(&mut self, index: u64) -> bool {
        self.0.wait_durable(index).is_ok()
    }
}

/// Lets everything through: for openraft's storage suite only.
pub struct NoGate;

impl ApplyGate for NoGate {
    const CONSECUTIVE: bool = false;

    fn wait_durable(&mut self, _index: u64) -> bool {
        true
    }
}
