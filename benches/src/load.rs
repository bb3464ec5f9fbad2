//! A closed loop of calls, one slice of time at a time.
//!
//! As many callers as calls are in flight; each calls again when it was
//! answered. Only calls that are answered within the slice count; what was
//! under way before it and after it keeps the servers warm.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use hdrhistogram::Histogram;
use strongroom_wire::v1::{
    GenerateDataKeyRequest, GenerateDataKeysRequest, crypto_client::CryptoClient,
};
use tokio::task::JoinSet;
use tonic::Status;

use crate::{
    echo,
    lanes::{Lane, Lanes},
    machine::{Machine, Tasks},
};

/// Before the slice: connections, caches and the group commit get into their stride.
const LEAD_IN: Duration = Duration::from_millis(150);
/// Pause after a refusal, so that a server that refuses isn't asked without end.
const BACKOFF: Duration = Duration::from_millis(5);
/// Longest latency that is told apart: the deadline and some more.
const LATENCY_US_MAX: u64 = 20_000_000;

const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const OVER: u8 = 2;

/// What a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `GenerateDataKey`.
    DataKey,
    /// `GenerateDataKeys` with this many.
    DataKeys(u32),
}

/// What is loaded: where, with what.
pub struct Target<'a> {
    /// Connections.
    pub lanes: &'a Lanes,
    /// The key used.
    pub key_id: &'a str,
    /// The call.
    pub call: Call,
    /// Processes that serve it.
    pub servers: &'a [u32],
}

/// One slice of time.
#[derive(Clone, Debug)]
pub struct Slice {
    /// Its length.
    pub elapsed: Duration,
    /// Calls answered well within it.
    pub answered: u64,
    /// Their latencies in microseconds.
    pub latency_us: Histogram<u64>,
    /// Calls refused within it, by code and message.
    pub refused: BTreeMap<String, u64>,
    /// CPU time of the servers.
    pub server_cpu: Duration,
    /// CPU time of this process.
    pub client_cpu: Duration,
    /// Share of the machine's CPU time that the hypervisor gave to others, 0 to 1.
    pub stolen: f64,
    /// Share of it that processes took that don't belong to the measurement.
    pub foreign: f64,
}

impl Slice {
    /// Calls a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        per_second(self.answered, self.elapsed)
    }
}

/// A histogram of latencies in microseconds.
///
/// # Panics
///
/// Never: the bounds are good.
#[must_use]
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_US_MAX, 3).expect("the bounds are good")
}

/// `count` in `elapsed` as a rate.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub fn per_second(count: u64, elapsed: Duration) -> f64 {
    count as f64 / elapsed.as_secs_f64()
}

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
        let lane = target.lanes.lane(position);
        let message = Message::of(target.call, target.key_id);
        callers.spawn(caller(lane, message, Arc::clone(&phase)));
    }
    tokio::time::sleep(LEAD_IN).await;
    let before = Reading::take(target.servers)?;
    phase.store(COUNTING, Ordering::Relaxed);
    tokio::time::sleep(length).await;
    phase.store(OVER, Ordering::Relaxed);
    let after = Reading::take(target.servers)?;

    let mut slice = after.since(&before);
    while let Some(counted) = callers.join_next().await {
        let counted = counted.context("a caller panicked")?;
        slice.answered += counted.latencies_us.len() as u64;
        for latency in counted.latencies_us {
            slice.latency_us.saturating_record(latency.max(1));
        }
        for (refusal, count) in counted.refused {
            *slice.refused.entry(refusal).or_default() += count;
        }
    }
    Ok(slice)
}

/// The machine at one moment.
struct Reading {
    at: Instant,
    machine: Machine,
    servers: Duration,
    client: Duration,
}

impl Reading {
    fn take(servers: &[u32]) -> anyhow::Result<Self> {
        Ok(Self {
            at: Instant::now(),
            machine: Machine::read()?,
            servers: Tasks::cpu_of_all(servers)?,
            client: Tasks::cpu_of(std::process::id())?,
        })
    }

    /// A slice from `before` to now, without its calls.
    fn since(&self, before: &Self) -> Slice {
        let server_cpu = self.servers.saturating_sub(before.servers);
        let client_cpu = self.client.saturating_sub(before.client);
        let machine = self.machine.since(&before.machine);
        Slice {
            elapsed: self.at - before.at,
            answered: 0,
            latency_us: histogram(),
            refused: BTreeMap::new(),
            server_cpu,
            client_cpu,
            stolen: machine.stolen_share(),
            foreign: machine.foreign_share(server_cpu + client_cpu),
        }
    }
}

