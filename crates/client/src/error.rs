//! What a failed call says.

use std::{collections::BTreeMap, error::Error as StdError, fmt, time::Duration};

use strongroom_base::RequestId;
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt as _;

use crate::{address::Address, balance::ConnectionError, config::ConfigError, tls::ConnectError};

/// Domain of the service's `google.rpc.ErrorInfo`.
const DOMAIN: &str = "strongroom";

/// Reasons that this crate looks at or makes itself. The service has more:
/// `docs/errors.md` lists them.
pub mod reason {
    /// The node is sealed.
    pub const SEALED: &str = "SEALED";
    /// The node belongs to no formed cluster yet.
    pub const UNINITIALISED: &str = "UNINITIALISED";
    /// The node is at one of its bounds.
    pub const OVERLOADED: &str = "OVERLOADED";
    /// The node's disk is below its reserve.
    pub const DISK_RESERVE: &str = "DISK_RESERVE";
    /// The node is ending.
    pub const SHUTTING_DOWN: &str = "SHUTTING_DOWN";
    /// A fault of a node, at whatever point.
    pub const INTERNAL: &str = "INTERNAL";
    /// Nothing was proposed: no quorum.
    pub const NO_QUORUM: &str = "NO_QUORUM";
    /// The call may have taken effect, or not. Made here too: when a connection
    /// broke after the request went out.
    pub const OUTCOME_UNKNOWN: &str = "OUTCOME_UNKNOWN";
    /// Others changed the same rows too often.
    pub const CONTENTION: &str = "CONTENTION";
    /// Made here: nobody answers at the address; nothing was sent.
    pub const UNREACHABLE: &str = "UNREACHABLE";
    /// Made here: whoever answers is no node of the cluster; nothing was sent.
    pub const UNTRUSTED_SERVER: &str = "UNTRUSTED_SERVER";
    /// No answer in time; made here too. The call may have taken effect, or not.
    pub const DEADLINE_EXCEEDED: &str = "DEADLINE_EXCEEDED";
    /// Made here: the client's configuration can't be used; nothing was sent.
    pub const CLIENT_CONFIGURATION: &str = "CLIENT_CONFIGURATION";
}

/// An address at which the call failed before it failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedAddress {
    /// The address.
    pub address: Address,
    /// Reason, as in [`Error::reason`].
    pub reason: String,
    /// What happened there, for people.
    pub message: String,
}

/// A failed call. Small: its parts are boxed.
#[derive(Debug)]
pub struct Error(Box<Parts>);

#[derive(Debug)]
struct Parts {
    code: Code,
    reason: String,
    message: String,
    metadata: BTreeMap<String, String>,
    retry_after: Option<Duration>,
    origin: Origin,
    request_id: Option<RequestId>,
    address: Option<Address>,
    others: Vec<FailedAddress>,
    status: Option<Status>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// What kind of failure it is, for programs that branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request breaks a form or a bound, or its ciphertext can't be
    /// decrypted: the same request will always fail.
    Invalid,
    /// No token, or one that is not valid.
    Unauthenticated,
    /// The caller may not do this.
    Denied,
    /// No such key, token or principal.
    NotFound,
    /// It is there already.
    AlreadyExists,
    /// The state of the key or of the cluster forbids it.
    Precondition,
    /// No node serves: sealed, without a quorum, ending, unreachable.
    Unavailable,
    /// A bound was reached: of the nodes, of the caller's denials, of disks.
    Overloaded,
    /// Others changed the same things too often.
    Contention,
    /// It may have taken effect, or not.
    OutcomeUnknown,
    /// No answer in time; it may have taken effect, or not.
    Deadline,
    /// The client's configuration, or whoever answers, can't be trusted.
    Configuration,
    /// A fault of a node.
    Internal,
    /// An answer that is not of this product.
    Other,
}

/// Who says that the call failed; of two failures the greater is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Origin {
    /// This crate: nothing was sent.
    NotSent,
    /// This crate: sent, and no answer came.
    NoAnswer,
    /// The service.
    Service,
}

