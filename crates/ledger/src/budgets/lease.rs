//! Of a budget that several nodes share, each spends what it holds a lease on.
//!
//! A lease says how much of a window this node may spend in all, what it has spent included. It grows only when the store has
//! said so, and is made smaller here before the store hears of it; so what the nodes believe they may spend never adds up to more
//! than what the store has divided, whatever answer is lost and whoever is cut off.
//!
//! A lease was divided by one limit. Where a request brings a smaller one, others may hold as much as it allows, so nothing is
//! admitted from the lease until what is not used of it has been given back and asked for anew.

use std::sync::{Arc, Weak};
use std::time::Duration;

use policy::{Currency, Moment, Money, Name, Timestamp};

use super::{Budgets, Cell, Scope};
use crate::leases::{Ask, Desk, Grant};

/// After the store had too little, this node does not ask again for so long where others may give something back.
const DENIED: Duration = Duration::from_millis(250);
/// The same where nobody has anything to give back.
const SPENT: Duration = Duration::from_secs(1);
/// Whoever waits looks again more often than this; a window that nobody has looked at for so long is not asked for.
const GONE: Duration = Duration::from_secs(1);

/// What this node may spend of one window.
#[derive(Default)]
pub(super) struct Lease {
    granted: i64,
    /// The limit by which it was divided: all together held no more then.
    divided: i64,
    /// Of the last answer: what other nodes hold; what of it those that live had not used, and those that do not.
    elsewhere: i64,
    free_elsewhere: i64,
    away: i64,
    /// The limit by which it is to be divided: the smallest of those who wait.
    limit: i64,
    ends: Option<Timestamp>,
    /// What requests that wait need more than is used: the smallest of them, and all together.
    least: i64,
    most: i64,
    /// When one of them last looked.
    looked_at: Moment,
    /// How often the store was asked.
    asks: u64,
    /// By how much it last grew.
    grown: i64,
    /// It is on the desk's list.
    listed: bool,
    /// Another node lacks what this one does not use.
    gives_back: bool,
    denied_until: Option<Moment>,
    /// What was used when the store last heard; `None`: it is to hear of it in any case.
    told: Option<i64>,
}

/// What a request needs of a window.
pub(super) struct Need {
    pub(super) amount: Money,
    pub(super) limit: Money,
    /// When the window ends.
    pub(super) ends: Option<Timestamp>,
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
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Held {
    pub(crate) scope: Name,
    pub(crate) start: Timestamp,
    pub(crate) granted: Money,
    /// The limit by which it was divided.
    pub(crate) divided: i64,
}

impl Lease {
    pub(super) fn granted(&self) -> i64 {
        self.granted
    }

    pub(super) fn elsewhere(&self) -> i64 {
        self.elsewhere
    }

    pub(super) fn away(&self) -> i64 {
        self.away
    }

    /// Whether the store had too little lately, and not as much as `lacking` beyond that.
    fn is_denied(&self, used: i64, lacking: i64, now: Moment) -> bool {
        let taken = self.elsewhere.saturating_add(self.granted.max(used));
        self.denied_until.is_some_and(|until| now < until)
            && (lacking <= 0 || lacking > self.limit.saturating_sub(taken))
    }

    /// It holds nothing any more beyond what is used.
    fn drop_to(&mut self, used: i64) {
        self.granted = used;
        (self.told, self.grown, self.denied_until) = (None, 0, None);
    }
}

impl Cell {
    fn used(&self) -> i64 {
        self.spent.saturating_add(self.reserved)
    }

