//! What a request has taken of its limits, and how it comes back.
//!
//! What several nodes count together is counted here as well, so that a node which is suddenly alone knows what it has used. What
//! comes back here comes back there, through [`Elsewhere`].

use super::rules::{Counted, Meters, Rate};
use super::{Bucket, Permit, Refused, Standing};
use crate::time::Moment;
use smallvec::SmallVec;
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// What a request takes of its limits.
#[derive(Copy, Clone, Debug)]
pub enum Part {
    /// A place under way, and one of each rate of requests.
    Turn,
    /// Tokens, of each rate of tokens.
    Tokens {
        /// Of the input.
        input: u64,
        /// Of the output.
        output: u64,
    },
}

impl Part {
    /// How much it takes of a rate; `None` where it has nothing to do with it.
    pub fn of(self, rate: Rate) -> Option<u64> {
        match (self, rate.counted) {
            (Part::Turn, Counted::Requests) => Some(1),
            (Part::Turn, _) | (Part::Tokens { .. }, Counted::Requests) => None,
            (Part::Tokens { input, output }, counted) => Some(counted.of(input, output)),
        }
    }
}

/// A limit said no.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Full {
    /// As many are under way as may be.
    Concurrency(u32),
    /// A rate is used up.
    Rate(Rate, Refused),
}

/// Where else a debit is counted: with other nodes.
pub trait Elsewhere: Send + Sync + Debug {
    /// Puts a debit right, in nanoseconds of its bucket ([`Bucket::cost`]): as though `actual` had been taken in place of
    /// `debited`. Never waits.
    fn correct(&self, debited: u64, actual: u64);
}

/// A part of a limit that several nodes are asked for together.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Names the limit and of whom it counts: the same on every node.
    pub id: [u8; 16],
    /// Its counters on this node.
    pub meters: Meters,
    /// What is taken of it.
    pub part: Part,
    /// It is counted and refuses nothing.
    pub shadow: bool,
}

impl Wanted {
    /// The rates that are taken, and how much of each.
    pub fn debits(&self) -> impl Iterator<Item = (Rate, &Bucket, u64)> {
        self.meters.debits(self.part)
    }

    /// How many places there are, where one of them is taken.
    pub fn places(&self) -> Option<u32> {
        self.meters.permits.limit().filter(|_| matches!(self.part, Part::Turn))
    }
}

/// A part that was taken together with other nodes.
#[derive(Debug, Default)]
pub struct Granted {
    /// Where the caller stands with its rates: with the one that has the least left.
    pub standing: Option<Standing>,
    /// Where each of [`Wanted::debits`] is counted besides.
    pub debits: SmallVec<[Arc<dyn Elsewhere>; 2]>,
    /// Dropped, it gives the place back there.
    pub place: Option<Box<dyn Any + Send + Sync>>,
}

/// What became of one [`Wanted`].
pub type Verdict = Result<Granted, Full>;

/// One debit of a rate.
#[derive(Debug)]
struct Debit {
    rate: Rate,
    bucket: Bucket,
    amount: u64,
    /// So often it was taken here: by a node that has one in so many of everything.
    times: u32,
    elsewhere: Option<Arc<dyn Elsewhere>>,
}

impl Debit {
    fn correct(&self, actual: u64) {
        let times = u64::from(self.times);
        self.bucket.correct(self.amount.saturating_mul(times), actual.saturating_mul(times));
        if let Some(elsewhere) = self.elsewhere.as_ref().filter(|_| self.amount != actual) {
            elsewhere.correct(self.bucket.cost(self.amount), self.bucket.cost(actual));
        }
    }
}

/// What was taken of limits: permits come back by themselves, rates stay taken unless they are given back.
#[derive(Debug, Default)]
pub struct Taken {
    debits: SmallVec<[Debit; 2]>,
    permits: SmallVec<[Permit; 1]>,
}

impl Taken {
    /// Takes a part of one limit more, all of it or nothing. What was taken before stays taken.
    pub fn take(&mut self, meters: &Meters, part: Part, now: Moment) -> Result<(), Full> {
        self.take_share(meters, part, now, 1)
    }

