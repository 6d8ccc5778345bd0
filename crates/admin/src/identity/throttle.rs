//! Whoever guesses waits, and waits longer each time: by account, by address, and by both together.
//!
//! An attempt is counted before it is looked at, so that a hundred at the same moment are a hundred; one that succeeds takes
//! its account's count away. An account alone makes others wait a minute at most: who knows an address must not be able
//! to lock its owner out. The table is bounded; where it is full, whoever has guessed least makes room.

use policy::Moment;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const MOST: usize = 8192;
/// Whoever has not guessed for so long begins anew.
const FORGET: Duration = Duration::from_secs(3600);
const FIRST_WAIT: Duration = Duration::from_secs(1);

/// What is counted.
#[derive(Clone, Debug)]
pub(crate) struct Counted {
    name: String,
    /// So many are free.
    free: u32,
    longest: Duration,
}

impl Counted {
    /// What a sign-in is counted by.
    pub(crate) fn sign_in(email: &str, address: &str) -> [Counted; 3] {
        let minutes = |count: u64| Duration::from_secs(count * 60);
        [
            Counted { name: format!("account {email}"), free: 20, longest: minutes(1) },
            Counted { name: format!("address {address}"), free: 50, longest: minutes(15) },
            Counted { name: format!("both {email} {address}"), free: 5, longest: minutes(15) },
        ]
    }

    /// What else is counted by address alone.
    pub(crate) fn address(what: &str, address: &str, free: u32) -> Counted {
        Counted { name: format!("{what} {address}"), free, longest: Duration::from_secs(15 * 60) }
    }
}

#[derive(Clone, Copy, Debug)]
struct Guesses {
    count: u32,
    last: Moment,
    until: Moment,
}

/// The counts.
#[derive(Default)]
pub(crate) struct Throttle(Mutex<HashMap<String, Guesses>>);

impl Throttle {
    /// Counts an attempt, or says how long to wait with it.
    pub(crate) fn take(&self, all: &[Counted], now: Moment) -> Result<(), Duration> {
        let mut table = self.lock();
        let wait =
            all.iter().filter_map(|one| table.get(&one.name)).map(|guesses| guesses.until.since(now)).max();
        if let Some(wait) = wait.filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        for one in all {
            make_room(&mut table, &one.name, now);
            let guesses =
                table.entry(one.name.clone()).or_insert(Guesses { count: 0, last: now, until: now });
            if now.since(guesses.last) >= FORGET {
                guesses.count = 0;
            }
            guesses.count = guesses.count.saturating_add(1);
            guesses.last = now;
            if let Some(beyond) = guesses.count.checked_sub(one.free) {
                let wait = FIRST_WAIT.saturating_mul(1 << beyond.min(16)).min(one.longest);
                guesses.until = Moment::from_nanos(
                    now.as_nanos().saturating_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX)),
                );
            }
        }
        Ok(())
    }

    /// It was no guess.
    pub(crate) fn forgive(&self, all: &[Counted]) {
        let mut table = self.lock();
        for one in all {
            table.remove(&one.name);
        }
    }

    /// The counts are whole at every unlock.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Guesses>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_room(table: &mut HashMap<String, Guesses>, name: &str, now: Moment) {
    if table.len() < MOST || table.contains_key(name) {
        return;
    }
    table.retain(|_, guesses| now.since(guesses.last) < FORGET);
    if table.len() >= MOST {
        let least = table.iter().min_by_key(|(_, guesses)| (guesses.count, guesses.last.as_nanos()));
        if let Some(least) = least.map(|(name, _)| name.clone()) {
            table.remove(&least);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn waits_grow_to_a_bound_and_are_forgotten() {
        let throttle = Throttle::default();
        let all = Counted::sign_in("a@b.c", "10.0.0.1");
        let mut now = 0;
        for _ in 0..4 {
            throttle.take(&all, at(now)).unwrap();
        }
        let mut waits = Vec::new();
        for _ in 0..14 {
            throttle.take(&all, at(now)).unwrap();
            let wait = throttle.take(&all, at(now)).unwrap_err();
            waits.push(wait.as_secs());
            now += wait.as_secs();
        }
        assert_eq!(waits[..6], [1, 2, 4, 8, 16, 32]);
        assert_eq!(waits.last(), Some(&900));
        throttle.take(&all, at(now + 3600)).unwrap();
        throttle.take(&all, at(now + 3600)).unwrap();
    }

    #[test]
    fn an_account_makes_others_wait_a_minute_at_most() {
        let throttle = Throttle::default();
        let mut longest = 0;
        let mut now = 0;
        for n in 0..200 {
            let all = Counted::sign_in("a@b.c", &format!("10.0.0.{n}"));
            if let Err(wait) = throttle.take(&all, at(now)) {
                longest = longest.max(wait.as_secs());
                now += wait.as_secs();
            }
        }
        assert_eq!(longest, 60);
    }

    #[test]
    fn success_frees_the_account_and_the_table_is_bounded() {
        let throttle = Throttle::default();
        let all = Counted::sign_in("a@b.c", "10.0.0.1");
        for _ in 0..5 {
            throttle.take(&all, at(0)).unwrap();
        }
        assert!(throttle.take(&all, at(0)).is_err());
        throttle.forgive(&all);
        throttle.take(&all, at(0)).unwrap();
        for n in 0..20_000 {
            throttle.take(&[Counted::address("sign-up", &n.to_string(), 5)], at(1)).unwrap();
        }
        assert!(throttle.lock().len() <= MOST);
    }
}
