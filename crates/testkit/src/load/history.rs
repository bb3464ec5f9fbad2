//! What became of all calls of a load, held against what the cluster says.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use strongroom_base::limits::BATCH_ITEMS_MAX;
use strongroom_wire::v1::{DecryptBatchRequest, DecryptRequest, Event, decrypt_batch_result};
use uuid::Uuid;

use super::{Attempt, Operation, Outcome, work};
use crate::caller::{Caller, Explain as _};

/// All calls of a load, in the order of their answers.
#[derive(Clone, Debug, Default)]
pub struct History {
    attempts: Vec<Attempt>,
}

/// A time without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pause {
    /// How long.
    pub length: Duration,
    /// Since the start of the load.
    pub from: Duration,
}

impl History {
    pub(super) fn new(mut attempts: Vec<Attempt>) -> Self {
        attempts.sort_by_key(|attempt| attempt.answered);
        Self { attempts }
    }

    /// The calls.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// How many results were released.
    #[must_use]
    pub fn released(&self) -> usize {
        self.attempts.iter().filter(|attempt| is_released(attempt)).count()
    }

    /// Failures by reason.
    #[must_use]
    pub fn failures(&self) -> BTreeMap<String, usize> {
        let mut failures = BTreeMap::new();
        for attempt in &self.attempts {
            if let Outcome::Failed(failure) = &attempt.outcome {
                *failures.entry(failure.reason.clone()).or_default() += 1;
            }
        }
        failures
    }

    /// The longest time without a result.
    #[must_use]
    pub fn longest_pause(&self) -> Pause {
        self.longest_pause_after(Duration::ZERO)
    }

    /// The longest time without a result that ended after `moment`.
    #[must_use]
    pub fn longest_pause_after(&self, moment: Duration) -> Pause {
        let mut last = Duration::ZERO;
        let mut longest = Pause { length: Duration::ZERO, from: Duration::ZERO };
        for attempt in self.attempts.iter().filter(|attempt| is_released(attempt)) {
            if attempt.answered < moment {
                last = attempt.answered;
                continue;
            }
            longest = longest.max(Pause { length: attempt.answered - last, from: last });
            last = attempt.answered;
        }
        longest
    }

    /// Requires that every blob ever handed out decrypts to what it was made of.
    ///
    /// # Errors
    ///
    /// The first one that doesn't.
    pub async fn all_decrypts(&self, caller: &Caller) -> anyhow::Result<usize> {
        let made: Vec<_> = self
            .attempts
            .iter()
            .filter(|attempt| attempt.operation != Operation::Decrypt)
            .filter_map(|attempt| match &attempt.outcome {
                Outcome::Released { blob, digest, context } => Some((blob, digest, *context)),
                Outcome::Failed(_) => None,
            })
            .collect();
        for chunk in made.chunks(BATCH_ITEMS_MAX) {
            let items = chunk
                .iter()
                .map(|(blob, _, context)| DecryptRequest {
                    ciphertext_blob: (*blob).clone(),
                    encryption_context: work::context(*context),
                    key_id: String::new(),
                })
                .collect();
            let response = caller.crypto().decrypt_batch(DecryptBatchRequest { items }).await;
            let results =
                response.explain("DecryptBatch of what was handed out")?.into_inner().results;
            ensure!(results.len() == chunk.len(), "a result is missing");
            for ((_, digest, context), result) in chunk.iter().zip(results) {
                match result.result.context("an item without a result")? {
                    decrypt_batch_result::Result::Success(success) => ensure!(
                        work::digest(&success.plaintext) == **digest,
                        "the blob of request {context} decrypts wrongly"
                    ),
                    decrypt_batch_result::Result::Error(error) => bail!(
                        "the blob of request {context} is lost: {}: {}",
                        error.reason,
                        error.message
                    ),
                }
            }
        }
        Ok(made.len())
    }

    /// Requires that the audit log has exactly one record of success for each
    /// released result, none for a refused call, and one at most for a call
    /// whose outcome its caller doesn't know.
    ///
    /// # Errors
    ///
    /// The first call for which that is not so.
    pub fn audited_once(&self, events: &[Event]) -> anyhow::Result<()> {
        let mut successes: HashMap<Uuid, Vec<&Event>> = HashMap::new();
        for event in events.iter().filter(|event| event.outcome == "success") {
            // Events of the ceremony have no request.
            let Ok(request) = event.request_id.parse() else { continue };
            successes.entry(request).or_default().push(event);
        }
        for attempt in &self.attempts {
            let records = successes.get(&attempt.request).map_or(0, Vec::len);
            match &attempt.outcome {
                Outcome::Released { .. } => ensure!(
                    records == 1,
                    "a released result has {records} audit records: {attempt:?}"
                ),
                Outcome::Failed(failure) if failure.may_be_recorded() => {
                    ensure!(records <= 1, "one attempt has {records} audit records: {attempt:?}")
                }
                Outcome::Failed(_) => {
                    ensure!(records == 0, "a refused call has a record of success: {attempt:?}");
                }
            }
        }
        Ok(())
    }
}

fn is_released(attempt: &Attempt) -> bool {
    matches!(attempt.outcome, Outcome::Released { .. })
}
