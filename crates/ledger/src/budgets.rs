//! Budgets: what is spent and what is held, per scope and window, in integers.
//!
//! A reservation is an owner: while it lives the money is held, when it is dropped the money is free, and no
//! sweeper has to guess which holds were forgotten. Nothing is ever taken from two scopes one after the other:
//! all scopes of a request are locked (in one order) and either all give or none does.
//!
//! `spent` changes only under the spool's pending lock, in the order of the log; that is what lets a checkpoint
//! say what the balances were at its own place in the file.

//!
//! Where several nodes share the budgets, each may spend of a window what it holds a lease on: see `budgets/lease.rs`.

mod lease;
mod reservation;

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard, RwLock};
use policy::{BudgetRule, Currency, Money, Name, NameMap, Timestamp, Window, Zone};
use smallvec::SmallVec;

use crate::leases::Desk;
pub(crate) use lease::{Held, Place};
use lease::{Lease, Need};
use reservation::{Ceiling, Hold};
pub use reservation::{Crossed, Reservation};

const SHARDS: usize = 16;
/// A month and two days: no calendar window is longer, in any time zone.
const LONGEST_WINDOW: Duration = Duration::from_secs(33 * 24 * 3_600);
/// Balances of one shard from which on those that are over are forgotten.
const MANY: usize = 4_096;
/// A clock that is ahead by this much and set right again finds every balance as it was.
const AHEAD: Duration = Duration::from_secs(3_600);

/// Why a reservation was refused: the first budget without enough left.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "budget `{budget}` has {spent} spent and {reserved} reserved of {limit}; {wanted} more was asked for"
)]
pub struct Spent {
    /// Whose balance it is, as it was asked for.
    pub scope: Name,
    /// Name of the budget's rule.
    pub budget: Name,
    /// Charged in this window.
    pub spent: Money,
    /// Held by requests in flight.
    pub reserved: Money,
    /// What may be spent in the window.
    pub limit: Money,
    /// What was asked for. In another currency than `limit` it is always refused: money is not converted here.
    pub wanted: Money,
    /// When the window ends; `None` = never.
    pub resets: Option<Timestamp>,
    /// It is a ceiling for each request, of which nothing adds up.
    pub is_ceiling: bool,
    /// What other nodes hold of the window.
    pub elsewhere: Money,
    /// What of that is not used and lies with nodes that were not seen lately: nobody can have it until they are back.
    pub away: Money,
    /// The window may have room that this node has no lease on yet: worth another try when the leases have been spoken of.
    pub waits: bool,
}

/// One budget window as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Whose budget.
    pub scope: Name,
    /// Start of the window.
    pub window_start: Timestamp,
    /// Charged.
    pub spent: Money,
    /// Held by requests in flight.
    pub reserved: Money,
    /// What this node may spend of the window in all, and what other nodes may; `None` where the window is this node's alone.
    pub leased: Option<(Money, Money)>,
}

/// A request that tries again until leases reach, so that what it needs is asked for once.
#[derive(Debug, Default)]
pub struct Waiting(SmallVec<[u64; 2]>);

impl Waiting {
    fn noted(&mut self, index: usize) -> &mut u64 {
        if self.0.len() <= index {
            self.0.resize(index + 1, 0);
        }
        &mut self.0[index]
    }
}

/// All budgets of the process.
pub(crate) struct Budgets {
    shards: [RwLock<NameMap<Arc<Scope>>>; SHARDS],
    hasher: foldhash::fast::RandomState,
    /// When balances that are over last made room, seconds.
    pruned_at: AtomicI64,
    /// Where leases are asked for; empty where this node has all budgets for itself.
    desk: OnceLock<Arc<Desk>>,
}

pub(crate) struct Scope {
    name: Name,
    cells: Mutex<Cells>,
}

#[derive(Default)]
struct Cells {
    windows: SmallVec<[Cell; 2]>,
    /// The window of the last reservation: calendars are dear, comparing two numbers is not.
    current: Option<(Window, Zone, Timestamp, Option<Timestamp>)>,
}

struct Cell {
    start: Timestamp,
    currency: Currency,
    spent: i64,
    reserved: i64,
    /// Reservations that will settle here. The cell stays while there are any.
    holders: u32,
    /// Whether `spent` includes what earlier processes spent.
    based: bool,
    /// What this node may spend of the window, where several share it.
    lease: Option<Box<Lease>>,
}

