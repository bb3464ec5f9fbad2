//! What the end of an attempt says of its node. Decides only.

use std::time::Duration;

use tonic::Code;

use super::health::Leave;
use crate::error::{Error, Origin, reason};

/// A node that can't serve is left alone for this long before calls are the
/// probe again.
const LEAVE: Duration = Duration::from_secs(1);
/// A node at one of its bounds is left alone for this long at least.
const LEAVE_LEAST: Duration = Duration::from_millis(100);

/// How an attempt ended, as far as its node is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The node did its work: a result, or a refusal that any node would give.
    Answered,
    /// The node answered that it can't serve for now.
    Refused {
        /// Leave it alone for this long.
        leave: Duration,
    },
    /// The node answered that time ran out, or that it found no quorum in time.
    Late {
        /// Leave it alone for this long; zero: don't.
        leave: Duration,
    },
    /// No answer in the time that the attempt had.
    GivenUp,
    /// Nobody waits for the answer any more: the caller went away, or another
    /// attempt was faster.
    Dropped,
    /// The connection broke with the request on its way.
    Broken {
        /// Leave it alone for this long, or until a probe finds that it serves.
        leave: Duration,
    },
    /// No connection; nothing was sent.
    Unsent {
        /// Leave it alone for this long, or until a probe finds that it serves.
        leave: Duration,
    },
}

impl Outcome {
    /// Reads a failure.
    #[must_use]
    pub fn of(error: &Error) -> Self {
        match error.origin() {
            Origin::NotSent => Self::Unsent { leave: LEAVE },
            Origin::NoAnswer if error.reason() == reason::OUTCOME_UNKNOWN => {
                Self::Broken { leave: LEAVE }
            }
            Origin::NoAnswer => Self::GivenUp,
            Origin::Service => match error.reason() {
                reason::SEALED
                | reason::UNINITIALISED
                | reason::DISK_RESERVE
                | reason::SHUTTING_DOWN => Self::Refused { leave: LEAVE },
                reason::OVERLOADED => {
                    let advice = error.retry_after().unwrap_or(LEAVE_LEAST);
                    Self::Refused { leave: advice.clamp(LEAVE_LEAST, LEAVE) }
                }
                reason::NO_QUORUM => Self::Late { leave: LEAVE },
                reason::DEADLINE_EXCEEDED | reason::OUTCOME_UNKNOWN => {
                    Self::Late { leave: Duration::ZERO }
                }
                _ if error.code() == Code::Unavailable => Self::Refused { leave: LEAVE_LEAST },
                _ => Self::Answered,
            },
        }
    }

    pub(crate) fn leave(self) -> Option<Leave> {
        let (time, until_probe) = match self {
            Self::Answered | Self::GivenUp | Self::Dropped => return None,
            Self::Refused { leave } | Self::Late { leave } => (leave, false),
            Self::Broken { leave } | Self::Unsent { leave } => (leave, true),
        };
        (!time.is_zero()).then_some(Leave { time, until_probe })
    }

    /// True where the node said something.
    pub(crate) fn was_heard(self) -> bool {
        matches!(self, Self::Answered | Self::Refused { .. } | Self::Late { .. })
    }

    /// True where a probe should find out at once. A node at its bounds, and one
    /// whose callers go away, is spared it.
    pub(crate) fn asks_for_probe(self) -> bool {
        match self {
            Self::Answered | Self::Dropped | Self::Late { .. } => false,
            Self::GivenUp | Self::Broken { .. } | Self::Unsent { .. } => true,
            Self::Refused { leave } => leave >= LEAVE,
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;
    use tonic_types::{ErrorDetails, StatusExt as _};

    use super::*;

    fn refused(code: Code, reason: &str, retry: Option<Duration>) -> Outcome {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, "strongroom", [("a".to_owned(), "b".to_owned())]);
        if retry.is_some() {
            details.set_retry_info(retry);
        }
        let status = Status::with_error_details(code, "no", details);
        Outcome::of(&Error::from_status(&status, Duration::ZERO))
    }

    #[test]
    fn a_refusal_that_any_node_would_give_speaks_against_none() {
        for (code, reason) in [
            (Code::PermissionDenied, "ACCESS_DENIED"),
            (Code::InvalidArgument, "INVALID_CIPHERTEXT"),
            (Code::ResourceExhausted, "DENIAL_LIMIT"),
            (Code::Aborted, reason::CONTENTION),
        ] {
            let outcome = refused(code, reason, None);
            assert_eq!(outcome, Outcome::Answered);
            assert_eq!(outcome.leave(), None);
        }
    }

    #[test]
    fn a_node_that_cannot_serve_is_left_alone_and_for_no_longer_than_a_second() {
        let minute = Some(Duration::from_secs(60));
        for (code, reason) in [
            (Code::FailedPrecondition, reason::SEALED),
            (Code::Unavailable, reason::NO_QUORUM),
            (Code::Unavailable, reason::SHUTTING_DOWN),
            (Code::ResourceExhausted, reason::OVERLOADED),
        ] {
            let leave = refused(code, reason, minute).leave().unwrap();
            assert_eq!(leave, Leave { time: LEAVE, until_probe: false }, "{reason}");
        }
    }

    #[test]
    fn a_caller_in_a_hurry_drives_nobody_away() {
        assert_eq!(Outcome::of(&Error::deadline(Duration::ZERO)).leave(), None);
        let late = refused(Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED, None);
        assert_eq!(late.leave(), None);
    }

    #[test]
    fn only_doubt_asks_for_a_probe() {
        assert!(!Outcome::Answered.asks_for_probe());
        assert!(!Outcome::Dropped.asks_for_probe());
        assert!(Outcome::GivenUp.asks_for_probe());
        let soon = Some(Duration::from_millis(100));
        let (precondition, exhausted) = (Code::FailedPrecondition, Code::ResourceExhausted);
        assert!(refused(precondition, reason::SEALED, None).asks_for_probe());
        assert!(!refused(exhausted, reason::OVERLOADED, soon).asks_for_probe());
    }

    #[test]
    fn a_broken_connection_is_forgiven_by_a_probe() {
        let lost = Error::from_status(&Status::unavailable("reset"), Duration::ZERO);
        assert!(Outcome::of(&lost).leave().unwrap().until_probe);
    }
}
