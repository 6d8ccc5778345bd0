//! Who waits for a turn, and whose turn is next: pure, time as a parameter.
//!
//! Where more calls come than may be under way at once, the rest waits here, within bounds of number, bytes and time. Calls of
//! production and domestic environments go before those of development, and these before innovation. Within a layer
//! tenants share by *deficit round robin* over estimated tokens: each in its turn may spend a quantum and what it saved, so
//! whoever sends more waits behind himself and not before others.
//!
//! A queue that stands is of no use to anybody: who would have to wait for longer than `wait` hears so at once, as far as
//! it can be told from the pace of the last turns; who has waited for so long is not asked any more; and where there is no
//! room, the newest of the longest line of the lowest layer makes some. So a flood fills the queue with itself alone.

use crate::snapshot::Layer;
use crate::time::Moment;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// What a tenant may spend more in each of its turns, tokens.
const QUANTUM: u64 = 256;
/// No call counts for more than this, tokens.
const MOST_TOKENS: u64 = 1 << 20;
/// While higher layers have calls, of so many turns one is for a lower layer that has waited for half of the time.
const ONE_IN: u32 = 16;
/// A turn's share in the mean time between turns.
const SMOOTHING: u64 = 8;

/// What may wait.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Bounds {
    /// Calls.
    pub count: usize,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// For how long.
    pub wait: Duration,
}

/// Who wants a turn.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub struct Asks {
    /// Of which layer.
    pub layer: Layer,
    /// With whom it shares, by number.
    pub tenant: u64,
    /// What it is expected to use.
    pub tokens: u64,
    /// Of its body.
    pub bytes: u64,
}

impl Asks {
    fn cost(&self) -> u64 {
        self.tokens.clamp(1, MOST_TOKENS)
    }
}

/// One that waits.
#[derive(Debug)]
pub struct Waiting<T> {
    /// Who.
    pub asks: Asks,
    /// Since when.
    pub since: Moment,
    /// What the caller of [`Queue::offer`] gave.
    pub value: T,
    number: u64,
}

/// A place in the queue.
#[derive(Copy, Clone, Debug)]
pub struct Ticket {
    rank: usize,
    tenant: u64,
    number: u64,
}

/// Why somebody gets no turn.
#[derive(Copy, Clone, Eq, PartialEq, Debug)]
pub enum Shed {
    /// There is no room to wait.
    Full,
    /// It would have to wait for too long.
    Hopeless,
    /// It had to make room for others.
    Displaced,
    /// It has waited for as long as it may.
    Late,
}

impl Shed {
    /// Every reason, with its name in metrics.
    pub const NAMES: [(&'static str, Shed); 4] = [
        ("full", Shed::Full),
        ("hopeless", Shed::Hopeless),
        ("displaced", Shed::Displaced),
        ("late", Shed::Late),
    ];

    /// The name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Shed::Full => "full",
            Shed::Hopeless => "hopeless",
            Shed::Displaced => "displaced",
            Shed::Late => "late",
        }
    }
}

/// The calls of one tenant, the oldest first.
#[derive(Debug)]
struct Line<T> {
    waiting: VecDeque<Waiting<T>>,
    /// What they cost together.
    cost: u64,
    /// What it may spend.
    deficit: u64,
    /// It has been given its quantum and still spends.
    in_turn: bool,
}

impl<T> Line<T> {
    fn pop_front(&mut self) -> Option<Waiting<T>> {
        let gone = self.waiting.pop_front()?;
        self.cost -= gone.asks.cost();
        Some(gone)
    }

    fn lacks(&self) -> u64 {
        let head = self.waiting.front().map_or(0, |head| head.asks.cost());
        head.saturating_sub(self.deficit)
    }
}

/// The calls of one rank.
#[derive(Debug)]
struct Class<T> {
    lines: HashMap<u64, Line<T>>,
    /// The tenants in the order of their turns, the present one first.
    ring: VecDeque<u64>,
    count: usize,
}

impl<T> Default for Class<T> {
    fn default() -> Self {
        Class { lines: HashMap::new(), ring: VecDeque::new(), count: 0 }
    }
}

impl<T> Class<T> {
    fn push(&mut self, waiting: Waiting<T>) {
        let line = self.lines.entry(waiting.asks.tenant).or_insert_with(|| {
            self.ring.push_back(waiting.asks.tenant);
            Line { waiting: VecDeque::new(), cost: 0, deficit: 0, in_turn: false }
        });
        line.cost += waiting.asks.cost();
        line.waiting.push_back(waiting);
        self.count += 1;
    }

