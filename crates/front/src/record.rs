//! One line and one count for each request, when it ends.

use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use strongroom_base::RequestId;
use strongroom_client::Address;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    metrics::{Metrics, code_name},
    routes::Route,
};

/// What is told of one request. Dropped without an end, its caller went away.
///
/// Never holds a value of metadata but the request id, and nothing of a message.
pub(crate) struct Record {
    metrics: Arc<Metrics>,
    logged: bool,
    route: Route,
    source: IpAddr,
    begun: Instant,
    request_id: Option<RequestId>,
    attempts: Mutex<Attempts>,
    ended: bool,
}

#[derive(Default)]
struct Attempts {
    count: u32,
    last: Option<Address>,
}

impl Record {
    /// A request along `route` from `source` begins. `logged`: write a line.
    pub(crate) fn begin(
        metrics: Arc<Metrics>,
        logged: bool,
        route: Route,
        source: IpAddr,
        now: Instant,
    ) -> Self {
        Self {
            metrics,
            logged,
            route,
            source,
            begun: now,
            request_id: None,
            attempts: Mutex::default(),
            ended: false,
        }
    }

    /// The id under which it is known.
    pub(crate) fn is_known_as(&mut self, id: RequestId) {
        self.request_id = Some(id);
    }

    /// It is sent to `node`.
    pub(crate) fn attempt(&self, node: &Address) {
        let mut attempts = self.attempts.lock();
        attempts.count += 1;
        attempts.last = Some(node.clone());
    }

    /// It ended with `status`.
    pub(crate) fn refused(&mut self, status: &Status) {
        let reason = status.get_details_error_info().map(|info| info.reason);
        self.end(status.code(), reason.as_deref().unwrap_or_default());
    }

    /// It was answered.
    pub(crate) fn answered(&mut self) {
        self.end(Code::Ok, "");
    }

    fn end(&mut self, code: Code, reason: &str) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let took = self.begun.elapsed();
        let method = self.route.name();
        let attempts = self.attempts.lock();
        self.metrics.ended(method, code, attempts.count, took);
        if !self.logged {
            return;
        }
        let node = attempts.last.as_ref().map(ToString::to_string).unwrap_or_default();
        let id = self.request_id.map(|id| id.to_string()).unwrap_or_default();
        let line = Line { method, code: code_name(code), reason, node: &node, id: &id, took };
        // Probes come all day long and say little.
        if matches!(self.route, Route::Health | Route::Reflection) {
            line.debug(self.source, attempts.count);
        } else {
            line.info(self.source, attempts.count);
        }
    }
}

struct Line<'a> {
    method: &'static str,
    code: &'static str,
    reason: &'a str,
    node: &'a str,
    id: &'a str,
    took: Duration,
}

macro_rules! line {
    ($level:ident) => {
        fn $level(&self, source: IpAddr, attempts: u32) {
            tracing::$level!(
                target: "access",
                method = self.method,
                code = self.code,
                reason = self.reason,
                node = self.node,
                attempts,
                duration_us = u64::try_from(self.took.as_micros()).unwrap_or(u64::MAX),
                %source,
                request_id = self.id,
            );
        }
    };
}

impl Line<'_> {
    line!(info);
    line!(debug);
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(Code::Cancelled, "");
    }
}