impl Budgets {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            hasher: foldhash::fast::RandomState::default(),
            pruned_at: AtomicI64::new(0),
            desk: OnceLock::new(),
        }
    }

    /// The balance of that name. Where many have come, those whose windows are over at `now` make room.
    fn scope_at(&self, name: &Name, now: Timestamp) -> Arc<Scope> {
        let scope = self.scope(name);
        let shard = &self.shards[self.place(name)];
        if shard.read().len() >= MANY && self.pruned_at.swap(now.as_seconds(), Relaxed) != now.as_seconds() {
            shard.write().retain(|_, scope| Arc::strong_count(scope) > 1 || !scope.cells.lock().is_over(now));
        }
        scope
    }

    fn place(&self, name: &Name) -> usize {
        usize::try_from(self.hasher.hash_one(name) % SHARDS as u64).unwrap_or_default()
    }

    fn scope(&self, name: &Name) -> Arc<Scope> {
        let shard = &self.shards[self.place(name)];
        if let Some(scope) = shard.read().get(name) {
            return scope.clone();
        }
        shard
            .write()
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Scope { name: name.clone(), cells: Mutex::default() }))
            .clone()
    }

    /// Holds `amount` in every budget, or in none.
    pub(crate) fn reserve(
        &self,
        budgets: &[(Name, BudgetRule)],
        amount: Money,
        now: Timestamp,
        waiting: &mut Waiting,
    ) -> Result<Reservation, Box<Spent>> {
        if budgets.is_empty() {
            return Ok(Reservation::none(amount.currency));
        }
        let ceiling = Ceiling::of(budgets);
        if let Some(ceiling) = &ceiling {
            ceiling.check(amount)?;
        }
        let kept = budgets.iter().filter(|(_, rule)| rule.window != Window::Request);
        let mut wanted: SmallVec<[(Arc<Scope>, &BudgetRule); 2]> =
            kept.map(|(name, rule)| (self.scope_at(name, now), rule)).collect();
        // One order for everybody. Two rules on one scope share its balance: the stricter one counts.
        wanted.sort_by(|(a, rule_a), (b, rule_b)| {
            Arc::as_ptr(a).cmp(&Arc::as_ptr(b)).then(rule_a.amount.nano.cmp(&rule_b.amount.nano))
        });
        wanted.dedup_by(|(later, _), (earlier, _)| Arc::ptr_eq(later, earlier));

        let desk = self.desk.get();
        let mut short = None;
        let mut holds: SmallVec<[Hold; 2]> = SmallVec::new();
        let mut locked: SmallVec<[(MutexGuard<'_, Cells>, usize); 2]> = SmallVec::new();
        for (place, (scope, rule)) in wanted.iter().enumerate() {
            let mut cells = scope.cells.lock();
            let (start, resets) = cells.window(rule.window, &rule.zone, now);
            let index = cells.find_or_add(start, rule.amount.currency);
            let limit = rule.amount;
            let cell = &mut cells.windows[index];
            if !cell.has_room(amount, limit) {
                return Err(cell.refusal(&scope.name, &rule.name, limit, amount, resets));
            }
            if let Some(desk) = desk {
                let noted = waiting.noted(place);
                let asks = cell.lean_on_lease(&Need { amount, limit, ends: resets }, desk, noted);
                if asks.lists {
                    desk.list(Place::new(scope, start, limit.currency));
                }
                if !asks.covered {
                    short = short.or_else(|| {
                        let waits = asks.waits;
                        let refusal = cell.refusal(&scope.name, &rule.name, limit, amount, resets);
                        Some(Box::new(Spent { waits, ..*refusal }))
                    });
                    // What else is short is asked for in the same turn.
                    continue;
                }
            }
            holds.push(Hold {
                scope: scope.clone(),
                rule: rule.name.clone(),
                start,
                resets,
                limit,
                held: amount.nano,
                warn_at: rule.warn_at.clone(),
                desk: desk.cloned(),
            });
            locked.push((cells, index));
        }
        if let Some(short) = short {
            return Err(short);
        }
        for (cells, index) in &mut locked {
            let cell = &mut cells.windows[*index];
            cell.reserved += amount.nano;
            cell.holders += 1;
        }
        drop(locked);
        Ok(Reservation { holds, amount, ceiling, waiting: Waiting::default() })
    }

    /// Adds a charge that was settled by an earlier process (replay): nothing was held for it here.
    pub(crate) fn charge_again(&self, scope: &Name, start: Timestamp, charge: Money) {
        let scope = self.scope(scope);
        let mut cells = scope.cells.lock();
        let index = cells.find_or_add(start, charge.currency);
        let cell = &mut cells.windows[index];
        cell.spent = cell.spent.saturating_add(charge.nano);
        cell.based = true;
    }

    /// Replaces all balances by those of a checkpoint.
    pub(crate) fn restart(&self, balances: &[(Name, Timestamp, Money)]) {
        for shard in &self.shards {
            shard.write().clear();
        }
        for (scope, start, spent) in balances {
            self.charge_again(scope, *start, *spent);
        }
    }

    /// Takes over a balance that another keeper remembers. A window that is unknown here is filled; one that
    /// began here without any history gets it added when `add` says so. Whether anything changed.
    pub(crate) fn restore(&self, scope: &Name, start: Timestamp, spent: Money, add: bool) -> bool {
        let scope = self.scope(scope);
        let mut cells = scope.cells.lock();
        let known = cells.windows.iter().any(|cell| cell.start == start && cell.currency == spent.currency);
        let index = cells.find_or_add(start, spent.currency);
        let cell = &mut cells.windows[index];
        let takes = !known || (add && !cell.based);
        if takes {
            cell.spent = cell.spent.saturating_add(spent.nano);
            cell.based = true;
        }
        takes && spent.nano != 0
    }

    /// Every window that is known, in no order.
    pub(crate) fn balances(&self) -> Vec<Balance> {
        let mut balances = Vec::new();
        for shard in &self.shards {
            for scope in shard.read().values() {
                for cell in &scope.cells.lock().windows {
                    balances.push(Balance {
                        scope: scope.name.clone(),
                        window_start: cell.start,
                        spent: cell.money(cell.spent),
                        reserved: cell.money(cell.reserved),
                        leased: cell
                            .lease
                            .as_ref()
                            .map(|lease| (cell.money(lease.granted()), cell.money(lease.elsewhere()))),
                    });
                }
            }
        }
        balances
    }
}

impl Cells {
    fn window(&mut self, window: Window, zone: &Zone, now: Timestamp) -> (Timestamp, Option<Timestamp>) {
        if let Some((cached, there, start, end)) = &self.current
            && (*cached, there) == (window, zone)
            && *start <= now
            && end.is_none_or(|end| now < end)
        {
            return (*start, *end);
        }
        let (start, end) = window.span(now, zone);
        self.current = Some((window, zone.clone(), start, end));
        (start, end)
    }

    /// Nothing is held, and the window that was last asked for has ended, also where the clock is ahead. Of a balance that was only read back nobody knows which
    /// window it is: all have ended after a month, but the one that never does, which began in 1970.
    fn is_over(&self, now: Timestamp) -> bool {
        let long_over = |cell: &Cell| cell.start.as_micros() != 0 && cell.start.plus(LONGEST_WINDOW) <= now;
        let ended = match &self.current {
            Some((_, _, _, end)) => end.is_some_and(|end| end.plus(AHEAD) <= now),
            None => self.windows.iter().all(long_over),
        };
        ended && self.windows.iter().all(|cell| cell.holders == 0)
    }

    fn find_or_add(&mut self, start: Timestamp, currency: Currency) -> usize {
        let found = |cell: &Cell| cell.start == start && cell.currency == currency;
        if let Some(index) = self.windows.iter().position(found) {
            return index;
        }
        self.windows.push(Cell {
            start,
            currency,
            spent: 0,
            reserved: 0,
            holders: 0,
            based: false,
            lease: None,
        });
        self.prune();
        self.windows.iter().position(found).unwrap_or_default()
    }

    /// Keeps the three newest windows (a clock may be an hour ahead, and then an hour behind), and all that will be settled.
    fn prune(&mut self) {
        let mut starts: SmallVec<[Timestamp; 4]> = self.windows.iter().map(|cell| cell.start).collect();
        starts.sort_unstable();
        starts.dedup();
        if let Some(oldest) = starts.iter().rev().nth(2).copied() {
            let last = self.windows.len() - 1;
            let mut index = 0;
            self.windows.retain(|cell| {
                index += 1;
                cell.start >= oldest || cell.holders > 0 || index - 1 == last
            });
        }
    }

    fn cell(&mut self, hold: &Hold) -> Option<&mut Cell> {
        self.windows.iter_mut().find(|cell| cell.start == hold.start && cell.currency == hold.limit.currency)
    }
}

impl Cell {
    fn money(&self, nano: i64) -> Money {
        Money { currency: self.currency, nano }
    }

    fn has_room(&self, amount: Money, limit: Money) -> bool {
        let same = amount.currency == self.currency || amount.nano == 0;
        let taken = i128::from(self.spent) + i128::from(self.reserved) + i128::from(amount.nano);
        same && amount.nano >= 0 && taken <= i128::from(limit.nano)
    }

    fn refusal(
        &self,
        scope: &Name,
        rule: &Name,
        limit: Money,
        wanted: Money,
        resets: Option<Timestamp>,
    ) -> Box<Spent> {
        Box::new(Spent {
            scope: scope.clone(),
            is_ceiling: false,
            budget: rule.clone(),
            spent: self.money(self.spent),
            reserved: self.money(self.reserved),
            limit,
            wanted,
            resets,
            elsewhere: self.money(self.lease.as_ref().map_or(0, |lease| lease.elsewhere())),
            away: self.money(self.lease.as_ref().map_or(0, |lease| lease.away())),
            waits: false,
        })
    }
}
