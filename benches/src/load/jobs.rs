//! A number of jobs, some at a time, to the last one.

use std::future::Future;

use anyhow::Context as _;
use tokio::task::JoinSet;

/// Keeps `in_flight` jobs running until `count` have been started, and gives
/// what the first failing one says.
///
/// # Errors
///
/// Of the job that failed first.
pub async fn all<F>(
    count: u64,
    in_flight: usize,
    mut job: impl FnMut(u64) -> F,
) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let mut running = JoinSet::new();
    for number in 0..count {
        if running.len() >= in_flight
            && let Some(ended) = running.join_next().await
        {
            ended.context("a job panicked")??;
        }
        running.spawn(job(number));
    }
    while let Some(ended) = running.join_next().await {
        ended.context("a job panicked")??;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn a_failing_job_is_not_lost_and_all_jobs_run_once() {
        let failed = all(10, 3, |number| async move {
            anyhow::ensure!(number != 7, "seven");
            Ok(())
        });
        assert_eq!(failed.await.unwrap_err().to_string(), "seven");

        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        all(100, 7, |number| {
            let seen = Arc::clone(&seen);
            async move {
                seen.lock().unwrap().push(number);
                Ok(())
            }
        })
        .await
        .unwrap();
        let mut seen = seen.lock().unwrap().clone();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }
}