/// What one caller counted.
#[derive(Default)]
struct Counted {
    latencies_us: Vec<u64>,
    refused: BTreeMap<String, u64>,
}

impl Counted {
    /// Counts a call that was answered in this phase.
    fn note(&mut self, phase: u8, latency: Duration, result: Result<(), &Status>) {
        if phase != COUNTING {
            return;
        }
        match result {
            Ok(()) => self.latencies_us.push(micros(latency)),
            Err(status) => {
                let refusal = format!("{:?}: {}", status.code(), status.message());
                *self.refused.entry(refusal).or_default() += 1;
            }
        }
    }
}

/// The message of a call.
enum Message {
    DataKey(GenerateDataKeyRequest),
    DataKeys(GenerateDataKeysRequest),
}

impl Message {
    fn of(call: Call, key_id: &str) -> Self {
        let one = echo::request(key_id);
        match call {
            Call::DataKey => Self::DataKey(one),
            Call::DataKeys(count) => Self::DataKeys(GenerateDataKeysRequest {
                key_id: one.key_id,
                encryption_context: one.encryption_context,
                key_spec: one.key_spec,
                number_of_bytes: 0,
                count,
            }),
        }
    }

    async fn send(&self, client: &mut CryptoClient<Lane>) -> Result<(), Status> {
        match self {
            Self::DataKey(request) => client.generate_data_key(request.clone()).await.map(drop),
            Self::DataKeys(request) => client.generate_data_keys(request.clone()).await.map(drop),
        }
    }
}

/// Calls until the slice is over.
async fn caller(lane: Lane, message: Message, phase: Arc<AtomicU8>) -> Counted {
    let mut client = CryptoClient::new(lane);
    let mut counted = Counted::default();
    loop {
        let started = Instant::now();
        let result = message.send(&mut client).await;
        let phase = phase.load(Ordering::Relaxed);
        counted.note(phase, started.elapsed(), result.as_ref().copied());
        if phase == OVER {
            return counted;
        }
        if result.is_err() {
            tokio::time::sleep(BACKOFF).await;
        }
    }
}

/// Microseconds of a duration.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Keeps `in_flight` jobs running until `count` have been started, and gives
/// what the first failing one says.
///
/// # Errors
///
/// Of the job that failed first.
pub async fn all<F>(
    count: u64,
    in_flight: usize,
    mut job: impl FnMut(u64) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut running = JoinSet::new();
    for number in 0..count {
        if running.len() >= in_flight
            && let Some(ended) = running.join_next().await
        {
            ended.context("a job panicked")??;
        }
        running.spawn(job(number));
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a job panicked")??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failing_job_is_not_lost_and_all_jobs_run_once() {
        let failed = all(10, 3, |number| async move {
            anyhow::ensure!(number != 7, "seven");
            Ok(())
        });
        assert_eq!(failed.await.unwrap_err().to_string(), "seven");

        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        all(100, 7, |number| {
            let seen = Arc::clone(&seen);
            async move {
                seen.lock().unwrap().push(number);
                Ok(())
            }
        })
        .await
        .unwrap();
        let mut seen = seen.lock().unwrap().clone();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_answered_outside_the_slice_does_not_count() {
        let mut counted = Counted::default();
        let refusal = Status::aborted("again");
        for phase in [WARMING, OVER] {
            counted.note(phase, Duration::from_micros(1), Ok(()));
            counted.note(phase, Duration::from_micros(2), Err(&refusal));
        }
        assert!(counted.latencies_us.is_empty() && counted.refused.is_empty());
        counted.note(COUNTING, Duration::from_micros(3), Err(&refusal));
        counted.note(COUNTING, Duration::from_micros(4), Ok(()));
        assert_eq!(counted.latencies_us, [4]);
        assert_eq!(counted.refused.into_values().sum::<u64>(), 1);
    }

    #[test]
    fn a_batch_asks_for_the_same_data_keys_as_single_calls() {
        let Message::DataKey(one) = Message::of(Call::DataKey, "k") else { panic!("one") };
        let Message::DataKeys(many) = Message::of(Call::DataKeys(7), "k") else { panic!("many") };
        assert_eq!(many.count, 7);
        assert_eq!(
            (many.key_id, many.encryption_context, many.key_spec),
            (one.key_id, one.encryption_context, one.key_spec)
        );
    }
}