impl Error {
    /// The gRPC status code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Reason in capitals, made for programs: `SEALED`, `KEY_NOT_FOUND` …
    /// Empty when whoever answered gave none (a proxy, say).
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        match self.reason() {
            reason::OUTCOME_UNKNOWN => return ErrorKind::OutcomeUnknown,
            reason::DEADLINE_EXCEEDED => return ErrorKind::Deadline,
            reason::SEALED | reason::UNINITIALISED => return ErrorKind::Unavailable,
            reason::CLIENT_CONFIGURATION | reason::UNTRUSTED_SERVER => {
                return ErrorKind::Configuration;
            }
            "" => return ErrorKind::Other,
            _ => {}
        }
        match self.code() {
            Code::InvalidArgument | Code::Unimplemented | Code::OutOfRange => ErrorKind::Invalid,
            Code::Unauthenticated => ErrorKind::Unauthenticated,
            Code::PermissionDenied => ErrorKind::Denied,
            Code::NotFound => ErrorKind::NotFound,
            Code::AlreadyExists => ErrorKind::AlreadyExists,
            Code::FailedPrecondition => ErrorKind::Precondition,
            Code::Unavailable => ErrorKind::Unavailable,
            Code::ResourceExhausted => ErrorKind::Overloaded,
            Code::Aborted => ErrorKind::Contention,
            Code::DeadlineExceeded => ErrorKind::Deadline,
            Code::Internal | Code::DataLoss => ErrorKind::Internal,
            Code::Ok | Code::Cancelled | Code::Unknown => ErrorKind::Other,
        }
    }

    /// The status as it came, with its details, where the service answered: for
    /// whoever passes it on.
    #[must_use]
    pub fn status(&self) -> Option<&Status> {
        self.0.status.as_ref()
    }

    /// Explanation for people; holds no secret.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Facts that belong to the reason, e.g. the field that was refused.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.0.metadata
    }

    /// How long to wait before the next try, where the service said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Id under which the service knows the call, where one was sent.
    #[must_use]
    pub fn request_id(&self) -> Option<RequestId> {
        self.0.request_id
    }

    /// The node at which this happened.
    #[must_use]
    pub fn address(&self) -> Option<&Address> {
        self.0.address.as_ref()
    }

    /// What happened at other addresses during the same call, oldest first.
    #[must_use]
    pub fn others(&self) -> &[FailedAddress] {
        &self.0.others
    }

    /// True where the call surely changed nothing and released nothing.
    #[must_use]
    pub fn is_surely_not_executed(&self) -> bool {
        match self.0.origin {
            Origin::NotSent => true,
            Origin::NoAnswer => false,
            // An answer without our reason is a stranger's, and says nothing.
            Origin::Service => {
                !["", reason::OUTCOME_UNKNOWN, reason::DEADLINE_EXCEEDED, reason::INTERNAL]
                    .contains(&self.reason())
            }
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        self.0.origin
    }

    fn new(code: Code, reason: &str, message: String, origin: Origin) -> Self {
        Self(Box::new(Parts {
            code,
            reason: reason.to_owned(),
            message,
            metadata: BTreeMap::new(),
            retry_after: None,
            origin,
            request_id: None,
            address: None,
            others: Vec::new(),
            status: None,
            source: None,
        }))
    }

    pub(crate) fn at(mut self, address: &Address, request_id: RequestId) -> Self {
        self.0.address = Some(address.clone());
        self.0.request_id = (self.0.origin != Origin::NotSent).then_some(request_id);
        self
    }

    pub(crate) fn with_others(mut self, others: Vec<FailedAddress>) -> Self {
        self.0.others = others;
        self
    }

    pub(crate) fn to_failed_address(&self) -> Option<FailedAddress> {
        self.0.address.as_ref().map(|address| FailedAddress {
            address: address.clone(),
            reason: self.0.reason.clone(),
            message: self.0.message.clone(),
        })
    }

    /// No answer within `waited`.
    pub(crate) fn deadline(waited: Duration) -> Self {
        let message = format!("no answer within {:.1} s", waited.as_secs_f64());
        Self::new(Code::DeadlineExceeded, reason::DEADLINE_EXCEEDED, message, Origin::NoAnswer)
    }

    /// Given up after `waited`: the node answers nobody.
    pub(crate) fn silent(waited: Duration) -> Self {
        let message = format!("the node fell silent; given up after {:.1} s", waited.as_secs_f64());
        Self::new(Code::Unavailable, reason::OUTCOME_UNKNOWN, message, Origin::NoAnswer)
    }

    fn unsent(error: &ConnectionError) -> Option<Self> {
        let (reason, message) = match error {
            ConnectionError::Connect(connect) => {
                let reason = match **connect {
                    ConnectError::Untrusted { .. } => reason::UNTRUSTED_SERVER,
                    _ => reason::UNREACHABLE,
                };
                (reason, connect.chain())
            }
            ConnectionError::NotSent(_) => (reason::UNREACHABLE, chain(error)),
            ConnectionError::Broken(_) => return None,
        };
        Some(Self::new(Code::Unavailable, reason, message, Origin::NotSent))
    }

    /// Tells apart what the service refused, what never reached it, and what
    /// was lost on the way. `waited` is the time that the attempt had.
    #[must_use]
    pub fn from_status(status: &Status, waited: Duration) -> Self {
        if let Some(error) = find::<ConnectionError>(status).and_then(Self::unsent) {
            return error;
        }
        if find::<TimeoutExpired>(status).is_some() {
            return Self::deadline(waited);
        }
        let info = status.get_details_error_info().filter(|info| info.domain == DOMAIN);
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let message = status.message().to_owned();
        let mut error = match info {
            Some(info) => {
                let mut error = Self::new(status.code(), &info.reason, message, Origin::Service);
                error.0.metadata = info.metadata.into_iter().collect();
                error
            }
            None if lost_on_the_way(status) => {
                let message = format!("the connection broke before the answer came: {message}");
                Self::new(Code::Unavailable, reason::OUTCOME_UNKNOWN, message, Origin::NoAnswer)
            }
            None => Self::new(status.code(), "", message, Origin::Service),
        };
        error.0.retry_after = retry_after;
        error.0.status = (error.0.origin == Origin::Service).then(|| status.clone());
        error.0.source = status.source().map(|source| chain(source).into());
        error
    }
}

