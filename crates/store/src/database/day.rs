//! A day in UTC: the unit by which the request log is kept and dropped.
//!
//! SQLite has a file a day and PostgreSQL a partition a day, so that dropping a day costs nothing and gives the
//! space back, where deleting its rows would rewrite the database.

use std::fmt;
use std::str::FromStr;

use policy::{RequestId, Timestamp};

const MICROS: i64 = 86_400_000_000;

/// Days since 1970-01-01 UTC. Displays as `2026-11-22`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Day(i64);

impl Day {
    pub(crate) fn of(at: Timestamp) -> Self {
        Self(at.as_micros().div_euclid(MICROS))
    }

    /// The day in which a request began, from the milliseconds that begin its id (UUIDv7, RFC 9562 §5.7). Files are
    /// chosen by the id, so that the order of ids runs through the files.
    pub(crate) fn of_request(id: &RequestId) -> Self {
        let millis = id.as_bytes()[..6].iter().fold(0_i64, |sum, byte| sum << 8 | i64::from(*byte));
        Self::of(Timestamp::from_micros(millis * 1000))
    }

    pub(crate) fn start(self) -> Timestamp {
        Timestamp::from_micros(self.0 * MICROS)
    }

    pub(crate) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// `20261122`: part of a partition's name.
    pub(crate) fn digits(self) -> String {
        self.to_string().replace('-', "")
    }

    pub(crate) fn from_digits(digits: &str) -> Option<Self> {
        if digits.len() != 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        format!("{}-{}-{}", &digits[..4], &digits[4..6], &digits[6..]).parse().ok()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.start().to_string();
        f.write_str(text.get(..10).unwrap_or(&text))
    }
}

impl FromStr for Day {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        format!("{text}T00:00:00Z").parse().map(Self::of).map_err(|_| ())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_written_and_read_alike() {
        let day: Day = "2026-11-22".parse().unwrap();
        assert_eq!(day.to_string(), "2026-11-22");
        assert_eq!(Day::from_digits(&day.digits()), Some(day));
        assert_eq!(day.next().to_string(), "2026-11-23");
        for wrong in ["2026-11", "2026-13-01", "x", ""] {
            assert!(wrong.parse::<Day>().is_err(), "{wrong}");
        }
        assert_eq!(Day::from_digits("2026112x"), None);
    }

    #[test]
    fn the_last_millisecond_of_a_day_belongs_to_it() {
        let midnight = "2026-11-23".parse::<Day>().unwrap().start();
        for (micros, wanted) in [(-1000, "2026-11-22"), (0, "2026-11-23")] {
            let at = Timestamp::from_micros(midnight.as_micros() + micros);
            assert_eq!(Day::of(at).to_string(), wanted);
            assert_eq!(Day::of_request(&RequestId::v7(at, [7; 10])).to_string(), wanted);
        }
    }
}
