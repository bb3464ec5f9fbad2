//! Callers that call without a pause, and count what fails.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use strongroom_client::{
    Client, Error,
    proto::{EncryptRequest, GenerateDataKeyRequest},
};
use tokio::{sync::watch, task::JoinSet};

/// Calls under way; they end when told to.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: watch::Sender<usize>,
    tasks: JoinSet<Result<(), Error>>,
}

impl Load {
    pub(crate) fn start(client: &Client, callers: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), watch::Sender::new(0));
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let (client, stop, done) = (client.clone(), Arc::clone(&stop), done.clone());
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    client.encrypt(EncryptRequest::default()).await?;
                    client.generate_data_key(GenerateDataKeyRequest::default()).await?;
                    done.send_modify(|done| *done += 2);
                }
                Ok(())
            });
        }
        Self { stop, done, tasks }
    }

    /// Waits until this many more calls succeeded; none may fail meanwhile.
    pub(crate) async fn succeed(&mut self, more: usize) {
        let mut done = self.done.subscribe();
        let until = *done.borrow() + more;
        tokio::select! {
            enough = done.wait_for(|done| *done >= until) => drop(enough.unwrap()),
            Some(failed) = self.tasks.join_next() => failed.unwrap().unwrap(),
        }
    }

    /// Ends the calls; every one of them must have succeeded.
    pub(crate) async fn end(mut self) {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(done) = self.tasks.join_next().await {
            done.unwrap().unwrap();
        }
    }
}