/// Without `ErrorInfo`, these codes come from the transport or a proxy that
/// lost its backend: the request may have arrived.
fn lost_on_the_way(status: &Status) -> bool {
    let unavailable = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
    unavailable || (status.code() == Code::Internal && status.source().is_some())
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

impl From<ConfigError> for Error {
    fn from(error: ConfigError) -> Self {
        let message = chain(&error);
        let reason = reason::CLIENT_CONFIGURATION;
        Self::new(Code::InvalidArgument, reason, message, Origin::NotSent)
    }
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.reason.is_empty() {
            write!(f, "{:?}: {}", self.0.code, self.0.message)
        } else {
            write!(f, "{}: {}", self.0.reason, self.0.message)
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::ErrorDetails;

    use super::*;

    fn refused(code: Code, domain: &str, reason: &str) -> Error {
        let mut details = ErrorDetails::new();
        details.set_error_info(reason, domain, [("field".to_owned(), "key_id".to_owned())]);
        details.set_retry_info(Some(Duration::from_millis(250)));
        let status = Status::with_error_details(code, "no", details);
        Error::from_status(&status, Duration::from_secs(1))
    }

    #[test]
    fn reason_metadata_and_delay_are_read_from_the_details() {
        let error = refused(Code::Aborted, "strongroom", reason::CONTENTION);
        assert_eq!(error.code(), Code::Aborted);
        assert_eq!(error.reason(), "CONTENTION");
        assert_eq!(error.metadata()["field"], "key_id");
        assert_eq!(error.retry_after(), Some(Duration::from_millis(250)));
        assert!(error.is_surely_not_executed());
    }

    #[test]
    fn the_reason_of_another_domain_is_not_ours() {
        let error = refused(Code::FailedPrecondition, "proxy.example", reason::SEALED);
        assert_eq!(error.reason(), "");
    }

    #[test]
    fn an_outcome_unknown_is_never_taken_for_not_executed() {
        let error = refused(Code::Unavailable, "strongroom", reason::OUTCOME_UNKNOWN);
        assert!(!error.is_surely_not_executed());
        let lost = Error::from_status(&Status::unavailable("reset"), Duration::ZERO);
        assert_eq!(lost.reason(), reason::OUTCOME_UNKNOWN);
        assert!(!lost.is_surely_not_executed());
        assert!(!Error::deadline(Duration::ZERO).is_surely_not_executed());
    }
}
