//! Runs every property of `providers::fuzz` on mutated inputs for the given number of seconds each
//! (default 10), from a seed that it prints: `cargo run -p providers --example fuzz -- SECONDS [SEED]`.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for people, with a clock")]

use std::time::{Duration, Instant};

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let seconds = arguments.next().and_then(Result::ok).unwrap_or(10);
    let first = arguments.next().and_then(Result::ok).unwrap_or(1);
    for (name, entry) in providers::fuzz::ALL {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut seed = first;
        while Instant::now() < end {
            providers::fuzz::run(entry, 1_000, seed);
            seed += 1;
        }
        println!("{name}: seeds {first}..{seed}, 1000 inputs each, no violation");
    }
}
