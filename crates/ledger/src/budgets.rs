//! Budgets: what is spent and what is held, per scope and window, in integers.
//!
//! A reservation is an owner: while it lives the money is held, when it is dropped the money is free, and no
//! sweeper has to guess which holds were forgotten. Nothing is ever taken from two scopes one after the other:
//! all scopes of a request are locked (in one order) and either all give or none does.
//!
//! `spent` changes only under the spool's pending lock, in the order of the log; that is what lets a checkpoint
//! say what the balances were at its own place in the file.

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use parking_lot::{Mutex, MutexGuard, RwLock};
use policy::{BudgetRule, Currency, Money, Name, NameMap, Timestamp, Window, Zone};
use smallvec::SmallVec;

const SHARDS: usize = 16;
/// Balances of one shard from which on those that are over are forgotten.
const MANY: usize = 4_096;

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
}

/// All budgets of the process.
pub(crate) struct Budgets {
    shards: [RwLock<NameMap<Arc<Scope>>>; SHARDS],
    hasher: foldhash::fast::RandomState,
    /// When balances that are over last made room, seconds.
    pruned_at: AtomicI64,
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
}

/// Money held for one request. Dropping it releases what is left.
pub struct Reservation {
    holds: SmallVec<[Hold; 2]>,
    amount: Money,
    /// What the request may cost at most, by the strictest ceiling.
    ceiling: Option<Box<Ceiling>>,
}

struct Ceiling {
    scope: Name,
    rule: Name,
    most: Money,
}

struct Hold {
    scope: Arc<Scope>,
    rule: Name,
    start: Timestamp,
    resets: Option<Timestamp>,
    limit: Money,
    held: i64,
    warn_at: Option<Arc<[u8]>>,
}

/// What a charge did to the budgets.
pub(crate) struct Applied {
    pub(crate) windows: SmallVec<[(Name, Timestamp); 2]>,
    pub(crate) overrun: bool,
    pub(crate) crossed: Vec<Crossed>,
}

/// A budget has reached a part of its amount at which somebody wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossed {
    /// Whose balance it is.
    pub scope: Name,
    /// Name of the budget's rule.
    pub budget: Name,
    /// The part, in percent: the largest that was reached.
    pub percent: u8,
    /// Charged in this window.
    pub spent: Money,
    /// What may be spent in it.
    pub limit: Money,
}

/// The largest of the parts that a charge has reached and the charges before had not.
fn crossed(parts: &[u8], before: i64, after: i64, limit: i64) -> Option<u8> {
    let reached = |spent: i64, part: u8| i128::from(spent) * 100 >= i128::from(limit) * i128::from(part);
    parts.iter().copied().filter(|part| reached(after, *part) && !reached(before, *part)).max()
}

impl Ceiling {
    /// The strictest of those among the rules.
    fn of(budgets: &[(Name, BudgetRule)]) -> Option<Box<Ceiling>> {
        let ceilings = budgets.iter().filter(|(_, rule)| rule.window == Window::Request);
        let (scope, rule) = ceilings.min_by_key(|(_, rule)| rule.amount.nano)?;
        Some(Box::new(Ceiling { scope: scope.clone(), rule: rule.name.clone(), most: rule.amount }))
    }

    fn check(&self, amount: Money) -> Result<(), Spent> {
        let same = amount.currency == self.most.currency || amount.nano == 0;
        if same && amount.nano <= self.most.nano {
            return Ok(());
        }
        let nothing = Money::zero(self.most.currency);
        Err(Spent {
            scope: self.scope.clone(),
            budget: self.rule.clone(),
            spent: nothing,
            reserved: nothing,
            limit: self.most,
            wanted: amount,
            resets: None,
            is_ceiling: true,
        })
    }
}

