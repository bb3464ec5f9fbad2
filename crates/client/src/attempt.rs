//! One attempt of a call at one node.

use std::{future::Future, time::Duration};

use rand::random;
use strongroom_base::RequestId;
use tonic::{Request, Response, Status, metadata::AsciiMetadataValue};

use crate::{balance::Connection, error::Error, token::Token};

/// Largest message that is taken from a node: a full page of events.
pub(crate) const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Who calls: the bearer token as a header. Clones share it.
#[derive(Clone)]
pub(crate) struct Credentials(Option<AsciiMetadataValue>);

impl Credentials {
    /// The header is marked so that it is never printed nor indexed by HPACK.
    pub(crate) fn new(token: Option<&Token>) -> Self {
        Self(token.map(|token| {
            let text = zeroize::Zeroizing::new(format!("Bearer {}", token.expose()));
            let mut value = AsciiMetadataValue::try_from(text.as_str())
                .expect("Token::new lets only header characters in");
            value.set_sensitive(true);
            value
        }))
    }

    /// The request with its metadata, without a deadline.
    pub(crate) fn request<M>(&self, message: M, request_id: RequestId) -> Request<M> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        if let Some(authorization) = &self.0 {
            metadata.insert("authorization", authorization.clone());
        }
        let id = AsciiMetadataValue::try_from(request_id.to_string())
            .expect("a UUID holds header characters only");
        metadata.insert("x-request-id", id);
        request
    }
}

/// Sends `message` on one connection, once, and awaits the answer for at most
/// `time`.
pub(crate) async fn send_once<M, A, F>(
    connection: &Connection,
    credentials: &Credentials,
    time: Duration,
    message: M,
    rpc: impl FnOnce(Connection, Request<M>) -> F,
) -> Result<A, Error>
where
    F: Future<Output = Result<Response<A>, Status>>,
{
    let request_id = RequestId::from_random(random());
    let mut request = credentials.request(message, request_id);
    request.set_timeout(time);
    match tokio::time::timeout(time, rpc(connection.clone(), request)).await {
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => Err(Error::from_status(&status, time)),
        Err(_) => Err(Error::deadline(time)),
    }
    .map_err(|error| error.at(connection.address(), request_id))
}

/// The generated client `$client` on a connection, with this crate's bounds.
macro_rules! stub {
    ($client:path, $connection:expr) => {{
        use $client as Stub;
        Stub::new($connection).max_decoding_message_size($crate::attempt::ANSWER_BYTES_MAX)
    }};
}
pub(crate) use stub;
