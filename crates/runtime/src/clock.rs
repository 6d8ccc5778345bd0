//! Wall time and monotonic time behind one value.
//!
//! An enum and not a trait object: `now` is asked several times per request and the branch is free, and every
//! holder may clone it. The manual clock moves both times together with `advance`, and the wall alone with
//! `set`, which is how a clock that jumps is shown to the rest of the program.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use policy::{Moment, Timestamp};

/// Tells wall time ([`Timestamp`]) and monotonic time ([`Moment`]).
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// The machine's clocks; the instant is the origin of the monotonic scale.
    System(Instant),
    Manual(Arc<Hands>),
}

#[derive(Debug)]
struct Hands {
    wall_micros: AtomicI64,
    monotonic_nanos: AtomicU64,
}

/// The hand that moves a manual [`Clock`]; for tests.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Hands>);

impl Clock {
    /// The machine's clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the clock is read")]
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// A clock that stands still at `start` until its hand is moved. Its monotonic time starts at one second.
    #[must_use]
    pub fn manual(start: Timestamp) -> (Self, ManualClock) {
        let hands = Arc::new(Hands {
            wall_micros: AtomicI64::new(start.as_micros()),
            monotonic_nanos: AtomicU64::new(1_000_000_000),
        });
        (Self(Source::Manual(hands.clone())), ManualClock(hands))
    }

    /// Wall time, UTC. May jump, either way.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the clock is read")]
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System(_) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
            }
            Source::Manual(hands) => Timestamp::from_micros(hands.wall_micros.load(Ordering::Acquire)),
        }
    }

    /// Monotonic time since the clock was made. Never goes back.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place where the clock is read")]
    pub fn moment(&self) -> Moment {
        match &self.0 {
            Source::System(origin) => {
                let since = Instant::now().saturating_duration_since(*origin);
                Moment::from_nanos(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
            }
            Source::Manual(hands) => Moment::from_nanos(hands.monotonic_nanos.load(Ordering::Acquire)),
        }
    }
}

impl ManualClock {
    /// Moves wall and monotonic time forward together.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.0.wall_micros.fetch_add(micros, Ordering::AcqRel);
        self.0.monotonic_nanos.fetch_add(nanos, Ordering::AcqRel);
    }

    /// Sets the wall, forward or back, and leaves monotonic time alone: what a step of the system clock does.
    pub fn set(&self, to: Timestamp) {
        self.0.wall_micros.store(to.as_micros(), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_moves_only_by_hand() {
        let (clock, hand) = Clock::manual(Timestamp::from_micros(5_000_000));
        let start = clock.moment();
        assert_eq!(clock.now(), Timestamp::from_micros(5_000_000));
        hand.advance(Duration::from_millis(3));
        assert_eq!(clock.now(), Timestamp::from_micros(5_003_000));
        assert_eq!(clock.moment().as_nanos() - start.as_nanos(), 3_000_000);
    }

    #[test]
    fn a_step_of_the_wall_leaves_monotonic_time_alone() {
        let (clock, hand) = Clock::manual(Timestamp::from_micros(9_000_000));
        let start = clock.moment();
        hand.set(Timestamp::from_micros(1_000_000));
        assert_eq!(clock.now(), Timestamp::from_micros(1_000_000));
        assert_eq!(clock.moment().as_nanos(), start.as_nanos());
    }

    #[test]
    fn the_system_clock_is_past_2025_and_does_not_go_back() {
        let clock = Clock::system();
        assert!(clock.now() > Timestamp::from_micros(1_735_689_600_000_000));
        let first = clock.moment();
        assert!(clock.moment().as_nanos() >= first.as_nanos());
    }
}
