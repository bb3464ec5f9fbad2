//! Waiting for a state, with a limit.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::bail;

/// Between two looks.
const PERIOD: Duration = Duration::from_millis(25);

/// Looks until `look` gives a value.
///
/// # Errors
///
/// After `limit`: what was waited for, and what the last look saw instead
/// (`Err` of `look` is "not yet, and this is why").
pub async fn until<T, F, Fut>(what: &str, limit: Duration, mut look: F) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<T>>,
{
    let started = Instant::now();
    loop {
        let seen = match tokio::time::timeout(limit, look()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => format!("{seen:#}"),
            Err(_) => "no answer".to_owned(),
        };
        if started.elapsed() >= limit {
            bail!("not within {} s: {what}; last seen: {seen}", limit.as_secs_f32());
        }
        tokio::time::sleep(PERIOD).await;
    }
}
