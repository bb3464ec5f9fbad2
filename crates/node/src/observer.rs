//! What this node does about each applied entry.
//!
//! Runs on the state thread, in the order of the log, before the new applied
//! index is published: whoever sees the index sees its effects here too.

use std::{sync::Arc, time::Duration};

use strongroom_base::LogIndex;
use strongroom_format::store::PlainName;
use strongroom_model::{RowId, RowTable};
use strongroom_raft::ApplyObserver;
use strongroom_state::{Applied, BatchRefusal, Outcome, RefusalCause};
use strongroom_storage::{DataDir, StateDb};
use tokio::sync::watch;

use crate::{
    fatal::Fatal, hash_points::HashPoints, keys_by_state::KeysByState, lifecycle::Lifecycle,
    metrics::Metrics, outcomes::Outcomes, rows::RowCache, unseal, verify::Verification,
};

/// Tells the parts of a node of applied entries.
pub(crate) struct Observer {
    /// The data directory.
    pub(crate) data: Arc<DataDir>,
    /// The replicated state.
    pub(crate) state: StateDb,
    /// Told of the forming of the cluster and of new keyrings.
    pub(crate) lifecycle: Arc<Lifecycle>,
    /// Told of changed rows.
    pub(crate) rows: Arc<RowCache>,
    /// Told of changed keys.
    pub(crate) keys_by_state: Arc<KeysByState>,
    /// Told of this node's own batches.
    pub(crate) outcomes: Arc<Outcomes>,
    /// Told of hash points.
    pub(crate) hash_points: Arc<HashPoints>,
    /// Told of installed snapshots.
    pub(crate) verification: Arc<Verification>,
    /// Told of the size of the audit log.
    pub(crate) audit_size: watch::Sender<u64>,
    /// Told how long applying takes.
    pub(crate) metrics: Arc<Metrics>,
}

impl Observer {
    fn keyring_changed(&self) {
        match unseal::reopen(&self.lifecycle, &self.state) {
            Ok(()) => self.rows.clear(),
            Err(error) => {
                tracing::error!(%error, "the new keyring can't be opened: this node seals itself");
                self.lifecycle.seal();
                self.rows.clear();
            }
        }
    }
}

impl Observer {
    /// A batch of this very boot is refused as one of an older: the cluster has
    /// seen a later boot of this node than its own directory knows of. Without
    /// secrets that proves nothing: then its batches come without a MAC, and so
    /// may others in its name.
    fn refused(&self, refusal: &BatchRefusal) {
        let own = refusal.batch.as_ref().is_some_and(|batch| self.outcomes.is_own(batch));
        let older = refusal.cause == RefusalCause::OlderBoot;
        if own && older && self.lifecycle.phase().has_secrets() {
            Fatal.diverged(&format!(
                "the data directory {} was put back to an older copy: the cluster has seen a later \
                 start of this node. Remedy: replace this node: remove it, empty its data \
                 directory, and let it join under a new node id",
                self.data.path().display()
            ));
        }
    }
}

impl ApplyObserver for Observer {
    fn applied(&self, index: LogIndex, applied: &Applied) {
        let known = |table: u32, id: &[u8]| {
            Some((RowTable::from_number(table)?, RowId::from_slice(id).ok()?))
        };
        if !applied.rows_changed.is_empty() {
            let changed = || {
                let changed = applied.rows_changed.iter();
                changed.filter_map(|row| known(row.table.into(), &row.row_id))
            };
            self.rows.changed(changed());
            let keys = changed().filter(|(table, _)| *table == RowTable::Keys);
            self.keys_by_state.changed(keys.map(|(_, id)| id));
        }
        if applied.plain_changed.contains(&PlainName::SealConfig) {
            self.lifecycle.formed();
        }
        if applied.plain_changed.contains(&PlainName::Keyring) {
            self.keyring_changed();
        }
        if applied.records > 0 {
            let size = applied.first_sequence.0 + applied.records;
            self.audit_size.send_replace(size);
        }
        match &applied.outcome {
            Outcome::Batch(outcome) => self.outcomes.applied(outcome),
            Outcome::HashPoint { hash, .. } => self.hash_points.remember(index, *hash),
            Outcome::Refused(refusal) => {
                self.refused(refusal);
                tracing::warn!(%index, ?refusal, "an entry was refused as a whole");
            }
        }
    }

    fn installed(&self) {
        self.rows.clear();
        self.keys_by_state.replaced();
        self.hash_points.clear();
        self.verification.installed();
        self.lifecycle.verify_again();
        match strongroom_state::plain(&self.state.latest(), PlainName::SealConfig) {
            Ok(Some(_)) => self.lifecycle.formed(),
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "the installed state can't be read"),
        }
        if let Ok(size) = strongroom_state::audit_size(&self.state.latest()) {
            self.audit_size.send_replace(size);
        }
        self.keyring_changed();
    }

    fn published(&self, took: Duration) {
        self.metrics.apply_seconds.observe(took.as_secs_f64());
    }
}
