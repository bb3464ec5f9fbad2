//! Outcomes of this node's own batches, as its own `apply` sees them.
//!
//! A verdict comes from the leader's reply or from here, whichever is first;
//! both are the state machine's own word.

use std::collections::HashMap;

use parking_lot::Mutex;
use strongroom_base::{BootId, NodeId};
use strongroom_state::{BatchId, BatchOutcome};
use tokio::sync::oneshot;

/// Batches whose outcome is waited for.
pub(crate) struct Outcomes {
    node: NodeId,
    boot: BootId,
    waiting: Mutex<HashMap<u64, oneshot::Sender<BatchOutcome>>>,
}

/// A wait for one outcome; forgotten on drop.
pub(crate) struct Expected<'a> {
    outcomes: &'a Outcomes,
    sequence: u64,
    /// Receives the outcome.
    pub(crate) arrival: oneshot::Receiver<BatchOutcome>,
}

impl Outcomes {
    /// Outcomes of the batches of `boot` of `node`.
    #[must_use]
    pub(crate) fn new(node: NodeId, boot: BootId) -> Self {
        Self { node, boot, waiting: Mutex::default() }
    }

    /// Begins to wait for the outcome of batch `sequence`.
    pub(crate) fn expect(&self, sequence: u64) -> Expected<'_> {
        let (sender, arrival) = oneshot::channel();
        self.waiting.lock().insert(sequence, sender);
        Expected { outcomes: self, sequence, arrival }
    }

    /// Whether `batch` is of this boot of this node.
    #[must_use]
    pub(crate) fn is_own(&self, batch: &BatchId) -> bool {
        batch.node_id == self.node.value() && batch.boot == self.boot
    }

    /// Tells of an applied batch, whosever it is.
    pub(crate) fn applied(&self, outcome: &BatchOutcome) {
        if outcome.node_id != self.node.value() || outcome.boot != self.boot {
            return;
        }
        if let Some(sender) = self.waiting.lock().remove(&outcome.sequence) {
            // Nobody waits any more: then nobody needs telling.
            let _ = sender.send(outcome.clone());
        }
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.outcomes.waiting.lock().remove(&self.sequence);
    }
}
