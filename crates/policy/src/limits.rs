//! Limits on rate and concurrency: pure, lock-free, time as a parameter.
//!
//! A rate is kept as one number, the *theoretical arrival time* of the generic cell rate
//! algorithm (GCRA): the moment at which the bucket is full again. One atomic compare-and-swap decides a
//! request, nothing has to be refilled in the background, and an idle limit costs nothing.
//!
//! The numbers lie behind an `Arc`: a clone shares the fill, which is how a key keeps what it has used
//! when its record changes.

mod rules;
mod taken;

use crate::time::Moment;
use sha2::{Digest, Sha256};
use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use rules::{Counted, LimitRule, Limits, Meters, Per, Rate, Span, fits};
pub use taken::{Elsewhere, Full, Granted, Part, Taken, Verdict, Wanted};

/// No debt is longer than this (about 30 years), so that no sum overflows.
const LONGEST: u64 = 1_000_000_000_000_000_000;

/// Where a caller stands with a limit: what the `x-ratelimit-*` headers say.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Standing {
    /// The limit, in its span of time.
    pub limit: u64,
    /// What could be taken at once now.
    pub remaining: u64,
    /// Until all of the limit is there again.
    pub reset: Duration,
}

/// A limit said no.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Refused {
    /// The same request would pass after this long, if nothing else comes.
    pub retry_after: Duration,
    /// Where the caller stands.
    pub standing: Standing,
}

/// A rate: N in a span of time admits N at once, then evenly. Requests are taken one by one ([`Bucket::admit`]); of tokens an
/// estimate is debited before the call and the truth put right after it, so that the fill may go negative, and then nothing
/// passes until it is positive again. Clones share the fill.
#[derive(Clone)]
pub struct Bucket {
    limit: u64,
    /// Nanoseconds in which all of the limit comes back.
    span: u64,
    full_at: Arc<AtomicU64>,
}

impl Bucket {
    /// A full bucket of `limit`, refilled by `limit` in each `span`. A limit of 0 admits nothing.
    pub fn new(limit: u64, span: Duration) -> Bucket {
        let span = u64::try_from(span.as_nanos()).unwrap_or(LONGEST).clamp(1, LONGEST);
        Bucket { limit, span, full_at: Arc::default() }
    }

    /// The most that is there at once.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes one request, or says when one would pass.
    pub fn admit(&self, now: Moment) -> Result<Standing, Refused> {
        self.debit(now, 1)
    }

    /// Takes `amount`, or says when it could be had. Refuses when the fill is empty or smaller than the debit; only a full
    /// bucket lets a debit pass that is larger than the limit, and is then in debt for it: otherwise such a request could
    /// never be made at all.
    pub fn debit(&self, now: Moment, amount: u64) -> Result<Standing, Refused> {
        let now = now.as_nanos();
        if self.limit == 0 {
            return Err(self.refusal(0, amount));
        }
        let cost = self.time_of(amount);
        let mut seen = self.full_at.load(Relaxed);
        loop {
            let ahead = seen.saturating_sub(now);
            let after = ahead.saturating_add(cost);
            if ahead > 0 && (ahead >= self.span || after > self.span) {
                return Err(self.refusal(ahead, amount));
            }
            match self.full_at.compare_exchange_weak(seen, now.saturating_add(after), Relaxed, Relaxed) {
                Ok(_) => return Ok(self.standing(after)),
                Err(changed) => seen = changed,
            }
        }
    }

    /// What is said when `amount` cannot be had and the bucket is full again `ahead` nanoseconds from now.
    pub fn refusal(&self, ahead: u64, amount: u64) -> Refused {
        if self.limit == 0 {
            let standing = Standing { limit: 0, remaining: 0, reset: Duration::ZERO };
            return Refused { retry_after: Duration::from_nanos(self.span), standing };
        }
        let cost = self.time_of(amount);
        let over = ahead.saturating_add(cost).saturating_sub(self.span);
        let wait = if cost > self.span { ahead } else { over.max(1) };
        Refused { retry_after: Duration::from_nanos(wait), standing: self.standing(ahead) }
    }

    /// Counts `amount` that was admitted elsewhere, whatever is there.
    pub fn count(&self, now: Moment, amount: u64) {
        if self.limit == 0 {
            return;
        }
        let (now, cost) = (now.as_nanos(), self.time_of(amount));
        let after = |seen: u64| Some(seen.max(now).saturating_add(cost));
        let _ = self.full_at.fetch_update(Relaxed, Relaxed, after);
    }

    /// How long the bucket needs to refill `amount`, in nanoseconds.
    pub fn cost(&self, amount: u64) -> u64 {
        self.time_of(amount)
    }

    /// How long it needs to refill all of it, in nanoseconds.
    pub fn span(&self) -> u64 {
        self.span
    }

    /// How it stands when it is full again `ahead` nanoseconds from now.
    pub fn standing_at(&self, ahead: u64) -> Standing {
        self.standing(ahead)
    }