impl Budgets {
    pub(crate) fn new() -> Self {
        Self {
            shards: std::array::from_fn(|_| RwLock::default()),
            hasher: foldhash::fast::RandomState::default(),
            pruned_at: AtomicI64::new(0),
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
    ) -> Result<Reservation, Spent> {
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

        let mut holds: SmallVec<[Hold; 2]> = SmallVec::new();
        let mut locked: SmallVec<[(MutexGuard<'_, Cells>, usize); 2]> = SmallVec::new();
        for (scope, rule) in &wanted {
            let mut cells = scope.cells.lock();
            let (start, resets) = cells.window(rule.window, &rule.zone, now);
            let index = cells.find_or_add(start, rule.amount.currency);
            let limit = rule.amount;
            if !cells.windows[index].has_room(amount, limit) {
                return Err(cells.windows[index].refusal(&scope.name, &rule.name, limit, amount, resets));
            }
            holds.push(Hold {
                scope: scope.clone(),
                rule: rule.name.clone(),
                start,
                resets,
                limit,
                held: amount.nano,
                warn_at: rule.warn_at.clone(),
            });
            locked.push((cells, index));
        }
        for (cells, index) in &mut locked {
            let cell = &mut cells.windows[*index];
            cell.reserved += amount.nano;
            cell.holders += 1;
        }
        drop(locked);
        Ok(Reservation { holds, amount, ceiling })
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

    /// Nothing is held, and the window that was last asked for has ended.
    fn is_over(&self, now: Timestamp) -> bool {
        let ended = matches!(&self.current, Some((_, _, _, Some(end))) if *end <= now);
        ended && self.windows.iter().all(|cell| cell.holders == 0)
    }

    fn find_or_add(&mut self, start: Timestamp, currency: Currency) -> usize {
        let found = |cell: &Cell| cell.start == start && cell.currency == currency;
        if let Some(index) = self.windows.iter().position(found) {
            return index;
        }
        self.windows.push(Cell { start, currency, spent: 0, reserved: 0, holders: 0, based: false });
        self.prune();
        self.windows.iter().position(found).unwrap_or_default()
    }

    /// Keeps the newest window and the one before it (a clock may step back), and all that will be settled.
    fn prune(&mut self) {
        let newest = self.windows.iter().map(|cell| cell.start).max();
        let previous =
            self.windows.iter().map(|cell| cell.start).filter(|start| Some(*start) != newest).max();
        if let Some(previous) = previous {
            let last = self.windows.len() - 1;
            let mut index = 0;
            self.windows.retain(|cell| {
                index += 1;
                cell.start >= previous || cell.holders > 0 || index - 1 == last
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
    ) -> Spent {
        Spent {
            scope: scope.clone(),
            is_ceiling: false,
            budget: rule.clone(),
            spent: self.money(self.spent),
            reserved: self.money(self.reserved),
            limit,
            wanted,
            resets,
        }
    }
}

impl Reservation {
    /// Holds nothing; for a key without budgets.
    #[must_use]
    pub fn none(currency: Currency) -> Self {
        Self { holds: SmallVec::new(), amount: Money::zero(currency), ceiling: None }
    }

    /// What is held in each budget.
    #[must_use]
    pub fn amount(&self) -> Money {
        self.amount
    }

    /// Whether no budget is concerned.
    #[must_use]
    pub fn is_unbudgeted(&self) -> bool {
        self.holds.is_empty() && self.ceiling.is_none()
    }

    /// The budget windows that a charge will be taken from.
    pub(crate) fn windows(&self) -> SmallVec<[(Name, Timestamp); 2]> {
        self.holds.iter().map(|hold| (hold.scope.name.clone(), hold.start)).collect()
    }

    /// Holds `more` in every budget on top, or in none; in the windows of the reservation.
    pub(crate) fn extend(&mut self, more: Money) -> Result<(), Spent> {
        if let Some(ceiling) = &self.ceiling {
            let nano = self.amount.nano.saturating_add(more.nano);
            ceiling.check(Money { currency: more.currency, nano })?;
        }
        if self.holds.is_empty() {
            self.amount.nano = self.amount.nano.saturating_add(more.nano);
            return Ok(());
        }
        let mut locked: SmallVec<[MutexGuard<'_, Cells>; 2]> = SmallVec::new();
        // The holds are in the order in which everybody locks.
        for hold in &self.holds {
            let mut cells = hold.scope.cells.lock();
            if let Some(cell) = cells.cell(hold)
                && !cell.has_room(more, hold.limit)
            {
                return Err(cell.refusal(&hold.scope.name, &hold.rule, hold.limit, more, hold.resets));
            }
            locked.push(cells);
        }
        for (cells, hold) in locked.iter_mut().zip(&self.holds) {
            if let Some(cell) = cells.cell(hold) {
                cell.reserved += more.nano;
            }
        }
        drop(locked);
        for hold in &mut self.holds {
            hold.held += more.nano;
        }
        self.amount.nano += more.nano;
        Ok(())
    }

    /// Moves `charge` from held to spent, in every budget. Under the spool's pending lock only.
    pub(crate) fn apply(&mut self, charge: Option<Money>) -> Applied {
        let mut applied = Applied { windows: SmallVec::new(), overrun: false, crossed: Vec::new() };
        for hold in &mut self.holds {
            // An unknown charge, or one in a currency that the budget does not count, takes nothing.
            let nano = match charge {
                Some(money) if money.currency == hold.limit.currency => money.nano.max(0),
                Some(money) if money.nano != 0 => continue,
                _ => 0,
            };
            let mut cells = hold.scope.cells.lock();
            if let Some(cell) = cells.cell(hold) {
                let from_held = nano.min(hold.held);
                let before = cell.spent;
                cell.reserved -= from_held;
                cell.spent = cell.spent.saturating_add(nano);
                if let Some(part) = hold
                    .warn_at
                    .as_ref()
                    .and_then(|parts| crossed(parts, before, cell.spent, hold.limit.nano))
                {
                    applied.crossed.push(Crossed {
                        scope: hold.scope.name.clone(),
                        budget: hold.rule.clone(),
                        percent: part,
                        spent: cell.money(cell.spent),
                        limit: hold.limit,
                    });
                }
                hold.held -= from_held;
                applied.overrun |= nano > from_held;
            }
            applied.windows.push((hold.scope.name.clone(), hold.start));
        }
        self.amount.nano = self.holds.iter().map(|hold| hold.held).min().unwrap_or(0);
        applied
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        for hold in &self.holds {
            let mut cells = hold.scope.cells.lock();
            if let Some(cell) = cells.cell(hold) {
                cell.reserved -= hold.held;
                cell.holders = cell.holders.saturating_sub(1);
            }
        }
    }
}

impl std::fmt::Debug for Reservation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reservation")
            .field("amount", &self.amount)
            .field("budgets", &self.holds.len())
            .finish()
    }
}
