//! The audit log as it grows.

use std::time::Instant;

use rand::random;
use tonic::{Status, Streaming};

use crate::{
    attempt::stub,
    balance::{Attempt, Presence},
    client::Client,
    error::Error,
    proto::{EventFilter, TailEventsRequest, TailEventsResponse, audit_client::AuditClient},
    retry::{self, Next, Repeat},
};

/// Where a tail begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum From {
    /// At this sequence number.
    Sequence(u64),
    /// With the next event.
    End,
}

/// A stream, and whether its node is still there.
type Open = (Streaming<TailEventsResponse>, Presence);

/// Follows the audit log; opens its stream again at another node when one
/// breaks, and goes on where it was.
pub struct EventTail {
    client: Client,
    filter: EventFilter,
    from: From,
    open: Option<Open>,
}

impl EventTail {
    pub(crate) fn new(client: Client, filter: EventFilter, from: From) -> Self {
        Self { client, filter, from, open: None }
    }

    /// The next part of the stream; its events may be none. Waits for as long
    /// as nothing happens. Cancelling the returned future loses no event.
    ///
    /// A tail that began at the end and broke before its first answer begins
    /// at the end again.
    ///
    /// # Errors
    ///
    /// [`Error`] when the service refuses, or when no node could be reached
    /// for as long as a call may take. The next call tries again.
    pub async fn next(&mut self) -> Result<TailEventsResponse, Error> {
        let mut failing: Option<Instant> = None;
        let mut round = 0;
        loop {
            let (begun, was_open) = (Instant::now(), self.open.is_some());
            let error = match self.advance().await {
                Ok(part) => {
                    self.from = From::Sequence(part.next_sequence);
                    return Ok(part);
                }
                Err(error) => error,
            };
            self.open = None;
            round += 1;
            let wait = match retry::next(&error, Repeat::Harmless) {
                Next::Stop => return Err(error),
                Next::After(delay) => delay,
                Next::Elsewhere | Next::ElsewhereOrLater(_) => retry::backoff(round, random()),
            };
            // Opening a stream takes the time that a call may take.
            let failed_at = if was_open { Instant::now() } else { begun };
            let since = *failing.get_or_insert(failed_at);
            if since.elapsed() + wait > self.client.timeout() {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn advance(&mut self) -> Result<TailEventsResponse, Error> {
        let (stream, presence) = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(&self.client, &self.filter, self.from).await?),
        };
        let message = tokio::select! {
            message = stream.message() => message,
            // A node that is stopped breaks no connection.
            () = presence.lost() => Err(Status::unavailable("the node fell silent")),
        };
        let status = match message {
            Ok(Some(part)) => return Ok(part),
            // A node that shuts down ends its streams.
            Ok(None) => Status::unavailable("the stream ended"),
            Err(status) => status,
        };
        Err(Error::from_status(&status, self.client.timeout()))
    }
}

/// Opens the stream at whichever node grants it.
async fn open(client: &Client, filter: &EventFilter, from: From) -> Result<Open, Error> {
    let (from_sequence, from_end) = match from {
        From::Sequence(sequence) => (sequence, false),
        From::End => (0, true),
    };
    let message = TailEventsRequest { filter: Some(filter.clone()), from_sequence, from_end };
    let send = |attempt: Attempt| {
        // Without a deadline, which would be the stream's.
        let request = client.credentials().request(message.clone(), attempt.request_id);
        async move {
            let mut stub = stub!(AuditClient, attempt.connection);
            let stream = stub.tail_events(request).await?.into_inner();
            Ok((stream, attempt.presence))
        }
    };
    // Who follows waits anyway.
    let plan = client.plan(Repeat::Harmless).with_fail_fast(false);
    client.pool().call(&plan, send).await
}
