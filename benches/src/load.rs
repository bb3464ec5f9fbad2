//! Calls, and one slice of time full of them.
//!
//! | part | does |
//! |---|---|
//! | [`closed`] | as many callers as calls are in flight; each calls again when it was answered |
//! | [`open`] | calls come when they come, whether the last ones were answered or not |
//! | [`jobs`] | a number of jobs, some at a time, to the last one |
//!
//! The loops give a [`Slice`]: what was answered and refused within it, and what
//! the machine did meanwhile.

pub mod closed;
pub mod jobs;
pub mod open;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use strongroom_wire::v1::{
    GenerateDataKeyRequest, GenerateDataKeysRequest, crypto_client::CryptoClient,
};
use tonic::Status;

use crate::{
    echo,
    lanes::{Lane, Lanes},
    machine::{Machine, Tasks},
};

/// Before the slice: connections, caches and the group commit get into their stride.
const LEAD_IN: Duration = Duration::from_millis(120);
/// Longest latency that is told apart: the deadline and some more.
const LATENCY_US_MAX: u64 = 20_000_000;

/// What a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `GenerateDataKey`.
    DataKey,
    /// `GenerateDataKeys` with this many.
    DataKeys(u32),
}

impl Call {
    /// Data keys that one call gives.
    #[must_use]
    pub fn data_keys(self) -> u32 {
        match self {
            Self::DataKey => 1,
            Self::DataKeys(count) => count,
        }
    }
}

/// What is loaded: where, with what.
pub struct Target<'a> {
    /// Connections.
    pub lanes: &'a Lanes,
    /// The keys used, each call one of them at random.
    pub keys: Arc<[String]>,
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
    /// Calls that count and were answered well.
    pub answered: u64,
    /// Their latencies in microseconds.
    pub latency_us: Histogram<u64>,
    /// Calls that count and were refused, by code and message.
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

    /// CPU time of the servers for one call, microseconds; no number without calls.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn server_cpu_us(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.answered as f64
    }

    /// Median latency, milliseconds.
    #[must_use]
    pub fn p50_ms(&self) -> f64 {
        quantile_ms(&self.latency_us, 0.5)
    }

    /// Takes over what was counted.
    fn add(&mut self, counted: Counted) {
        self.answered += counted.latencies_us.len() as u64;
        for latency in counted.latencies_us {
            self.latency_us.saturating_record(latency.max(1));
        }
        for (refusal, count) in counted.refused {
            *self.refused.entry(refusal).or_default() += count;
        }
    }
}

/// A quantile of latencies in microseconds, in milliseconds; no number of none.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "latencies stay far below 2^52 us")]
pub fn quantile_ms(latency_us: &Histogram<u64>, quantile: f64) -> f64 {
    if latency_us.is_empty() {
        return f64::NAN;
    }
    latency_us.value_at_quantile(quantile) as f64 / 1000.0
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

/// Microseconds of a duration.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
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

/// What was counted of some calls.
#[derive(Default)]
struct Counted {
    latencies_us: Vec<u64>,
    refused: BTreeMap<String, u64>,
}

impl Counted {
    fn note(&mut self, latency: Duration, result: Result<(), &Status>) {
        match result {
            Ok(()) => self.latencies_us.push(micros(latency)),
            Err(status) => {
                let refusal = format!("{:?}: {}", status.code(), status.message());
                *self.refused.entry(refusal).or_default() += 1;
            }
        }
    }
}

/// Who calls, over one lane.
#[derive(Clone)]
struct Caller {
    client: CryptoClient<Lane>,
    keys: Arc<[String]>,
    message: Message,
}

/// The message of a call.
#[derive(Clone)]
enum Message {
    DataKey(GenerateDataKeyRequest),
    DataKeys(GenerateDataKeysRequest),
}

impl Caller {
    /// Over the lane of caller `position`.
    fn of(target: &Target<'_>, position: usize) -> Self {
        let key = target.keys.first().map(String::as_str).unwrap_or_default();
        Self {
            client: CryptoClient::new(target.lanes.lane(position)),
            keys: Arc::clone(&target.keys),
            message: Message::of(target.call, key),
        }
    }

    /// Calls once, with the key that `pick` falls on.
    async fn call(&mut self, pick: usize) -> Result<(), Status> {
        let other = (self.keys.len() > 1).then(|| &self.keys[pick % self.keys.len()]);
        match &self.message {
            Message::DataKey(request) => {
                let mut request = request.clone();
                if let Some(key) = other {
                    request.key_id.clone_from(key);
                }
                self.client.generate_data_key(request).await.map(drop)
            }
            Message::DataKeys(request) => {
                let mut request = request.clone();
                if let Some(key) = other {
                    request.key_id.clone_from(key);
                }
                self.client.generate_data_keys(request).await.map(drop)
            }
        }
    }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_asks_for_the_same_data_keys_as_single_calls() {
        let Message::DataKey(one) = Message::of(Call::DataKey, "k") else { panic!("one") };
        let Message::DataKeys(many) = Message::of(Call::DataKeys(7), "k") else { panic!("many") };
        assert_eq!(
            (many.count, Call::DataKeys(7).data_keys(), Call::DataKey.data_keys()),
            (7, 7, 1)
        );
        assert_eq!(
            (many.key_id, many.encryption_context, many.key_spec),
            (one.key_id, one.encryption_context, one.key_spec)
        );
    }

    #[test]
    fn refusals_are_counted_by_what_they_say_and_have_no_latency() {
        let mut counted = Counted::default();
        let refusal = Status::aborted("again");
        counted.note(Duration::from_micros(3), Err(&refusal));
        counted.note(Duration::from_micros(3), Err(&refusal));
        counted.note(Duration::from_micros(4), Ok(()));
        assert_eq!(counted.latencies_us, [4]);
        assert_eq!(counted.refused, BTreeMap::from([("Aborted: again".to_owned(), 2)]));
    }
}
