//! Steps of the ceremony, kept until a quorum has their records.
//!
//! A step (a share taken or refused, a seal) happens on one node, often while
//! no quorum is there to record it. It is written to a small durable list
//! first and leaves it when its record is committed: recorded once in the
//! ordinary course, and at most twice where the process dies in between.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
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

/// Refusals of one reason that are recorded one by one in a [`WINDOW`]; what
/// comes beyond them is counted, and recorded as one event at its end.
const SINGLY: u32 = 16;
/// See [`SINGLY`].
const WINDOW: Duration = Duration::from_secs(60);
/// Between two looks at windows that have ended.
const LOOK: Duration = Duration::from_secs(5);

/// The steps that wait.
pub(crate) struct Ceremony {
    backlog: CeremonyBacklog,
    refusals: Mutex<BTreeMap<Kind, Refusals>>,
    arrival: Notify,
}

/// What refusals are counted by: operation and reason.
type Kind = (Operation, Reason);

/// Refusals of one kind since a moment.
#[derive(Clone, Copy, Debug)]
struct Refusals {
    since: Instant,
    recorded: u32,
    counted: u64,
}

impl Refusals {
    fn new(since: Instant) -> Self {
        Self { since, recorded: 0, counted: 0 }
    }

    /// Whether one more is recorded by itself; else it is counted.
    fn singly(&mut self) -> bool {
        let singly = self.recorded < SINGLY;
        if singly {
            self.recorded += 1;
        } else {
            self.counted += 1;
        }
        singly
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) >= WINDOW
    }
}

impl Ceremony {
    /// Steps that wait in `backlog`, those of earlier runs included.
    #[must_use]
    pub(crate) fn new(backlog: CeremonyBacklog) -> Self {
        Self { backlog, refusals: Mutex::default(), arrival: Notify::new() }
    }

    /// Keeps a step, durably, and has it recorded. A flood of refusals is kept
    /// as a few of them and a count.
    pub(crate) async fn record(
        self: &Arc<Self>,
        core: &Core,
        operation: Operation,
        refused: Option<Reason>,
        facts: &[Fact],
    ) {
        if let Some(reason) = refused {
            let now = Instant::now();
            let mut refusals = self.refusals.lock();
            let of_kind = refusals.entry((operation, reason)).or_insert_with(|| Refusals::new(now));
            if !of_kind.singly() {
                return;
            }
        }
        self.keep(core, operation, refused, facts).await;
    }

    async fn keep(
        self: &Arc<Self>,
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
        let ceremony = Arc::clone(self);
        let fatal = core.fatal;
        // It waits for the disk, which may hang.
        let kept =
            tokio::task::spawn_blocking(move || match ceremony.backlog.push(kind, &record.leaf) {
                Ok(()) => {}
                Err(CeremonyError::Storage(error)) => fatal.storage(&error),
                Err(error) => tracing::error!(%error, "a step can't be kept until it is recorded"),
            });
        if let Err(error) = kept.await {
            tracing::error!(%error, "a step was not kept until it is recorded");
        }
        self.arrival.notify_one();
    }

    /// Ends the windows that are over at `now`; gives what was counted in them.
    fn counted(&self, now: Instant) -> Vec<(Kind, u64)> {
        let mut refusals = self.refusals.lock();
        let mut counted = Vec::new();
        refusals.retain(|kind, of_kind| {
            let over = of_kind.is_over(now);
            if over && of_kind.counted > 0 {
                counted.push((*kind, of_kind.counted));
            }
            !over
        });
        counted
    }
}

/// Records, at the end of each window, how many refusals were only counted; for
/// ever.
pub(crate) async fn count_refusals(core: Arc<Core>) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        for ((operation, reason), count) in core.ceremony.counted(Instant::now()) {
            tracing::warn!(operation = operation.name(), reason = reason.text(), count, "refused");
            core.ceremony.keep(&core, operation, Some(reason), &[facts::count(count)]).await;
        }
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
                deadline: Instant::now(),
            })
            .collect();
        let sequence = core.sequences.next();
        let batch = ledger::encode_batch(core.node, core.boot, sequence, attempts.iter_mut());
        let batch = Bytes::from(batch);
        let mac = core.lifecycle.secrets().map(|secrets| secrets.keyring().batch_mac(&batch));
        // Whoever is sealed or unsealed meanwhile begins anew, and so does
        // whoever can't prove itself while an unsealed node has come to lead.
        let wanted = || {
            core.lifecycle.phase().has_secrets() == mac.is_some()
                && (mac.is_some() || !leader_is_unsealed(&core))
        };
        match core.proposer.propose(sequence, batch, mac, wanted, |_| {}).await {
            Resolution::Applied(_) => {
                let (ceremony, fatal) = (Arc::clone(&core.ceremony), core.fatal);
                let removed = tokio::task::spawn_blocking(move || {
                    if let Err(error) = ceremony.backlog.remove(&steps) {
                        fatal.storage(&error);
                    }
                });
                if let Err(error) = removed.await {
                    tracing::error!(%error, "recorded steps were not taken off the list");
                }
            }
            Resolution::Refused | Resolution::Abandoned => tokio::time::sleep(PAUSE).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_a_few_and_a_count() {
        let start = Instant::now();
        let mut refusals = Refusals::new(start);
        let singly = (0..1000).filter(|_| refusals.singly()).count();
        assert_eq!(singly, SINGLY as usize);
        assert_eq!(refusals.counted, 1000 - u64::from(SINGLY));
        assert!(!refusals.is_over(start + WINDOW / 2));
        assert!(refusals.is_over(start + WINDOW));
    }
}
