//! What this node takes into its Raft log from whoever leads.
//!
//! A leader proves itself by a member's certificate alone. An unsealed node holds
//! each command against the rules of admission once more, so that with a stolen
//! certificate nothing comes into the log of a majority: a batch has the MAC of
//! an unsealed member, or is one that needs none. A sealed node can check no
//! MAC and takes what comes; it releases nothing, and before it serves it
//! compares its state with a majority.

use std::sync::Arc;

use prost::Message as _;
use strongroom_format::store::{Command, command::Body};
use strongroom_raft::{EntryGuard, EntryRefused};
use strongroom_storage::StateDb;

use super::ceremony::{self, Form};
use crate::lifecycle::Lifecycle;

/// Judges the commands that a leader sends.
pub(crate) struct Entries {
    lifecycle: Arc<Lifecycle>,
    state: StateDb,
}

impl Entries {
    /// Judges by the keyring that `lifecycle` holds, and by `state`.
    #[must_use]
    pub(crate) fn new(lifecycle: Arc<Lifecycle>, state: StateDb) -> Self {
        Self { lifecycle, state }
    }
}

impl EntryGuard for Entries {
    fn admit(&self, commands: &mut dyn Iterator<Item = &[u8]>) -> Result<(), EntryRefused> {
        let Some(secrets) = self.lifecycle.secrets() else { return Ok(()) };
        for command in commands {
            // What is no command, or an unknown one, changes nothing.
            let Ok(Command { body: Some(Body::Batch(batch)), mac, .. }) = Command::decode(command)
            else {
                continue;
            };
            if !mac.is_empty() {
                let verified = secrets.keyring().verify_batch_mac(&batch, &mac);
                verified.map_err(|_| EntryRefused { cause: "the MAC of a batch is wrong" })?;
                continue;
            }
            match ceremony::check(&batch, &self.state.latest()) {
                Ok(Form::Records) => {}
                // What follows is under a keyring that this node doesn't have
                // yet; it seals itself when it applies this.
                Ok(Form::Formation) => return Ok(()),
                Err(problem) => {
                    tracing::warn!(%problem, "an entry has no MAC and needs one");
                    return Err(EntryRefused { cause: "a batch has no MAC and needs one" });
                }
            }
        }
        Ok(())
    }
}
