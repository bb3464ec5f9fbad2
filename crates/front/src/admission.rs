//! What a front works on at a time: requests, streams, bytes; and what it takes
//! from one address. Asked before any work is done.

use std::{sync::Arc, time::Instant};

use strongroom_base::limits;
use tonic::Status;

use crate::{
    budget::{Budget, Share},
    config::LimitsConfig,
    connection::{Connection, UnderWay},
    errors,
    routes::{Answers, Route},
};

/// Kinds of requests that are bounded apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Probes: answered while the rest is at its bound.
    Probe,
    /// Answered with a stream that lasts as long as the caller likes.
    Stream,
    /// Everything else.
    Ordinary,
}

impl Class {
    /// The class of what leads along `route` from `path`.
    pub(crate) fn of(route: Route, path: &str) -> Self {
        match route {
            Route::Health if path.ends_with("/Watch") => Self::Stream,
            Route::Health => Self::Probe,
            Route::Reflection => Self::Stream,
            Route::Node(method) if method.answers == Answers::Stream => Self::Stream,
            Route::Node(_) | Route::OneNodeOnly | Route::Unknown => Self::Ordinary,
        }
    }
}

/// The bounds of one front.
#[derive(Debug)]
pub(crate) struct Admission {
    requests: Arc<Budget>,
    probes: Arc<Budget>,
    streams: Arc<Budget>,
    /// Bytes of request messages.
    pub(crate) request_bytes: Arc<Budget>,
    /// Bytes of answers.
    pub(crate) answer_bytes: Arc<Budget>,
}

/// A request that was let in, counted until dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    _one: Share,
    _of_source: Share,
    _class_of_source: Option<Share>,
    _under_way: UnderWay,
}

impl Admission {
    pub(crate) fn new(config: &LimitsConfig) -> Self {
        Self {
            requests: Budget::new(config.requests),
            probes: Budget::new(limits::RESERVED_CALLS_MAX),
            streams: Budget::new(limits::FRONT_STREAMS_MAX),
            request_bytes: Budget::new(config.request_bytes),
            answer_bytes: Budget::new(config.answer_bytes),
        }
    }

    /// Lets a request of `class` in.
    ///
    /// # Errors
    ///
    /// The refusal, naming the bound.
    pub(crate) fn admit(
        &self,
        connection: &Arc<Connection>,
        class: Class,
        now: Instant,
    ) -> Result<Permit, Status> {
        let source = &connection.source;
        if !source.may_ask(now) {
            return Err(errors::overloaded("requests a second from one address"));
        }
        let of_source = source.requests.take(1);
        let of_source =
            of_source.ok_or_else(|| errors::overloaded("requests in flight from one address"))?;
        let class_of_source = match class {
            Class::Ordinary => None,
            Class::Stream => Some((&source.streams, "streams from one address")),
            Class::Probe => Some((&source.probes, "probes in flight from one address")),
        };
        let class_of_source = class_of_source
            .map(|(budget, bound)| budget.take(1).ok_or_else(|| errors::overloaded(bound)))
            .transpose()?;
        let (budget, bound) = match class {
            Class::Probe => (&self.probes, "probes in flight"),
            Class::Stream => (&self.streams, "streams"),
            Class::Ordinary => (&self.requests, "requests in flight"),
        };
        let one = budget.take(1).ok_or_else(|| errors::overloaded(bound))?;
        Ok(Permit {
            _one: one,
            _of_source: of_source,
            _class_of_source: class_of_source,
            _under_way: connection.begin(),
        })
    }

    /// Requests under way, but for streams.
    pub(crate) fn requests_held(&self) -> usize {
        self.requests.held() + self.probes.held()
    }

    /// Streams open.
    pub(crate) fn streams_held(&self) -> usize {
        self.streams.held()
    }
}

#[cfg(test)]
mod tests {
    use strongroom_net::ConnectInfo;

    use super::*;
    use crate::sources::{SourceLimits, Sources};

    fn connection(limits: SourceLimits, now: Instant) -> Arc<Connection> {
        let remote: std::net::SocketAddr = "192.0.2.1:9".parse().unwrap();
        let source = Sources::new(limits).of(remote.ip(), now);
        Connection::new(ConnectInfo::new(remote, None), source, now)
    }

    #[test]
    fn probes_get_through_where_everybody_else_is_refused() {
        let now = Instant::now();
        let config = LimitsConfig { requests: 3, ..LimitsConfig::default() };
        let admission = Admission::new(&config);
        let connection = connection(SourceLimits { connections: 0, requests: 0, rate: 0 }, now);
        let admit =
            |path: &str| admission.admit(&connection, Class::of(Route::of(path), path), now);
        let _held: Vec<_> =
            (0..3).map(|_| admit("/strongroom.v1.Crypto/Decrypt").unwrap()).collect();
        assert!(admit("/strongroom.v1.Crypto/Decrypt").is_err());
        assert!(admit("/no/such").is_err());
        assert!(admit("/grpc.health.v1.Health/Check").is_ok());
        assert!(admit("/strongroom.v1.Audit/TailEvents").is_ok());
        assert_eq!(admission.requests_held(), 3);
    }

    #[test]
    fn an_address_has_its_own_bound_and_a_refusal_holds_nothing() {
        let now = Instant::now();
        let admission = Admission::new(&LimitsConfig::default());
        let connection = connection(SourceLimits { connections: 0, requests: 2, rate: 2 }, now);
        let admit = || admission.admit(&connection, Class::Ordinary, now);
        let held = [admit().unwrap(), admit().unwrap()];
        let refused = admit().unwrap_err();
        assert!(refused.message().contains("from one address"), "{}", refused.message());
        drop(held);
        assert_eq!((admission.requests_held(), connection.source.requests.held()), (0, 0));
        assert!(admit().is_ok());
        let refused = admit().unwrap_err();
        assert!(refused.message().contains("a second"), "{}", refused.message());
    }
}