    /// The next by deficit round robin; what is too late goes to `late`.
    fn next(
        &mut self,
        is_late: impl Fn(&Waiting<T>) -> bool,
        late: &mut Vec<Waiting<T>>,
    ) -> Option<Waiting<T>> {
        loop {
            for _ in 0..self.ring.len() {
                let line = self.lines.get_mut(self.ring.front()?)?;
                while line.waiting.front().is_some_and(&is_late) {
                    late.extend(line.pop_front());
                    self.count -= 1;
                }
                if line.waiting.is_empty() {
                    self.end_front();
                    continue;
                }
                if !line.in_turn {
                    line.deficit += QUANTUM;
                    line.in_turn = true;
                }
                if line.lacks() == 0 {
                    let turn = line.pop_front()?;
                    line.deficit -= turn.asks.cost();
                    self.count -= 1;
                    if line.waiting.is_empty() {
                        self.end_front();
                    }
                    return Some(turn);
                }
                line.in_turn = false;
                self.ring.rotate_left(1);
            }
            // As many rounds at once as the nearest needs, but for the one that follows.
            let rounds = self.lines.values().map(|line| line.lacks().div_ceil(QUANTUM)).min()?;
            let saved = rounds.saturating_sub(1) * QUANTUM;
            self.lines.values_mut().for_each(|line| line.deficit += saved);
        }
    }

    /// Whoever is first has nothing left; what was saved is lost.
    fn end_front(&mut self) {
        if let Some(tenant) = self.ring.pop_front() {
            self.lines.remove(&tenant);
        }
    }

    /// Takes one out that is not first in its line perhaps.
    fn remove(&mut self, tenant: u64, number: u64) -> Option<Waiting<T>> {
        let line = self.lines.get_mut(&tenant)?;
        let at = line.waiting.binary_search_by_key(&number, |waiting| waiting.number).ok()?;
        let gone = line.waiting.remove(at)?;
        line.cost -= gone.asks.cost();
        self.count -= 1;
        if line.waiting.is_empty() {
            self.lines.remove(&tenant);
            self.ring.retain(|other| *other != tenant);
        }
        Some(gone)
    }

    /// Whose line is the longest, and what it costs; of equals the one whose turn is last.
    fn longest(&self) -> Option<(u64, u64)> {
        let cost = |tenant: &u64| self.lines.get(tenant).map_or(0, |line| line.cost);
        self.ring.iter().map(|tenant| (*tenant, cost(tenant))).max_by_key(|(_, cost)| *cost)
    }

    fn oldest(&self) -> Option<Moment> {
        self.lines.values().filter_map(|line| line.waiting.front()).map(|head| head.since).min()
    }
}

/// How fast turns come, while anybody waits.
#[derive(Debug, Default)]
struct Pace {
    /// Nanoseconds from one to the next; `None` where nobody knows.
    mean: Option<u64>,
    last: Moment,
}

impl Pace {
    /// Somebody waits again. What was long ago says nothing.
    fn begins(&mut self, now: Moment, memory: Duration) {
        if now.since(self.last) > memory {
            self.mean = None;
        }
        self.last = now;
    }

    fn turn(&mut self, now: Moment) {
        let sample = nanos(now.since(self.last));
        self.mean = Some(self.mean.map_or(sample, |mean| mixed(mean, sample)));
        self.last = now;
    }

