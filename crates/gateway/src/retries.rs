//! The retry budget: how often places that are not well may be asked again on behalf of requests that have failed elsewhere.
//!
//! When much fails at once, retries multiply the load just where it cannot be borne. So within ten seconds retries at places of
//! which something bad is known are at most a fifth of the requests, and three a second in any case. A place of which nothing
//! bad is known may always be asked: the budget is for the sake of places, and no client sees a failure for it while
//! somebody is well. (Envoy keeps 20 % and 3; linkerd 20 % and 10 a second; their documentation of 2026.)
//!
//! Requests are counted only while something is not well, so the budget costs nothing while all is.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use policy::Moment;

const SECONDS: u64 = 10;
/// More than the window has, so that a second is over long before its slot comes again.
const SLOTS: usize = 16;
/// One retry for so many requests.
const REQUESTS_FOR_ONE: u64 = 5;
const LEAST: u64 = 3 * SECONDS;
const SECOND: u64 = 1_000_000_000;

#[derive(Debug, Default)]
struct Slot {
    second: AtomicU64,
    requests: AtomicU32,
    retries: AtomicU32,
}

/// What was asked and asked again in the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Retries {
    slots: [Slot; SLOTS],
    denied: AtomicU64,
}

impl Retries {
    /// A request is made.
    pub(crate) fn request(&self, now: Moment) {
        self.slot(now).requests.fetch_add(1, Relaxed);
    }

    /// Whether a place that is not well may be asked on behalf of a request that has failed elsewhere; it is counted then.
    pub(crate) fn may(&self, now: Moment) -> bool {
        let current = now.as_nanos() / SECOND + 1;
        let (mut requests, mut retries) = (0u64, 0u64);
        for slot in &self.slots {
            let second = slot.second.load(Relaxed);
            if second > 0 && second + SECONDS > current && second <= current {
                requests += u64::from(slot.requests.load(Relaxed));
                retries += u64::from(slot.retries.load(Relaxed));
            }
        }
        if retries >= LEAST.max(requests / REQUESTS_FOR_ONE) {
            self.denied.fetch_add(1, Relaxed);
            return false;
        }
        self.slot(now).retries.fetch_add(1, Relaxed);
        true
    }

    /// How often it said no since the start.
    pub(crate) fn denied(&self) -> u64 {
        self.denied.load(Relaxed)
    }

    /// The slot of a second, which counts from 1; what it held of an earlier one is forgotten. Two threads at the turn of a
    /// second may lose a count, which is of no consequence.
    fn slot(&self, now: Moment) -> &Slot {
        let second = now.as_nanos() / SECOND + 1;
        let slot = &self.slots[second as usize % SLOTS];
        if slot.second.swap(second, Relaxed) != second {
            slot.requests.store(0, Relaxed);
            slot.retries.store(0, Relaxed);
        }
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Moment {
        Moment::from_nanos(milliseconds * 1_000_000)
    }

    #[test]
    fn a_fifth_of_the_requests_and_three_a_second() {
        let retries = Retries::default();
        let allowed = |count: u64, now| (0..count).filter(|_| retries.may(at(now))).count();
        assert_eq!(allowed(100, 0), 30, "with hardly any requests");
        assert_eq!(retries.denied(), 70);
        (0..1_000).for_each(|n| retries.request(at(n * 9)));
        assert_eq!(allowed(1_000, 9_500), 170, "a fifth of a thousand, less those before");
        assert_eq!(allowed(100, 9_999), 0);
        // What was asked in the first second counts no longer.
        assert_eq!(allowed(100, 10_500), 7);
        assert_eq!(allowed(1_000, 60_000), 30, "a minute later all is forgotten");
    }
}
