//! From shares to serving.
//!
//! The last share restores the root key, which opens the keyring: the node has
//! its secrets. Before it serves it catches up with what a quorum acknowledged,
//! opens the keyring as of then, compares its whole state with a majority, and
//! commits the record of its unsealing (with the first one, the mark that ends
//! the time in which `init` may be repeated).

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use strongroom_barrier as barrier;
use strongroom_base::Revision;
use strongroom_format::store::PlainName;
use strongroom_model::{self as model, Cluster, PlainRevisions, SealConfig};
use strongroom_state::{TablesError, Verdict};
use strongroom_storage::StateDb;

use crate::{
    core::Core,
    ledger::{Attempt, Settled},
    lifecycle::{Lifecycle, Phase, Secrets},
    record, verify,
};

/// Between two attempts to complete an unsealing.
const PAUSE: Duration = Duration::from_millis(200);
/// After sealing, calls that work with the secrets are waited for this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// One attempt takes at most this long.
const ATTEMPT: Duration = Duration::from_secs(10);

/// Why the plain records can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RecordsError {
    /// They can't be read.
    #[error(transparent)]
    Tables(#[from] TablesError),
    /// They are not understood.
    #[error(transparent)]
    Record(#[from] model::RecordError),
    /// One that must be there is missing.
    #[error("the cluster is not formed")]
    NotFormed,
    /// The keyring does not open under the root key that this node holds.
    #[error(transparent)]
    Keyring(#[from] barrier::KeyringError),
    /// The seal's configuration contradicts itself.
    #[error(transparent)]
    Config(#[from] barrier::ConfigError),
    /// The root key changed: the shares that this node was given are old.
    #[error("the cluster has another root key than this node was unsealed with")]
    OtherRoot,
}

/// The plain records of a formed cluster, as of this node's applied state.
pub(crate) struct Records {
    /// The cluster.
    pub(crate) cluster: Cluster,
    /// The seal.
    pub(crate) seal: SealConfig,
    /// The keyring, wrapped.
    pub(crate) keyring: Vec<u8>,
    /// Revisions of all of them.
    pub(crate) revisions: PlainRevisions,
}

/// Reads the plain records.
///
/// # Errors
///
/// [`RecordsError::NotFormed`] before `init`.
pub(crate) fn records(state: &StateDb) -> Result<Records, RecordsError> {
    // One snapshot: the records change together.
    let view = state.latest();
    let reader = view.reader();
    let required = |name| strongroom_state::plain(&reader, name)?.ok_or(RecordsError::NotFormed);
    let cluster = required(PlainName::Cluster)?;
    let seal = required(PlainName::SealConfig)?;
    let keyring = required(PlainName::Keyring)?;
    Ok(Records {
        revisions: revisions(&reader)?,
        cluster: Cluster::decode(&cluster.value)?,
        seal: SealConfig::decode(&seal.value)?,
        keyring: keyring.value,
    })
}

/// Revisions of the plain records.
///
/// # Errors
///
/// What the tables report.
pub(crate) fn revisions(
    reader: &impl strongroom_state::TablesReader,
) -> Result<PlainRevisions, TablesError> {
    let of = |name| -> Result<Revision, TablesError> {
        let record = strongroom_state::plain(reader, name)?;
        Ok(record.map_or(Revision::ABSENT, |record| record.revision))
    };
    Ok(PlainRevisions {
        cluster: of(PlainName::Cluster)?,
        seal_config: of(PlainName::SealConfig)?,
        keyring: of(PlainName::Keyring)?,
        unseal_mark: of(PlainName::UnsealMark)?,
    })
}

/// The seal's configuration, in the terms of the barrier.
///
/// # Errors
///
/// [`RecordsError::Config`] where the record contradicts itself.
pub(crate) fn barrier_config(records: &Records) -> Result<barrier::SealConfig, RecordsError> {
    Ok(barrier::SealConfig::new(
        records.cluster.id,
        records.seal.seal_epoch,
        records.seal.shares.into(),
        records.seal.threshold.into(),
        records.seal.share_digests.clone(),
    )?)
}

/// Opens the keyring of the applied state again, under the root key that the
/// node holds; does nothing on a sealed node.
///
/// # Errors
///
/// [`RecordsError`] where that is not possible: the node has to seal itself.
pub(crate) fn reopen(lifecycle: &Lifecycle, state: &StateDb) -> Result<(), RecordsError> {
    let Some(present) = lifecycle.secrets() else { return Ok(()) };
    let records = records(state)?;
    if records.seal.seal_epoch != present.unsealed.config().seal_epoch() {
        return Err(RecordsError::OtherRoot);
    }
    if records.revisions.keyring == present.keyring_revision() {
        return Ok(());
    }
    let unsealed = present.unsealed.renewed(records.revisions.keyring, &records.keyring)?;
    let (cluster, generation) = (records.cluster, present.generation);
    lifecycle.replace(Secrets { unsealed, cluster, generation });
    Ok(())
}

/// Takes a node with its secrets to serving, however long a quorum lets it
/// wait; ends where it is sealed before.
pub(crate) async fn complete(core: Arc<Core>) {
    let mut phases = core.lifecycle.watch();
    let Some(generation) = core.lifecycle.secrets().map(|secrets| secrets.generation) else {
        return;
    };
    tokio::select! {
        () = drive(&core, generation) => {}
        _ = phases.wait_for(|phase| !phase.has_secrets()) => {
            tracing::info!("sealed before the unsealing was complete");
        }
    }
}

async fn drive(core: &Core, generation: u64) {
    loop {
        // Whoever sealed the node before may have closed it after this began.
        core.ledger.open();
        let deadline = std::time::Instant::now() + ATTEMPT;
        if core.reads.wait(deadline).await.is_err() {
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        verify::complete(core).await;
        // Where only the state had to be compared again, there is a record.
        if core.unseal_recorded.load(Ordering::Acquire) == generation {
            break;
        }
        match commit_record(core).await {
            Ok(true) => {
                core.unseal_recorded.store(generation, Ordering::Release);
                break;
            }
            Ok(false) => {}
            Err(error) => tracing::error!(%error, "the unsealing can't be recorded"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    let verification = Arc::clone(&core.verification);
    if core.lifecycle.verified(generation, || verification.is_complete()) {
        tracing::info!("unsealed: this node serves");
    }
}

/// Commits the record of the unsealing; false: to be tried again.
async fn commit_record(core: &Core) -> Result<bool, RecordsError> {
    let Some(secrets) = core.lifecycle.secrets() else { return Ok(false) };
    let applied = core.raft.applied();
    let records = records(&core.state)?;
    if records.revisions.keyring != secrets.keyring_revision() {
        return Ok(false);
    }
    let decision = model::complete_unseal(applied, &records.revisions, &records.seal);
    let circumstances = record::circumstances(core, None);
    let encoded = model::encode_leaf_only(&decision, &circumstances, None);
    let Ok(model::Encoded { transaction, guards }) = encoded else { return Ok(false) };
    let deadline = std::time::Instant::now() + ATTEMPT;
    let settled = core.ledger.commit(Attempt { transaction, guards, deadline }).await;
    Ok(matches!(settled, Settled::Verdict { verdict: Verdict::Admitted, .. }))
}

/// Completes an unsealing again whenever the state has to be compared again.
pub(crate) async fn watch(core: Arc<Core>) {
    let mut phases = core.lifecycle.watch();
    loop {
        if phases.wait_for(|phase| *phase == Phase::Verifying).await.is_err() {
            return;
        }
        complete(Arc::clone(&core)).await;
        // Whether it serves or was sealed: what comes next is another phase.
        if core.lifecycle.phase() == Phase::Verifying {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// What sealing came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SealedNow {
    /// There were secrets to take.
    pub(crate) had_secrets: bool,
    /// Nothing borrows them any more: they are wiped.
    pub(crate) wiped: bool,
}

/// Seals this node: takes its secrets, what waits in the ledger, and the opened
/// rows; then waits, for a bounded time, until whoever still works with the
/// secrets lets go of them.
pub(crate) async fn seal(core: &Core) -> SealedNow {
    let borrowed = core.lifecycle.secrets().map(|secrets| Arc::downgrade(&secrets));
    let had_secrets = core.lifecycle.seal();
    core.ledger.close();
    core.rows.clear();
    let mut wiped = true;
    if let Some(borrowed) = borrowed {
        wiped = Lifecycle::wiped(borrowed, PATIENCE).await;
        if !wiped {
            tracing::error!(patience = ?PATIENCE, "secrets are still borrowed after sealing");
        }
    }
    // A row that was read just before the secrets went may have come after.
    core.rows.clear();
    SealedNow { had_secrets, wiped }
}
