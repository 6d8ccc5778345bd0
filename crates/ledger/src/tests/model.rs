//! Any order of what can happen, against a model that is a few integers.
//!
//! I3: spent and reserved never exceed the limit but for declared overruns. I4: at rest nothing is reserved. I5:
//! the sum of the entries is the balance. And one entry for each attempt, whatever was killed when.

use std::collections::{BTreeMap, BTreeSet};

use policy::Window;
use proptest::prelude::*;

use super::*;
use crate::Attempt;
use crate::disk::memory::Faults;

const LIMIT: i64 = 20_000;

#[derive(Clone, Debug)]
enum Act {
    Reserve { key: u8, amount: i64 },
    Begin { which: usize, strict: bool },
    Extend { which: usize, amount: i64 },
    Progress { which: usize, tokens: u64 },
    Settle { which: usize, charge: Option<i64> },
    Fail { which: usize, charge: i64 },
    DropAttempt { which: usize },
    DropReservation { which: usize },
    Pass { seconds: u64 },
    Kill,
    Drain { mood: u8 },
    Disk { fault: u8 },
    Sync,
}

fn act() -> impl Strategy<Value = Act> {
    let which = 0..8_usize;
    prop_oneof![
        6 => (0..3_u8, 0..9_000_i64).prop_map(|(key, amount)| Act::Reserve { key, amount }),
        6 => (which.clone(), any::<bool>()).prop_map(|(which, strict)| Act::Begin { which, strict }),
        2 => (which.clone(), 0..5_000_i64).prop_map(|(which, amount)| Act::Extend { which, amount }),
        3 => (which.clone(), 0..900_u64).prop_map(|(which, tokens)| Act::Progress { which, tokens }),
        6 => (which.clone(), prop::option::of(0..12_000_i64))
            .prop_map(|(which, charge)| Act::Settle { which, charge }),
        2 => (which.clone(), 0..500_i64).prop_map(|(which, charge)| Act::Fail { which, charge }),
        1 => which.clone().prop_map(|which| Act::DropAttempt { which }),
        1 => which.prop_map(|which| Act::DropReservation { which }),
        1 => (0..5_000_u64).prop_map(|seconds| Act::Pass { seconds }),
        1 => Just(Act::Kill),
        1 => (0..3_u8).prop_map(|mood| Act::Drain { mood }),
        1 => (0..5_u8).prop_map(|fault| Act::Disk { fault }),
        1 => Just(Act::Sync),
    ]
}

/// What the model knows of a reservation: its windows, and what is held in each.
#[derive(Clone)]
struct Held {
    windows: Vec<(Name, Timestamp)>,
    amount: i64,
}

struct Running {
    attempt: Attempt,
    held: Held,
    number: u64,
    attempt_no: u16,
    seen: u64,
    marked: (u64, Timestamp),
}

#[derive(Default)]
struct Model {
    spent: BTreeMap<(Name, Timestamp), i64>,
    overrun: BTreeMap<(Name, Timestamp), i64>,
    /// Windows that were reserved in: only the three newest of a scope need to be remembered.
    windows: BTreeSet<(Name, Timestamp)>,
    /// Every attempt that was begun: its charge, once it has ended.
    attempts: BTreeMap<(u64, u16), Option<i64>>,
}

impl Model {
    fn end(&mut self, number: u64, attempt_no: u16, held: &Held, charge: Option<i64>) -> i64 {
        let nano = charge.unwrap_or(0);
        for window in &held.windows {
            *self.spent.entry(window.clone()).or_insert(0) += nano;
            *self.overrun.entry(window.clone()).or_insert(0) += (nano - held.amount).max(0);
        }
        self.attempts.insert((number, attempt_no), Some(nano));
        (held.amount - nano).max(0)
    }

    fn spent(&self) -> BTreeMap<(Name, Timestamp), i64> {
        self.spent.clone().into_iter().filter(|(_, nano)| *nano != 0).collect()
    }
}

struct World {
    bench: Bench,
    store: Arc<Store>,
    model: Model,
    reservations: Vec<(Reservation, Held, u64, u16)>,
    running: Vec<Running>,
    next: u64,
}

fn rules(key: u8) -> Vec<(Name, BudgetRule)> {
    match key {
        0 => Vec::new(),
        1 => vec![budget("key_1", LIMIT, Window::Total)],
        _ => vec![budget("key_2", LIMIT, Window::Hour), budget("key_1", LIMIT, Window::Total)],
    }
}

impl World {
    fn new() -> Self {
        Self {
            bench: Bench::new(),
            store: Store::new(),
            model: Model::default(),
            reservations: Vec::new(),
            running: Vec::new(),
            next: 0,
        }
    }

    fn reserved(&self) -> BTreeMap<(Name, Timestamp), i64> {
        let mut sums = BTreeMap::new();
        let held = self.reservations.iter().map(|(_, held, ..)| held);
        for held in held.chain(self.running.iter().map(|running| &running.held)) {
            for window in &held.windows {
                *sums.entry(window.clone()).or_insert(0) += held.amount;
            }
        }
        sums
    }

