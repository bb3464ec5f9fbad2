//! The drive of one call: attempts at one node after the other until one answers
//! for good or the deadline comes.

use std::{
    future::Future,
    pin::pin,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream::FuturesUnordered};
use rand::random;
use strongroom_base::RequestId;
use tonic::Status;
use tracing::debug;

use super::{
    connection::Connection,
    endpoint::{Lease, Presence},
    outcome::Outcome,
    pool::{Pool, Tried},
};
use crate::{
    error::{Error, FailedAddress, Origin},
    retry::{self, Next, Repeat},
};

/// Rounds over all nodes that one call makes at most.
const ROUNDS_MAX: u32 = 64;
/// After a node fell silent, this long between two looks for a healthy one.
const LOOK: Duration = Duration::from_millis(100);

/// How a call is made.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// Whether it may be sent again when it is unknown if it took effect.
    pub repeat: Repeat,
    /// Time that it has, all attempts and waits together.
    pub timeout: Duration,
    /// Id under which the service records each of its attempts.
    pub request_id: RequestId,
    /// When no answer came for this long, a second attempt goes to another node
    /// and the first answer counts. Each attempt has its own audit record. Only
    /// for calls whose repeat is harmless.
    pub hedge_after: Option<Duration>,
    /// Ends with the first round in which no node could be reached or unsealed
    /// soon, instead of trying until the deadline.
    pub fail_fast: bool,
}

impl Plan {
    /// A call with a new request id, without hedges, that tries until its
    /// deadline.
    #[must_use]
    pub fn new(repeat: Repeat, timeout: Duration) -> Self {
        let request_id = RequestId::from_random(random());
        Self { repeat, timeout, request_id, hedge_after: None, fail_fast: false }
    }

    /// Under a request id that the caller chose.
    #[must_use]
    pub fn with_request_id(mut self, request_id: RequestId) -> Self {
        self.request_id = request_id;
        self
    }

    /// With a second attempt after `delay` without an answer.
    #[must_use]
    pub fn with_hedge(mut self, delay: Option<Duration>) -> Self {
        self.hedge_after = delay;
        self
    }

    /// Whether to end with the first round in which nobody can be reached.
    #[must_use]
    pub fn with_fail_fast(mut self, fail_fast: bool) -> Self {
        self.fail_fast = fail_fast;
        self
    }
}

/// What one attempt works with.
#[derive(Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Where to send.
    pub connection: Connection,
    /// Time that the attempt has: for the header `grpc-timeout`.
    pub time: Duration,
    /// For the header `x-request-id`: the same for all attempts of a call.
    pub request_id: RequestId,
    /// For answers that last (streams): tells when the node is lost.
    pub presence: Presence,
}

impl Pool {
    /// Makes a call: `send` makes one attempt, and is called again, for another
    /// node, where `plan` and the failure allow it.
    ///
    /// An attempt that is dropped was given up: its time is over, its node was
    /// found lost while another one serves and a repeat is harmless, or another
    /// attempt answered. Cancel safe in the same sense.
    ///
    /// # Errors
    ///
    /// The failure that says most, the others beside it.
    pub async fn call<A, F>(&self, plan: &Plan, send: impl Fn(Attempt) -> F) -> Result<A, Error>
    where
        F: Future<Output = Result<A, Status>>,
    {
        let mut course = Course::new(self, plan);
        self.budget().deposit();
        if tokio::time::timeout(plan.timeout, self.resolved()).await.is_err() {
            return Err(Error::deadline(plan.timeout));
        }
        loop {
            if course.left().is_zero() {
                return Err(course.into_error());
            }
            if !course.pays().await {
                return Err(course.into_error());
            }
            let lease = if course.round_over { None } else { self.pick(&mut course.tried) };
            let Some(lease) = lease else {
                if course.next_round().await {
                    continue;
                }
                return Err(course.into_error());
            };
            let errors = match race(&mut course, lease, &send).await {
                Ok(answer) => return Ok(answer),
                Err(errors) => errors,
            };
            for error in errors {
                if course.failed(error) == Next::Stop {
                    return Err(course.into_last());
                }
            }
        }
    }
}

/// One attempt, and a second one where that is wanted; the first answer counts.
/// The errors of all that failed, a final one last.
async fn race<A, F>(
    course: &mut Course<'_>,
    lease: Lease,
    send: &impl Fn(Attempt) -> F,
) -> Result<A, Vec<Error>>
where
    F: Future<Output = Result<A, Status>>,
{
    let (pool, plan) = (course.pool, course.plan);
    let mut running = FuturesUnordered::new();
    running.push(attempt(pool, plan, lease, course.attempt_time(), send));
    let delay = plan.hedge_after.filter(|_| plan.repeat == Repeat::Harmless);
    let mut may_hedge = delay.is_some();
    let mut hedge = pin!(tokio::time::sleep(delay.unwrap_or(plan.timeout)));
    let mut errors = Vec::new();
    loop {
        tokio::select! {
            // Never empty here: the last one to fail ends the race.
            Some(result) = running.next() => match result {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    let stop = retry::next(&error, plan.repeat) == Next::Stop;
                    errors.push(error);
                    if stop || running.is_empty() {
                        return Err(errors);
                    }
                }
            },
            () = &mut hedge, if may_hedge => {
                may_hedge = false;
                let time = course.attempt_time();
                if let Some(lease) = pool.pick_healthy(&mut course.tried)
                    && pool.budget().withdraw()
                {
                    debug!(address = %lease.address(), "hedged");
                    running.push(attempt(pool, plan, lease, time, send));
                }
            }
        }
    }
}

