//! Two kinds of time. [`Timestamp`] is a point on the calendar, for records, windows and people.
//! [`Moment`] is a point on a clock that never goes back, for limits and waits. They never mix.
//!
//! The calendar (proleptic Gregorian, UTC, no leap seconds) is computed here in a few integer steps,
//! because the start of a budget's window is asked for on every request.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

const SECOND: i64 = 1_000_000;
pub(crate) const MICROS_PER_HOUR: i64 = 3_600 * SECOND;
pub(crate) const MICROS_PER_DAY: i64 = 24 * MICROS_PER_HOUR;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From microseconds since 1970 UTC.
    pub const fn from_micros(micros: i64) -> Self {
        Timestamp(micros)
    }

    /// From milliseconds since 1970 UTC.
    pub const fn from_millis(millis: i64) -> Self {
        Timestamp(millis.saturating_mul(1_000))
    }

    /// Microseconds since 1970 UTC.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since 1970 UTC, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Whole seconds since 1970 UTC, rounded down.
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(SECOND)
    }

    /// This much later; stops at the end of time.
    pub fn plus(self, duration: Duration) -> Self {
        Timestamp(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This much earlier; stops at the beginning of time.
    pub fn minus(self, duration: Duration) -> Self {
        Timestamp(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier`; zero when it is not after.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The UTC day, as `2026-11-22`.
    pub fn date(self) -> String {
        let (year, month, day) = civil_from_days(self.0.div_euclid(MICROS_PER_DAY));
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// Midnight UTC at the start of a calendar day.
    pub(crate) fn from_civil(year: i64, month: i64, day: i64) -> Self {
        Timestamp(days_from_civil(year, month, day).saturating_mul(MICROS_PER_DAY))
    }

    /// Year and month (1-12) of this point in UTC.
    pub(crate) fn year_month(self) -> (i64, i64) {
        let (year, month, _) = civil_from_days(self.0.div_euclid(MICROS_PER_DAY));
        (year, month)
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds: `2026-11-22T19:30:00.123Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_day = self.0.rem_euclid(MICROS_PER_DAY);
        let (seconds, millis) = (of_day / SECOND, of_day % SECOND / 1_000);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        write!(f, "{}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z", self.date())
    }
}

/// Why a text is not a time.
#[derive(Copy, Clone, Eq, PartialEq, Debug, thiserror::Error)]
#[error("a time is written as RFC 3339, such as 2026-11-22T19:30:00Z")]
pub struct TimeError;

impl FromStr for Timestamp {
    type Err = TimeError;

    /// RFC 3339 (`2026-11-22T19:30:00.123456Z`, offsets, a space for the `T`), or a bare day (midnight UTC).
    fn from_str(text: &str) -> Result<Self, TimeError> {
        let bytes = text.as_bytes();
        let day = date(bytes.get(..10).ok_or(TimeError)?)?;
        let midnight = Timestamp::from_civil(day.0, day.1, day.2);
        let rest = &bytes[10..];
        if rest.is_empty() {
            return Ok(midnight);
        }
        if !matches!(rest[0], b'T' | b't' | b' ') || rest.len() < 10 || rest[3] != b':' || rest[6] != b':' {
            return Err(TimeError);
        }
        let (hour, minute, second) = (number(&rest[1..3])?, number(&rest[4..6])?, number(&rest[7..9])?);
        if hour > 23 || minute > 59 || second > 60 {
            return Err(TimeError);
        }
        let (fraction, zone) = fraction(&rest[9..])?;
        let of_day = (hour * 3_600 + minute * 60 + second) * SECOND + fraction;
        Ok(Timestamp(midnight.0 + of_day - offset(zone)?))
    }
}

fn number(digits: &[u8]) -> Result<i64, TimeError> {
    digits.iter().try_fold(0, |sum, digit| match digit {
        b'0'..=b'9' => Ok(sum * 10 + i64::from(digit - b'0')),
        _ => Err(TimeError),
    })
}

fn date(text: &[u8]) -> Result<(i64, i64, i64), TimeError> {
    if text[4] != b'-' || text[7] != b'-' {
        return Err(TimeError);
    }
    let (year, month, day) = (number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?);
    let there_and_back = (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && civil_from_days(days_from_civil(year, month, day)) == (year, month, day);
    if there_and_back { Ok((year, month, day)) } else { Err(TimeError) }
}

/// Splits `.123456Z` into microseconds and the zone. Digits beyond microseconds are cut off.
fn fraction(text: &[u8]) -> Result<(i64, &[u8]), TimeError> {
    let Some(digits) = text.strip_prefix(b".") else { return Ok((0, text)) };
    let count = digits.iter().take_while(|b| b.is_ascii_digit()).count();
    if count == 0 {
        return Err(TimeError);
    }
    let kept = &digits[..count.min(6)];
    let scale = [1_000_000, 100_000, 10_000, 1_000, 100, 10, 1][kept.len()];
    Ok((number(kept)? * scale, &digits[count..]))
}

fn offset(zone: &[u8]) -> Result<i64, TimeError> {
    match zone {
        b"Z" | b"z" => Ok(0),
        [sign @ (b'+' | b'-'), hours @ .., b':', m1, m2] if hours.len() == 2 => {
            let (hours, minutes) = (number(hours)?, number(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return Err(TimeError);
            }
            let size = (hours * 60 + minutes) * 60 * SECOND;
            Ok(if *sign == b'-' { -size } else { size })
        }
        _ => Err(TimeError),
    }
}

/// Days since 1970-01-01 of a day in the proleptic Gregorian calendar. Years are counted from March, so
/// that the leap day is the last of its year and every month's length follows from one linear formula.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let of_year = day_of_era - (365 * of_era + of_era / 4 - of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + of_era;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

/// Nanoseconds on a clock that never goes back. Only differences mean anything.
#[derive(Copy, Clone, Eq, PartialEq, Ord, PartialOrd, Hash, Debug, Default)]
pub struct Moment(u64);

impl Moment {
    /// From nanoseconds since the clock's own beginning.
    pub const fn from_nanos(nanos: u64) -> Self {
        Moment(nanos)
    }

    /// Nanoseconds since the clock's own beginning.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// How long after `earlier`; zero when it is not after.
    pub const fn since(self, earlier: Moment) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This much later; stops at the end of time.
    pub fn plus(self, duration: Duration) -> Self {
        Moment(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_days() {
        assert_eq!(Timestamp::from_micros(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_micros(-1).to_string(), "1969-12-31T23:59:59.999Z");
        let text = "2026-11-22T19:30:00.123Z";
        assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), text);
        assert_eq!("2024-02-29".parse::<Timestamp>().unwrap().to_string(), "2024-02-29T00:00:00.000Z");
        assert_eq!(
            "2026-11-22T21:30:00+02:00".parse::<Timestamp>(),
            "2026-11-22T19:30:00Z".parse::<Timestamp>()
        );
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        let bad = [
            "",
            "now",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-01-01T",
            "2026-01-01T00:00:00",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+0200",
            "2026-01-01T00:00:00Zx",
            "２026-01-01",
        ];
        for text in bad {
            assert_eq!(text.parse::<Timestamp>(), Err(TimeError), "{text}");
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        for micros in [i64::MIN, i64::MAX] {
            assert!(!Timestamp::from_micros(micros).to_string().is_empty());
        }
        assert_eq!(Timestamp::from_micros(5).since(Timestamp::from_micros(9)), Duration::ZERO);
        assert_eq!(Moment::from_nanos(1).plus(Duration::MAX).as_nanos(), u64::MAX);
    }

    proptest! {
        #[test]
        fn the_calendar_agrees_with_jiff(seconds in -62_000_000_000i64..253_000_000_000) {
            let ours = Timestamp::from_micros(seconds * 1_000_000 + 123_456);
            let theirs = jiff::Timestamp::new(seconds, 123_456_000).unwrap();
            prop_assert_eq!(ours.to_string(), format!("{theirs:.3}"));
            prop_assert_eq!(theirs.to_string().parse::<Timestamp>(), Ok(ours));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}", shaped in "[0-9T:.Z+ -]{8,30}") {
            let _ = text.parse::<Timestamp>();
            let _ = shaped.parse::<Timestamp>();
        }
    }
}
