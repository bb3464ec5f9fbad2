//! What follows a failed attempt. Decides only; waits and sends nothing.

use std::time::Duration;

use tonic::Code;

use crate::error::{Error, Origin, reason};

/// Whether a call may be sent again when it is unknown if it took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// A repeat changes nothing more: reads, uses of keys (an attempt whose
    /// answer was lost released nothing and leaves one more audit record),
    /// settings of a state.
    Harmless,
    /// A repeat would do it twice.
    Never,
}

/// Calls of `strongroom.v1` whose repeat is harmless, whatever they carry.
const HARMLESS: &[&str] = &[
    "/strongroom.v1.Access/AttachRole",
    "/strongroom.v1.Access/DetachRole",
    "/strongroom.v1.Access/ListTokens",
    "/strongroom.v1.Access/RevokeToken",
    "/strongroom.v1.Access/WhoAmI",
    "/strongroom.v1.Audit/ListEvents",
    "/strongroom.v1.Audit/TailEvents",
    "/strongroom.v1.Cluster/ListEpochs",
    "/strongroom.v1.Cluster/ListMembers",
    "/strongroom.v1.Crypto/Decrypt",
    "/strongroom.v1.Crypto/DecryptBatch",
    "/strongroom.v1.Crypto/Encrypt",
    "/strongroom.v1.Crypto/GenerateDataKey",
    "/strongroom.v1.Crypto/GenerateDataKeyWithoutPlaintext",
    "/strongroom.v1.Crypto/GenerateDataKeys",
    "/strongroom.v1.Crypto/GenerateRandom",
    "/strongroom.v1.Crypto/ReEncrypt",
    "/strongroom.v1.Keys/DescribeKey",
    "/strongroom.v1.Keys/DisableKey",
    "/strongroom.v1.Keys/EnableKey",
    "/strongroom.v1.Keys/ListKeys",
];

impl Repeat {
    /// Of a call by its path, `/package.Service/Operation`, for whoever doesn't
    /// look into messages. What is not known is never repeated; nor is
    /// `CreateKey`, whose repeat is harmless only under a `client_token`.
    #[must_use]
    pub fn of_path(path: &str) -> Self {
        if HARMLESS.contains(&path) { Self::Harmless } else { Self::Never }
    }
}

/// What to do after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The answer stands.
    Stop,
    /// Try the next address; when none is left, stop.
    Elsewhere,
    /// Try the next address; when none is left, wait a little, and this long at
    /// least, and begin anew.
    ElsewhereOrLater(Duration),
    /// Wait this long, then begin anew.
    After(Duration),
}

/// Least time of one attempt: an election and a commit fit.
const LEAST: Duration = Duration::from_secs(2);
/// First wait between two rounds over the addresses.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
/// Longest wait between two rounds.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Decides what may follow `error`, the failure of one attempt.
#[must_use]
pub fn next(error: &Error, repeat: Repeat) -> Next {
    match error.origin() {
        Origin::NotSent => match error.reason() {
            reason::CLIENT_CONFIGURATION => Next::Stop,
            // A certificate doesn't change by waiting; a node comes back.
            reason::UNTRUSTED_SERVER => Next::Elsewhere,
            _ => Next::ElsewhereOrLater(Duration::ZERO),
        },
        Origin::NoAnswer => unknown(repeat),
        Origin::Service => match (error.code(), error.reason()) {
            (Code::DeadlineExceeded, _) | (_, reason::OUTCOME_UNKNOWN) => unknown(repeat),
            (Code::Internal, reason::INTERNAL) if repeat == Repeat::Harmless => Next::Elsewhere,
            // Bounds and states of one node: another may serve.
            (_, reason::SEALED) if is_verifying(error) => Next::ElsewhereOrLater(Duration::ZERO),
            (_, reason::SEALED | reason::UNINITIALISED | reason::DISK_RESERVE) => Next::Elsewhere,
            (_, reason::OVERLOADED) => {
                Next::ElsewhereOrLater(error.retry_after().unwrap_or_default())
            }
            // An election takes less than the service's advice, which is for
            // callers that don't back off by themselves.
            (Code::Unavailable, reason) if !reason.is_empty() => {
                Next::ElsewhereOrLater(Duration::ZERO)
            }
            (Code::Aborted, _) => error.retry_after().map_or(Next::Stop, Next::After),
            _ => Next::Stop,
        },
    }
}

/// True where a node has its shares and will serve by itself, soon.
fn is_verifying(error: &Error) -> bool {
    error.metadata().get("state").is_some_and(|state| state == "verifying")
}

/// True for what ends when people act, or a process starts: callers that don't
/// want to wait for that needn't.
pub(crate) fn is_lasting(error: &Error) -> bool {
    error.origin() == Origin::NotSent || error.reason() == reason::SEALED
}

/// True where the failed attempt cost its node next to nothing, so that the one
/// that follows is not taken out of the budget.
pub(crate) fn is_free(error: &Error) -> bool {
    let states =
        [reason::SEALED, reason::UNINITIALISED, reason::DISK_RESERVE, reason::SHUTTING_DOWN];
    error.origin() == Origin::NotSent || states.contains(&error.reason())
}

fn unknown(repeat: Repeat) -> Next {
    match repeat {
        Repeat::Harmless => Next::ElsewhereOrLater(Duration::ZERO),
        Repeat::Never => Next::Stop,
    }
}

/// Wait before round `round` (from 1), a random part `jitter` of 0 to 1 of it
/// taken off by half, so that callers that failed together don't return
/// together.
pub(crate) fn backoff(round: u32, jitter: f64) -> Duration {
    let doubled = BACKOFF_FIRST.saturating_mul(1 << round.saturating_sub(1).min(10));
    doubled.min(BACKOFF_MAX).mul_f64(1.0 - jitter.clamp(0.0, 1.0) / 2.0)
}

