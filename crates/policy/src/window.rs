//! The windows of budgets: calendar spans, in UTC or in a time zone.
//!
//! Calendar spans, not sliding ones, because a bill is read by the calendar: a person must be able to add
//! up a month's entries and find the same sum.

use crate::ids::Name;
use crate::time::{MICROS_PER_DAY, MICROS_PER_HOUR, Timestamp};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{ToSpan, Unit, Zoned, ZonedRound};
use serde::{Deserialize, Serialize};
use std::fmt;

/// How long a budget's amount lasts.
#[derive(Copy, Clone, Eq, PartialEq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// From one full hour to the next.
    Hour,
    /// From midnight UTC.
    Day,
    /// From Monday, midnight UTC.
    Week,
    /// From the first of the month, midnight UTC.
    Month,
    /// For ever: never resets.
    Total,
    /// One request: a ceiling, of which nothing is added up.
    Request,
}

/// The time zone in which windows begin: a name of the IANA's, `Europe/Berlin`. Without a name, UTC. The rules of zones are
/// part of the program.
#[derive(Clone, Eq, PartialEq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Zone(Option<Name>);

impl Zone {
    /// The zone of that name; `None` where there is none.
    pub fn named(name: &str) -> Option<Zone> {
        if name == "UTC" {
            return Some(Zone::default());
        }
        TimeZone::get(name).ok().map(|_| Zone(Some(name.into())))
    }

    /// Whether it is UTC.
    pub fn is_utc(&self) -> bool {
        self.0.is_none()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("UTC")
    }
}

impl Window {
    /// Every window, with the name it has in settings.
    pub const NAMES: [(&'static str, Window); 6] = [
        ("hour", Window::Hour),
        ("day", Window::Day),
        ("week", Window::Week),
        ("month", Window::Month),
        ("total", Window::Total),
        ("request", Window::Request),
    ];

    /// The name in settings: `month`.
    pub fn as_str(self) -> &'static str {
        match self {
            Window::Hour => "hour",
            Window::Day => "day",
            Window::Week => "week",
            Window::Month => "month",
            Window::Total => "total",
            Window::Request => "request",
        }
    }

