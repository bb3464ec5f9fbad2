//! Watches the own disk: a leader's that hangs makes it hand over, then end.
//!
//! A leader commits with its followers' disks alone, so a leader whose own disk
//! hangs would lead on, with everything unsynced in memory and nothing applied.
//! It hands over; if its disk still hangs after that, its process ends.
//!
//! A hung disk may block every thread of the async runtime. So this is a thread
//! of its own, which waits for neither runtime nor disk nor database; only the
//! handing over is left to the runtime.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use openraft::async_runtime::WatchReceiver as _;
use parking_lot::Mutex;
use strongroom_storage::RaftLog;

use crate::{
    errors::FatalReason,
    node::Library,
    status::{RaftRole, RaftStatus},
};

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Called once with the reason for which the process must end; it need not
/// return. Called on any thread.
pub type ExitHook = Arc<dyn Fn(&FatalReason) + Send + Sync>;

/// Calls the hook with the first reason, and with no other.
pub(crate) struct Exit {
    hook: ExitHook,
    called: AtomicBool,
}

impl Exit {
    pub(crate) fn new(hook: ExitHook) -> Self {
        Self { hook, called: AtomicBool::new(false) }
    }

    pub(crate) fn call(&self, reason: &FatalReason) {
        if !self.called.swap(true, Ordering::AcqRel) {
            (self.hook)(reason);
        }
    }
}

/// The disk under a leader's log hangs: leadership is to be handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DiskHangs {
    /// Age of the oldest write that is not finished.
    pub(crate) lag: Duration,
}

/// What to do about the own disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DiskStep {
    Nothing,
    HandOver,
    Exit,
}

/// Decides about a disk from the age of its oldest unfinished write.
#[derive(Debug, Default)]
struct DiskWatch {
    /// This node led when its disk began to hang.
    handing_over: bool,
}

impl DiskWatch {
    fn look(&mut self, leads: bool, lag: Duration, lag_max: Duration) -> DiskStep {
        if lag <= lag_max {
            self.handing_over = false;
            DiskStep::Nothing
        } else if self.handing_over && lag > lag_max * 2 {
            DiskStep::Exit
        } else if leads && !self.handing_over {
            self.handing_over = true;
            DiskStep::HandOver
        } else {
            DiskStep::Nothing
        }
    }
}

/// The thread. It ends when this is dropped.
pub(crate) struct Watchdog {
    /// Nothing is ever sent: the thread ends with the sender.
    running: Mutex<Option<(mpsc::Sender<Infallible>, JoinHandle<()>)>>,
}

impl Watchdog {
    /// Starts the thread. It sends to `hangs` when a leader's disk lags more
    /// than `lag_max`, and calls `exit` when it still does at twice that.
    ///
    /// # Errors
    ///
    /// The system's, where it gives no thread.
    pub(crate) fn start(
        raft: &Library,
        log: RaftLog,
        lag_max: Duration,
        hangs: tokio::sync::mpsc::Sender<DiskHangs>,
        exit: Arc<Exit>,
    ) -> io::Result<Self> {
        let metrics = raft.metrics();
        let look = move || {
            let status = RaftStatus::of(&metrics.borrow_watched(), None);
            (status.role == RaftRole::Leader, log.flush_lag())
        };
        Self::watch(look, lag_max, hangs, exit)
    }

    /// `look`: whether this node leads, and how far its disk lags.
    fn watch(
        mut look: impl FnMut() -> (bool, Duration) + Send + 'static,
        lag_max: Duration,
        hangs: tokio::sync::mpsc::Sender<DiskHangs>,
        exit: Arc<Exit>,
    ) -> io::Result<Self> {
        let (sender, ended) = mpsc::channel::<Infallible>();
        let watch = move || {
            let mut disk = DiskWatch::default();
            while ended.recv_timeout(LOOK_EVERY) == Err(RecvTimeoutError::Timeout) {
                let (leads, lag) = look();
                match disk.look(leads, lag, lag_max) {
                    DiskStep::Nothing => {}
                    // Where one waits already, it says the same.
                    DiskStep::HandOver => drop(hangs.try_send(DiskHangs { lag })),
                    DiskStep::Exit => return exit.call(&too_late(lag, lag_max)),
                }
            }
        };
        let thread = thread::Builder::new().name("strongroom-disk".to_owned()).spawn(watch)?;
        Ok(Self { running: Mutex::new(Some((sender, thread))) })
    }

