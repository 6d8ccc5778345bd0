//! The outside world in one place: clock, randomness, named tasks, failpoints
