//! Authorise at commit: the life of a call.
//!
//! A call is authenticated and decided on this node's applied state, its result
//! kept here while the decision and its read set are committed by a quorum, and
//! released only when the replicated state admitted them, within the deadline,
//! and while the secrets that made it still rule. What was decided on state
//! that is no longer so comes back superseded and is decided again, on state at
//! or after the entry that said so.
//!
//! A look at metadata takes a ReadIndex first and is decided on that state.

use std::{sync::Arc, time::Instant};

use strongroom_audit::Operation;
use strongroom_base::{LogIndex, UnixMillis};
use strongroom_model::{
    self as model, Authenticated, Basis, Decided, Decision, KeyReference, ReadError, Refusal,
    Viewed,
};
use strongroom_state::Verdict;
use tonic::Status;

use crate::{
    caller::Caller,
    clock,
    core::Core,
    entropy::{OsEntropy, random_id},
    errors,
    ledger::{Attempt, Settled},
    lifecycle::Secrets,
    metrics::Bound,
    record::{self, KeyringSealer},
    rows::RowView,
};

/// What a call changes: what is told of an unknown outcome depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Nothing but the audit log: a use of a key.
    Use,
    /// Rows or plain records, in a way that goes on while the disk is nearly
    /// full: it revokes, seals, or takes care of the cluster.
    Change,
    /// Rows, by making new ones.
    Create,
}

/// Where one round of deciding stands.
struct Ground<'a> {
    core: &'a Core,
    secrets: Arc<Secrets>,
    cluster_time: UnixMillis,
}

impl<'a> Ground<'a> {
    fn new(core: &'a Core, cluster_time: UnixMillis) -> Result<Self, Status> {
        let secrets = core.lifecycle.serving().map_err(|phase| errors::sealed(phase.name()))?;
        let cluster_time = cluster_time.max(core.cluster_time());
        Ok(Self { core, secrets, cluster_time })
    }

    fn rows(&self) -> RowView<'_> {
        RowView::new(&self.core.state, &self.core.rows, &self.secrets)
    }

    /// The applied index is taken first: rows read later may be newer than it,
    /// never older.
    fn basis<'b>(&'b self, rows: &'b RowView<'b>) -> Basis<'b> {
        Basis {
            applied: self.core.raft.applied(),
            rows,
            index: rows,
            cluster: &self.secrets.cluster,
            keyring: self.secrets.keyring_revision(),
            cluster_time: self.cluster_time,
            node_time: clock::wall_now(),
        }
    }
}

/// What one round of deciding gave.
#[expect(clippy::large_enum_variant, reason = "nearly always the large one, never stored")]
enum Round<R> {
    Decided {
        authenticated: Authenticated,
        decided: Decided<R>,
    },
    /// The token authenticates nobody, on this node's state.
    Unknown,
    /// What was read doesn't fit together, and the state has moved meanwhile: a
    /// row is sealed under a newer keyring, or two rows are of two moments.
    Moved,
}

