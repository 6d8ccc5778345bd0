//! Of a budget that several nodes share, each spends what it holds a lease on.
//!
//! A lease says how much of a window this node may spend in all, what it has spent included. It grows only when the store has
//! said so, and is made smaller here before the store hears of it; so what the nodes believe they may spend never adds up to more
//! than what the store has divided, whatever answer is lost and whoever is cut off.

use std::sync::{Arc, Weak};
use std::time::Duration;

use policy::{Currency, Money, Name, Timestamp};

use super::{Budgets, Cell, Scope};
use crate::leases::{Ask, Desk, Grant};

/// After the store had too little, this node does not ask again for so long where others may give something back.
const DENIED: Duration = Duration::from_millis(250);
/// The same where nobody has anything to give back.
const SPENT: Duration = Duration::from_secs(1);

/// What no window uses: the store is to hear of it in any case.
const UNKNOWN: i64 = -1;

/// What this node may spend of one window.
#[derive(Default)]
pub(super) struct Lease {
    granted: i64,
    /// Of the last answer: what other nodes hold, and what they had not used of it.
    elsewhere: i64,
    free_elsewhere: i64,
    limit: i64,
    ends: Option<Timestamp>,
    /// What requests that wait need more than is used: the smallest of them, and all together.
    least: i64,
    most: i64,
    /// By how much it last grew.
    grown: i64,
    /// It is on the desk's list.
    listed: bool,
    /// Another node lacks what this one does not use.
    gives_back: bool,
    denied_until: Option<Timestamp>,
    /// What was used when the store last heard.
    told: i64,
}

/// What a lease says to a request.
pub(crate) struct Asks {
    /// There is room.
    pub(crate) covered: bool,
    /// It is to go on the desk's list.
    pub(crate) lists: bool,
    /// Another try may find room.
    pub(crate) waits: bool,
}

/// One window of one balance.
#[derive(Clone)]
pub(crate) struct Place {
    scope: Weak<Scope>,
    start: Timestamp,
    currency: Currency,
}

/// A lease as it is remembered on disk.
pub(crate) type Held = (Name, Timestamp, Money);

impl Lease {
    pub(super) fn granted(&self) -> i64 {
        self.granted
    }

    pub(super) fn elsewhere(&self) -> i64 {
        self.elsewhere
    }
}

impl Cell {
    fn used(&self) -> i64 {
        self.spent.saturating_add(self.reserved)
    }

    /// Whether the lease has room for `amount`; notes what is lacking.
    pub(super) fn lean_on_lease(
        &mut self,
        amount: Money,
        limit: Money,
        ends: Option<Timestamp>,
        now: Timestamp,
    ) -> Asks {
        let used = self.used();
        let lease = self.lease.get_or_insert_default();
        (lease.limit, lease.ends) = (limit.nano, ends);
        let free = lease.granted.saturating_sub(used);
        let covered = amount.nano <= free;
        // Asked for before it is used up, so that nobody waits.
        let runs_low = free.saturating_sub(amount.nano) < lease.grown / 4;
        if covered && !runs_low {
            return Asks { covered, lists: false, waits: false };
        }
        let lacking = amount.nano.saturating_sub(free);
        if lease.denied_until.is_some_and(|until| now < until) {
            return Asks { covered, lists: false, waits: lease.free_elsewhere >= lacking };
        }
        lease.least = if lease.least == 0 { amount.nano } else { lease.least.min(amount.nano) };
        lease.most = lease.most.saturating_add(amount.nano);
        Asks { covered, lists: !std::mem::replace(&mut lease.listed, true), waits: true }
    }

    /// Whether more was charged than the lease allows, and the store is to hear of it.
    pub(super) fn overdraws_lease(&mut self) -> bool {
        let used = self.used();
        let over =
            |lease: &mut Box<Lease>| used > lease.granted && !std::mem::replace(&mut lease.listed, true);
        self.lease.as_mut().is_some_and(over)
    }

    /// What is to be said to the store. From here on until its answer the lease is not larger than what is kept.
    fn ask(&mut self, scope: &Name) -> Option<(Ask, bool)> {
        let (used, start, currency) = (self.used(), self.start, self.currency);
        let lease = self.lease.as_mut()?;
        lease.listed = false;
        let free = lease.granted.saturating_sub(used);
        let is_well = free >= lease.most && free >= lease.grown / 4;
        if !lease.gives_back && free >= 0 && is_well {
            // What was lacking has come since, with the answer to an earlier ask.
            (lease.least, lease.most) = (0, 0);
            return None;
        }
        let mut shrinks = false;
        if std::mem::take(&mut lease.gives_back) && lease.granted > used {
            (lease.granted, shrinks) = (used, true);
        }
        let keep = lease.granted.max(used);
        let (least, most) = (std::mem::take(&mut lease.least), std::mem::take(&mut lease.most));
        lease.told = used;
        let ask = Ask {
            scope: scope.clone(),
            window_start: start,
            ends_at: lease.ends,
            limit: Money { currency, nano: lease.limit },
            used,
            keep,
            least: if least == 0 { 0 } else { used.saturating_add(least) },
            most: used.saturating_add(most),
        };
        Some((ask, shrinks))
    }

