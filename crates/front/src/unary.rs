//! A request with one answer: sent to one node after the other until one answers
//! for good, by the client's own rules of what may be sent again.

use std::sync::Arc;

use http::Response;
use strongroom_client::balance::{Attempt, Plan};
use tonic::body::Body;

use crate::{
    answer::WholeBody,
    node_request::Outgoing,
    service::{Call, Service},
};

/// Forwards `call`; the answer is held until it is whole.
pub(crate) async fn forward(service: &Arc<Service>, mut call: Call) -> Response<Body> {
    let plan = Plan::new(call.method.repeat(&call.message), call.left())
        .with_request_id(call.id)
        .with_fail_fast(true);
    let outgoing = Outgoing {
        method: call.method,
        headers: &call.headers,
        message: call.message.clone(),
        id: call.id,
    };
    let record = &call.record;
    let send = |attempt: Attempt| {
        record.attempt(attempt.connection.address());
        outgoing.send_and_read(attempt.connection, attempt.time, &service.admission.answer_bytes)
    };
    match service.nodes.calls().call(&plan, send).await {
        Ok(mut whole) => {
            call.record.answered();
            let headers = std::mem::take(&mut whole.headers);
            let on_its_way = service.unread.begin(&call.connection.info, std::time::Instant::now());
            let body = Body::new(WholeBody::new(whole, call.permit, on_its_way));
            let mut response = Response::new(body);
            *response.headers_mut() = headers;
            response
        }
        Err(error) => {
            let refusal = service.nodes.refusal(&error, call.method);
            call.record.refused(&refusal);
            refusal.into_http()
        }
    }
}