/// Time for one attempt of `left` that a call has, with `addresses` still to
/// try in this round.
///
/// A call that may be repeated gives a silent node only its part, so that one
/// hung node doesn't use up the deadline; any other waits as long as it may.
pub(crate) fn attempt_time(left: Duration, addresses: usize, repeat: Repeat) -> Duration {
    match repeat {
        Repeat::Never => left,
        Repeat::Harmless => {
            let parts = u32::try_from(addresses).unwrap_or(u32::MAX).max(1);
            (left / parts).max(LEAST).min(left)
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn service(code: Code, reason: &str, retry: Option<Duration>) -> Error {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, "strongroom", [("a".to_owned(), "b".to_owned())]);
        if retry.is_some() {
            details.set_retry_info(retry);
        }
        let status = Status::with_error_details(code, "no", details);
        Error::from_status(&status, Duration::ZERO)
    }

    #[test]
    fn an_unknown_outcome_is_repeated_only_where_that_is_harmless() {
        let unknown = service(Code::Unavailable, reason::OUTCOME_UNKNOWN, None);
        let late = service(Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED, None);
        for error in [unknown, late, Error::deadline(Duration::ZERO)] {
            assert!(!error.is_surely_not_executed());
            assert_eq!(next(&error, Repeat::Never), Next::Stop);
            let later = Next::ElsewhereOrLater(Duration::ZERO);
            assert_eq!(next(&error, Repeat::Harmless), later);
        }
    }

    #[test]
    fn a_refusal_stands() {
        for code in [Code::InvalidArgument, Code::PermissionDenied, Code::NotFound] {
            assert_eq!(next(&service(code, "ANY", None), Repeat::Harmless), Next::Stop);
        }
        let denied = service(Code::ResourceExhausted, "DENIALS_LIMIT", Some(LEAST));
        assert_eq!(next(&denied, Repeat::Harmless), Next::Stop);
    }

    #[test]
    fn what_surely_did_nothing_is_tried_elsewhere() {
        let sealed = service(Code::FailedPrecondition, reason::SEALED, None);
        assert_eq!(next(&sealed, Repeat::Never), Next::Elsewhere);
        let no_quorum = service(Code::Unavailable, reason::NO_QUORUM, None);
        assert_eq!(next(&no_quorum, Repeat::Never), Next::ElsewhereOrLater(Duration::ZERO));
        let busy = service(Code::ResourceExhausted, reason::OVERLOADED, Some(LEAST));
        assert_eq!(next(&busy, Repeat::Never), Next::ElsewhereOrLater(LEAST));
        let delay = Duration::from_millis(70);
        let contention = service(Code::Aborted, reason::CONTENTION, Some(delay));
        assert_eq!(next(&contention, Repeat::Never), Next::After(delay));
    }

    #[test]
    fn a_node_that_will_serve_soon_is_waited_for_and_a_sealed_one_is_not() {
        let sealed = |state: &str| {
            let mut details = ErrorDetails::new();
            let metadata = [("state".to_owned(), state.to_owned())];
            details.set_error_info(reason::SEALED, "strongroom", metadata);
            let status = Status::with_error_details(Code::FailedPrecondition, "no", details);
            next(&Error::from_status(&status, Duration::ZERO), Repeat::Never)
        };
        assert_eq!(sealed("sealed"), Next::Elsewhere);
        assert_eq!(sealed("verifying"), Next::ElsewhereOrLater(Duration::ZERO));
    }

    #[test]
    fn a_fault_of_one_node_is_tried_elsewhere_only_where_that_is_harmless() {
        let fault = service(Code::Internal, reason::INTERNAL, None);
        assert_eq!(next(&fault, Repeat::Never), Next::Stop);
        assert_eq!(next(&fault, Repeat::Harmless), Next::Elsewhere);
    }

    #[test]
    fn what_makes_something_is_never_taken_for_harmless() {
        for name in [
            "Keys/CreateKey",
            "Access/CreateToken",
            "Cluster/RotateBarrier",
            "Cluster/DropEpoch",
            "Seal/Init",
            "Crypto/Invented",
        ] {
            assert_eq!(Repeat::of_path(&format!("/strongroom.v1.{name}")), Repeat::Never);
        }
        assert_eq!(Repeat::of_path("/strongroom.v1.Crypto/Decrypt"), Repeat::Harmless);
    }

    #[test]
    fn what_costs_a_node_work_is_paid_for() {
        let overloaded = service(Code::ResourceExhausted, reason::OVERLOADED, None);
        assert!(!is_free(&overloaded));
        assert!(!is_free(&Error::deadline(Duration::ZERO)));
        assert!(is_free(&service(Code::FailedPrecondition, reason::SEALED, None)));
    }

    #[test]
    fn waits_grow_to_a_bound_and_keep_half_of_it() {
        assert_eq!(backoff(1, 0.0), BACKOFF_FIRST);
        assert_eq!(backoff(2, 1.0), BACKOFF_FIRST);
        assert_eq!(backoff(u32::MAX, 0.0), BACKOFF_MAX);
    }

    #[test]
    fn one_silent_node_never_takes_the_whole_deadline_of_a_harmless_call() {
        let left = Duration::from_secs(12);
        assert_eq!(attempt_time(left, 3, Repeat::Harmless), Duration::from_secs(4));
        assert_eq!(attempt_time(left, 3, Repeat::Never), left);
        let short = Duration::from_secs(1);
        assert_eq!(attempt_time(short, 3, Repeat::Harmless), short);
        assert_eq!(attempt_time(left, 1, Repeat::Harmless), left);
    }
}
