//! Randomness from the operating system, and request ids made of it.
//!
//! Keys take bytes straight from the system. Request ids and routing draws need a few bytes each, thousands of
//! times a second, so those come from a small buffer per thread: one system call per hundred requests, and no
//! generator of our own whose seed could be guessed.

use std::cell::RefCell;

use policy::RequestId;

use crate::Clock;

const BUFFER: usize = 1024;

/// Bytes from the operating system's generator.
///
/// # Panics
/// When the operating system has no randomness to give: nothing that needs a secret can go on then.
#[must_use]
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    fill(&mut bytes);
    bytes
}

#[expect(
    clippy::expect_used,
    reason = "without randomness no key or id can be made; there is nothing to go on with"
)]
fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives randomness");
}

struct Buffer {
    bytes: [u8; BUFFER],
    used: usize,
}

thread_local! {
    static BUFFERED: RefCell<Buffer> = const { RefCell::new(Buffer { bytes: [0; BUFFER], used: BUFFER }) };
}

/// Cheap draws: OS randomness through a buffer per thread. Not for keys.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dice;

impl Dice {
    /// A new request id (UUIDv7) of this moment.
    #[must_use]
    pub fn request_id(clock: &Clock) -> RequestId {
        RequestId::v7(clock.now(), Self::bytes())
    }

    /// A uniform draw in `[0, 1)`.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    pub fn unit() -> f64 {
        let bits = u64::from_le_bytes(Self::bytes()) >> 11;
        bits as f64 / (1_u64 << 53) as f64
    }

    /// A few random bytes, at most 64.
    #[must_use]
    pub fn bytes<const N: usize>() -> [u8; N] {
        const { assert!(N <= 64, "take more than a few bytes from random_bytes") }
        BUFFERED.with_borrow_mut(|buffer| {
            if buffer.used + N > BUFFER {
                fill(&mut buffer.bytes);
                buffer.used = 0;
            }
            let mut taken = [0; N];
            let range = buffer.used..buffer.used + N;
            taken.copy_from_slice(&buffer.bytes[range.clone()]);
            // A byte is given once: nothing that was handed out stays behind in memory.
            buffer.bytes[range].fill(0);
            buffer.used += N;
            taken
        })
    }
}

/// A new request id (UUIDv7) of this moment.
#[must_use]
pub fn request_id(clock: &Clock) -> RequestId {
    Dice::request_id(clock)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_do_not_repeat_across_refills_and_threads() {
        let clock = Clock::system();
        let ids: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..2_000).map(|_| request_id(&clock)).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).flatten().collect()
        });
        assert_eq!(ids.len(), 8_000);
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 8_000);
    }

    #[test]
    fn unit_draws_spread_over_the_unit_interval() {
        let draws: Vec<f64> = (0..10_000).map(|_| Dice::unit()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        // Mean of 10,000 uniform draws: standard deviation 0.003; 0.03 is ten of them.
        let mean = draws.iter().sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.03, "mean {mean}");
    }

    #[test]
    fn random_bytes_differ() {
        assert_ne!(random_bytes::<32>(), random_bytes::<32>());
    }
}
