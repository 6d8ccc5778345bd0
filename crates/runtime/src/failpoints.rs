//! What the named failpoints do; compiled only with the feature `failpoints`.
//!
//! Own, not a crate: panic, abort and sleep by name and probability is all that the fault tests ask for. Tests
//! in one process set points with [`set`]; a whole binary is told by the environment variable `FAILPOINTS`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Action {
    Panic,
    Abort,
    Sleep(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    action: Action,
    probability: f64,
    /// How often it still lets pass before it may act.
    spared: u64,
    /// How often it may still act.
    left: u64,
}

fn points() -> MutexGuard<'static, HashMap<String, Point>> {
    static POINTS: OnceLock<Mutex<HashMap<String, Point>>> = OnceLock::new();
    POINTS.get_or_init(|| Mutex::new(from_environment())).lock().unwrap_or_else(PoisonError::into_inner)
}

#[expect(
    clippy::disallowed_methods,
    reason = "only in builds for fault tests, which have no settings of their own"
)]
#[expect(clippy::panic, reason = "a fault test with a typing error must not pass")]
fn from_environment() -> HashMap<String, Point> {
    let text = std::env::var("FAILPOINTS").unwrap_or_default();
    text.split(';')
        .map(str::trim)
        .filter(|rule| !rule.is_empty())
        .map(|rule| match rule.split_once('=').and_then(|(name, what)| Some((name, parse(what)?))) {
            Some((name, point)) => (name.trim().to_owned(), point),
            None => panic!("FAILPOINTS: cannot read {rule:?}"),
        })
        .collect()
}

/// `panic`, `abort`, `sleep(milliseconds)`; then, in this order, `+20` = not the first twenty times, `@0.1` = one time in
/// ten, `#3` = three times at most.
fn parse(what: &str) -> Option<Point> {
    let (what, left) = match what.trim().split_once('#') {
        Some((what, left)) => (what, left.parse().ok()?),
        None => (what.trim(), u64::MAX),
    };
    let (what, probability) = match what.split_once('@') {
        Some((what, probability)) => (what, probability.parse().ok()?),
        None => (what, 1.0),
    };
    let (what, spared) = match what.split_once('+') {
        Some((what, spared)) => (what, spared.parse().ok()?),
        None => (what, 0),
    };
    let action = match what.trim() {
        "panic" => Action::Panic,
        "abort" => Action::Abort,
        other => {
            let millis = other.strip_prefix("sleep(")?.strip_suffix(')')?;
            Action::Sleep(Duration::from_millis(millis.parse().ok()?))
        }
    };
    Some(Point { action, probability, spared, left })
}

/// Sets a point from within a test: `set("ledger.reserve", "panic#1")`; `"off"` removes it. False when `what`
/// cannot be read.
pub fn set(name: &str, what: &str) -> bool {
    if what == "off" {
        points().remove(name);
        return true;
    }
    let Some(point) = parse(what) else { return false };
    points().insert(name.to_owned(), point);
    true
}

/// Called by [`failpoint!`](crate::failpoint).
///
/// # Panics
/// When the point says so.
#[expect(clippy::panic, reason = "that is what it is for")]
pub fn hit(name: &str) {
    let action = {
        let mut points = points();
        match points.get_mut(name) {
            Some(point) if point.spared > 0 => {
                point.spared -= 1;
                return;
            }
            Some(point) if point.left > 0 && crate::Dice::unit() < point.probability => {
                point.left -= 1;
                point.action
            }
            _ => return,
        }
    };
    match action {
        Action::Panic => panic!("failpoint {name}"),
        Action::Abort => std::process::abort(),
        Action::Sleep(time) => std::thread::sleep(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read() {
        let point = |action, probability, spared, left| Some(Point { action, probability, spared, left });
        assert_eq!(parse("panic"), point(Action::Panic, 1.0, 0, u64::MAX));
        assert_eq!(parse("sleep(50)"), point(Action::Sleep(Duration::from_millis(50)), 1.0, 0, u64::MAX));
        assert_eq!(parse("abort@0.1#2"), point(Action::Abort, 0.1, 0, 2));
        assert_eq!(parse("abort+7@0.1#2"), point(Action::Abort, 0.1, 7, 2));
        assert_eq!(parse("panik"), None);
        assert_eq!(parse("sleep(x)"), None);
    }

    #[test]
    fn a_point_spares_the_first() {
        assert!(set("test.spared", "panic+2#1"));
        let passes = || std::panic::catch_unwind(|| crate::failpoint!("test.spared")).is_ok();
        assert_eq!([passes(), passes(), passes(), passes()], [true, true, false, true]);
    }

    #[test]
    fn a_point_acts_as_often_as_told() {
        assert!(set("test.counted", "panic#1"));
        assert!(std::panic::catch_unwind(|| crate::failpoint!("test.counted")).is_err());
        assert!(std::panic::catch_unwind(|| crate::failpoint!("test.counted")).is_ok());
    }
}