    /// The window of that name.
    pub fn named(name: &str) -> Option<Window> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, window)| *window)
    }

    /// When the window that `now` lies in began and when it ends, in a time zone.
    pub fn span(self, now: Timestamp, zone: &Zone) -> (Timestamp, Option<Timestamp>) {
        let there = zone.0.as_deref().and_then(|name| self.span_there(now, name));
        there.unwrap_or_else(|| (self.start(now), self.end(now)))
    }

    /// `None` where nothing depends on the zone, or no calendar reaches so far.
    fn span_there(self, now: Timestamp, zone: &str) -> Option<(Timestamp, Option<Timestamp>)> {
        let zone = TimeZone::get(zone).ok()?;
        let now = jiff::Timestamp::from_microsecond(now.as_micros()).ok()?.to_zoned(zone.clone());
        let begins = |date: Date| date.to_zoned(zone.clone()).ok()?.start_of_day().ok();
        let (start, end) = match self {
            Window::Total | Window::Request => return None,
            Window::Hour => {
                let truncated = ZonedRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Trunc);
                let start = now.round(truncated).ok()?;
                let end = start.checked_add(1.hour()).ok()?;
                (start, end)
            }
            Window::Day => (now.start_of_day().ok()?, begins(now.date().tomorrow().ok()?)?),
            Window::Week => {
                let monday = i64::from(now.weekday().to_monday_zero_offset());
                let monday = now.date().checked_sub(monday.days()).ok()?;
                (begins(monday)?, begins(monday.checked_add(7.days()).ok()?)?)
            }
            Window::Month => {
                let first = now.date().first_of_month();
                (begins(first)?, begins(first.checked_add(1.month()).ok()?)?)
            }
        };
        let at = |time: &Zoned| Timestamp::from_micros(time.timestamp().as_microsecond());
        Some((at(&start), Some(at(&end))))
    }

    /// When the window that `now` lies in began, in UTC. [`Window::Total`] began in 1970.
    pub fn start(self, now: Timestamp) -> Timestamp {
        match self {
            Window::Hour => floor(now, MICROS_PER_HOUR, 0),
            Window::Day => floor(now, MICROS_PER_DAY, 0),
            // 1970-01-01 was a Thursday: Mondays lie four days after a multiple of a week.
            Window::Week => floor(now, 7 * MICROS_PER_DAY, 4 * MICROS_PER_DAY),
            Window::Month => {
                let (year, month) = now.year_month();
                Timestamp::from_civil(year, month, 1)
            }
            Window::Total | Window::Request => Timestamp::from_micros(0),
        }
    }

    /// When the window that `now` lies in ends and its amount is whole again, in UTC; `None` for never.
    pub fn end(self, now: Timestamp) -> Option<Timestamp> {
        let start = self.start(now).as_micros();
        let length = match self {
            Window::Hour => MICROS_PER_HOUR,
            Window::Day => MICROS_PER_DAY,
            Window::Week => 7 * MICROS_PER_DAY,
            Window::Month => {
                let (year, month) = now.year_month();
                let (year, month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                return Some(Timestamp::from_civil(year, month, 1));
            }
            Window::Total | Window::Request => return None,
        };
        Some(Timestamp::from_micros(start.saturating_add(length)))
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

fn floor(now: Timestamp, length: i64, phase: i64) -> Timestamp {
    let micros = now.as_micros();
    Timestamp::from_micros(micros.saturating_sub(micros.saturating_sub(phase).rem_euclid(length)))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn windows_of_a_sunday_evening() {
        let now = at("2026-11-22T19:42:53.5Z");
        let starts = Window::NAMES.map(|(_, window)| window.start(now).to_string());
        assert_eq!(
            starts,
            [
                "2026-11-22T19:00:00.000Z",
                "2026-11-22T00:00:00.000Z",
                "2026-11-16T00:00:00.000Z",
                "2026-11-01T00:00:00.000Z",
                "1970-01-01T00:00:00.000Z",
                "1970-01-01T00:00:00.000Z"
            ]
        );
        let ends = Window::NAMES.map(|(_, window)| window.end(now).map(|end| end.date()));
        assert_eq!(ends[2..].to_vec(), [Some("2026-11-23".into()), Some("2026-12-01".into()), None, None]);
    }

    #[test]
    fn months_across_years_and_leap_days() {
        let month =
            |text| (Window::Month.start(at(text)).date(), Window::Month.end(at(text)).unwrap().date());
        assert_eq!(month("2024-02-29T23:59:59.999999Z"), ("2024-02-01".into(), "2024-03-01".into()));
        assert_eq!(month("2025-02-28T23:59:59Z"), ("2025-02-01".into(), "2025-03-01".into()));
        assert_eq!(month("2026-12-31T23:59:59Z"), ("2026-12-01".into(), "2027-01-01".into()));
        assert_eq!(month("2027-01-01T00:00:00Z"), ("2027-01-01".into(), "2027-02-01".into()));
        assert_eq!(month("2100-02-28T12:00:00Z"), ("2100-02-01".into(), "2100-03-01".into()));
    }

    #[test]
    fn windows_begin_where_a_zone_has_midnight() {
        let span = |window: Window, zone: &str, now: &str| {
            let (start, end) = window.span(at(now), &Zone::named(zone).unwrap());
            (start.to_string(), end.unwrap().to_string())
        };
        let shanghai = span(Window::Day, "Asia/Shanghai", "2026-11-27T17:00:00Z");
        assert_eq!(shanghai, ("2026-11-27T16:00:00.000Z".into(), "2026-11-28T16:00:00.000Z".into()));
        // The clocks of Berlin go back on 25 October 2026: the day has 25 hours.
        let berlin = span(Window::Day, "Europe/Berlin", "2026-10-25T12:00:00Z");
        assert_eq!(berlin, ("2026-10-24T22:00:00.000Z".into(), "2026-10-25T23:00:00.000Z".into()));
        let month = span(Window::Month, "America/New_York", "2026-12-01T03:00:00Z");
        assert_eq!(month, ("2026-11-01T04:00:00.000Z".into(), "2026-12-01T05:00:00.000Z".into()));
        let week = span(Window::Week, "Pacific/Auckland", "2026-11-22T12:00:00Z");
        assert_eq!(week, ("2026-11-22T11:00:00.000Z".into(), "2026-11-29T11:00:00.000Z".into()));
        let hour = span(Window::Hour, "Asia/Kathmandu", "2026-11-22T12:20:00Z");
        assert_eq!(hour, ("2026-11-22T12:15:00.000Z".into(), "2026-11-22T13:15:00.000Z".into()));
        assert_eq!(Zone::named("Europe/Berln"), None);
        assert!(Zone::named("UTC").unwrap().is_utc());
    }

    proptest! {
        #[test]
        fn windows_of_zones_tile_time_too(micros in 0i64..4_000_000_000_000_000, zone in 0usize..4) {
            let zone = ["Europe/Berlin", "Asia/Shanghai", "America/Sao_Paulo", "Australia/Lord_Howe"][zone];
            let (now, zone) = (Timestamp::from_micros(micros), Zone::named(zone).unwrap());
            for window in [Window::Hour, Window::Day, Window::Week, Window::Month] {
                let (start, end) = window.span(now, &zone);
                let end = end.unwrap();
                prop_assert!(start <= now && now < end, "{window}: {start} {now} {end}");
                prop_assert_eq!(window.span(end, &zone).0, end);
                prop_assert_eq!(window.span(Timestamp::from_micros(end.as_micros() - 1), &zone).0, start);
            }
        }

        #[test]
        fn now_lies_in_its_window_and_windows_tile_time(micros in -4_000_000_000_000_000i64..4_000_000_000_000_000) {
            let now = Timestamp::from_micros(micros);
            for window in [Window::Hour, Window::Day, Window::Week, Window::Month] {
                let (start, end) = (window.start(now), window.end(now).unwrap());
                prop_assert!(start <= now && now < end);
                prop_assert_eq!(window.start(start), start);
                prop_assert_eq!(window.start(end), end);
                let last = Timestamp::from_micros(end.as_micros() - 1);
                prop_assert_eq!(window.start(last), start);
            }
        }

        #[test]
        fn no_time_overflows(micros: i64) {
            for (_, window) in Window::NAMES {
                let _ = (window.start(Timestamp::from_micros(micros)), window.end(Timestamp::from_micros(micros)));
            }
        }
    }
}
