//! The outside world in one place: clock, randomness, named tasks, failpoints.
//!
//! Time, chance and concurrency are the three things that make a program behave differently from one run to
//! the next. They are gathered here so that every other crate takes them as values and a test can own them.
//!
//! What it is not: a scheduler, an I/O layer, or a place for settings. It reads one environment variable
//! (`FAILPOINTS`), and only when the feature `failpoints` is compiled in.
//!
//! Reading order: [`Clock`], [`Tasks`], [`Dice`], [`failpoint!`].

mod clock;
mod dice;
#[cfg(feature = "failpoints")]
pub mod failpoints;
mod tasks;

pub use clock::{Clock, ManualClock};
pub use dice::{Dice, random_bytes, request_id};
pub use tasks::{Tasks, others_first};

/// A named place where a test may make the program panic, abort or stall.
///
/// Without the feature `failpoints` (of this crate) it expands to nothing. With it, the environment variable
/// `FAILPOINTS` says what happens: `FAILPOINTS="ledger.reserve=panic;ledger.drain=sleep(50);a.b=panic@0.1"`.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoints::hit($name)
    };
}

/// A named place where a test may make the program panic, abort or stall; nothing in this build.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {{}};
}
