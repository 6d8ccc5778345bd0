//! How many calls each place is given at once: others come first for whatever is beyond what it bears.
//!
//! Only providers for which it is switched on are counted: a vendor's place from its first refusal until ten minutes after the
//! last, a server of one's own always. For all others, and for vendors while none refuses, it costs one branch or one look at a
//! number. It steers and never refuses: where there is nobody else the call is made all the same.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use policy::{Adaptive, Deployment, Moment, Name, Pace, Provider, Stand};

use crate::Gateway;
use crate::standing::At;

/// Places that are counted at most; clients choose the names of models, so there must be an end.
const MOST: usize = 4_096;

/// What is known of one place.
#[derive(Debug)]
struct Cell {
    model: Name,
    provider: Name,
    credential: Option<Name>,
    /// The account that the place is of.
    account: u64,
    under_way: AtomicU32,
    /// That of `pace`, for whoever only asks.
    limit: AtomicU32,
    pace: Mutex<Pace>,
}

impl Cell {
    fn change(&self, change: impl FnOnce(&mut Pace, u32)) {
        let mut pace = self.pace.lock();
        change(&mut pace, self.under_way.load(Ordering::Relaxed));
        self.limit.store(pace.limit(), Ordering::Relaxed);
    }

    fn is_full(&self) -> bool {
        self.under_way.load(Ordering::Relaxed) >= self.limit.load(Ordering::Relaxed)
    }
}

/// One call under way, counted until dropped.
#[derive(Debug)]
pub(crate) struct Paced {
    cell: Arc<Cell>,
    departed: Moment,
}

impl Drop for Paced {
    fn drop(&mut self) {
        self.cell.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

/// For what is learned from one call, which may outlive the attempt.
pub(crate) struct Lesson {
    cell: Arc<Cell>,
    departed: Moment,
}

impl Paced {
    pub(crate) fn lesson(&self) -> Lesson {
        Lesson { cell: Arc::clone(&self.cell), departed: self.departed }
    }
}

impl Lesson {
    /// The first of the answer is there; of a stream that is its first token.
    pub(crate) fn answered(&self, stream: bool, now: Moment) {
        let first = stream.then(|| now.since(self.departed));
        // A whole answer is under way no longer by now.
        self.cell.change(|pace, under_way| pace.answered(first, under_way + u32::from(!stream), now));
    }
}

/// A place of which is known how much it bears, for people and programs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bearing {
    /// The deployment.
    pub name: Name,
    /// What the settings call its credential, where the provider has several.
    pub credential: Option<Name>,
    /// So many calls at once are given it while there are others.
    pub limit: u32,
    /// So many are under way.
    pub under_way: u32,
}

/// All places that are counted.
#[derive(Default)]
pub(crate) struct Paces {
    known: AtomicUsize,
    cells: RwLock<HashMap<u64, Arc<Cell>>>,
}

impl Paces {
    fn cell(&self, at: At<'_>) -> Option<Arc<Cell>> {
        if at.by.adaptive == Adaptive::Off || self.known.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.cells.read().get(&at.place()).cloned()
    }

    /// Whether as many calls are under way as the place bears.
    pub(crate) fn is_full(&self, at: At<'_>) -> bool {
        self.cell(at).is_some_and(|cell| cell.is_full())
    }

    /// A call begins; `None` where it is not counted.
    pub(crate) fn begin(&self, at: At<'_>, now: impl FnOnce() -> Moment) -> Option<Paced> {
        if at.by.adaptive == Adaptive::Off {
            return None;
        }
        let (cell, departed) = match self.cell(at) {
            Some(cell) => (cell, now()),
            None if at.by.adaptive == Adaptive::Gradient => {
                let now = now();
                (self.add(at, Pace::watched(now))?, now)
            }
            None => return None,
        };
        cell.under_way.fetch_add(1, Ordering::Relaxed);
        Some(Paced { cell, departed })
    }

