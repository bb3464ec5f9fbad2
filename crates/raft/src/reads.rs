//! Read indexes, shared by all who ask at the same time.
//!
//! One confirmation by a quorum is under way at a time. Who asks meanwhile
//! waits for the next one, which begins after all of them asked: so an index is
//! never older than the question.

use std::sync::Arc;

use futures::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use openraft::ReadPolicy;
use parking_lot::Mutex;
use strongroom_base::LogIndex;

use crate::{errors::ReadError, node::Library};

type Round = Shared<BoxFuture<'static, Result<LogIndex, ReadError>>>;

#[derive(Default)]
pub(crate) struct ReadRounds {
    /// The round that has not begun, if someone waits for it.
    next: Mutex<Option<Round>>,
    /// Held by the round under way.
    turn: tokio::sync::Mutex<()>,
}

impl ReadRounds {
    /// A log index such that state at or after it reflects every change that
    /// was acknowledged before this call.
    pub(crate) async fn read_index(
        self: &Arc<Self>,
        raft: &Library,
    ) -> Result<LogIndex, ReadError> {
        let round = {
            let mut next = self.next.lock();
            let join = || {
                let rounds = Arc::clone(self);
                let raft = raft.clone();
                async move { rounds.round(|| confirm(raft)).await }.boxed().shared()
            };
            next.get_or_insert_with(join).clone()
        };
        round.await
    }

    async fn round<F>(&self, confirm: impl FnOnce() -> F) -> Result<LogIndex, ReadError>
    where
        F: Future<Output = Result<LogIndex, ReadError>>,
    {
        let _turn = self.turn.lock().await;
        // From here on a question is too late for this round.
        self.next.lock().take();
        confirm().await
    }
}

async fn confirm(raft: Library) -> Result<LogIndex, ReadError> {
    let linearizer = raft.get_read_linearizer(ReadPolicy::ReadIndex).await?;
    Ok(LogIndex(linearizer.read_log_id().index()))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn a_question_asked_during_a_round_waits_for_the_next() {
        let rounds = Arc::new(ReadRounds::default());
        let begun = Arc::new(AtomicU64::new(0));
        let go = Arc::new(Notify::new());
        let ask = || {
            let (rounds, begun, go) = (Arc::clone(&rounds), Arc::clone(&begun), Arc::clone(&go));
            let join = {
                let mut next = rounds.next.lock();
                let rounds = Arc::clone(&rounds);
                let make = || {
                    let round = async move {
                        let confirm = || async move {
                            let number = begun.fetch_add(1, Ordering::SeqCst) + 1;
                            go.notified().await;
                            Ok(LogIndex(number))
                        };
                        rounds.round(confirm).await
                    };
                    round.boxed().shared()
                };
                next.get_or_insert_with(make).clone()
            };
            tokio::spawn(join)
        };
        let first = ask();
        while begun.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let (second, third) = (ask(), ask());
        go.notify_one();
        assert_eq!(first.await.unwrap(), Ok(LogIndex(1)));
        go.notify_one();
        assert_eq!(second.await.unwrap(), Ok(LogIndex(2)));
        assert_eq!(third.await.unwrap(), Ok(LogIndex(2)));
    }
}