    /// Puts an earlier debit right: as though `actual` had been taken in place of `debited`.
    pub fn correct(&self, debited: u64, actual: u64) {
        if self.limit == 0 || debited == actual {
            return;
        }
        let (before, after) = (self.time_of(debited), self.time_of(actual));
        let mut seen = self.full_at.load(Relaxed);
        loop {
            let right = seen.saturating_add(after).saturating_sub(before);
            match self.full_at.compare_exchange_weak(seen, right, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(changed) => seen = changed,
            }
        }
    }

    /// Whether both share one fill.
    fn is(&self, other: &Bucket) -> bool {
        Arc::ptr_eq(&self.full_at, &other.full_at)
    }

    /// Whether all of it is there.
    pub fn is_full(&self, now: Moment) -> bool {
        self.full_at.load(Relaxed) <= now.as_nanos()
    }

    /// How it stands, with nothing taken.
    pub fn look(&self, now: Moment) -> Standing {
        self.standing(self.full_at.load(Relaxed).saturating_sub(now.as_nanos()))
    }

    /// How long the bucket needs to refill `amount`, in nanoseconds: rounded down, so that the whole limit fits into the span,
    /// and never nothing for something.
    fn time_of(&self, amount: u64) -> u64 {
        let nanos = u128::from(amount) * u128::from(self.span) / u128::from(self.limit.max(1));
        u64::try_from(nanos).unwrap_or(LONGEST).clamp(u64::from(amount > 0), LONGEST)
    }

    fn standing(&self, ahead: u64) -> Standing {
        let fill =
            u128::from(self.span.saturating_sub(ahead)) * u128::from(self.limit) / u128::from(self.span);
        let remaining = u64::try_from(fill).unwrap_or(u64::MAX);
        Standing { limit: self.limit, remaining, reset: Duration::from_nanos(ahead) }
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bucket({} in {:?})", self.limit, Duration::from_nanos(self.span))
    }
}

/// How many calls may be under way at once.
#[derive(Debug)]
pub struct Permits {
    limit: AtomicU32,
    in_use: AtomicU32,
}

impl Permits {
    /// `None` is no limit; the calls are counted all the same.
    pub fn new(limit: Option<u32>) -> Permits {
        Permits { limit: AtomicU32::new(limit.unwrap_or(u32::MAX)), in_use: AtomicU32::new(0) }
    }

    /// A permit that is given back when it is dropped; `None` when all are in use.
    pub fn acquire(self: &Arc<Self>) -> Option<Permit> {
        self.acquire_share(1)
    }

    /// The same where so many nodes have them together: each has its share, and at least one.
    pub fn acquire_share(self: &Arc<Self>, nodes: u32) -> Option<Permit> {
        let limit = match self.limit.load(Relaxed) {
            none @ (0 | u32::MAX) => none,
            some => (some / nodes.max(1)).max(1),
        };
        self.in_use.fetch_update(Relaxed, Relaxed, |used| (used < limit).then_some(used + 1)).ok()?;
        Some(Permit(Arc::clone(self), None))
    }

    /// A permit that was granted elsewhere, whatever is in use here; `place` gives it back there when it is dropped.
    pub fn enter(self: &Arc<Self>, place: Option<Box<dyn Any + Send + Sync>>) -> Permit {
        self.in_use.fetch_add(1, Relaxed);
        Permit(Arc::clone(self), place)
    }

    /// Calls under way.
    pub fn in_use(&self) -> u32 {
        self.in_use.load(Relaxed)
    }

    /// The limit, where there is one.
    pub fn limit(&self) -> Option<u32> {
        Some(self.limit.load(Relaxed)).filter(|limit| *limit != u32::MAX)
    }

    /// Changes the limit. Calls under way go on, even where they are now too many.
    pub fn set_limit(&self, limit: Option<u32>) {
        self.limit.store(limit.unwrap_or(u32::MAX), Relaxed);
    }
}

/// One call under way. Dropping it gives it back, whatever way the call ended, also where else it is counted.
#[derive(Debug)]
pub struct Permit(Arc<Permits>, Option<Box<dyn Any + Send + Sync>>);

impl Permit {
    /// It is counted elsewhere too; dropped, `place` gives it back there.
    fn count(&mut self, place: Box<dyn Any + Send + Sync>) {
        self.1 = Some(place);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.in_use.fetch_sub(1, Relaxed);
    }
}

/// Where `unit` lies between 0 and 1 (1 excluded) in the lottery named `salt`: the same on every node, for
/// ever, and independent between salts. The one function behind every weight, percentage and variant.
///
/// It is the first 53 bits of SHA-256 over `salt`, a zero byte and `unit`, so that an analyst can recompute
/// an assignment in any language.
pub fn bucket(salt: &str, unit: &str) -> f64 {
    let digest = Sha256::new().chain_update(salt).chain_update([0]).chain_update(unit).finalize();
    let mut eight = [0; 8];
    eight.copy_from_slice(&digest[..8]);
    (u64::from_be_bytes(eight) >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
#[path = "limits/tests.rs"]
mod tests;
