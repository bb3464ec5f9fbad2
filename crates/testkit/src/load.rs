//! Many callers at once, and what became of each of their calls.
//!
//! Each call is one attempt with a request id of its own, so that the audit log
//! can be held against it: a released result has exactly one record, a refused
//! call has none of success, and of one whose outcome is unknown there is one at
//! most.

mod history;
mod work;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet};
use uuid::Uuid;

pub use history::{History, Pause};

use crate::{
    caller::{Caller, Failure},
    cluster::{Cluster, Tenant},
    wait,
};

/// Deadline of each call.
const DEADLINE: Duration = Duration::from_secs(5);

/// What a call asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A data key in both forms.
    GenerateDataKey,
    /// Encryption of a plaintext of the caller's.
    Encrypt,
    /// Decryption of what an earlier call gave.
    Decrypt,
}

/// What became of a call.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A result came back.
    Released {
        /// The ciphertext blob, given or taken.
        blob: Vec<u8>,
        /// SHA-256 of the plaintext.
        digest: [u8; 32],
        /// Encryption context of the blob: the id of the request that made it.
        context: Uuid,
    },
    /// Refused, or not known.
    Failed(Failure),
}

/// One call.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its request id.
    pub request: Uuid,
    /// What it asked for.
    pub operation: Operation,
    /// Node that was called.
    pub node: u64,
    /// When it was called, since the start of the load.
    pub called: Duration,
    /// When it was answered, since the start of the load.
    pub answered: Duration,
    /// What became of it.
    pub outcome: Outcome,
}

/// Callers at work.
pub struct Load {
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    callers: JoinSet<()>,
}

struct Shared {
    started: Instant,
    attempts: Mutex<Vec<Attempt>>,
    released: AtomicU64,
    /// A result that was wrong: never to happen.
    wrong: Mutex<Option<String>>,
}

impl Load {
    /// Starts `callers` callers over all nodes of the cluster, users of the
    /// tenant's key; each keeps to its node while that serves, and goes on to the
    /// next when it doesn't.
    #[must_use]
    pub fn start(cluster: &Cluster, tenant: &Tenant, callers: usize) -> Self {
        let shared = Arc::new(Shared {
            started: Instant::now(),
            attempts: Mutex::default(),
            released: AtomicU64::new(0),
            wrong: Mutex::default(),
        });
        let nodes: Vec<Caller> = cluster
            .callers(&tenant.user)
            .into_iter()
            .map(|caller| caller.with_deadline(DEADLINE))
            .collect();
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for position in 0..callers {
            let worker = work::Worker::new(
                Arc::clone(&shared),
                nodes.clone(),
                tenant.key_id.clone(),
                position,
            );
            tasks.spawn(worker.run(stop.subscribe()));
        }
        Self { shared, stop, callers: tasks }
    }

    /// Time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.shared.started.elapsed()
    }

    /// Results released so far.
    #[must_use]
    pub fn released(&self) -> u64 {
        self.shared.released.load(Ordering::Relaxed)
    }

    /// Waits for `more` results from now on.
    ///
    /// # Errors
    ///
    /// When they don't come within `limit`: the callers did not recover.
    pub async fn progress(&self, more: u64, limit: Duration) -> anyhow::Result<()> {
        let goal = self.released() + more;
        wait::until(&format!("{more} more results are released"), limit, || async {
            let released = self.released();
            anyhow::ensure!(released >= goal, "{} are missing", goal - released);
            Ok(())
        })
        .await
        .with_context(|| self.shared.last_failures())
    }

    /// Ends the callers, each after its call, and gives what became of all.
    ///
    /// # Errors
    ///
    /// When a result was wrong, or a caller failed itself.
    pub async fn stop(mut self) -> anyhow::Result<History> {
        self.stop.send_replace(true);
        while let Some(caller) = self.callers.join_next().await {
            caller.context("a caller of the load panicked")?;
        }
        if let Some(wrong) = self.shared.wrong.lock().take() {
            anyhow::bail!(wrong);
        }
        let attempts = std::mem::take(&mut *self.shared.attempts.lock());
        Ok(History::new(attempts))
    }
}

impl Shared {
    fn record(&self, attempt: Attempt) {
        if matches!(attempt.outcome, Outcome::Released { .. }) {
            self.released.fetch_add(1, Ordering::Relaxed);
        }
        self.attempts.lock().push(attempt);
    }

    fn last_failures(&self) -> String {
        let attempts = self.attempts.lock();
        let failures = attempts.iter().rev().take(50).filter_map(|attempt| {
            let Outcome::Failed(failure) = &attempt.outcome else { return None };
            Some(format!(
                "node {}: {:?} {} {}",
                attempt.node, failure.code, failure.reason, failure.message
            ))
        });
        let last: std::collections::BTreeSet<_> = failures.collect();
        format!("last failures: {last:#?}")
    }
}
