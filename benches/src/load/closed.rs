//! The closed loop: as many callers as calls are in flight; each calls again
//! when it was answered.
//!
//! Gives the throughput at that concurrency. Its latencies are those of callers
//! who wait: a server that stalls is asked less. For callers who come regardless
//! there is the open loop.
//!
//! Only calls that are answered within the slice count; what was under way
//! before it and after it keeps the servers warm.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::task::JoinSet;

use super::{Caller, Counted, LEAD_IN, Reading, Slice, Target, micros};

/// Pause after a refusal, so that a server that refuses isn't asked without end.
const BACKOFF: Duration = Duration::from_millis(5);

const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const OVER: u8 = 2;

/// Runs one slice with `in_flight` callers.
///
/// # Errors
///
/// When `/proc` can't be read, a server is gone, or a caller panicked.
pub async fn slice(
    target: &Target<'_>,
    in_flight: usize,
    length: Duration,
) -> anyhow::Result<Slice> {
    let phase = Arc::new(AtomicU8::new(WARMING));
    let mut callers = JoinSet::new();
    for position in 0..in_flight {
        let random = StdRng::seed_from_u64(position as u64);
        callers.spawn(calls(Caller::of(target, position), random, Arc::clone(&phase)));
    }
    tokio::time::sleep(LEAD_IN).await;
    let before = Reading::take(target.servers)?;
    phase.store(COUNTING, Ordering::Relaxed);
    tokio::time::sleep(length).await;
    phase.store(OVER, Ordering::Relaxed);
    let after = Reading::take(target.servers)?;

    let mut slice = after.since(&before);
    while let Some(counted) = callers.join_next().await {
        slice.add(counted.context("a caller panicked")?);
    }
    Ok(slice)
}

/// Calls until the slice is over.
async fn calls(mut caller: Caller, mut random: StdRng, phase: Arc<AtomicU8>) -> Counted {
    let mut counted = Counted::default();
    loop {
        let pick = random.random_range(0..usize::MAX);
        let started = Instant::now();
        let result = caller.call(pick).await;
        let latency = started.elapsed();
        match phase.load(Ordering::Relaxed) {
            COUNTING => counted.note(latency, result.as_ref().copied()),
            OVER => return counted,
            _ => {}
        }
        if result.is_err() {
            tokio::time::sleep(BACKOFF).await;
        }
    }
}

/// Latencies as callers would have seen them who meant to call in even steps:
/// for each call that took longer than such a step, the calls that it kept from
/// being made count too (coordinated omission, HdrHistogram's correction).
#[must_use]
pub fn corrected(slice: &Slice, in_flight: usize) -> Histogram<u64> {
    let callers = u32::try_from(in_flight).unwrap_or(u32::MAX);
    let calls = u32::try_from(slice.answered).unwrap_or(u32::MAX);
    match (slice.elapsed * callers).checked_div(calls) {
        Some(step) => slice.latency_us.clone_correct(micros(step).max(1)),
        None => slice.latency_us.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::load::histogram;

    #[test]
    fn a_stall_of_one_caller_counts_for_the_calls_that_it_kept_back() {
        let mut latency_us = histogram();
        latency_us.record_n(1000, 900).unwrap();
        latency_us.record(100_000).unwrap();
        let slice = Slice {
            elapsed: Duration::from_secs(1),
            answered: 901,
            latency_us,
            refused: BTreeMap::new(),
            server_cpu: Duration::ZERO,
            client_cpu: Duration::ZERO,
            stolen: 0.0,
            foreign: 0.0,
        };
        assert!(slice.latency_us.value_at_quantile(0.99) < 2000);
        let corrected = corrected(&slice, 1);
        assert!(corrected.value_at_quantile(0.99) > 80_000);
        assert!(corrected.len() > 980, "{}", corrected.len());
    }
}