    /// Whether the lease has room; notes what is lacking. `noted`: the ask in which this request's need was noted before, so that
    /// whoever tries again is not counted twice.
    pub(super) fn lean_on_lease(&mut self, need: &Need, desk: &Desk, noted: &mut u64) -> Asks {
        let (used, amount, limit) = (self.used(), need.amount.nano, need.limit.nano);
        let lease = self.lease.get_or_insert_default();
        lease.limit = if lease.least == 0 { limit } else { lease.limit.min(limit) };
        lease.ends = need.ends;
        let mut free = lease.granted.saturating_sub(used);
        let outgrown = limit < lease.divided;
        if outgrown && free > 0 {
            (lease.gives_back, lease.denied_until, free) = (true, None, 0);
        }
        let covered = amount <= free;
        // Asked for before it is used up, so that nobody waits.
        let runs_low = free.saturating_sub(amount) < lease.grown / 4;
        if covered && !runs_low && !outgrown {
            return Asks { covered, lists: false, waits: false };
        }
        let (lacking, now) = (amount.saturating_sub(free), desk.moment());
        if lease.is_denied(used, lacking, now) {
            return Asks { covered, lists: false, waits: lease.free_elsewhere >= lacking };
        }
        lease.least = if lease.least == 0 { amount } else { lease.least.min(amount) };
        let ask = lease.asks + 1;
        let anew = std::mem::replace(noted, ask) != ask;
        lease.most = if anew { lease.most.saturating_add(amount) } else { lease.most.max(amount) };
        lease.looked_at = now;
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
    fn ask(&mut self, scope: &Name, now: Moment) -> Option<(Ask, bool)> {
        let (used, start, currency) = (self.used(), self.start, self.currency);
        let lease = self.lease.as_mut()?;
        lease.listed = false;
        lease.asks += 1;
        let free = lease.granted.saturating_sub(used);
        let has_come = !lease.gives_back && free >= lease.most && free >= lease.grown / 4;
        if has_come || now.since(lease.looked_at) >= GONE {
            // What was lacking has come since, with the answer to an earlier ask; or nobody waits for it any more.
            (lease.least, lease.most) = (0, 0);
        }
        if !lease.gives_back && free >= 0 && lease.least == 0 {
            return None;
        }
        let mut shrinks = false;
        if std::mem::take(&mut lease.gives_back) && lease.granted > used {
            (lease.granted, shrinks) = (used, true);
        }
        let keep = lease.granted.max(used);
        let (least, most) = (std::mem::take(&mut lease.least), std::mem::take(&mut lease.most));
        lease.told = Some(used);
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
    fn take_grant(&mut self, ask: &Ask, grant: Grant, now: Moment) -> bool {
        let used = self.used();
        let Some(lease) = self.lease.as_mut() else { return false };
        lease.granted = grant.granted;
        // What is used goes on being held, also where that is more than a smaller limit allows; then it is divided by it only when
        // others have given back enough.
        let fits = grant.granted.saturating_add(grant.elsewhere) <= ask.limit.nano;
        lease.divided = if fits { ask.limit.nano } else { lease.divided.max(ask.limit.nano) };
        (lease.elsewhere, lease.free_elsewhere) = (grant.elsewhere, grant.free_elsewhere);
        lease.away = grant.away;
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
    pub(crate) fn ask(&self, now: Moment) -> Option<(Ask, bool)> {
        self.with(|scope, cell| cell.ask(scope, now)).flatten()
    }

    /// What the store has heard is not known.
    pub(crate) fn doubt(&self) {
        self.with(|_, cell| cell.lease.as_mut().map(|lease| lease.told = None));
    }

    /// What was said did not count.
    pub(crate) fn say_again(&self) {
        let again = |lease: &mut Box<Lease>| (lease.gives_back, lease.listed) = (true, true);
        self.with(|_, cell| cell.lease.as_mut().map(again));
    }

    /// Whether there is something to say already.
    pub(crate) fn take_grant(&self, ask: &Ask, grant: Grant, now: Moment) -> bool {
        self.with(|_, cell| cell.take_grant(ask, grant, now)).unwrap_or(false)
    }
}

impl Budgets {
    /// From now on this node spends only what it holds leases on; `held` is what it is known to hold.
    pub(crate) fn share(&self, desk: Arc<Desk>, held: Vec<Held>) {
        for Held { scope, start, granted, divided } in held {
            let scope = self.scope(&scope);
            let mut cells = scope.cells.lock();
            let index = cells.find_or_add(start, granted.currency);
            let lease = cells.windows[index].lease.get_or_insert_default();
            (lease.granted, lease.divided) = (granted.nano, divided);
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
        cell.lease.get_or_insert_default();
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

    /// Holds nothing any more beyond what is used: the store has given it to others. The windows, of which it is to hear what is
    /// used.
    pub(crate) fn drop_leases(&self) -> Vec<Place> {
        let mut places = Vec::new();
        self.each_lease(|scope, cell| {
            let used = cell.used();
            if let Some(lease) = &mut cell.lease {
                lease.drop_to(used);
            }
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
            let Some(lease) = cell.lease.as_ref().filter(|lease| lease.granted > cell.used()) else { return };
            held.push(Held {
                scope: scope.name.clone(),
                start: cell.start,
                granted: cell.money(lease.granted),
                divided: lease.divided,
            });
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
        let Some(lease) =
            self.lease.as_mut().filter(|lease| lease.granted > used || lease.told != Some(used))
        else {
            return false;
        };
        lease.gives_back = true;
        !std::mem::replace(&mut lease.listed, true)
    }
}