    /// The same for one of so many nodes that cannot ask each other: a rate is taken as often as there are nodes, which is to
    /// take it once from a bucket that has one in so many; of the places a node has as many.
    pub fn take_share(&mut self, meters: &Meters, part: Part, now: Moment, nodes: u32) -> Result<(), Full> {
        let before = self.debits.len();
        if matches!(part, Part::Turn) {
            let full = || Full::Concurrency(meters.permits.limit().unwrap_or(u32::MAX));
            self.permits.push(meters.permits.acquire_share(nodes).ok_or_else(full)?);
        }
        for (rate, bucket, amount) in meters.debits(part) {
            if let Err(refused) = bucket.debit(now, amount.saturating_mul(u64::from(nodes))) {
                give_back(self.debits.drain(before..));
                if matches!(part, Part::Turn) {
                    self.permits.pop();
                }
                return Err(Full::Rate(rate, refused));
            }
            let bucket = bucket.clone();
            self.debits.push(Debit { rate, bucket, amount, times: nodes, elsewhere: None });
        }
        Ok(())
    }

    /// Notes what other nodes have granted.
    pub fn note(&mut self, meters: &Meters, part: Part, now: Moment, granted: Granted) {
        if matches!(part, Part::Turn) {
            self.permits.push(meters.permits.enter(granted.place));
        }
        for ((rate, bucket, amount), elsewhere) in meters.debits(part).zip(granted.debits) {
            bucket.count(now, amount);
            let bucket = bucket.clone();
            self.debits.push(Debit { rate, bucket, amount, times: 1, elsewhere: Some(elsewhere) });
        }
    }

    /// The place that was taken last is counted elsewhere too; dropped, `place` gives it back there.
    pub fn count_place(&mut self, place: Box<dyn Any + Send + Sync>) {
        if let Some(permit) = self.permits.last_mut() {
            permit.count(place);
        }
    }

    /// Adds what was taken elsewhere.
    pub fn join(&mut self, mut other: Taken) {
        for debit in other.debits.drain(..) {
            match self.debits.iter_mut().find(|own| own.bucket.is(&debit.bucket)) {
                Some(own) => {
                    own.amount = own.amount.saturating_add(debit.amount);
                    // Taken once together and once alone: it stays counted there as it was expected.
                    own.elsewhere = own.elsewhere.take().filter(|_| debit.elsewhere.is_some());
                }
                None => self.debits.push(debit),
            }
        }
        self.permits.append(&mut other.permits);
    }

    /// The rates that were taken; the places stay.
    #[must_use]
    pub fn without_places(&mut self) -> Taken {
        Taken { debits: std::mem::take(&mut self.debits), permits: SmallVec::new() }
    }

    /// The places under way; the rates stay.
    #[must_use]
    pub fn take_places(&mut self) -> Taken {
        Taken { debits: SmallVec::new(), permits: std::mem::take(&mut self.permits) }
    }

    /// As though nothing had been taken.
    pub fn undo(self) {
        give_back(self.debits.into_iter());
    }

    /// Gives back the places under way.
    pub fn leave(&mut self) {
        self.permits.clear();
    }

    /// Puts the tokens right that were taken for an estimate. What is put right is not put right again.
    pub fn correct(&mut self, input: u64, output: u64) {
        for debit in self.debits.drain(..) {
            if debit.rate.counted != Counted::Requests {
                debit.correct(debit.rate.counted.of(input, output));
            }
        }
    }

    /// Leaves the tokens as they were estimated.
    pub fn keep(&mut self) {
        self.debits.clear();
    }

    /// Puts the tokens right and goes on counting: what is told later is put right against `input` and `output`.
    pub fn correct_so_far(&mut self, input: u64, output: u64) {
        self.debits.retain(|debit| debit.rate.counted != Counted::Requests);
        for debit in &mut self.debits {
            let used = debit.rate.counted.of(input, output);
            debit.correct(used);
            debit.amount = used;
        }
    }
}

