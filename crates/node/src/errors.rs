//! The one table from what went wrong to what a caller is told.
//!
//! Every status carries `google.rpc.ErrorInfo` (domain `strongroom`) and, where
//! trying again later is right, `google.rpc.RetryInfo`. No status carries a
//! value that the caller sent, and none of a failed decryption any detail.
//!
//! | what happened | code | reason |
//! |---|---|---|
//! | refusal by a decision | by its class | its own |
//! | superseded too often | `ABORTED` | `CONTENTION` |
//! | node sealed | `FAILED_PRECONDITION` | `SEALED` |
//! | no quorum, nothing changed | `UNAVAILABLE` | `NO_QUORUM` |
//! | a change was proposed, outcome not known | `UNAVAILABLE` | `OUTCOME_UNKNOWN` |
//! | bounds on calls, bytes, queues, denials, disk | `RESOURCE_EXHAUSTED` | `OVERLOADED`, `DENIAL_LIMIT`, `DISK_RESERVE` |
//! | too large, undecodable | `INVALID_ARGUMENT` | `MESSAGE_TOO_LARGE`, `MALFORMED_MESSAGE` |
//! | a fault of this node | `INTERNAL` | `INTERNAL` |

use std::{collections::HashMap, time::Duration};

use strongroom_audit::Reason;
use strongroom_model::{Class, Refusal};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// Domain of every reason.
pub(crate) const DOMAIN: &str = "strongroom";

/// After this long an overloaded or contended node may be asked again.
const RETRY_SOON: Duration = Duration::from_millis(100);
/// After this long a cluster without quorum may be asked again.
const RETRY_QUORUM: Duration = Duration::from_secs(1);