    /// Whether there is something to say already.
    fn take_grant(&mut self, ask: &Ask, grant: Grant, now: Timestamp) -> bool {
        let used = self.used();
        let Some(lease) = self.lease.as_mut() else { return false };
        lease.granted = grant.granted;
        (lease.elsewhere, lease.free_elsewhere) = (grant.elsewhere, grant.free_elsewhere);
        if ask.least > 0 && grant.granted < ask.least {
            let pause = if grant.free_elsewhere > 0 { DENIED } else { SPENT };
            lease.denied_until = Some(now.plus(pause));
        } else if ask.least > 0 {
            lease.denied_until = None;
            lease.grown = grant.granted.saturating_sub(ask.used);
        }
        // Somebody has given away what this node held: what it has used meanwhile must be known.
        used > lease.granted && used > ask.used && !std::mem::replace(&mut lease.listed, true)
    }
}

impl Place {
    pub(super) fn new(scope: &Arc<Scope>, start: Timestamp, currency: Currency) -> Self {
        Self { scope: Arc::downgrade(scope), start, currency }
    }

    fn with<T>(&self, work: impl FnOnce(&Name, &mut Cell) -> T) -> Option<T> {
        let scope = self.scope.upgrade()?;
        let mut cells = scope.cells.lock();
        let found = |cell: &&mut Cell| cell.start == self.start && cell.currency == self.currency;
        let cell = cells.windows.iter_mut().find(found)?;
        Some(work(&scope.name, cell))
    }

    /// What is to be said of it, and whether it is less than before.
    pub(crate) fn ask(&self) -> Option<(Ask, bool)> {
        self.with(|scope, cell| cell.ask(scope)).flatten()
    }

    /// What the store has heard is not known.
    pub(crate) fn doubt(&self) {
        self.with(|_, cell| cell.lease.as_mut().map(|lease| lease.told = UNKNOWN));
    }

    /// What was said did not count.
    pub(crate) fn say_again(&self) {
        let again = |lease: &mut Box<Lease>| (lease.gives_back, lease.listed) = (true, true);
        self.with(|_, cell| cell.lease.as_mut().map(again));
    }

    /// Whether there is something to say already.
    pub(crate) fn take_grant(&self, ask: &Ask, grant: Grant, now: Timestamp) -> bool {
        self.with(|_, cell| cell.take_grant(ask, grant, now)).unwrap_or(false)
    }
}

impl Budgets {
    /// From now on this node spends only what it holds leases on; `held` is what it is known to hold.
    pub(crate) fn share(&self, desk: Arc<Desk>, held: Vec<Held>) {
        for (name, start, granted) in held {
            let scope = self.scope(&name);
            let mut cells = scope.cells.lock();
            let index = cells.find_or_add(start, granted.currency);
            cells.windows[index].lease.get_or_insert_default().granted = granted.nano;
        }
        let _ = self.desk.set(desk);
    }

    pub(crate) fn desk(&self) -> Option<&Arc<Desk>> {
        self.desk.get()
    }

    /// Marks a window that another node lacks money in; its place, where there is something to say. Of a window that is not known
    /// here the store may still think that this node holds some: it was killed before it could remember.
    pub(crate) fn give_back(&self, name: &Name, start: Timestamp, currency: Currency) -> Option<Place> {
        let scope = self.scope(name);
        let mut cells = scope.cells.lock();
        let index = cells.find_or_add(start, currency);
        let cell = &mut cells.windows[index];
        if cell.lease.is_none() {
            cell.lease = Some(Box::new(Lease { told: UNKNOWN, ..Lease::default() }));
        }
        cell.gives_back().then(|| Place::new(&scope, start, currency))
    }

    /// The same for every window.
    pub(crate) fn give_all_back(&self) -> Vec<Place> {
        let mut places = Vec::new();
        self.each_lease(|scope, cell| {
            if cell.gives_back() {
                places.push(Place::new(scope, cell.start, cell.currency));
            }
        });
        places
    }

    /// The leases of which something is left.
    pub(crate) fn held(&self) -> Vec<Held> {
        let mut held = Vec::new();
        self.each_lease(|scope, cell| {
            let granted = cell.lease.as_ref().map_or(0, |lease| lease.granted);
            if granted > cell.used() {
                held.push((scope.name.clone(), cell.start, cell.money(granted)));
            }
        });
        held
    }

    fn each_lease(&self, mut work: impl FnMut(&Arc<Scope>, &mut Cell)) {
        for shard in &self.shards {
            let scopes: Vec<_> = shard.read().values().cloned().collect();
            for scope in scopes {
                let mut cells = scope.cells.lock();
                cells
                    .windows
                    .iter_mut()
                    .filter(|cell| cell.lease.is_some())
                    .for_each(|cell| work(&scope, cell));
            }
        }
    }
}

impl Cell {
    fn gives_back(&mut self) -> bool {
        let used = self.used();
        let Some(lease) = self.lease.as_mut().filter(|lease| lease.granted > used || lease.told != used)
        else {
            return false;
        };
        lease.gives_back = true;
        !std::mem::replace(&mut lease.listed, true)
    }
}
