//! One connection of a caller, and what is counted against it.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use strongroom_base::limits;
use strongroom_net::ConnectInfo;

use crate::{budget::Budget, sources::Source};

/// Between two looks at answers that are not read.
const LOOK: Duration = Duration::from_secs(1);

/// A caller's connection. Cheap while idle: what is big is made by requests.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Who is at the other end.
    pub(crate) info: ConnectInfo,
    /// Where it comes from.
    pub(crate) source: Arc<Source>,
    /// Bytes of request messages.
    pub(crate) request_bytes: Arc<Budget>,
    begun: Instant,
    under_way: AtomicUsize,
    /// When the last request ended, milliseconds since `begun`.
    last_ms: AtomicU64,
}

/// A request under way on a connection, until dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Connection>);

impl Connection {
    pub(crate) fn new(info: ConnectInfo, source: Arc<Source>, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            info,
            source,
            request_bytes: Budget::new(limits::FRONT_CONNECTION_BYTES_MAX),
            begun: now,
            under_way: AtomicUsize::new(0),
            last_ms: AtomicU64::new(0),
        })
    }

    /// A request begins.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// For how long no request was under way; zero while one is.
    pub(crate) fn idle_for(&self, now: Instant) -> Duration {
        if self.under_way.load(Relaxed) > 0 {
            return Duration::ZERO;
        }
        let last = self.begun + Duration::from_millis(self.last_ms.load(Relaxed));
        now.saturating_duration_since(last)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let elapsed = u64::try_from(self.0.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.0.last_ms.store(elapsed, Relaxed);
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

/// Answers that were given to their connections and are not read yet.
///
/// The transport asks for no more of an answer while its reader has no room, so
/// that nothing in the answer itself can end it: the connection is closed.
#[derive(Debug)]
pub(crate) struct Unread {
    /// An answer may be unread for this long.
    pub(crate) patience: Duration,
    answers: Mutex<Vec<(Instant, Weak<ConnectInfo>)>>,
}

/// An answer on its way, until dropped.
#[derive(Debug)]
pub(crate) struct OnItsWay {
    _info: Arc<ConnectInfo>,
}

impl Unread {
    pub(crate) fn new(patience: Duration) -> Arc<Self> {
        Arc::new(Self { patience, answers: Mutex::default() })
    }

    /// An answer begins to be read by the other end of `info`.
    pub(crate) fn begin(&self, info: &ConnectInfo, now: Instant) -> OnItsWay {
        let info = Arc::new(info.clone());
        self.answers.lock().push((now, Arc::downgrade(&info)));
        OnItsWay { _info: info }
    }

    /// Closes connections that don't read, for ever.
    pub(crate) async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK.min(self.patience / 4)).await;
            self.close_stalled(Instant::now());
        }
    }

    fn close_stalled(&self, now: Instant) {
        self.answers.lock().retain(|(begun, info)| match info.upgrade() {
            Some(info) if now.saturating_duration_since(*begun) >= self.patience => {
                tracing::info!(remote = %info.remote, "an answer is not read: connection closed");
                info.end();
                false
            }
            alive => alive.is_some(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{SourceLimits, Sources};

    fn connection(now: Instant) -> Arc<Connection> {
        let sources = Sources::new(SourceLimits { connections: 0, requests: 0, rate: 0 });
        let remote: std::net::SocketAddr = "192.0.2.1:9".parse().unwrap();
        Connection::new(ConnectInfo::new(remote, None), sources.of(remote.ip(), now), now)
    }

    #[test]
    fn a_connection_is_idle_while_no_request_is_under_way() {
        let now = Instant::now();
        let connection = connection(now);
        let later = now + Duration::from_secs(60);
        assert_eq!(connection.idle_for(later), Duration::from_secs(60));
        let requests = [connection.begin(), connection.begin()];
        assert_eq!(connection.idle_for(later), Duration::ZERO);
        drop(requests);
        assert!(connection.idle_for(later) > Duration::from_secs(50));
    }

    #[test]
    fn an_answer_that_is_not_read_is_forgotten_with_its_connection_and_others_stay() {
        let patience = Duration::from_secs(4);
        let unread = Unread::new(patience);
        let info = ConnectInfo::new("192.0.2.1:9".parse().unwrap(), None);
        let now = Instant::now();
        let _stalled = unread.begin(&info, now);
        let _young = unread.begin(&info, now + patience / 2);
        drop(unread.begin(&info, now));
        unread.close_stalled(now + patience / 4);
        assert_eq!(unread.answers.lock().len(), 2);
        unread.close_stalled(now + patience);
        assert_eq!(unread.answers.lock().len(), 1);
    }
}