    /// A call was too much for the place, with about so many under way where it is not counted yet.
    pub(crate) fn refused(&self, at: At<'_>, lesson: Option<&Lesson>, under_way: u32, now: Moment) {
        match lesson {
            Some(Lesson { cell, departed }) => {
                // The refused one is under way no longer.
                cell.change(|pace, under_way| pace.refused(*departed, under_way + 1, now));
            }
            // Another call may have been quicker: then this one departed before, and says nothing new.
            None if at.by.adaptive == Adaptive::Aimd => {
                self.add(at, Pace::refused_at(under_way, now));
            }
            None => {}
        }
    }

    /// The place's cell, new or as another has just made it; `None`: there is no room.
    fn add(&self, at: At<'_>, pace: Pace) -> Option<Arc<Cell>> {
        let mut cells = self.cells.write();
        let place = at.place();
        if let Some(cell) = cells.get(&place) {
            return Some(Arc::clone(cell));
        }
        if cells.len() >= MOST {
            return None;
        }
        let cell = Arc::new(Cell {
            model: Arc::clone(&at.deployment.name),
            provider: Arc::clone(&at.by.name),
            credential: at.by.credential_name.clone(),
            account: at.account(),
            under_way: AtomicU32::new(0),
            limit: AtomicU32::new(pace.limit()),
            pace: Mutex::new(pace),
        });
        cells.insert(place, Arc::clone(&cell));
        self.known.store(cells.len(), Ordering::Release);
        Some(cell)
    }

    /// Forgets what says nothing any more, and servers that nobody calls.
    pub(crate) fn sweep(&self, now: Moment) {
        if self.known.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut cells = self.cells.write();
        // One that a call holds stays, so that none is made twice.
        cells.retain(|_, cell| Arc::strong_count(cell) > 1 || !cell.pace.lock().is_forgotten(now));
        self.known.store(cells.len(), Ordering::Release);
    }

    /// What is known of a provider's places, by name.
    pub(crate) fn of_provider(&self, provider: &Arc<Provider>) -> Vec<Bearing> {
        let accounts: Vec<_> = provider.with_each_credential().map(|by| At::account_of(by)).collect();
        let cells = self.cells.read();
        let own = cells.values().filter(|cell| accounts.contains(&cell.account));
        let mut list: Vec<_> = own
            .map(|cell| Bearing {
                name: Arc::clone(&cell.model),
                credential: cell.credential.clone(),
                limit: cell.limit.load(Ordering::Relaxed),
                under_way: cell.under_way.load(Ordering::Relaxed),
            })
            .collect();
        list.sort_by(|a, b| (&a.name, &a.credential).cmp(&(&b.name, &b.credential)));
        list
    }

    /// The least that places bear, by provider and credential.
    pub(crate) fn least(&self) -> std::collections::BTreeMap<(Name, Name), u32> {
        let mut least = std::collections::BTreeMap::new();
        for cell in self.cells.read().values() {
            let limit = cell.limit.load(Ordering::Relaxed);
            let of = (Arc::clone(&cell.provider), cell.credential.clone().unwrap_or_default());
            let known = least.entry(of).or_insert(limit);
            *known = limit.min(*known);
        }
        least
    }
}

impl Gateway {
    /// How a place stands: whether it is passed over, or has enough to do.
    pub(crate) fn stand(&self, at: At<'_>, now: Moment) -> Stand {
        match self.standings.of(at, now) {
            Stand::Away => Stand::Away,
            _ if self.paces.is_full(at) || self.gates.is_full(at.by) => Stand::Full,
            stand => stand,
        }
    }

    /// How a deployment stands: as the credential that stands best.
    pub(crate) fn stand_of(&self, deployment: &Deployment, now: Moment) -> Stand {
        let each = deployment.provider.with_each_credential();
        each.map(|by| self.stand(At { deployment, by }, now)).min().unwrap_or(Stand::Ready)
    }
}

#[cfg(test)]
#[path = "pace/tests.rs"]
mod tests;
