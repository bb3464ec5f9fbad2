//! Steps of the ceremony, kept until a quorum has their records.
//!
//! A step (a share taken or refused, a seal) happens on one node, often while
//! no quorum is there to record it. It is written to a small durable list
//! first and leaves it when its record is committed: recorded once in the
//! ordinary course, and at most twice where the process dies in between.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use strongroom_audit::{Detail, Fact, Leaf, Operation, Reason};
use strongroom_base::LogIndex;
use strongroom_format::store;
use strongroom_model::{self as model, facts};
use strongroom_storage::{CeremonyBacklog, CeremonyError, CeremonyRecord};
use tokio::sync::Notify;

use crate::{
    core::Core,
    ledger::{self, Attempt, Resolution},
    record,
};

/// Steps recorded with one batch.
const TOGETHER: usize = 64;
/// Pause after steps could not be recorded.
const PAUSE: Duration = Duration::from_millis(500);

/// The steps that wait.
pub(crate) struct Ceremony {
    backlog: CeremonyBacklog,
    arrival: Notify,
}

impl Ceremony {
    /// Steps that wait in `backlog`, those of earlier runs included.
    #[must_use]
    pub(crate) fn new(backlog: CeremonyBacklog) -> Self {
        Self { backlog, arrival: Notify::new() }
    }

    /// Keeps a step, durably, and has it recorded.
    pub(crate) fn record(
        &self,
        core: &Core,
        operation: Operation,
        refused: Option<Reason>,
        facts: &[Fact],
    ) {
        let decision = model::record_step(LogIndex(0), operation, refused, facts);
        let circumstances = record::circumstances(core, None);
        let encoded = model::encode_leaf_only(&decision, &circumstances, None);
        let leaf = encoded.ok().and_then(|encoded| encoded.transaction.records.into_iter().next());
        let Some(record) = leaf else {
            tracing::error!(operation = operation.name(), "a step can't be encoded");
            return;
        };
        // Refusals of a kind are what a flood consists of; they share a place.
        let kind = refused.map_or(0, Reason::number);
        match self.backlog.push(kind, &record.leaf) {
            Ok(()) => {}
            Err(CeremonyError::Storage(error)) => core.fatal.storage(&error),
            Err(error) => tracing::error!(%error, "a step can't be kept until it is recorded"),
        }
        self.arrival.notify_one();
    }
}

fn leader_is_unsealed(core: &Core) -> bool {
    let leader = core.raft.status().leader.and_then(|leader| core.reports.of(leader));
    leader.is_some_and(|report| report.is_fresh() && report.phase.has_secrets())
}

/// The leaf of a step; where it stands for several of its kind it says so.
fn counted(step: &CeremonyRecord) -> Vec<u8> {
    if step.count <= 1 {
        return step.record.clone();
    }
    let leaf = Leaf::decode(&step.record).ok().and_then(|mut leaf| {
        let mut facts = leaf.detail.facts().to_vec();
        facts.push(facts::count(step.count.into()));
        leaf.detail = Detail::new(facts).ok()?;
        leaf.encode().ok()
    });
    leaf.unwrap_or_else(|| step.record.clone())
}

/// Records steps as they come, for ever.
pub(crate) async fn run(core: Arc<Core>) {
    loop {
        let arrival = core.ceremony.arrival.notified();
        let mut steps = core.ceremony.backlog.list();
        steps.truncate(TOGETHER);
        if steps.is_empty() {
            arrival.await;
            continue;
        }
        let proven = core.lifecycle.phase().has_secrets();
        if !proven && leader_is_unsealed(&core) {
            // It takes nothing without a MAC: the steps wait for this node's
            // own unsealing, or for a sealed leader.
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        let applied = core.raft.applied();
        let mut attempts: Vec<Attempt> = steps
            .iter()
            .map(|step| Attempt {
                transaction: store::Transaction {
                    decided_at: applied.0,
                    records: vec![store::AuditRecord { leaf: counted(step), body: Vec::new() }],
                    ..Default::default()
                },
                guards: Vec::new(),
                deadline: std::time::Instant::now(),
            })
            .collect();
        let sequence = core.sequences.next();
        let batch = ledger::encode_batch(core.node, core.boot, sequence, attempts.iter_mut());
        let batch = Bytes::from(batch);
        let mac = core.lifecycle.secrets().map(|secrets| secrets.keyring().batch_mac(&batch));
        // Whoever is sealed or unsealed meanwhile begins anew.
        let wanted = || core.lifecycle.phase().has_secrets() == mac.is_some();
        match core.proposer.propose(sequence, batch, mac, wanted, |_| {}).await {
            Resolution::Applied(_) => {
                if let Err(error) = core.ceremony.backlog.remove(&steps) {
                    core.fatal.storage(&error);
                }
            }
            Resolution::Refused | Resolution::Abandoned => tokio::time::sleep(PAUSE).await,
        }
    }
}