fn give_back(debits: impl Iterator<Item = Debit>) {
    for debit in debits {
        debit.correct(0);
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::Limits;
    use super::*;
    use std::sync::Mutex;

    const AT: Moment = Moment::from_nanos(5_000_000_000);

    #[derive(Debug, Default)]
    struct Heard(Mutex<Vec<(u64, u64)>>);

    impl Elsewhere for Heard {
        fn correct(&self, debited: u64, actual: u64) {
            self.0.lock().unwrap().push((debited, actual));
        }
    }

    fn meters(limits: &[(&str, u64)]) -> Meters {
        let limits = limits.iter().fold(Limits::default(), |limits, (name, limit)| limits.with(name, *limit));
        Meters::new(&limits, None)
    }

    #[test]
    fn the_shares_of_all_nodes_are_the_limit() {
        let mut all = 0;
        for _ in 0..3 {
            let (meters, mut taken) = (meters(&[("requests_per_day", 30)]), Taken::default());
            while taken.take_share(&meters, Part::Turn, AT, 3).is_ok() {
                all += 1;
            }
            // What was taken thrice comes back thrice.
            taken.undo();
            assert!(meters.are_idle(AT));
        }
        assert_eq!(all, 30);
    }

    #[test]
    fn of_places_each_node_has_its_share_and_at_least_one() {
        for (limit, nodes, share) in [(9, 3, 3), (10, 3, 3), (2, 3, 1), (0, 3, 0), (5, 1, 5)] {
            let (meters, mut taken) = (meters(&[("concurrency", limit)]), Taken::default());
            let had = (0..20).filter(|_| taken.take_share(&meters, Part::Turn, AT, nodes).is_ok()).count();
            assert_eq!(had, share, "{limit} of {nodes}");
        }
    }

    #[test]
    fn what_others_granted_is_counted_here_and_put_right_there() {
        let meters = meters(&[("tokens_per_minute", 600)]);
        let (heard, mut taken) = (Arc::new(Heard::default()), Taken::default());
        let part = Part::Tokens { input: 500, output: 0 };
        let granted = Granted {
            debits: [Arc::clone(&heard) as Arc<dyn Elsewhere>].into_iter().collect(),
            ..Granted::default()
        };
        taken.note(&meters, part, AT, granted);
        // A node that is alone now has a third of the 100 that it has not used.
        let mut alone = Taken::default();
        let some = |tokens| Part::Tokens { input: tokens, output: 0 };
        assert!(alone.take_share(&meters, some(34), AT, 3).is_err());
        assert!(alone.take_share(&meters, some(33), AT, 3).is_ok());
        alone.undo();
        taken.correct(100, 100);
        assert_eq!(*heard.0.lock().unwrap(), [(50_000_000_000, 20_000_000_000)]);
        assert_eq!(meters.standings(false, AT).next().unwrap().1.remaining, 400);
    }

    #[test]
    fn a_place_is_given_back_here_and_there() {
        struct Gone(Arc<Mutex<u32>>);
        impl Drop for Gone {
            fn drop(&mut self) {
                *self.0.lock().unwrap() += 1;
            }
        }
        let (meters, gone, mut taken) = (meters(&[("concurrency", 1)]), Arc::default(), Taken::default());
        let place: Box<dyn Any + Send + Sync> = Box::new(Gone(Arc::clone(&gone)));
        taken.note(&meters, Part::Turn, AT, Granted { place: Some(place), ..Granted::default() });
        taken.take_share(&meters, Part::Turn, AT, 3).unwrap_err();
        assert_eq!((meters.permits.in_use(), *gone.lock().unwrap()), (1, 0));
        taken.leave();
        assert_eq!((meters.permits.in_use(), *gone.lock().unwrap()), (0, 1));
        taken.take_share(&meters, Part::Turn, AT, 3).unwrap();
        taken.count_place(Box::new(Gone(Arc::clone(&gone))));
        drop(taken);
        assert_eq!(*gone.lock().unwrap(), 2);
    }
}
