//! How places have lately been doing, for routes that order by it: requests under way, time to the first token, what the
//! provider says is left of what it allows.
//!
//! Only routes that measure make entries, and only what they send is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use http::HeaderMap;
use parking_lot::RwLock;
use policy::{Deployment, Moment, NameMap};

/// Entries kept; there are no more than the routes of all environments name.
const MOST: usize = 4_096;
/// What is older counts for little beside what is new.
const MEMORY: Duration = Duration::from_secs(10);
/// What is older says nothing any more.
const STALE: Duration = Duration::from_secs(60);

/// A figure and when it was taken: microseconds or a share in parts of a million, and seconds from the start of the clock.
#[derive(Debug, Default)]
struct Figure(AtomicU64);

impl Figure {
    fn read(&self, now: Moment) -> Option<u32> {
        let (value, at) = self.raw()?;
        (now.since(at) < STALE).then_some(value)
    }

    fn raw(&self) -> Option<(u32, Moment)> {
        let packed = self.0.load(Relaxed);
        let seconds = packed >> 32;
        // The first second of the clock counts as none; nothing has answered by then.
        (seconds > 0).then(|| (packed as u32, Moment::from_nanos(seconds.saturating_mul(1_000_000_000))))
    }

    fn write(&self, value: u32, now: Moment) {
        let seconds = (now.as_nanos() / 1_000_000_000).clamp(1, u64::from(u32::MAX));
        self.0.store(seconds << 32 | u64::from(value), Relaxed);
    }

    /// Takes a sample in: the older what is known, the less it counts.
    fn sample(&self, value: u32, now: Moment) {
        let mixed = match self.raw() {
            None => f64::from(value),
            Some((known, at)) => {
                let age = now.since(at).as_secs_f64() / MEMORY.as_secs_f64();
                // A sample alone never decides: at least a fifth of it, as though two seconds had passed.
                let kept = (-age.max(0.22)).exp();
                f64::from(known) * kept + f64::from(value) * (1.0 - kept)
            }
        };
        self.write(mixed.round() as u32, now);
    }
}

/// What is known of one deployment.
#[derive(Debug, Default)]
pub(crate) struct Vital {
    under_way: AtomicU32,
    first_of_stream: Figure,
    whole: Figure,
    remaining: Figure,
}

/// One request under way, counted until dropped.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Vital>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

impl Vital {
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.under_way.fetch_add(1, Relaxed);
        Busy(Arc::clone(self))
    }

    pub(crate) fn under_way(&self) -> u32 {
        self.under_way.load(Relaxed)
    }

    /// Streams and whole answers are told apart: of the latter the first byte is the last.
    pub(crate) fn first_token(&self, stream: bool, now: Moment) -> Option<Duration> {
        let figure = if stream { &self.first_of_stream } else { &self.whole };
        figure.read(now).map(|micros| Duration::from_micros(u64::from(micros)))
    }

    pub(crate) fn remaining(&self, now: Moment) -> Option<f64> {
        self.remaining.read(now).map(|parts| f64::from(parts) / 1e6)
    }
}

impl Busy {
    /// An answer has begun.
    pub(crate) fn answered(&self, after: Duration, stream: bool, now: Moment) {
        let figure = if stream { &self.0.first_of_stream } else { &self.0.whole };
        figure.sample(u32::try_from(after.as_micros()).unwrap_or(u32::MAX), now);
    }

    /// What the head of an answer says is left, of requests and of tokens: the smaller share counts.
    pub(crate) fn told(&self, head: &HeaderMap, now: Moment) {
        if let Some(share) = share(head) {
            self.0.remaining.write((share * 1e6) as u32, now);
        }
    }
}

/// The smallest share that is left, of what OpenAI's and Anthropic's servers tell in their headers.
fn share(head: &HeaderMap) -> Option<f64> {
    // Most answers tell nothing of it, and to look for twelve names takes longer than to see that.
    if !head.keys().any(|name| name.as_str().contains("ratelimit-")) {
        return None;
    }
    let number = |name: &str| head.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let pairs = [
        ("x-ratelimit-remaining-requests", "x-ratelimit-limit-requests"),
        ("x-ratelimit-remaining-tokens", "x-ratelimit-limit-tokens"),
        ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-limit"),
        ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-limit"),
        ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-limit"),
        ("anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-limit"),
    ];
    let shares = pairs.into_iter().filter_map(|(left, of)| {
        let (left, of) = (number(left)?, number(of)?);
        (of > 0.0).then(|| (left / of).clamp(0.0, 1.0))
    });
    shares.min_by(f64::total_cmp)
}

/// All that is known, by environment and deployment.
#[derive(Debug, Default)]
pub(crate) struct Vitals(RwLock<NameMap<NameMap<Arc<Vital>>>>);

impl Vitals {
    /// What is known of a deployment, from now on at least; `None` where there is no room.
    pub(crate) fn of(&self, environment: &str, deployment: &Deployment) -> Option<Arc<Vital>> {
        let found = |all: &NameMap<NameMap<Arc<Vital>>>| all.get(environment)?.get(&deployment.name).cloned();
        if let Some(vital) = found(&self.0.read()) {
            return Some(vital);
        }
        let mut all = self.0.write();
        if let Some(vital) = found(&all) {
            return Some(vital);
        }
        if all.values().map(NameMap::len).sum::<usize>() >= MOST {
            return None;
        }
        let vital = Arc::<Vital>::default();
        all.entry(environment.into()).or_default().insert(Arc::clone(&deployment.name), Arc::clone(&vital));
        Some(vital)
    }
}

#[cfg(test)]
#[path = "vitals/tests.rs"]
mod tests;
