//! Money held for one request: it owns what it holds, and a charge moves from held to spent.

use std::sync::Arc;

use parking_lot::MutexGuard;
use policy::{BudgetRule, Currency, Money, Name, Timestamp, Window};
use smallvec::SmallVec;

use super::{Cells, Need, Place, Scope, Spent, Waiting};
use crate::leases::Desk;

/// Money held for one request. Dropping it releases what is left.
pub struct Reservation {
    pub(super) holds: SmallVec<[Hold; 2]>,
    pub(super) amount: Money,
    /// What the request may cost at most, by the strictest ceiling.
    pub(super) ceiling: Option<Box<Ceiling>>,
    /// What was said of an extension that had to be tried again.
    pub(super) waiting: Waiting,
}

pub(super) struct Ceiling {
    scope: Name,
    rule: Name,
    most: Money,
}

pub(super) struct Hold {
    pub(super) scope: Arc<Scope>,
    pub(super) rule: Name,
    pub(super) start: Timestamp,
    pub(super) resets: Option<Timestamp>,
    pub(super) limit: Money,
    pub(super) held: i64,
    pub(super) warn_at: Option<Arc<[u8]>>,
    pub(super) desk: Option<Arc<Desk>>,
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

impl Hold {
    fn place(&self) -> Place {
        Place::new(&self.scope, self.start, self.limit.currency)
    }
}

impl Ceiling {
    /// The strictest of those among the rules.
    pub(super) fn of(budgets: &[(Name, BudgetRule)]) -> Option<Box<Ceiling>> {
        let ceilings = budgets.iter().filter(|(_, rule)| rule.window == Window::Request);
        let (scope, rule) = ceilings.min_by_key(|(_, rule)| rule.amount.nano)?;
        Some(Box::new(Ceiling { scope: scope.clone(), rule: rule.name.clone(), most: rule.amount }))
    }

    pub(super) fn check(&self, amount: Money) -> Result<(), Box<Spent>> {
        let same = amount.currency == self.most.currency || amount.nano == 0;
        if same && amount.nano <= self.most.nano {
            return Ok(());
        }
        let nothing = Money::zero(self.most.currency);
        Err(Box::new(Spent {
            scope: self.scope.clone(),
            budget: self.rule.clone(),
            spent: nothing,
            reserved: nothing,
            limit: self.most,
            wanted: amount,
            resets: None,
            is_ceiling: true,
            elsewhere: nothing,
            away: nothing,
            waits: false,
        }))
    }
}

impl Reservation {
    /// Holds nothing; for a key without budgets.
    #[must_use]
    pub fn none(currency: Currency) -> Self {
        let waiting = Waiting::default();
        Self { holds: SmallVec::new(), amount: Money::zero(currency), ceiling: None, waiting }
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
    pub(crate) fn extend(&mut self, more: Money) -> Result<(), Box<Spent>> {
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
        for (place, hold) in self.holds.iter().enumerate() {
            let mut cells = hold.scope.cells.lock();
            if let Some(cell) = cells.cell(hold) {
                let refuse = |cell: &super::Cell| {
                    cell.refusal(&hold.scope.name, &hold.rule, hold.limit, more, hold.resets)
                };
                if !cell.has_room(more, hold.limit) {
                    return Err(refuse(cell));
                }
                if let Some(desk) = &hold.desk {
                    let need = Need { amount: more, limit: hold.limit, ends: hold.resets };
                    let asks = cell.lean_on_lease(&need, desk, self.waiting.noted(place));
                    if asks.lists {
                        desk.list(hold.place());
                    }
                    if !asks.covered {
                        return Err(Box::new(Spent { waits: asks.waits, ..*refuse(cell) }));
                    }
                }
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
                if let Some(desk) = &hold.desk
                    && cell.overdraws_lease()
                {
                    desk.list(hold.place());
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