/// Has a call decided and committed, and releases its result.
///
/// # Errors
///
/// The refusal that was decided and recorded, or why nothing could be decided.
pub(crate) async fn commit<R: Send>(
    core: &Core,
    caller: &Caller,
    effect: Effect,
    decide: impl Fn(&Basis<'_>, &Authenticated, &mut OsEntropy) -> Result<Decided<R>, ReadError>
    + Send
    + Sync,
) -> Result<R, Status> {
    if core.is_draining() {
        return Err(errors::unavailable("SHUTTING_DOWN", "this node is shutting down"));
    }
    if effect != Effect::Change {
        require_room(core)?;
    }
    // The ends of what is created count from the present; cluster time as applied
    // stands still while nothing is committed.
    let mut confirmed = match effect {
        Effect::Create => {
            core.lifecycle.serving().map_err(|phase| errors::sealed(phase.name()))?;
            confirm(core, caller).await?
        }
        Effect::Use | Effect::Change => UnixMillis::default(),
    };
    for _ in 0..strongroom_base::limits::DECISIONS_MAX {
        let ground = Ground::new(core, confirmed)?;
        let round = round(&ground, caller, &decide)?;
        let (authenticated, decided) = match round {
            Round::Decided { authenticated, decided } => (authenticated, decided),
            Round::Moved => continue,
            // This node may lag: a token that it does not know may have been
            // issued, and acknowledged, elsewhere.
            Round::Unknown if confirmed == UnixMillis::default() => {
                confirmed = confirm(core, caller).await?.max(UnixMillis(1));
                continue;
            }
            Round::Unknown => return Err(unauthenticated(core)),
        };
        let Decided { decision, result } = decided;
        if result.is_err() {
            core.denials.denied(authenticated.principal_id(), Instant::now());
        }
        let settled = settle(&ground, caller, &decision).await;
        // What follows may wait long, and needs no secrets: sealing takes them.
        let generation = ground.secrets.generation;
        drop(ground);
        match settled {
            Settled::Verdict { verdict: Verdict::Admitted, index } => {
                return release(core, generation, caller, effect, index, result).await;
            }
            Settled::Verdict { verdict: Verdict::Malformed, .. } => {
                tracing::error!("the replicated state refused the form of a transaction");
                return Err(errors::fault("a transaction was refused as malformed"));
            }
            Settled::Verdict { verdict, index } => {
                core.metrics.superseded.inc();
                tracing::debug!(?verdict, %index, "decided again");
                wait_applied(core, caller, index).await?;
                core.rows.forget(&decision.reads.guards());
            }
            Settled::NotProposed => return Err(errors::no_quorum()),
            Settled::Unknown if effect == Effect::Use => return Err(nothing_released(core)),
            Settled::Unknown => return Err(errors::outcome_unknown()),
            Settled::Sealed => return Err(errors::sealed(core.lifecycle.phase().name())),
            Settled::Overloaded => return Err(errors::overloaded("attempts in the ledger")),
            Settled::TooLarge => {
                return Err(errors::invalid_argument(
                    "request",
                    "is larger than one record may be",
                ));
            }
        }
    }
    core.metrics.hit(Bound::Decisions);
    Err(errors::contention())
}

/// What is not needed to revoke or to take care of the cluster is refused while
/// this node's disk is nearly full, and while those of so many members are that
/// going on would leave no quorum.
fn require_room(core: &Core) -> Result<(), Status> {
    let own = core.disk.is_low();
    let members = core.config.cluster.members.len();
    if own {
        core.metrics.hit(Bound::DiskReserve);
        return Err(errors::disk_reserve(core.disk.free_bytes()));
    }
    if core.reports.disks_threaten_quorum(members, own) {
        core.metrics.hit(Bound::DiskReserve);
        return Err(errors::disk_reserve_of_others());
    }
    Ok(())
}

/// Has a call look at the state, after a ReadIndex.
///
/// # Errors
///
/// The refusal that was decided (a denial is committed before it is told), or
/// why nothing could be decided.
pub(crate) async fn look<R: Send>(
    core: &Core,
    caller: &Caller,
    operation: Operation,
    key: Option<&KeyReference>,
    view: impl Fn(&Basis<'_>, &Authenticated) -> Viewed<R> + Send + Sync,
) -> Result<R, Status> {
    core.metrics.metadata_read(operation);
    let stamp = confirm(core, caller).await?;
    let denied = {
        let ground = Ground::new(core, stamp)?;
        let rows = ground.rows();
        let basis = ground.basis(&rows);
        let authenticated = authenticate(&basis, &rows, caller)
            .map_err(|error| errors::internal(&error))?
            .ok_or_else(|| unauthenticated(core))?;
        match view(&basis, &authenticated).map_err(|error| errors::internal(&error))? {
            Ok(result) if core.lifecycle.may_release(ground.secrets.generation) => {
                return Ok(result);
            }
            Ok(_) => return Err(errors::sealed(core.lifecycle.phase().name())),
            Err(Refusal::AccessDenied { .. }) => true,
            Err(refusal) => return Err(errors::refused(&refusal)),
        }
    };
    debug_assert!(denied, "every other end has returned");
    commit(core, caller, Effect::Use, |basis, by, _| {
        Ok(model::deny(basis, by, operation, key)
            .unwrap_or_else(|| model::record_act(basis, by, operation, &[])))
    })
    .await?;
    // Allowed by now: rights were given in between.
    Err(errors::contention())
}

fn round<R>(
    ground: &Ground<'_>,
    caller: &Caller,
    decide: &impl Fn(&Basis<'_>, &Authenticated, &mut OsEntropy) -> Result<Decided<R>, ReadError>,
) -> Result<Round<R>, Status> {
    let rows = ground.rows();
    let basis = ground.basis(&rows);
    let failed = |error: ReadError| -> Result<Round<R>, Status> {
        let now = ground.core.lifecycle.secrets().map(|secrets| secrets.keyring_revision());
        let same_keyring = now == Some(ground.secrets.keyring_revision());
        if same_keyring && ground.core.raft.applied() == basis.applied {
            Err(errors::internal(&error))
        } else {
            tracing::debug!(%error, "read while the state moved: decided again");
            Ok(Round::Moved)
        }
    };
    let authenticated = match authenticate(&basis, &rows, caller) {
        Ok(Some(authenticated)) => authenticated,
        Ok(None) => return Ok(Round::Unknown),
        Err(error) => return failed(error),
    };
    let principal = authenticated.principal_id();
    if !ground.core.denials.may_be_denied(principal, Instant::now()) {
        ground.core.metrics.hit(Bound::Denials);
        return Err(errors::denials_limit());
    }
    match decide(&basis, &authenticated, &mut OsEntropy) {
        Ok(decided) => Ok(Round::Decided { authenticated, decided }),
        Err(error) => failed(error),
    }
}

fn authenticate(
    basis: &Basis<'_>,
    rows: &RowView<'_>,
    caller: &Caller,
) -> Result<Option<Authenticated>, ReadError> {
    use strongroom_model::NameIndex as _;
    let Some(token) = &caller.token else { return Ok(None) };
    match model::authenticate(basis, rows.token(token))? {
        Ok(authenticated) => Ok(Some(authenticated)),
        Err(rejection) => {
            tracing::debug!(%rejection, "a token authenticates nobody");
            Ok(None)
        }
    }
}

/// A use whose verdict is not known releases nothing, and changed nothing but
/// the audit log.
fn nothing_released(core: &Core) -> Status {
    match core.lifecycle.phase() {
        phase if phase.has_secrets() => errors::no_quorum(),
        phase => errors::sealed(phase.name()),
    }
}

fn unauthenticated(core: &Core) -> Status {
    core.metrics.unauthenticated.inc();
    errors::refused(&Refusal::Unauthenticated)
}

async fn confirm(core: &Core, caller: &Caller) -> Result<UnixMillis, Status> {
    match core.reads.wait(caller.deadline().0).await {
        Ok(point) => Ok(point.stamp),
        Err(_) => Err(errors::no_quorum()),
    }
}

async fn wait_applied(core: &Core, caller: &Caller, index: LogIndex) -> Result<(), Status> {
    let waited = tokio::time::timeout_at(caller.deadline().0.into(), core.raft.wait_applied(index));
    match waited.await {
        Ok(Ok(())) => Ok(()),
        _ => Err(errors::no_quorum()),
    }
}

async fn settle(ground: &Ground<'_>, caller: &Caller, decision: &Decision) -> Settled {
    let core = ground.core;
    let circumstances = record::circumstances(core, Some(caller));
    let mut sealer = KeyringSealer::new(ground.secrets.keyring(), ground.secrets.cluster.history);
    let encoded = model::encode_transaction(decision, &circumstances, random_id(), &mut sealer);
    let Ok(model::Encoded { transaction, guards }) = encoded else { return Settled::TooLarge };
    core.ledger.commit(Attempt { transaction, guards, deadline: caller.deadline().0 }).await
}

async fn release<R>(
    core: &Core,
    generation: u64,
    caller: &Caller,
    effect: Effect,
    index: LogIndex,
    result: Result<R, Refusal>,
) -> Result<R, Status> {
    if effect != Effect::Use {
        // Whoever reads on this node next sees what was acknowledged here.
        let waited =
            tokio::time::timeout_at(caller.deadline().0.into(), core.raft.wait_applied(index));
        if !matches!(waited.await, Ok(Ok(()))) {
            return Err(errors::outcome_unknown());
        }
    }
    if !core.lifecycle.may_release(generation) {
        return Err(match effect {
            Effect::Use => errors::sealed(core.lifecycle.phase().name()),
            Effect::Change | Effect::Create => errors::outcome_unknown(),
        });
    }
    result.map_err(|refusal| errors::refused(&refusal))
}
