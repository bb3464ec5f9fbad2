//! A request that is answered with a stream: frames pass through as they come,
//! none is kept.
//!
//! The stream is opened at another node where nothing of it has come yet, and
//! never after its first frame. A task of its own reads the node; what its caller
//! doesn't read stops there, for a bounded time.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::Frame;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use strongroom_base::limits;
use strongroom_client::{
    Error,
    balance::{Attempt, Next, Plan, Presence, Repeat, next},
};
use tokio::sync::mpsc;
use tonic::{Status, body::Body};

use crate::{
    answer::{StreamBody, trailers},
    errors,
    node_request::{Outgoing, refusal},
    service::{Call, Service},
};

/// Frames between the task and its caller: one that is being sent, one that
/// waits.
const FRAMES: usize = 1;

/// A stream that a node granted.
struct Opened {
    headers: HeaderMap,
    body: Incoming,
    presence: Presence,
}

/// How a stream ended.
enum End {
    /// With these trailers of the node.
    Node(HeaderMap),
    /// With what the front says.
    Front(Status),
    /// The caller is gone, or doesn't read.
    Caller,
}

/// Forwards `call`; answers when a node granted it.
pub(crate) async fn forward(service: Arc<Service>, mut call: Call) -> Response<Body> {
    let opened = match open(&service, &call, call.left()).await {
        Ok(opened) => opened,
        Err(error) => {
            let refusal = service.nodes.refusal(&error, call.method);
            call.record.refused(&refusal);
            return refusal.into_http();
        }
    };
    let (frames, body) = mpsc::channel(FRAMES);
    let mut response = Response::new(Body::new(StreamBody(body)));
    *response.headers_mut() = opened.headers.clone();
    tokio::spawn(pass(service, call, opened, frames));
    response
}

async fn open(service: &Service, call: &Call, time: Duration) -> Result<Opened, Error> {
    let plan = Plan::new(Repeat::Harmless, time).with_request_id(call.id).with_fail_fast(true);
    let outgoing = Outgoing {
        method: call.method,
        headers: &call.headers,
        message: call.message.clone(),
        id: call.id,
    };
    let (outgoing, record) = (&outgoing, &call.record);
    // The time of a stream is all of its life, where its caller gave one.
    let told = call.given.map(|_| call.left());
    let send = |attempt: Attempt| {
        record.attempt(attempt.connection.address());
        async move {
            let response = outgoing.send(attempt.connection, told).await?;
            let (parts, body) = response.into_parts();
            Ok(Opened { headers: parts.headers, body, presence: attempt.presence })
        }
    };
    service.nodes.streams().call(&plan, send).await
}

/// Passes frames on until the stream ends.
async fn pass(
    service: Arc<Service>,
    mut call: Call,
    mut opened: Opened,
    frames: mpsc::Sender<Frame<Bytes>>,
) {
    let end = loop {
        let (end, begun) = tokio::select! {
            ended = read(&mut opened, &frames, &call, service.unread.patience) => ended,
            () = service.ending.cancelled() => (End::Front(errors::shutting_down()), true),
            () = frames.closed() => (End::Caller, true),
        };
        let status = match &end {
            End::Node(trailers) => refusal(trailers),
            End::Front(status) => Some(status.clone()),
            End::Caller => None,
        };
        let Some(status) = status.filter(|_| !begun) else { break end };
        let error = Error::from_status(&status, Duration::ZERO);
        if next(&error, Repeat::Harmless) == Next::Stop {
            break end;
        }
        let time = call.given.map_or(OPEN_AGAIN, |_| call.left());
        match open(&service, &call, time).await {
            Ok(again) => opened = again,
            Err(error) => break End::Front(service.nodes.refusal(&error, call.method)),
        }
    };
    let last = match end {
        End::Caller => return,
        End::Node(trailers) => trailers,
        End::Front(status) => trailers(&status),
    };
    match refusal(&last) {
        Some(status) => call.record.refused(&status),
        None => call.record.answered(),
    }
    // Who doesn't take even this is gone.
    let _ = tokio::time::timeout(service.unread.patience, frames.send(Frame::trailers(last))).await;
}

/// Time in which a stream that had no frame yet is opened again.
const OPEN_AGAIN: Duration = Duration::from_millis(limits::DEADLINE_DEFAULT_MS);

/// Reads one node's stream to its end. True: a frame of it was passed on.
async fn read(
    opened: &mut Opened,
    frames: &mpsc::Sender<Frame<Bytes>>,
    call: &Call,
    patience: Duration,
) -> (End, bool) {
    let mut begun = false;
    loop {
        let frame = tokio::select! {
            frame = opened.body.frame() => frame,
            () = opened.presence.lost() => return (End::Front(errors::stream_lost()), begun),
        };
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(_)) | None => return (End::Front(errors::stream_lost()), begun),
        };
        let frame = match frame.into_trailers() {
            Ok(trailers) => return (End::Node(trailers), begun),
            Err(frame) => frame,
        };
        match tokio::time::timeout(patience, frames.send(frame)).await {
            Ok(Ok(())) => begun = true,
            Ok(Err(_)) => return (End::Caller, begun),
            Err(_) => {
                let remote = call.connection.info.remote;
                tracing::info!(%remote, "a stream is not read: connection closed");
                call.connection.info.end();
                return (End::Caller, begun);
            }
        }
    }
}