async fn attempt<A, F>(
    pool: &Pool,
    plan: &Plan,
    lease: Lease,
    time: Duration,
    send: &impl Fn(Attempt) -> F,
) -> Result<A, Error>
where
    F: Future<Output = Result<A, Status>>,
{
    let begun = Instant::now();
    let sent = send(Attempt {
        connection: lease.connection(),
        time,
        request_id: plan.request_id,
        presence: lease.presence(),
    });
    let (error, outcome) = tokio::select! {
        biased;
        answer = tokio::time::timeout(time, sent) => match answer {
            Ok(Ok(answer)) => {
                lease.end(Outcome::Answered);
                return Ok(answer);
            }
            Ok(Err(status)) => {
                let error = Error::from_status(&status, time);
                let outcome = Outcome::of(&error);
                (error, outcome)
            }
            Err(_) => (Error::deadline(time), Outcome::GivenUp),
        },
        () = lost(pool, &lease), if plan.repeat == Repeat::Harmless => {
            (Error::silent(begun.elapsed()), Outcome::GivenUp)
        }
    };
    let error = error.at(lease.address(), plan.request_id);
    debug!(address = %lease.address(), reason = error.reason(), "attempt failed");
    lease.end(outcome);
    if error.origin() != Origin::Service {
        pool.doubt();
    }
    Err(error)
}

/// Waits until the node is lost and another one is healthy.
async fn lost(pool: &Pool, lease: &Lease) {
    let mut presence = lease.presence();
    loop {
        presence.lost().await;
        if pool.another_is_healthy(lease.id()) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Where a call stands.
struct Course<'a> {
    pool: &'a Pool,
    plan: &'a Plan,
    deadline: Instant,
    tried: Tried,
    /// From 1.
    round: u32,
    /// The next attempt waits for the next round.
    round_over: bool,
    /// The next round begins after this long at least; `None`: nothing that
    /// happened in this round gives hope for the next.
    wait: Option<Duration>,
    /// The next attempt is taken out of the budget.
    owes: bool,
    failures: Vec<Error>,
}

impl<'a> Course<'a> {
    fn new(pool: &'a Pool, plan: &'a Plan) -> Self {
        Self {
            pool,
            plan,
            deadline: Instant::now() + plan.timeout,
            tried: Tried::default(),
            round: 1,
            round_over: false,
            wait: None,
            owes: false,
            failures: Vec::new(),
        }
    }

    /// Time left; zero when there is none.
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Time for the attempt at a node that was just picked.
    fn attempt_time(&self) -> Duration {
        let to_try = self.pool.untried(&self.tried) + 1;
        retry::attempt_time(self.left(), to_try, self.plan.repeat)
    }

    /// Notes a failure and what it means for the round.
    fn failed(&mut self, error: Error) -> Next {
        let mut next = retry::next(&error, self.plan.repeat);
        if self.plan.fail_fast && retry::is_lasting(&error) {
            next = Next::Elsewhere;
        }
        self.owes |= !retry::is_free(&error);
        let longest = self.wait.unwrap_or_default();
        match next {
            Next::Stop | Next::Elsewhere => {}
            Next::ElsewhereOrLater(least) => self.wait = Some(longest.max(least)),
            Next::After(delay) => {
                self.wait = Some(longest.max(delay));
                self.round_over = true;
            }
        }
        self.failures.retain(|other| other.address() != error.address());
        self.failures.push(error);
        next
    }

    /// Pays for an added attempt, and waits until it can; false when the call
    /// must end first.
    async fn pays(&mut self) -> bool {
        while self.owes {
            if self.pool.budget().withdraw() {
                self.owes = false;
                break;
            }
            let wait = retry::backoff(u32::MAX, random());
            if wait >= self.left() {
                return false;
            }
            tokio::time::sleep(wait).await;
        }
        true
    }

    /// Waits for the next round; false where there is none.
    async fn next_round(&mut self) -> bool {
        // Nodes that were passed over while others were healthy may serve later.
        let passed_over = self.pool.untried(&self.tried) > 0 && !self.plan.fail_fast;
        let wait = match self.wait {
            Some(wait) => wait,
            None if passed_over => Duration::ZERO,
            None => return false,
        };
        // A delay that the service advised for this very case stands as it is.
        let wait = if self.round_over {
            wait.mul_f64(1.0 + random::<f64>() / 4.0)
        } else {
            wait.max(retry::backoff(self.round, random()))
        };
        if self.round >= ROUNDS_MAX || wait >= self.left() {
            return false;
        }
        tokio::time::sleep(wait).await;
        self.round += 1;
        self.round_over = false;
        self.wait = None;
        self.tried.clear();
        true
    }

    /// The newest failure, the others beside it.
    fn into_last(mut self) -> Error {
        match self.failures.pop() {
            Some(last) => last.with_others(self.others()),
            None => Error::deadline(self.plan.timeout),
        }
    }

    /// The failure that says most, the others beside it. An outcome unknown is
    /// never hidden behind another answer.
    fn into_error(mut self) -> Error {
        let most = (0..self.failures.len()).max_by_key(|&index| {
            let error = &self.failures[index];
            (!error.is_surely_not_executed(), error.origin())
        });
        match most {
            Some(index) => self.failures.remove(index).with_others(self.others()),
            None => Error::deadline(self.plan.timeout),
        }
    }

    fn others(&self) -> Vec<FailedAddress> {
        self.failures.iter().filter_map(Error::to_failed_address).collect()
    }
}
