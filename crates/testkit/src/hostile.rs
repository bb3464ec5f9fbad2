//! Requests that no client library would send.

use std::collections::BTreeSet;

use anyhow::Context as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderName, HeaderValue, TE},
};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::{Code, Status, body::Body};
use tower::{Service as _, ServiceExt as _};

use crate::caller::{Caller, Failure, StatusExt as _};

/// Paths of all methods of the public interface: `/strongroom.v1.Keys/CreateKey` …
///
/// # Errors
///
/// When the interface does not describe itself.
pub fn all_methods() -> anyhow::Result<BTreeSet<String>> {
    let files = FileDescriptorSet::decode(strongroom_wire::FILE_DESCRIPTOR_SET)?;
    let mut methods = BTreeSet::new();
    for file in files.file.iter().filter(|file| file.package() == "strongroom.v1") {
        for service in &file.service {
            for method in &service.method {
                let (service, method) = (service.name(), method.name());
                methods.insert(format!("/strongroom.v1.{service}/{method}"));
            }
        }
    }
    Ok(methods)
}

/// A message in its frame (gRPC over HTTP/2: `compressed(1) ‖ length(4)`).
#[must_use]
pub fn frame(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("a test's message");
    [&[0], &length.to_be_bytes()[..], message].concat().into()
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status code of HTTP.
    pub http: u16,
    /// What gRPC says, where it says something; `None` for success.
    pub failure: Option<Failure>,
}

impl Answer {
    /// Whether it refuses, on either level.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        self.http != 200 || self.failure.is_some()
    }
}

/// Sends `body`, whatever it is, to `path`, with headers that replace or follow
/// the usual ones.
///
/// # Errors
///
/// When there is no answer at all: the connection broke.
pub async fn raw_call(
    caller: &Caller,
    path: &str,
    body: Bytes,
    headers: &[(&'static str, String)],
) -> anyhow::Result<Answer> {
    let mut request = Request::post(path)
        .header(TE, "trailers")
        .header(CONTENT_TYPE, "application/grpc")
        .body(Body::new(Full::new(body)))?;
    for (name, value) in headers {
        let value = HeaderValue::try_from(value)?;
        request.headers_mut().insert(HeaderName::from_static(name), value);
    }
    let mut channel = caller.channel();
    let ready = channel.ready().await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let response = ready.call(request).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    let http = response.status().as_u16();
    let in_headers = failure(response.headers());
    let body = response.into_body().collect().await.context("the answer breaks off")?;
    let in_trailers = body.trailers().and_then(failure);
    Ok(Answer { http, failure: in_headers.or(in_trailers) })
}

fn failure(headers: &HeaderMap) -> Option<Failure> {
    let status = Status::from_header_map(headers)?;
    (status.code() != Code::Ok).then(|| status.failure())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_of_every_service_are_known() {
        let methods = all_methods().unwrap();
        for method in ["/strongroom.v1.Seal/SubmitShare", "/strongroom.v1.Audit/TailEvents"] {
            assert!(methods.contains(method), "{methods:?}");
        }
        assert!(methods.len() > 30, "{methods:?}");
    }
}
