//! Spans of time as people write them: `30s`, `15m`, `48h`, `7d`, `2w`; and points in time given either way.

use crate::ApiError;
use policy::Timestamp;
use std::time::Duration;

/// The longest span anyone may ask for: ten years. It keeps sums far from overflow.
const LONGEST: u64 = 10 * 365 * 86_400;

/// Reads `30s`, `15m`, `48h`, `7d` or `2w`. The error says what is taken.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let refused =
        || format!("`{text}` is not a span of time; write a number and s, m, h, d or w, as in `48h`");
    let text = text.trim();
    let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let (number, unit) = text.split_at(unit_at);
    let count: u64 = number.parse().map_err(|_| refused())?;
    let unit_seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(refused()),
    };
    let seconds = count.checked_mul(unit_seconds).filter(|seconds| *seconds <= LONGEST);
    seconds.map(Duration::from_secs).ok_or_else(|| format!("`{text}` is longer than ten years"))
}

/// `now` moved by a span, into the past.
pub(crate) fn before(now: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_micros(now.as_micros().saturating_sub(micros(span)))
}

/// `now` moved by a span, into the future.
pub(crate) fn after(now: Timestamp, span: Duration) -> Timestamp {
    Timestamp::from_micros(now.as_micros().saturating_add(micros(span)))
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

/// A point in the past: RFC 3339, or a span counted back from now (`7d`).
pub(crate) fn past_point(field: &str, text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    point(field, text, |span| before(now, span))
}

/// A point in the future: RFC 3339, or a span counted on from now (`30d`).
pub(crate) fn future_point(field: &str, text: &str, now: Timestamp) -> Result<Timestamp, ApiError> {
    point(field, text, |span| after(now, span))
}

/// When something ends, that must lie ahead; absent: never.
pub(crate) fn expiry(asked: Option<&str>, now: Timestamp) -> Result<Option<Timestamp>, ApiError> {
    let Some(text) = asked else { return Ok(None) };
    let at = future_point("expires_at", text, now)?;
    if at <= now {
        return Err(ApiError::Invalid(format!("expires_at: `{text}` is not in the future")));
    }
    Ok(Some(at))
}

fn point(field: &str, text: &str, from_span: impl Fn(Duration) -> Timestamp) -> Result<Timestamp, ApiError> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    let span = parse_span(text).map_err(|_| {
        ApiError::Invalid(format!(
            "{field}: `{text}` is neither a time like `2026-11-22T00:00:00Z` nor a span like `7d`"
        ))
    })?;
    Ok(from_span(span))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_span_is_a_number_and_a_unit() {
        assert_eq!(parse_span("48h").unwrap(), Duration::from_secs(172_800));
        assert_eq!(parse_span("0s").unwrap(), Duration::ZERO);
        assert_eq!(parse_span("2w").unwrap(), Duration::from_secs(14 * 86_400));
        for bad in ["", "48", "h", "-1h", "1.5h", "4 h", "9999999999999999999d", "99999d", "1month"] {
            assert!(parse_span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_point_is_a_time_or_a_span_from_now() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let then = past_point("since", "2h", now).unwrap();
        assert_eq!(then.as_micros(), now.as_micros() - 7_200_000_000);
        assert_eq!(past_point("since", "2026-11-22T10:00:00Z", now).unwrap(), then);
        assert!(past_point("since", "yesterday", now).unwrap_err().to_string().contains("since"));
    }
}
