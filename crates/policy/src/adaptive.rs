//! How many calls a place bears at once, found out from what it answers.
//!
//! A vendor says that it was too much (429, 529), and says nothing before: so half of what was under way then is what is given it,
//! and one more for each turn of all of them that goes well, as TCP does with a network that drops (AIMD). A server of one's own
//! says nothing at all and answers later and later: so what is given it shrinks as its first token comes later than usual, and
//! grows while it does not (the gradient of Envoy's adaptive concurrency and of Netflix's concurrency-limits).
//!
//! Pure arithmetic: times and counts are given.

use crate::time::Moment;
use std::time::Duration;

/// Above this a limit limits nobody.
const MOST: f64 = 10_000.0;
/// Without a refusal for so long it is not known any more what a place bears.
const FORGOTTEN: Duration = Duration::from_secs(600);
/// A first token that comes so much later than usual is a queue.
const LATE: f64 = 1.5;
/// For so long first tokens are gathered before anything follows from them, and so many at least.
const WINDOW: Duration = Duration::from_secs(1);
const ENOUGH: u32 = 10;
/// So few calls at once wait for nobody, so what they see is what is usual; a server is given them before anything is known.
const FEW: f64 = 4.0;
/// By this part of the way what is usual follows what comes earlier.
const FOLLOWS: f64 = 0.2;

/// How a provider's places are kept from more than they bear.
#[derive(Copy, Clone, Eq, PartialEq, Debug, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Adaptive {
    /// They are not.
    Off,
    /// By their refusals.
    Aimd,
    /// By their time to the first token, and their refusals.
    Gradient,
}

impl Adaptive {
    /// Each, with its name in settings.
    pub const NAMES: [(&'static str, Adaptive); 3] =
        [("off", Adaptive::Off), ("aimd", Adaptive::Aimd), ("gradient", Adaptive::Gradient)];
}

/// What one place bears.
#[derive(Clone, Debug)]
pub struct Pace {
    limit: f64,
    /// When it was last cut, or when it was begun.
    cut: Moment,
    gradient: Option<Gradient>,
}

/// What is known of first tokens.
#[derive(Clone, Debug)]
struct Gradient {
    /// Seconds, where nobody waits for others. 0: not known yet.
    usual: f64,
    since: Moment,
    sum: f64,
    count: u32,
    /// The most calls under way while these were seen.
    busiest: u32,
}

impl Pace {
    /// Of a place that has just refused a call for the first time, with so many under way.
    pub fn refused_at(under_way: u32, now: Moment) -> Pace {
        Pace { limit: (f64::from(under_way) / 2.0).max(1.0), cut: now, gradient: None }
    }

    /// Of a place whose first tokens are watched from now on.
    pub fn watched(now: Moment) -> Pace {
        let gradient = Gradient { usual: 0.0, since: now, sum: 0.0, count: 0, busiest: 0 };
        Pace { limit: FEW, cut: now, gradient: Some(gradient) }
    }

    /// How many calls it is given at once; at least one.
    pub fn limit(&self) -> u32 {
        self.limit as u32
    }

    /// A call that departed then was refused, with so many under way. Only what departed since the last cut says that it was not
    /// enough, so a wave of refusals is one.
    pub fn refused(&mut self, departed: Moment, under_way: u32, now: Moment) {
        if departed < self.cut {
            return;
        }
        self.limit = (self.limit.min(f64::from(under_way)) / 2.0).max(1.0);
        self.cut = now;
    }

    /// A call was answered, with so many under way; `first`: after how long its first token came, where that is known.
    pub fn answered(&mut self, first: Option<Duration>, under_way: u32, now: Moment) {
        match &mut self.gradient {
            // Whoever does not use what is given learns nothing about more.
            None if f64::from(under_way) * 2.0 >= self.limit => self.limit += 1.0 / self.limit,
            None => {}
            Some(gradient) => {
                let Some(first) = first else { return };
                if let Some((factor, used)) = gradient.take(first, under_way, self.limit, now)
                    && (used || factor < 1.0)
                {
                    self.limit = factor * self.limit + self.limit.sqrt();
                }
            }
        }
        self.limit = self.limit.clamp(1.0, MOST);
    }

    /// Whether it says nothing any more: it was not cut (of a server: hardly called) for long, or it limits nobody.
    pub fn is_forgotten(&self, now: Moment) -> bool {
        let last = self.gradient.as_ref().map_or(self.cut, |gradient| gradient.since.max(self.cut));
        now.since(last) >= FORGOTTEN || (self.gradient.is_none() && self.limit >= MOST)
    }
}

impl Gradient {
    /// Takes a first token in. At the end of a window: by how much the limit shrinks, and whether it was used.
    fn take(&mut self, first: Duration, under_way: u32, limit: f64, now: Moment) -> Option<(f64, bool)> {
        self.sum += first.as_secs_f64();
        self.count += 1;
        self.busiest = self.busiest.max(under_way);
        if self.count < ENOUGH || now.since(self.since) < WINDOW {
            return None;
        }
        let seen = (self.sum / f64::from(self.count)).max(1e-6);
        let busiest = f64::from(self.busiest);
        *self = Gradient { usual: self.usual, since: now, sum: 0.0, count: 0, busiest: 0 };
        if self.usual == 0.0 || busiest <= FEW {
            self.usual = seen;
        } else if seen < self.usual {
            self.usual += (seen - self.usual) * FOLLOWS;
        }
        let factor = (LATE * self.usual / seen).clamp(0.5, 1.0);
        Some((factor, busiest * 2.0 >= limit))
    }
}

#[cfg(test)]
#[path = "adaptive/tests.rs"]
mod tests;