    fn reserve(&mut self, key: u8, amount: i64) {
        let now = self.bench.now();
        let rules = rules(key);
        let windows: Vec<_> =
            rules.iter().map(|(scope, rule)| (scope.clone(), rule.window.start(now))).collect();
        let reserved = self.reserved();
        let fits = windows.iter().all(|window| {
            let spent = self.model.spent.get(window).copied().unwrap_or(0);
            spent + reserved.get(window).copied().unwrap_or(0) + amount <= LIMIT
        });
        let result = self.bench.ledger.reserve(&rules, usd(amount), now);
        assert_eq!(result.is_ok(), fits, "reserve {amount} of key {key}");
        self.model.windows.extend(windows.iter().cloned());
        if let Ok(reservation) = result {
            let amount = if windows.is_empty() { 0 } else { amount };
            self.next += 1;
            self.reservations.push((reservation, Held { windows, amount }, self.next, 1));
        }
    }

    fn begin(&mut self, which: usize, strict: bool) {
        if self.reservations.is_empty() {
            return;
        }
        let (reservation, held, number, attempt_no) =
            self.reservations.swap_remove(which % self.reservations.len());
        let now = self.bench.now();
        let begun = self.bench.ledger.begin(intent(number, attempt_no, now), reservation, strict);
        if let Ok(attempt) = begun {
            self.model.attempts.insert((number, attempt_no), None);
            let marked = (0, now);
            self.running.push(Running { attempt, held, number, attempt_no, seen: 0, marked });
        } else {
            assert!(!self.bench.ledger.depth().writable, "refused for no reason");
        }
    }

    fn extend(&mut self, which: usize, amount: i64) {
        let reserved = self.reserved();
        let count = self.running.len();
        let now = self.bench.now();
        let Some(running) = self.running.get_mut(which % count.max(1)) else { return };
        let fits = running.held.windows.iter().all(|window| {
            let spent = self.model.spent.get(window).copied().unwrap_or(0);
            spent + reserved.get(window).copied().unwrap_or(0) + amount <= LIMIT
        });
        assert_eq!(running.attempt.extend(usd(amount), now).is_ok(), fits, "extend by {amount}");
        if fits && !running.held.windows.is_empty() {
            running.held.amount += amount;
        }
    }

    fn progress(&mut self, which: usize, tokens: u64) {
        let count = self.running.len();
        let now = self.bench.now();
        let Some(running) = self.running.get_mut(which % count.max(1)) else { return };
        running.attempt.progress(tokens, now);
        if tokens > running.seen {
            running.seen = tokens;
            let (marked, at) = running.marked;
            if tokens - marked >= 256 || now.since(at) >= Duration::from_secs(2) {
                running.marked = (tokens, now);
            }
        }
    }

    fn take(&mut self, which: usize) -> Option<Running> {
        let count = self.running.len();
        (count > 0).then(|| self.running.swap_remove(which % count))
    }

    fn settle(&mut self, which: usize, charge: Option<i64>) {
        let Some(Running { attempt, held, number, attempt_no, .. }) = self.take(which) else { return };
        let settlement = Settlement { charge: charge.map(usd), ..completed(number, self.bench.now(), 0) };
        let _ = attempt.settle(settlement);
        self.model.end(number, attempt_no, &held, charge);
    }

    fn fail(&mut self, which: usize, charge: i64) {
        let Some(Running { attempt, held, number, attempt_no, .. }) = self.take(which) else { return };
        let (reservation, _) =
            attempt.fail(Settlement { charge: Some(usd(charge)), ..refused(self.bench.now()) });
        let left = self.model.end(number, attempt_no, &held, Some(charge));
        let left = if held.windows.is_empty() { 0 } else { left };
        assert_eq!(reservation.amount(), usd(left));
        self.reservations.push((reservation, Held { amount: left, ..held }, number, attempt_no + 1));
    }

    fn drop_attempt(&mut self, which: usize) {
        let Some(Running { attempt, held, number, attempt_no, seen, .. }) = self.take(which) else { return };
        drop(attempt);
        self.model.end(number, attempt_no, &held, Some(100 + 10 * seen as i64));
    }

    /// `kill -9`: the next process sees the kernel's files. What waited in memory is gone with the old one, so
    /// this is done only when nothing does.
    fn kill(&mut self) {
        if self.bench.ledger.depth().backlog > 0 || !self.bench.ledger.depth().writable {
            return;
        }
        let second = self.bench.after_kill();
        assert_eq!(second.recovery.open_intents_settled, self.running.len() as u64);
        assert_eq!(second.recovery.damaged_bytes, 0);
        for running in std::mem::take(&mut self.running) {
            let charge = 100 + 10 * running.marked.0 as i64;
            self.model.end(running.number, running.attempt_no, &running.held, Some(charge));
        }
        self.reservations.clear();
        // Replayed once more: nothing changes.
        let third = second.after_kill();
        assert_eq!((third.spent(), third.recovery.open_intents_settled), (second.spent(), 0));
        self.bench = third;
    }

