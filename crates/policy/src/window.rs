//! The windows of budgets: calendar spans in UTC.
//!
//! Calendar spans, not sliding ones, because a bill is read by the calendar: a person must be able to add
//! up a month's entries and find the same sum.

use crate::time::{MICROS_PER_DAY, MICROS_PER_HOUR, Timestamp};
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
}

impl Window {
    /// Every window, with the name it has in settings.
    pub const NAMES: [(&'static str, Window); 5] = [
        ("hour", Window::Hour),
        ("day", Window::Day),
        ("week", Window::Week),
        ("month", Window::Month),
        ("total", Window::Total),
    ];

    /// The name in settings: `month`.
    pub fn as_str(self) -> &'static str {
        match self {
            Window::Hour => "hour",
            Window::Day => "day",
            Window::Week => "week",
            Window::Month => "month",
            Window::Total => "total",
        }
    }

    /// The window of that name.
    pub fn named(name: &str) -> Option<Window> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, window)| *window)
    }

    /// When the window that `now` lies in began. [`Window::Total`] began in 1970.
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
            Window::Total => Timestamp::from_micros(0),
        }
    }

    /// When the window that `now` lies in ends and its amount is whole again; `None` for never.
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
            Window::Total => return None,
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
                "1970-01-01T00:00:00.000Z"
            ]
        );
        let ends = Window::NAMES.map(|(_, window)| window.end(now).map(|end| end.date()));
        assert_eq!(ends[2..].to_vec(), [Some("2026-11-23".into()), Some("2026-12-01".into()), None]);
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

    proptest! {
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
