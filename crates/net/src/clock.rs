//! The clock of this machine, as certificates are compared with it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use strongroom_base::UnixMillis;
use x509_parser::time::ASN1Time;

/// Longest wait between two looks at the clock.
const LOOK_EVERY: Duration = Duration::from_secs(3600);

/// This moment.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)).min(UnixMillis::MAX)
}

/// Waits until `moment` is past.
///
/// Looks at the clock again every hour at least: within it, a clock that was set
/// and a machine that slept are noticed.
pub(crate) async fn passed(moment: UnixMillis) {
    loop {
        let now = now();
        if now > moment {
            return;
        }
        let left = Duration::from_millis(moment.since_ms(now).saturating_add(1));
        tokio::time::sleep(left.min(LOOK_EVERY)).await;
    }
}

/// `time` as a date, for people.
pub(crate) fn date(time: UnixMillis) -> String {
    i64::try_from(time.0 / 1000)
        .ok()
        .and_then(|seconds| ASN1Time::from_timestamp(seconds).ok())
        .map_or_else(|| time.to_string(), |date| date.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_shown_to_the_second_whatever_the_time() {
        assert_eq!(date(UnixMillis(1_900_000_000_999)), "Mar 17 17:46:40 2030 +00:00");
        for odd in [UnixMillis(0), UnixMillis::MAX, UnixMillis(u64::MAX)] {
            assert!(!date(odd).is_empty());
        }
    }

    #[tokio::test]
    async fn a_moment_that_is_past_is_not_waited_for_and_one_to_come_is() {
        passed(UnixMillis(0)).await;
        let soon = UnixMillis(now().0 + 20);
        passed(soon).await;
        assert!(now() > soon);
    }
}