    /// Ends the thread and waits for it: not for long, unless it is calling the
    /// exit hook.
    pub(crate) async fn stop(&self) {
        let Some((sender, thread)) = self.running.lock().take() else { return };
        drop(sender);
        let joined = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
        if !matches!(joined, Ok(true)) {
            tracing::error!("the thread that watches the disk panicked");
        }
    }
}

fn too_late(lag: Duration, lag_max: Duration) -> FatalReason {
    FatalReason::FlushLag { lag_ms: millis(lag), lag_max_ms: millis(lag_max) }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(3);
    /// Nothing in these tests takes longer on a machine that works.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// An exit hook that tells its reasons.
    fn exit() -> (Arc<Exit>, mpsc::Receiver<FatalReason>) {
        let (told, reasons) = mpsc::channel();
        let hook = move |reason: &FatalReason| told.send(reason.clone()).unwrap();
        (Arc::new(Exit::new(Arc::new(hook))), reasons)
    }

    #[test]
    fn a_leader_with_a_hung_disk_hands_over_once_then_exits() {
        let mut disk = DiskWatch::default();
        assert_eq!(disk.look(true, seconds(3), MAX), DiskStep::Nothing);
        assert_eq!(disk.look(true, seconds(4), MAX), DiskStep::HandOver);
        assert_eq!(disk.look(false, seconds(5), MAX), DiskStep::Nothing);
        assert_eq!(disk.look(false, seconds(7), MAX), DiskStep::Exit);
    }

    #[test]
    fn a_disk_that_recovers_is_forgiven() {
        let mut disk = DiskWatch::default();
        assert_eq!(disk.look(true, seconds(4), MAX), DiskStep::HandOver);
        assert_eq!(disk.look(false, seconds(0), MAX), DiskStep::Nothing);
        assert_eq!(disk.look(false, seconds(9), MAX), DiskStep::Nothing);
        assert_eq!(disk.look(true, seconds(9), MAX), DiskStep::HandOver);
    }

    #[test]
    fn a_follower_with_a_hung_disk_holds_nobody_up_and_stays() {
        let mut disk = DiskWatch::default();
        assert_eq!(disk.look(false, seconds(60), MAX), DiskStep::Nothing);
    }

    #[test]
    fn without_any_runtime_a_leader_with_a_hung_disk_is_to_hand_over_and_exits() {
        let (exit, reasons) = exit();
        let (hangs, mut heard) = tokio::sync::mpsc::channel(1);
        let watchdog = Watchdog::watch(|| (true, seconds(7)), MAX, hangs, exit).unwrap();
        let reason = reasons.recv_timeout(PATIENCE).unwrap();
        assert_eq!(reason, FatalReason::FlushLag { lag_ms: 7_000, lag_max_ms: 3_000 });
        assert_eq!(heard.try_recv(), Ok(DiskHangs { lag: seconds(7) }));
        drop(watchdog);
    }

    #[test]
    fn only_the_first_reason_is_told() {
        let (exit, reasons) = exit();
        let first = too_late(seconds(7), MAX);
        exit.call(&first);
        exit.call(&FatalReason::Stopped { cause: "later".to_owned() });
        drop(exit);
        assert_eq!(reasons.iter().collect::<Vec<_>>(), [first]);
    }

    #[tokio::test]
    async fn the_thread_ends_when_it_is_stopped_and_when_it_is_dropped() {
        for stopped in [true, false] {
            let (exit, reasons) = exit();
            let (hangs, mut heard) = tokio::sync::mpsc::channel(1);
            let watchdog = Watchdog::watch(|| (false, Duration::ZERO), MAX, hangs, exit).unwrap();
            if stopped {
                watchdog.stop().await;
            }
            drop(watchdog);
            // Both are the thread's alone.
            assert_eq!(heard.recv().await, None);
            let ended = Err(RecvTimeoutError::Disconnected);
            assert_eq!(reasons.recv_timeout(PATIENCE), ended);
        }
    }
}
