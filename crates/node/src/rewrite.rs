//! After a rotation of the barrier: rows come under its newest epoch.
//!
//! Old rows stay readable as long as their epoch is in the keyring; for an
//! epoch to leave it, nothing may be left under it. So the leader writes old
//! rows anew, as they are, a few at a time, each few as a guarded transaction
//! with a record of its own. A row that changes meanwhile is under the newest
//! epoch anyway; its rewriting is superseded, and the next pass finds it done.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use strongroom_base::BarrierEpoch;
use strongroom_format::store::EpochKind;
use strongroom_model::{self as model, Basis, RowId, RowTable};
use strongroom_raft::RaftRole;
use strongroom_state::TablesError;

use crate::{
    clock,
    core::Core,
    entropy::random_id,
    ledger::{Attempt, Settled},
    lifecycle::Secrets,
    record::{self, KeyringSealer},
    rows::RowView,
};

/// Between two looks at whether there is anything to do.
const EVERY: Duration = Duration::from_secs(2);
/// Between two transactions: uses of keys come first.
const PAUSE: Duration = Duration::from_millis(5);
/// Rows of one transaction.
const TOGETHER: usize = 8;
/// Rows that are looked at for one transaction.
const LOOKED_AT: usize = 1024;
/// One transaction takes at most this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a pass over all rows stands.
#[derive(Clone, Default)]
struct Cursor {
    table: usize,
    after: Option<Vec<u8>>,
}

/// Rewrites rows whenever there is something to do, for ever.
pub(crate) async fn run(core: Arc<Core>) {
    let mut tick = tokio::time::interval(EVERY);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let mut cursor = Cursor::default();
        while let Some(secrets) = working(&core) {
            match pass(&core, secrets, &mut cursor).await {
                Ok(true) => tokio::time::sleep(PAUSE).await,
                Ok(false) => break,
                Err(error) => {
                    tracing::warn!(%error, "rows under old barrier epochs can't be rewritten");
                    break;
                }
            }
        }
    }
}

/// The secrets of a serving leader that has rows under old epochs.
fn working(core: &Core) -> Option<Arc<Secrets>> {
    let secrets = core.lifecycle.serving().ok()?;
    let leads = core.raft.status().role == RaftRole::Leader;
    if !leads || core.is_draining() || core.disk.is_low() {
        return None;
    }
    let newest = secrets.keyring().barrier_epoch();
    let state = core.state.latest();
    let old = secrets.keyring().barrier_epochs().any(|epoch| {
        let left = || strongroom_state::rows_under(&state, EpochKind::Barrier, epoch);
        epoch < newest && left().is_ok_and(|left| left > 0)
    });
    old.then_some(secrets)
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Tables(#[from] TablesError),
    #[error(transparent)]
    Read(#[from] model::ReadError),
    #[error("no quorum took it: {0:?}")]
    NotSettled(Settled),
}

/// Rewrites the next few rows; false at the end of all rows.
async fn pass(core: &Core, secrets: Arc<Secrets>, cursor: &mut Cursor) -> Result<bool, PassError> {
    let newest = secrets.keyring().barrier_epoch();
    let Some(rows) = next_rows(core, newest, cursor)? else { return Ok(false) };
    if rows.is_empty() {
        return Ok(true);
    }
    let attempt = {
        let view = RowView::new(&core.state, &core.rows, &secrets);
        let basis = Basis {
            applied: core.raft.applied(),
            rows: &view,
            index: &view,
            cluster: &secrets.cluster,
            keyring: secrets.keyring_revision(),
            cluster_time: core.cluster_time(),
            node_time: clock::wall_now(),
        };
        let Some(decision) = model::rewrite_rows(&basis, &rows, newest)? else { return Ok(true) };
        let circumstances = record::circumstances(core, None);
        let mut sealer = KeyringSealer::new(secrets.keyring(), secrets.cluster.history);
        let encoded =
            model::encode_transaction(&decision, &circumstances, random_id(), &mut sealer);
        let Ok(model::Encoded { transaction, guards }) = encoded else { return Ok(true) };
        Attempt { transaction, guards, deadline: Instant::now() + PATIENCE }
    };
    drop(secrets);
    match core.ledger.commit(attempt).await {
        Settled::Verdict { .. } => Ok(true),
        other => Err(PassError::NotSettled(other)),
    }
}

/// The next rows under an old epoch; `None` at the end of all rows.
fn next_rows(
    core: &Core,
    newest: BarrierEpoch,
    cursor: &mut Cursor,
) -> Result<Option<Vec<(RowTable, RowId)>>, TablesError> {
    let Some(table) = RowTable::ALL.get(cursor.table).copied() else { return Ok(None) };
    let page = strongroom_state::rows_page(
        &core.state.latest(),
        table.number(),
        cursor.after.as_deref(),
        LOOKED_AT,
    )?;
    let whole = page.len() == LOOKED_AT;
    let mut rows = Vec::new();
    for (id, row) in page {
        let old = strongroom_crypto::row_epoch(&row.value).is_ok_and(|epoch| epoch < newest);
        let parsed = RowId::from_slice(&id);
        cursor.after = Some(id);
        if let (true, Ok(id)) = (old, parsed) {
            rows.push((table, id));
            if rows.len() == TOGETHER {
                return Ok(Some(rows));
            }
        }
    }
    if !whole {
        *cursor = Cursor { table: cursor.table + 1, after: None };
    }
    Ok(Some(rows))
}
