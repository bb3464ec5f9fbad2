//! Keys and uses in great numbers, by the interface that callers use.

use std::{
    ops::Range,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context as _;
use strongroom_benches::{
    echo,
    lanes::{Lane, Lanes},
    load::jobs,
};
use strongroom_testkit::Explain as _;
use strongroom_wire::v1::{CreateKeyRequest, crypto_client::CryptoClient, keys_client::KeysClient};
use tonic::{Code, Status};

/// Repeats of a call before the filling fails.
const ATTEMPTS_MAX: u32 = 50;
/// Pause before the second attempt; it grows by as much with each one.
const BACKOFF: Duration = Duration::from_millis(20);

/// Uses `keys` in turn, `count` times in all.
///
/// # Errors
///
/// The first refusal that lasts.
pub(crate) async fn use_keys(
    lanes: &Lanes,
    keys: &[String],
    count: u64,
    in_flight: usize,
) -> anyhow::Result<()> {
    let keys: Arc<[String]> = keys.into();
    jobs::all(count, in_flight, |number| {
        let (lane, keys) = (lane_of(lanes, number), Arc::clone(&keys));
        async move {
            let position = usize::try_from(number).unwrap_or(usize::MAX) % keys.len();
            use_key(lane, &keys[position]).await
        }
    })
    .await
}

/// Makes the keys with these numbers; gives their ids in any order. A number
/// that was made before gives the same key again.
///
/// # Errors
///
/// The first refusal that lasts.
pub(crate) async fn make_keys(
    lanes: &Lanes,
    numbers: Range<u64>,
    in_flight: usize,
) -> anyhow::Result<Vec<String>> {
    let made: Arc<Mutex<Vec<String>>> = Arc::default();
    let (first, count) = (numbers.start, numbers.end.saturating_sub(numbers.start));
    jobs::all(count, in_flight, |number| {
        let (lane, made) = (lane_of(lanes, number), Arc::clone(&made));
        async move {
            let key = make_key(lane, first + number).await?;
            made.lock().expect("nobody panics under this lock").push(key);
            Ok(())
        }
    })
    .await?;
    let made = std::mem::take(&mut *made.lock().expect("nobody panics under this lock"));
    Ok(made)
}

fn lane_of(lanes: &Lanes, number: u64) -> Lane {
    lanes.lane(usize::try_from(number).unwrap_or(usize::MAX))
}

/// Waits before a call is repeated.
///
/// # Errors
///
/// The refusal, where it is none that passes, or has lasted.
async fn before_next(what: &str, attempt: u32, status: Status) -> anyhow::Result<()> {
    let passes = matches!(
        status.code(),
        Code::Aborted | Code::ResourceExhausted | Code::Unavailable | Code::DeadlineExceeded
    );
    if !passes || attempt >= ATTEMPTS_MAX {
        return Err(status).explain(&format!("{what}, attempt {attempt}"));
    }
    tokio::time::sleep(BACKOFF * attempt).await;
    Ok(())
}

/// One use, repeated while the refusal is one that passes.
async fn use_key(lane: Lane, key_id: &str) -> anyhow::Result<()> {
    let mut client = CryptoClient::new(lane);
    for attempt in 1.. {
        match client.generate_data_key(echo::request(key_id)).await {
            Ok(_) => break,
            Err(status) => before_next("GenerateDataKey", attempt, status).await?,
        }
    }
    Ok(())
}

/// Makes one key. Its token makes a repeat after an unknown outcome the same key.
async fn make_key(lane: Lane, number: u64) -> anyhow::Result<String> {
    let request = CreateKeyRequest {
        description: format!("key {number} of the load"),
        client_token: format!("load-{number}"),
        ..CreateKeyRequest::default()
    };
    let mut client = KeysClient::new(lane);
    let mut attempt = 0;
    loop {
        attempt += 1;
        match client.create_key(request.clone()).await {
            Ok(response) => {
                let metadata = response.into_inner().key_metadata;
                return Ok(metadata.context("a key without metadata")?.key_id);
            }
            Err(status) => before_next("CreateKey", attempt, status).await?,
        }
    }
}
