//! What a front itself tells a caller; what nodes say passes through unchanged.
//!
//! | what happened | code | reason |
//! |---|---|---|
//! | no node could take the request | `UNAVAILABLE` | `NO_SERVING_NODE` |
//! | a node was lost with a change on its way | `UNAVAILABLE` | `OUTCOME_UNKNOWN` |
//! | no answer in time | `DEADLINE_EXCEEDED` | `DEADLINE_EXCEEDED` |
//! | bounds on requests, bytes, streams, rate | `RESOURCE_EXHAUSTED` | `OVERLOADED` |
//! | a node's answer found no room | `RESOURCE_EXHAUSTED` | `ANSWER_LOST` |
//! | a node was lost while it sent a stream | `UNAVAILABLE` | `STREAM_LOST` |
//! | a call that is for one node | `FAILED_PRECONDITION` | `NOT_THROUGH_A_FRONT` |
//! | forwarded words from a caller | `PERMISSION_DENIED` | `ACCESS_DENIED` |
//! | too large, not one message | `INVALID_ARGUMENT` | `MESSAGE_TOO_LARGE`, `MALFORMED_MESSAGE` |
//! | this front ends | `UNAVAILABLE` | `SHUTTING_DOWN` |

use std::{collections::HashMap, time::Duration};

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// Domain of every reason, as the nodes'.
const DOMAIN: &str = "strongroom";
/// After this long an overloaded front may be asked again.
const RETRY_SOON: Duration = Duration::from_millis(100);
/// After this long nodes may serve again.
const RETRY_NODES: Duration = Duration::from_secs(1);

/// No node could take the request.
pub(crate) const NO_SERVING_NODE: &str = "NO_SERVING_NODE";

/// A node's address, and in words why it doesn't serve.
pub(crate) type NodeState = (String, String);

fn status(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: impl IntoIterator<Item = (String, String)>,
    retry: Option<Duration>,
) -> Status {
    let metadata: HashMap<String, String> = metadata.into_iter().collect();
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if let Some(delay) = retry {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code, message, details)
}

fn one(key: &str, value: impl Into<String>) -> [(String, String); 1] {
    [(key.to_owned(), value.into())]
}

/// No node could take the request; nothing was done. `states` of all nodes go
/// into message and metadata (address, then state).
pub(crate) fn no_serving_node(states: Vec<NodeState>) -> Status {
    let mut message = "no node can serve this request: ".to_owned();
    if states.is_empty() {
        message.push_str("none is known (are the names in `nodes` resolved?)");
    }
    for (index, (address, state)) in states.iter().enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        message.push_str(&format!("{comma}{address} is {state}"));
    }
    status(Code::Unavailable, NO_SERVING_NODE, message, states, Some(RETRY_NODES))
}

/// A node was lost while a change was on its way to it.
pub(crate) fn outcome_unknown() -> Status {
    let message = "the node was lost before it answered; the change may have taken effect: read \
                   before trying again";
    status(Code::Unavailable, "OUTCOME_UNKNOWN", message, [], None)
}

/// The deadline passed.
pub(crate) fn deadline_exceeded() -> Status {
    let message = "the deadline passed before there was an answer";
    status(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message, [], None)
}

/// A bound of this front is reached.
pub(crate) fn overloaded(what: &'static str) -> Status {
    let message = format!("this front is at its bound of {what}; nothing was done");
    status(Code::ResourceExhausted, "OVERLOADED", message, one("bound", what), Some(RETRY_SOON))
}

/// A node answered, and there is no room for the answer here.
pub(crate) fn answer_not_held() -> Status {
    let message = "the node answered, and this front has no room for the answer: it is lost";
    status(Code::ResourceExhausted, "ANSWER_LOST", message, [], None)
}

/// A call that is for one node.
pub(crate) fn not_through_a_front() -> Status {
    let message = "this call acts on one node, and a front picks one for each request: address \
                   the node itself";
    status(Code::FailedPrecondition, "NOT_THROUGH_A_FRONT", message, [], None)
}

/// No such method.
pub(crate) fn unimplemented() -> Status {
    status(Code::Unimplemented, "UNIMPLEMENTED", "no such method", [], None)
}

/// Words that a front adds, from a caller.
pub(crate) fn forwarded_by_caller() -> Status {
    let message = "only a front may say on whose behalf it calls";
    status(Code::PermissionDenied, "ACCESS_DENIED", message, [], None)
}

/// A field of the request's metadata is wrong.
pub(crate) fn invalid_argument(field: &'static str, problem: &str) -> Status {
    let message = format!("{field} {problem}");
    status(Code::InvalidArgument, "INVALID_ARGUMENT", message, one("field", field), None)
}

/// The message is larger than `bytes_max`.
pub(crate) fn message_too_large(bytes_max: usize) -> Status {
    let message = format!("the message is larger than {bytes_max} bytes");
    status(Code::InvalidArgument, "MESSAGE_TOO_LARGE", message, [], None)
}

/// Not exactly one message.
pub(crate) fn malformed_message() -> Status {
    let message = "the request must be one whole gRPC message";
    status(Code::InvalidArgument, "MALFORMED_MESSAGE", message, [], None)
}

/// This front ends.
pub(crate) fn shutting_down() -> Status {
    let message = "this front is shutting down; ask again";
    status(Code::Unavailable, "SHUTTING_DOWN", message, [], Some(RETRY_SOON))
}

/// The stream broke on its way; nothing of it was changed.
pub(crate) fn stream_lost() -> Status {
    let message = "the node was lost while it sent the stream; open it again where it ended";
    status(Code::Unavailable, "STREAM_LOST", message, [], Some(RETRY_SOON))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_serving_node_names_each_node_and_its_state() {
        let states = [("a:1", "sealed"), ("b:2", "unreachable")]
            .map(|(address, state)| (address.to_owned(), state.to_owned()));
        let status = no_serving_node(states.to_vec());
        assert!(status.message().ends_with("a:1 is sealed, b:2 is unreachable"));
        let details = status.get_error_details();
        let info = details.error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (NO_SERVING_NODE, DOMAIN));
        assert_eq!(info.metadata["b:2"], "unreachable");
        assert!(details.retry_info().is_some());
    }

    #[test]
    fn a_retry_is_not_advised_where_a_change_may_have_taken_effect() {
        for status in [outcome_unknown(), deadline_exceeded()] {
            assert!(status.get_error_details().retry_info().is_none());
        }
    }
}