    /// How long so many turns will take.
    fn expected(&self, turns: usize, now: Moment) -> Option<Duration> {
        let mean = self.mean?;
        // A turn that does not come is one that takes at least that long.
        let mean = mean.max(mixed(mean, nanos(now.since(self.last))));
        Some(Duration::from_nanos(mean.saturating_mul(turns as u64)))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn mixed(mean: u64, sample: u64) -> u64 {
    mean - mean / SMOOTHING + sample / SMOOTHING
}

/// Calls that wait, each with a `T`.
#[derive(Debug)]
pub struct Queue<T> {
    bounds: Bounds,
    classes: [Class<T>; Layer::RANKS],
    count: usize,
    bytes: u64,
    issued: u64,
    /// Turns that went to a higher rank while a lower one waited.
    passed_over: u32,
    pace: Pace,
    /// Of each rank: what higher ranks take of the turns is in there.
    paces: [Pace; Layer::RANKS],
}

impl<T> Queue<T> {
    /// An empty one.
    pub fn new(bounds: Bounds) -> Self {
        Queue {
            bounds,
            classes: std::array::from_fn(|_| Class::default()),
            count: 0,
            bytes: 0,
            issued: 0,
            passed_over: 0,
            pace: Pace::default(),
            paces: Default::default(),
        }
    }

    /// Calls that wait.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes of their bodies.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Lets one wait, or says why not. Who had to make room for it goes to `displaced`.
    pub fn offer(
        &mut self,
        asks: Asks,
        value: T,
        now: Moment,
        displaced: &mut Vec<Waiting<T>>,
    ) -> Result<Ticket, Shed> {
        let rank = asks.layer.rank();
        if self.count == 0 {
            self.pace.begins(now, self.bounds.wait);
        }
        if self.classes[rank].count == 0 {
            self.paces[rank].begins(now, self.bounds.wait);
        }
        if self.bounds.count == 0 || asks.bytes > self.bounds.bytes {
            return Err(Shed::Full);
        }
        // Whoever comes first tries it: the pace of a queue in which nobody waits would never be known better.
        let is_first = self.classes[..=rank].iter().all(|class| class.count == 0);
        // Before a lower rank others may come yet.
        let most = if rank == 0 { self.bounds.wait } else { self.bounds.wait / 2 };
        if !is_first && self.outlook(&asks, now).is_some_and(|wait| wait > most) {
            return Err(Shed::Hopeless);
        }
        while self.count >= self.bounds.count || self.bytes + asks.bytes > self.bounds.bytes {
            displaced.push(self.make_room(&asks).ok_or(Shed::Full)?);
        }
        let ticket = Ticket { rank, tenant: asks.tenant, number: self.issued };
        self.issued += 1;
        self.count += 1;
        self.bytes += asks.bytes;
        self.classes[ticket.rank].push(Waiting { asks, since: now, value, number: ticket.number });
        Ok(ticket)
    }

    /// About how many turns of its rank come before its own.
    fn ahead(&self, asks: &Asks) -> usize {
        let own = &self.classes[asks.layer.rank()];
        let line = own.lines.get(&asks.tenant).map_or(0, |line| line.waiting.len());
        let others = own.ring.len() - usize::from(line > 0);
        (line + (line + 1) * others).min(own.count)
    }

    /// Takes out the newest of the longest line of the lowest rank, unless that is the newcomer itself.
    fn make_room(&mut self, asks: &Asks) -> Option<Waiting<T>> {
        let rank = asks.layer.rank();
        let lowest = (rank..self.classes.len()).rev().find(|rank| self.classes[*rank].count > 0)?;
        let class = &self.classes[lowest];
        let (tenant, cost) = class.longest()?;
        let own = class.lines.get(&asks.tenant).map_or(0, |line| line.cost) + asks.cost();
        if lowest == rank && cost <= own {
            return None;
        }
        let number = class.lines.get(&tenant)?.waiting.back()?.number;
        self.remove(Ticket { rank: lowest, tenant, number })
    }

    /// Whose turn it is. Who has waited for too long goes to `late` when its turn comes.
    pub fn next(&mut self, now: Moment, late: &mut Vec<Waiting<T>>) -> Option<Waiting<T>> {
        let wait = self.bounds.wait;
        while self.count > 0 {
            let rank = self.rank_next(now)?;
            let known = late.len();
            let turn = self.classes[rank].next(|waiting| now.since(waiting.since) >= wait, late);
            for gone in late[known..].iter().chain(&turn) {
                self.count -= 1;
                self.bytes -= gone.asks.bytes;
            }
            if turn.is_some() {
                self.pace.turn(now);
                self.paces[rank].turn(now);
                return turn;
            }
        }
        None
    }

    /// The highest rank, but for now and then one that has waited for long.
    fn rank_next(&mut self, now: Moment) -> Option<usize> {
        let mut ranks = (0..self.classes.len()).filter(|rank| self.classes[*rank].count > 0);
        let first = ranks.next()?;
        let mut lower = ranks.peekable();
        if lower.peek().is_none() {
            return Some(first);
        }
        if self.passed_over + 1 < ONE_IN {
            self.passed_over += 1;
            return Some(first);
        }
        let (since, rank) = lower.filter_map(|rank| Some((self.classes[rank].oldest()?, rank))).min()?;
        if now.since(since) < self.bounds.wait / 2 {
            return Some(first);
        }
        self.passed_over = 0;
        Some(rank)
    }

    /// Takes one out that waits no more; `None` where it has had its turn, or an end.
    pub fn remove(&mut self, ticket: Ticket) -> Option<Waiting<T>> {
        let gone = self.classes[ticket.rank].remove(ticket.tenant, ticket.number)?;
        self.count -= 1;
        self.bytes -= gone.asks.bytes;
        Some(gone)
    }

    /// How long one would wait that comes now, as far as that is known.
    pub fn outlook(&self, asks: &Asks, now: Moment) -> Option<Duration> {
        let (rank, turns) = (asks.layer.rank(), self.ahead(asks) + 1);
        let higher: usize = self.classes[..rank].iter().map(|class| class.count).sum();
        self.pace.expected(higher + turns, now).max(self.paces[rank].expected(turns, now))
    }
}

#[cfg(test)]
#[path = "queue/tests.rs"]
mod tests;
