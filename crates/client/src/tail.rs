//! The audit log as it grows.

use std::time::Duration;

use rand::random;
use strongroom_base::RequestId;
use tonic::Streaming;

use crate::{
    attempt::stub,
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

/// Follows the audit log; opens its stream again at another node when one
/// breaks, and goes on where it was.
pub struct EventTail {
    client: Client,
    filter: EventFilter,
    from: From,
    stream: Option<Streaming<TailEventsResponse>>,
}

impl EventTail {
    pub(crate) fn new(client: Client, filter: EventFilter, from: From) -> Self {
        Self { client, filter, from, stream: None }
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
        let mut failed_for = Duration::ZERO;
        let mut round = 0;
        loop {
            let error = match self.advance().await {
                Ok(part) => {
                    self.from = From::Sequence(part.next_sequence);
                    return Ok(part);
                }
                Err(error) => error,
            };
            self.stream = None;
            round += 1;
            let wait = match retry::next(&error, Repeat::Harmless) {
                Next::Stop => return Err(error),
                Next::After(delay) => delay,
                Next::Elsewhere | Next::ElsewhereOrLater(_) => retry::backoff(round, random()),
            };
            failed_for += wait;
            if failed_for > self.client.timeout() {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn advance(&mut self) -> Result<TailEventsResponse, Error> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => {
                let stream = self.open().await?;
                self.stream.insert(stream)
            }
        };
        match stream.message().await {
            Ok(Some(part)) => Ok(part),
            // A node that shuts down ends its streams.
            Ok(None) => Err(Error::from_status(
                &tonic::Status::unavailable("the stream ended"),
                Duration::ZERO,
            )),
            Err(status) => Err(Error::from_status(&status, self.client.timeout())),
        }
    }

    /// Opens the stream at the first node that grants it.
    async fn open(&self) -> Result<Streaming<TailEventsResponse>, Error> {
        let request_id = RequestId::from_random(random());
        let time = self.client.timeout();
        let mut last = Error::deadline(time);
        for (index, node) in self.client.in_order() {
            let target = node.target();
            let (from_sequence, from_end) = match self.from {
                From::Sequence(sequence) => (sequence, false),
                From::End => (0, true),
            };
            let message =
                TailEventsRequest { filter: Some(self.filter.clone()), from_sequence, from_end };
            let request = target.request(message, request_id);
            let mut stub = stub!(AuditClient, target.channel.clone());
            let error = match tokio::time::timeout(time, stub.tail_events(request)).await {
                Ok(Ok(response)) => {
                    self.client.prefer(index);
                    return Ok(response.into_inner());
                }
                Ok(Err(status)) => Error::from_status(&status, time),
                Err(_) => Error::deadline(time),
            };
            last = error.at(&target.address, request_id);
            if retry::next(&last, Repeat::Harmless) == Next::Stop {
                break;
            }
        }
        Err(last)
    }
}
