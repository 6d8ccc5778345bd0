//! Runs every property of `providers::fuzz` on mutated inputs for the given number of seconds each
//! (default 10), or one of them, from a seed that it prints:
//! `cargo run -p providers --example fuzz -- SECONDS [SEED [ENTRY]]`.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for people, with a clock")]

use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize| arguments.get(at).and_then(|text| text.parse::<u64>().ok());
    let (seconds, first) = (number(0).unwrap_or(10), number(1).unwrap_or(1));
    for (name, entry) in providers::fuzz::ALL {
        if arguments.get(2).is_some_and(|wanted| wanted != name) {
            continue;
        }
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut seed = first;
        while Instant::now() < end {
            providers::fuzz::run(entry, 1_000, seed);
            seed += 1;
        }
        println!("{name}: seeds {first}..{seed}, 1000 inputs each, no violation");
    }
}