fn status(
    code: Code,
    reason: &str,
    message: impl Into<String>,
    metadata: impl IntoIterator<Item = (&'static str, String)>,
    retry: Option<Duration>,
) -> Status {
    let metadata: HashMap<String, String> =
        metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    if let Some(delay) = retry {
        details.set_retry_info(Some(delay));
    }
    Status::with_error_details(code, message, details)
}

/// A refusal by a decision.
#[must_use]
pub(crate) fn refused(refusal: &Refusal) -> Status {
    let code = code_of(refusal.class());
    status(code, refusal.reason().text(), refusal.to_string(), refusal.metadata(), None)
}

/// The code of a class of refusals.
#[must_use]
pub(crate) fn code_of(class: Class) -> Code {
    match class {
        Class::InvalidArgument => Code::InvalidArgument,
        Class::Unauthenticated => Code::Unauthenticated,
        Class::PermissionDenied => Code::PermissionDenied,
        Class::NotFound => Code::NotFound,
        Class::AlreadyExists => Code::AlreadyExists,
        Class::FailedPrecondition => Code::FailedPrecondition,
    }
}

/// The node is sealed, or does not serve yet.
#[must_use]
pub(crate) fn sealed(state: &'static str) -> Status {
    let message = format!("this node is {state}: it answers no key operation");
    status(Code::FailedPrecondition, "SEALED", message, [("state", state.to_owned())], None)
}

/// No quorum: nothing was released and nothing was changed.
#[must_use]
pub(crate) fn no_quorum() -> Status {
    let message = "no quorum of the cluster answered in time; nothing was done";
    status(Code::Unavailable, "NO_QUORUM", message, [], Some(RETRY_QUORUM))
}

/// A change was proposed and its outcome is not known.
#[must_use]
pub(crate) fn outcome_unknown() -> Status {
    let message = "the change was proposed and its outcome is not known; read before trying again";
    status(Code::Unavailable, "OUTCOME_UNKNOWN", message, [], None)
}

/// Superseded again and again.
#[must_use]
pub(crate) fn contention() -> Status {
    let message = "what the call rests on changed again and again; nothing was done";
    status(Code::Aborted, "CONTENTION", message, [], Some(RETRY_SOON))
}

/// More shares came in a second than a node takes.
#[must_use]
pub(crate) fn share_rate() -> Status {
    let message = "shares come too fast for this node; give it again";
    let reason = Reason::ShareRateLimit.text();
    status(Code::ResourceExhausted, reason, message, [], Some(RETRY_SOON))
}

/// A bound of this node is reached.
#[must_use]
pub(crate) fn overloaded(what: &'static str) -> Status {
    let message = format!("this node is at its bound of {what}; nothing was done");
    let metadata = [("bound", what.to_owned())];
    status(Code::ResourceExhausted, "OVERLOADED", message, metadata, Some(RETRY_SOON))
}

/// The caller was denied too often.
#[must_use]
pub(crate) fn denials_limit() -> Status {
    let message = "the caller was denied too often lately; nothing was done";
    status(Code::ResourceExhausted, Reason::DenialLimit.text(), message, [], Some(RETRY_QUORUM))
}

/// The data disk is below its reserve.
#[must_use]
pub(crate) fn disk_reserve(free_bytes: u64) -> Status {
    let message = "the data disk of this node is below its reserve: uses of keys are refused; \
                   free space, or lower limits.disk_reserve_bytes";
    let metadata = [("free_bytes", free_bytes.to_string())];
    status(Code::ResourceExhausted, "DISK_RESERVE", message, metadata, Some(RETRY_QUORUM))
}

/// The data disks of other members are below their reserve, and no majority
/// would be left without them.
#[must_use]
pub(crate) fn disk_reserve_of_others() -> Status {
    let message = "the data disks of so many members are below their reserve that no majority \
                   would be left: uses of keys are refused; free space there";
    status(Code::ResourceExhausted, "DISK_RESERVE", message, [], Some(RETRY_QUORUM))
}

/// A field of a request is wrong.
#[must_use]
pub(crate) fn invalid_argument(field: &'static str, problem: &str) -> Status {
    let message = format!("{field} {problem}");
    let metadata = [("field", field.to_owned())];
    status(Code::InvalidArgument, "INVALID_ARGUMENT", message, metadata, None)
}

/// A message could not be taken at all.
#[must_use]
pub(crate) fn invalid_message(reason: &'static str, message: &str) -> Status {
    status(Code::InvalidArgument, reason, message, [], None)
}

/// A share was refused.
#[must_use]
pub(crate) fn share_refused(reason: &'static str, message: String) -> Status {
    status(Code::InvalidArgument, reason, message, [], None)
}

/// The state of the cluster forbids it.
#[must_use]
pub(crate) fn precondition(reason: &'static str, message: impl Into<String>) -> Status {
    status(Code::FailedPrecondition, reason, message, [], None)
}

/// Something that exists already.
#[must_use]
pub(crate) fn already_exists(reason: &'static str, message: impl Into<String>) -> Status {
    status(Code::AlreadyExists, reason, message, [], None)
}

/// Not allowed to this caller.
#[must_use]
pub(crate) fn denied(message: &'static str) -> Status {
    status(Code::PermissionDenied, "ACCESS_DENIED", message, [], None)
}

/// Nothing that may be reached now.
#[must_use]
pub(crate) fn unavailable(reason: &'static str, message: impl Into<String>) -> Status {
    status(Code::Unavailable, reason, message, [], Some(RETRY_QUORUM))
}

/// The deadline passed.
#[must_use]
pub(crate) fn deadline_exceeded() -> Status {
    let message = "the deadline passed before there was an answer";
    status(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", message, [], None)
}

/// No such method.
#[must_use]
pub(crate) fn unimplemented(message: &str) -> Status {
    let message = if message.is_empty() { "no such method" } else { message };
    status(Code::Unimplemented, "UNIMPLEMENTED", message, [], None)
}

/// A fault of this node that has no error value: `what` goes to the log.
#[must_use]
pub(crate) fn fault(what: &'static str) -> Status {
    tracing::error!("a call failed by a fault of this node: {what}");
    let message = "a fault of this node; its log says which";
    status(Code::Internal, "INTERNAL", message, [], None)
}

/// A fault of this node: the chain of causes goes to the log, the caller learns
/// that there was one.
#[must_use]
pub(crate) fn internal(error: &dyn std::error::Error) -> Status {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        chain.push_str(": ");
        chain.push_str(&cause.to_string());
        source = cause.source();
    }
    tracing::error!(error = %chain, "a call failed by a fault of this node");
    let message = "a fault of this node; its log says which";
    status(Code::Internal, "INTERNAL", message, [], None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_names_reason_and_domain() {
        for status in [sealed("sealed"), no_quorum(), contention(), overloaded("calls")] {
            let details = status.get_error_details();
            let info = details.error_info().unwrap();
            assert_eq!(info.domain, DOMAIN);
            assert!(!info.reason.is_empty());
        }
    }

    #[test]
    fn a_retry_is_advised_only_where_nothing_was_done() {
        assert!(no_quorum().get_error_details().retry_info().is_some());
        assert!(outcome_unknown().get_error_details().retry_info().is_none());
    }
}
