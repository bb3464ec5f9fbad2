//! Points in time and spans, as people write and read them.

use jiff::{SpanRelativeTo, Timestamp};

/// A point in time, Unix milliseconds.
///
/// Written as RFC 3339 (`2026-11-23T18:00:00Z`) or as a span before now (`90s`,
/// `1h 30m`, `7d`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PointInTime(pub(crate) u64);

/// Reads a point in time; spans count back from now.
pub(crate) fn point_in_time(text: &str) -> Result<PointInTime, String> {
    point_before(text, Timestamp::now())
}

fn point_before(text: &str, now: Timestamp) -> Result<PointInTime, String> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        let ms = u64::try_from(timestamp.as_millisecond())
            .map_err(|_| "a time before 1970".to_owned())?;
        return Ok(PointInTime(ms));
    }
    let seconds = span_seconds(text).map_err(|_| {
        "neither a time as in 2026-11-23T18:00:00Z nor a span as in 90s, 1h, 7d".to_owned()
    })?;
    let now_ms = u64::try_from(now.as_millisecond()).unwrap_or(0);
    Ok(PointInTime(now_ms.saturating_sub(seconds.saturating_mul(1000))))
}

/// Reads a span in whole seconds, at least one: `90s`, `1h 30m`, `30d`.
/// A day is 24 hours.
pub(crate) fn span_seconds(text: &str) -> Result<u64, String> {
    let wrong = || "not a span as in 90s, 12h, 30d".to_owned();
    let span: jiff::Span = text.trim().parse().map_err(|_| wrong())?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    match u64::try_from(duration.as_secs()) {
        Ok(seconds) if seconds > 0 => Ok(seconds),
        _ => Err(wrong()),
    }
}

/// A time of the service as RFC 3339 in UTC, to the second; `-` for never.
pub(crate) fn time_text(unix_ms: u64) -> String {
    let timestamp = i64::try_from(unix_ms).ok().filter(|&ms| ms > 0);
    match timestamp.map(Timestamp::from_millisecond) {
        Some(Ok(timestamp)) => timestamp.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Some(Err(_)) => unix_ms.to_string(),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_time_is_refused() {
        let now = Timestamp::from_millisecond(1_000_000_000).unwrap();
        for text in ["", "yesterday", "1", "2026-13-01T00:00:00Z", "-5m"] {
            assert!(point_before(text, now).is_err(), "{text}");
        }
        assert!(span_seconds("0s").is_err());
    }

    #[test]
    fn a_span_counts_back_from_now() {
        let now = Timestamp::from_millisecond(100_000_000).unwrap();
        assert_eq!(point_before("1h 30m", now), Ok(PointInTime(100_000_000 - 5_400_000)));
        assert_eq!(point_before("1d", now), Ok(PointInTime(100_000_000 - 86_400_000)));
        assert_eq!(point_before("9d", now), Ok(PointInTime(0)));
    }

    #[test]
    fn rfc_3339_is_taken_in_any_zone() {
        let now = Timestamp::UNIX_EPOCH;
        let utc = point_before("2026-11-23T18:00:00Z", now);
        assert_eq!(utc, point_before("2026-11-23T19:00:00+01:00", now));
        assert_eq!(time_text(utc.unwrap().0), "2026-11-23T18:00:00Z");
    }
}
