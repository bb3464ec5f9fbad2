//! Statuses that the transport library made by itself, in our terms.
//!
//! | from the library | becomes |
//! |---|---|
//! | `OUT_OF_RANGE`: the message is larger than the bound | `INVALID_ARGUMENT`, `MESSAGE_TOO_LARGE` |
//! | `INTERNAL`: the message can't be decoded | `INVALID_ARGUMENT`, `MALFORMED_MESSAGE` |
//! | `CANCELLED`: its own timeout | `DEADLINE_EXCEEDED`, `DEADLINE_EXCEEDED` |
//! | `UNIMPLEMENTED`: no such method or compression | the same code, `UNIMPLEMENTED` |
//!
//! Ours are known by their details, which the library's never have.

use http::{HeaderMap, Response};
use tonic::{Code, Status, body::Body};

use crate::errors;

/// Puts the status of `response` into our terms, where its headers carry one;
/// gives its code (`Ok` where the status comes only after the body).
pub(super) fn translate(response: &mut Response<Body>) -> Code {
    let headers = response.headers();
    let Some(code) = code_of(headers) else { return Code::Ok };
    if code == Code::Ok || headers.contains_key("grpc-status-details-bin") {
        return code;
    }
    let replacement = match code {
        Code::OutOfRange => errors::invalid_message("MESSAGE_TOO_LARGE", &message_of(headers)),
        Code::Internal => errors::invalid_message("MALFORMED_MESSAGE", &message_of(headers)),
        Code::Cancelled | Code::DeadlineExceeded => errors::deadline_exceeded(),
        Code::Unimplemented => errors::unimplemented(&message_of(headers)),
        // The budget of bytes refuses inside the body, where the library
        // carries our code and message but drops the details.
        Code::ResourceExhausted => errors::overloaded("request bytes"),
        _ => return code,
    };
    let code = replacement.code();
    *response = replacement.into_http();
    code
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get("grpc-status").map(|value| Code::from_bytes(value.as_bytes()))
}

/// The library's words, which name sizes and fields but no content.
fn message_of(headers: &HeaderMap) -> String {
    Status::from_header_map(headers).map(|status| status.message().to_owned()).unwrap_or_default()
}