    fn disk(&mut self, fault: u8) {
        let used = self.bench.disk.used();
        self.bench.disk.set(match fault {
            0 => Faults { capacity: Some(used + 3_000), ..Faults::default() },
            1 => Faults { fail_write_every: Some(3), ..Faults::default() },
            2 => Faults { short_writes: Some(100), ..Faults::default() },
            3 => Faults { fail_sync_every: Some(2), ..Faults::default() },
            _ => Faults::default(),
        });
        self.bench.hand.advance(Duration::from_millis(100));
    }

    async fn drain(&mut self, mood: u8) {
        self.store.feel([Mood::Good, Mood::Away, Mood::Forgetful][usize::from(mood % 3)]);
        self.bench.drain_to(&self.store);
        let _ = self.bench.ledger.flush(Duration::from_secs(1)).await;
    }

    /// I3, and the balances are the model's.
    fn check(&self) {
        let reserved = self.reserved();
        let mut seen = BTreeMap::new();
        for balance in self.bench.ledger.balances() {
            let window = (balance.scope, balance.window_start);
            let overrun = self.model.overrun.get(&window).copied().unwrap_or(0);
            let sum = balance.spent.nano + balance.reserved.nano;
            assert!(sum <= LIMIT + overrun, "{window:?}: {sum} of {LIMIT} and {overrun}");
            assert_eq!(balance.reserved.nano, reserved.get(&window).copied().unwrap_or(0), "{window:?}");
            seen.insert(window, balance.spent.nano);
        }
        for (window, spent) in self.model.spent() {
            // One that nobody holds may be forgotten once two newer ones were known.
            let newer = |(scope, start): &&(Name, Timestamp)| *scope == window.0 && *start > window.1;
            let may_be_forgotten = self.model.windows.iter().filter(newer).count() >= 3;
            let known = seen.get(&window).copied().unwrap_or(0);
            if may_be_forgotten {
                // And an attempt that ends in it afterwards begins it anew; the store has the whole sum (I5).
                assert!(known <= spent, "{window:?}: {known} of {spent}");
            } else {
                assert_eq!(known, spent, "{window:?}");
            }
        }
    }

    /// I4, I5, and one entry for each attempt.
    async fn finish(mut self) {
        while let Some(running) = self.running.first() {
            let _ = running;
            self.drop_attempt(0);
        }
        self.reservations.clear();
        assert!(self.bench.ledger.balances().iter().all(|balance| balance.reserved.nano == 0), "I4");
        self.bench.disk.set(Faults::default());
        self.bench.hand.advance(Duration::from_millis(100));
        self.store.feel(Mood::Good);
        self.bench.drain_to(&self.store);
        assert!(self.bench.ledger.flush(Duration::from_secs(60)).await, "drained");
        assert_eq!(self.store.spent(), self.model.spent(), "I5");
        let rows = self.store.rows.lock();
        let entries: BTreeMap<(RequestId, u16), Option<i64>> = rows
            .entries
            .values()
            .map(|entry| ((entry.request_id, entry.attempt_no), Some(entry.charge.map_or(0, |c| c.nano))))
            .collect();
        assert_eq!(entries.len(), rows.entries.len(), "one entry for each attempt");
        let expected: BTreeMap<_, _> =
            self.model.attempts.iter().map(|((number, no), charge)| ((id(*number), *no), *charge)).collect();
        assert_eq!(entries, expected);
    }
}

// 256 cases; the environment variable `PROPTEST_CASES` asks for more.
proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 5_000, ..ProptestConfig::default() })]

    #[test]
    fn any_order_of_events_keeps_the_books(acts in prop::collection::vec(act(), 1..120)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut world = World::new();
            for act in acts {
                match act {
                    Act::Reserve { key, amount } => world.reserve(key, amount),
                    Act::Begin { which, strict } => world.begin(which, strict),
                    Act::Extend { which, amount } => world.extend(which, amount),
                    Act::Progress { which, tokens } => world.progress(which, tokens),
                    Act::Settle { which, charge } => world.settle(which, charge),
                    Act::Fail { which, charge } => world.fail(which, charge),
                    Act::DropAttempt { which } => world.drop_attempt(which),
                    Act::DropReservation { which } => {
                        let count = world.reservations.len();
                        if count > 0 {
                            world.reservations.swap_remove(which % count);
                        }
                    }
                    Act::Pass { seconds } => world.bench.hand.advance(Duration::from_secs(seconds)),
                    Act::Kill => world.kill(),
                    Act::Drain { mood } => world.drain(mood).await,
                    Act::Disk { fault } => world.disk(fault),
                    Act::Sync => {
                        let _ = world.bench.ledger.sync().await;
                    }
                }
                world.check();
            }
            world.finish().await;
        });
    }
}
