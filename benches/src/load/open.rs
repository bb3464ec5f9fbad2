//! The open loop: calls come at a rate of their own, whether the last ones were
//! answered or not.
//!
//! Arrivals are a Poisson process, as of many callers who know nothing of one
//! another. A latency counts from the moment at which the call was meant to be
//! made, so that a server that stalls, or a client that is late, is charged with
//! the wait of all who came meanwhile: no coordinated omission.

use std::{
    future::Future,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{runtime::Handle, sync::Semaphore};

use super::{Caller, Counted, LEAD_IN, Reading, Slice, Target};

/// Calls that wait for an answer at most. Beyond it calls are made late, and
/// their latencies say so.
const OUTSTANDING_MAX: u32 = 8192;

/// Moments of a Poisson process since its beginning, without end.
struct Arrivals {
    rate: f64,
    at: f64,
    random: StdRng,
}

impl Arrivals {
    /// `rate` a second on average.
    fn new(rate: f64, seed: u64) -> Self {
        Self { rate, at: 0.0, random: StdRng::seed_from_u64(seed) }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        // Between two arrivals lies an exponentially distributed time.
        let uniform: f64 = self.random.random_range(0.0..1.0);
        self.at -= (1.0 - uniform).ln() / self.rate;
        Some(Duration::from_secs_f64(self.at))
    }
}

/// Runs one slice with `rate` calls a second. Calls that were meant to be made
/// within the slice count, whenever they are answered.
///
/// # Errors
///
/// When `/proc` can't be read, a server is gone, or a call panicked.
///
/// # Panics
///
/// When `rate` is not above zero.
pub async fn slice(
    target: &Target<'_>,
    rate: f64,
    length: Duration,
    seed: u64,
) -> anyhow::Result<Slice> {
    assert!(rate > 0.0, "calls come at a rate above zero");
    let callers: Vec<_> = (0..target.lanes.count()).map(|lane| Caller::of(target, lane)).collect();
    let counted: Arc<Mutex<Counted>> = Arc::default();
    let end = LEAD_IN + length;
    let (begin, handle) = (Instant::now(), Handle::current());
    let calls = Arc::clone(&counted);
    let dispatched = tokio::task::spawn_blocking(move || {
        let arrivals = Arrivals::new(rate, seed).take_while(|at| *at < end);
        dispatch(&handle, begin, arrivals, OUTSTANDING_MAX, |number, meant| {
            let mut caller = callers[number % callers.len()].clone();
            let counted = Arc::clone(&calls);
            let counts = meant - begin >= LEAD_IN;
            async move {
                // Calls that follow one another take keys that lie far apart.
                let result = caller.call(number.wrapping_mul(7919)).await;
                if counts {
                    let mut counted = counted.lock().expect("nobody panics under this lock");
                    counted.note(meant.elapsed(), result.as_ref().copied());
                }
            }
        })
    });
    tokio::time::sleep(LEAD_IN).await;
    let before = Reading::take(target.servers)?;
    tokio::time::sleep(length).await;
    let after = Reading::take(target.servers)?;
    dispatched.await.context("the dispatcher panicked")?;

    let mut slice = after.since(&before);
    let counted = std::mem::take(&mut *counted.lock().expect("nobody panics under this lock"));
    slice.add(counted);
    Ok(slice)
}

/// Starts a job at each arrival, and returns when the last one has ended. Sleeps
/// on a thread of its own: the runtime's timer knows milliseconds only.
fn dispatch<F>(
    handle: &Handle,
    begin: Instant,
    arrivals: impl Iterator<Item = Duration>,
    outstanding_max: u32,
    mut job: impl FnMut(usize, Instant) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let outstanding = Arc::new(Semaphore::new(outstanding_max as usize));
    for (number, at) in arrivals.enumerate() {
        let meant = begin + at;
        if let Some(wait) = meant.checked_duration_since(Instant::now()) {
            thread::sleep(wait);
        }
        let permit = handle
            .block_on(Arc::clone(&outstanding).acquire_owned())
            .expect("the semaphore is never closed");
        let job = job(number, meant);
        handle.spawn(async move {
            job.await;
            drop(permit);
        });
    }
    let all = outstanding.acquire_many(outstanding_max);
    drop(handle.block_on(all).expect("the semaphore is never closed"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_come_at_their_rate_and_in_no_even_steps() {
        let moments: Vec<_> = Arrivals::new(1000.0, 7).take(10_000).collect();
        assert!(moments.windows(2).all(|two| two[0] <= two[1]));
        let took = moments[9_999].as_secs_f64();
        assert!((9.5..10.5).contains(&took), "{took}");
        // Of exponential steps, 1 - 1/e are below their mean.
        let step = Duration::from_millis(1);
        let short = moments.windows(2).filter(|two| two[1] - two[0] < step).count();
        assert!((6000..6650).contains(&short), "{short}");
    }

    #[tokio::test]
    async fn a_server_that_stalls_is_charged_with_the_wait_of_all_who_came_meanwhile() {
        const STALL: Duration = Duration::from_millis(5);
        let (handle, begin) = (Handle::current(), Instant::now());
        let latencies: Arc<Mutex<Vec<Duration>>> = Arc::default();
        let seen = Arc::clone(&latencies);
        let run = tokio::task::spawn_blocking(move || {
            // Thirty calls, all meant for the beginning; one is answered at a time.
            let arrivals = std::iter::repeat_n(Duration::ZERO, 30);
            dispatch(&handle, begin, arrivals, 1, |_, meant| {
                let seen = Arc::clone(&seen);
                async move {
                    tokio::time::sleep(STALL).await;
                    seen.lock().unwrap().push(meant.elapsed());
                }
            });
        });
        run.await.unwrap();
        let latencies = latencies.lock().unwrap();
        assert_eq!(latencies.len(), 30, "none is lost");
        assert!(latencies[29] >= STALL * 30, "{:?}", latencies[29]);
        assert!(latencies[14] >= STALL * 15, "{:?}", latencies[14]);
    }
}
