//! One attempt at one node, as bytes.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method as HttpMethod, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use strongroom_base::{RequestId, limits};
use strongroom_client::balance::Connection;
use tonic::{Code, Status, body::Body};
use tower::Service as _;

use crate::{
    budget::{Budget, Share},
    errors, metadata,
    routes::Method,
};

/// What each attempt of one call sends.
pub(crate) struct Outgoing<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) message: Bytes,
    pub(crate) id: RequestId,
}

/// A whole answer of a node whose status is OK.
pub(crate) struct Whole {
    pub(crate) headers: HeaderMap,
    pub(crate) data: Vec<Bytes>,
    pub(crate) trailers: HeaderMap,
    /// Keeps the data counted.
    pub(crate) held: Share,
}

impl Outgoing<'_> {
    /// Sends the request on `connection` and awaits the head of the response. The
    /// node is told that it has `time`, where one is given.
    ///
    /// # Errors
    ///
    /// The status in the head, where it is not OK; or what became of the
    /// connection, as its source.
    pub(crate) async fn send(
        &self,
        mut connection: Connection,
        time: Option<Duration>,
    ) -> Result<Response<Incoming>, Status> {
        let mut request = Request::new(Body::new(Full::new(self.message.clone())));
        *request.method_mut() = HttpMethod::POST;
        *request.uri_mut() = self.method.uri.clone();
        *request.version_mut() = Version::HTTP_2;
        let mut headers = self.headers.clone();
        metadata::of_attempt(&mut headers, self.id, time);
        *request.headers_mut() = headers;
        let response =
            connection.call(request).await.map_err(|error| Status::from_error(error.into()))?;
        if response.status() != http::StatusCode::OK {
            let message = format!("the node answered with HTTP status {}", response.status());
            return Err(Status::internal(message));
        }
        match refusal(response.headers()) {
            Some(status) => Err(status),
            None => Ok(response),
        }
    }

    /// As [`Outgoing::send`], and reads the answer to its end.
    ///
    /// # Errors
    ///
    /// Also the status behind the answer, an answer that was cut, and one that is
    /// too large or finds no room in `budget`.
    pub(crate) async fn send_and_read(
        &self,
        connection: Connection,
        time: Duration,
        budget: &std::sync::Arc<Budget>,
    ) -> Result<Whole, Status> {
        let response = self.send(connection, Some(time)).await?;
        let (parts, mut body) = response.into_parts();
        let (mut held, mut bytes) = (budget.nothing(), 0_usize);
        let mut data = Vec::with_capacity(1);
        while let Some(frame) = body.frame().await {
            match frame.map_err(|error| Status::from_error(error.into()))?.into_data() {
                Ok(part) => {
                    bytes += part.len();
                    let fits = bytes <= limits::FRONT_ANSWER_MESSAGE_BYTES_MAX;
                    if !fits || !held.grow(part.len()) {
                        return Err(errors::answer_not_held());
                    }
                    data.push(part);
                }
                Err(frame) => {
                    let trailers = Frame::into_trailers(frame).unwrap_or_default();
                    return match refusal(&trailers) {
                        Some(status) => Err(status),
                        None => Ok(Whole { headers: parts.headers, data, trailers, held }),
                    };
                }
            }
        }
        if parts.headers.contains_key(Status::GRPC_STATUS) {
            return Ok(Whole { headers: parts.headers, data, trailers: HeaderMap::new(), held });
        }
        Err(Status::unavailable("the answer of the node was cut"))
    }
}

/// The status in headers or trailers, where it is not OK.
pub(crate) fn refusal(headers: &HeaderMap) -> Option<Status> {
    Status::from_header_map(headers).filter(|status| status.code() != Code::Ok)
}
