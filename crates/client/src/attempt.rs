//! One attempt of a call at one node.

use std::{future::Future, time::Duration};

use rand::random;
use strongroom_base::RequestId;
use tokio::time::Instant;
use tonic::{Request, Response, Status, metadata::AsciiMetadataValue, transport::Channel};

use crate::{address::Address, error::Error, token::Token};

/// Largest message that is taken from a node: a full page of events.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// What all attempts of one call share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    /// Under which the service records them.
    pub(crate) request_id: RequestId,
    /// When the call ends.
    deadline: Instant,
    /// The time that it had in all.
    timeout: Duration,
}

impl Call {
    pub(crate) fn begin(timeout: Duration) -> Self {
        let request_id = RequestId::from_random(random());
        Self { request_id, deadline: Instant::now() + timeout, timeout }
    }

    /// Time left; zero when there is none.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// The time that it had in all.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }
}

/// A node as attempts see it. Clones share the connection.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) channel: Channel,
    /// `authorization`, marked so that it is never printed nor indexed by HPACK.
    authorization: Option<AsciiMetadataValue>,
}

impl Target {
    pub(crate) fn new(address: Address, channel: Channel, token: Option<&Token>) -> Self {
        let authorization = token.map(|token| {
            let text = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
            let mut value = AsciiMetadataValue::try_from(text.as_str())
                .expect("Token::new lets only header characters in");
            value.set_sensitive(true);
            value
        });
        Self { address, channel, authorization }
    }

    /// The request with its metadata, without a deadline.
    pub(crate) fn request<M>(&self, message: M, request_id: RequestId) -> Request<M> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        if let Some(authorization) = &self.authorization {
            metadata.insert("authorization", authorization.clone());
        }
        let id = AsciiMetadataValue::try_from(request_id.to_string())
            .expect("a UUID holds header characters only");
        metadata.insert("x-request-id", id);
        request
    }

    /// Sends `message` and awaits the answer for at most `time`.
    pub(crate) async fn attempt<M, A, F>(
        &self,
        call: &Call,
        time: Duration,
        message: M,
        rpc: impl FnOnce(Channel, Request<M>) -> F,
    ) -> Result<A, Error>
    where
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let mut request = self.request(message, call.request_id);
        request.set_timeout(time);
        let answer = tokio::time::timeout(time, rpc(self.channel.clone(), request)).await;
        match answer {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Error::from_status(&status, time)),
            Err(_) => Err(Error::deadline(time)),
        }
        .map_err(|error| error.at(&self.address, call.request_id))
    }
}

/// The generated client `$client` on a channel, with this crate's bounds.
macro_rules! stub {
    ($client:path, $channel:expr) => {{
        use $client as Stub;
        Stub::new($channel).max_decoding_message_size($crate::attempt::ANSWER_BYTES)
    }};
}
pub(crate) use stub;

/// For the macro above.
pub(crate) const ANSWER_BYTES: usize = ANSWER_BYTES_MAX;
