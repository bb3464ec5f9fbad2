//! What a failed call says.

use std::error::Error as _;

use anyhow::Context as _;
use strongroom_net::ConnectError;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Reason given to a call that ended without a word from the node.
const NO_ANSWER: &str = "NO_ANSWER";
/// Reason given to a call for which there was no connection: nothing was sent.
const NOT_SENT: &str = "NOT_SENT";

/// What a failed call says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// gRPC code.
    pub code: Code,
    /// Reason in `ErrorInfo`. `NOT_SENT` without a connection, `NO_ANSWER` where
    /// the call broke off; empty where the node gave none, which it never should.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Failure {
    /// Whether a record of the attempt may have been committed, for all that
    /// the caller knows. (A use that was refused for want of a quorum may have
    /// been proposed: its result was thrown away.)
    #[must_use]
    pub fn may_be_recorded(&self) -> bool {
        let unknown = ["OUTCOME_UNKNOWN", "NO_QUORUM", "DEADLINE_EXCEEDED", "SEALED", NO_ANSWER];
        unknown.contains(&self.reason.as_str())
    }
}

/// Reading a status as the product writes it.
pub trait StatusExt {
    /// Code, reason, message.
    fn failure(&self) -> Failure;
    /// The reason alone.
    fn reason(&self) -> String {
        self.failure().reason
    }
}

impl StatusExt for Status {
    fn failure(&self) -> Failure {
        let info = self.get_details_error_info().filter(|info| info.domain == "strongroom");
        let reason = match info {
            Some(info) => info.reason,
            None if not_connected(self) => NOT_SENT.to_owned(),
            None if lost_on_the_way(self) => NO_ANSWER.to_owned(),
            None => String::new(),
        };
        Failure { code: self.code(), reason, message: self.message().to_owned() }
    }
}

fn not_connected(status: &Status) -> bool {
    let mut cause = status.source();
    while let Some(error) = cause {
        if error.is::<ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// Codes that the gRPC library gives by itself when a connection breaks or the
/// time is over.
fn lost_on_the_way(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded => true,
        Code::Internal => status.source().is_some(),
        _ => false,
    }
}

/// Says what failed.
pub trait Explain<T> {
    /// Code, reason and message of a failed call as an error, with what was
    /// tried.
    ///
    /// # Errors
    ///
    /// That of the call.
    fn explain(self, what: &str) -> anyhow::Result<T>;
}

impl<T> Explain<T> for Result<T, Status> {
    fn explain(self, what: &str) -> anyhow::Result<T> {
        self.map_err(|status| {
            let Failure { code, reason, message } = status.failure();
            anyhow::anyhow!("{code:?}, {reason}: {message}")
        })
        .with_context(|| what.to_owned())
    }
}
