//! What this node has of limits that several nodes count together: what it owes Redis, and what it has taken in advance.
//!
//! Nothing here is a message that could be lost: what is to be told is added up in an atomic number, and whoever tells Redis takes
//! it from there. So corrections of one limit become one, however many there were, and a Redis that is away costs no memory.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use policy::{Elsewhere, LimitRate, Moment, Wanted};
use smallvec::SmallVec;
use tokio::sync::Notify;

use crate::script::{Asked, PREFIX};

const SHARDS: usize = 16;

/// Something of which Redis is to be told.
#[derive(Debug)]
pub(crate) enum Touched {
    Rate(Arc<RateCounter>),
    Place(Arc<PlaceCounter>),
}

/// What Redis is to be told of, and a bell.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// Each counter at most once, so it is no longer than there are counters.
    list: Mutex<Vec<Touched>>,
    pub(crate) bell: Notify,
}

impl News {
    pub(crate) fn take(&self) -> Vec<Touched> {
        std::mem::take(&mut self.list.lock())
    }

    fn add(&self, touched: Touched) {
        self.list.lock().push(touched);
        self.bell.notify_one();
    }
}

/// A rate of one limit for one of whom it counts.
#[derive(Debug)]
pub(crate) struct RateCounter {
    key: String,
    /// Nanoseconds in which all of the limit comes back.
    pub(crate) span: u64,
    /// By so many nanoseconds Redis is to be put right.
    owed: AtomicI64,
    /// What was taken in advance and is not used yet, nanoseconds; less than nothing: what was used beyond that.
    credit: AtomicI64,
    /// What a whole batch is; 0 where nothing is taken in advance.
    batch: u64,
    /// How far the rate was from full when Redis was last asked: at that moment of this node's clock, then nanoseconds.
    seen: Mutex<(u64, u64)>,
    /// It was used since the last look.
    used: AtomicBool,
    queued: AtomicBool,
    news: Arc<News>,
    me: std::sync::Weak<Self>,
}

impl RateCounter {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Redis is to be told of it.
    pub(crate) fn touch(&self) {
        if !self.queued.swap(true, Relaxed)
            && let Some(me) = self.me.upgrade()
        {
            self.news.add(Touched::Rate(me));
        }
    }

    /// What Redis is to be told now: first by how much it is to be put right, then how much is wanted in advance.
    pub(crate) fn tell(&self) -> (i64, u64) {
        self.queued.store(false, Relaxed);
        let mut owed = self.owed.swap(0, Relaxed);
        let batch = i64::try_from(self.batch).unwrap_or(i64::MAX);
        if batch == 0 {
            return (owed, 0);
        }
        let credit = self.credit.load(Relaxed);
        // What was used beyond it is put down there; what is more than a batch is given back.
        let surplus = if credit < 0 { credit } else { (credit - batch).max(0) };
        if surplus != 0 {
            self.credit.fetch_sub(surplus, Relaxed);
            owed -= surplus;
        }
        let has = u64::try_from(credit - surplus).unwrap_or(0);
        let wanted = if self.used.load(Relaxed) && has < self.batch / 2 { self.batch - has } else { 0 };
        (owed, wanted)
    }

    /// Gives back what was taken in advance and nobody uses.
    pub(crate) fn rest(&self) {
        if self.used.swap(false, Relaxed) || self.batch == 0 {
            return;
        }
        let credit = self.credit.swap(0, Relaxed);
        if credit != 0 {
            self.owed.fetch_sub(credit, Relaxed);
            self.touch();
        }
    }

    /// Takes so much of what was taken in advance, or nothing.
    pub(crate) fn draw(&self, cost: u64) -> bool {
        self.used.store(true, Relaxed);
        let Ok(cost) = i64::try_from(cost) else { return false };
        let drawn = self.credit.fetch_update(Relaxed, Relaxed, |has| (has >= cost).then(|| has - cost));
        if drawn.map_or(true, |had| had - cost < i64::try_from(self.batch / 2).unwrap_or(i64::MAX)) {
            self.touch();
        }
        drawn.is_ok()
    }

    /// Redis said how far it is from full.
    pub(crate) fn look(&self, now: Moment, ahead: u64) {
        *self.seen.lock() = (now.as_nanos(), ahead);
    }

    /// How far it is from full for this node, as far as is known here.
    pub(crate) fn ahead(&self, now: Moment) -> u64 {
        let (at, ahead) = *self.seen.lock();
        let credit = u64::try_from(self.credit.load(Relaxed)).unwrap_or(0);
        ahead.saturating_sub(now.as_nanos().saturating_sub(at)).saturating_sub(credit)
    }

    /// Puts back what was drawn a moment ago.
    pub(crate) fn put_back(&self, cost: u64) {
        self.lend(cost);
    }

    /// Redis gave so much in advance.
    pub(crate) fn lend(&self, granted: u64) {
        self.credit.fetch_add(i64::try_from(granted).unwrap_or(0), Relaxed);
    }

    fn is_idle(&self) -> bool {
        !self.queued.load(Relaxed) && self.owed.load(Relaxed) == 0 && self.credit.load(Relaxed) == 0
    }
}

impl Elsewhere for RateCounter {
    fn correct(&self, debited: u64, actual: u64) {
        let by = i64::try_from(actual)
            .unwrap_or(i64::MAX)
            .saturating_sub(i64::try_from(debited).unwrap_or(i64::MAX));
        if by == 0 {
            return;
        }
        if self.batch == 0 {
            let add = |owed: i64| Some(owed.saturating_add(by));
            let _ = self.owed.fetch_update(Relaxed, Relaxed, add);
            self.touch();
            return;
        }
        let _ = self.credit.fetch_update(Relaxed, Relaxed, |has| Some(has.saturating_sub(by)));
        self.touch();
    }
}

/// The places of one limit for one of whom it counts.
#[derive(Debug)]
pub(crate) struct PlaceCounter {
    key: String,
    /// Taken without asking, and given back; Redis is to be told.
    came: AtomicU64,
    gone: AtomicU64,
    /// How many Redis counts for this node, or is about to be told; written by whoever tells it alone.
    held: AtomicI64,
    queued: AtomicBool,
    news: Arc<News>,
    me: std::sync::Weak<Self>,
}

impl PlaceCounter {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// By how many Redis is to be put right.
    pub(crate) fn tell(&self) -> i64 {
        self.queued.store(false, Relaxed);
        let came = i64::try_from(self.came.swap(0, Relaxed)).unwrap_or(0);
        let by = came - i64::try_from(self.gone.swap(0, Relaxed)).unwrap_or(0);
        self.held.fetch_add(by, Relaxed);
        by
    }

    pub(crate) fn held(&self) -> i64 {
        self.held.load(Relaxed)
    }

    fn touch(&self) {
        if !self.queued.swap(true, Relaxed)
            && let Some(me) = self.me.upgrade()
        {
            self.news.add(Touched::Place(me));
        }
    }

    fn is_idle(&self) -> bool {
        let told = self.came.load(Relaxed) == 0 && self.gone.load(Relaxed) == 0;
        told && !self.queued.load(Relaxed) && self.held() == 0
    }
}

/// A place that is counted by Redis; dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Place(Arc<PlaceCounter>);

impl Place {
    /// Redis granted it.
    pub(crate) fn granted(counter: &Arc<PlaceCounter>) -> Self {
        counter.held.fetch_add(1, Relaxed);
        Self(Arc::clone(counter))
    }

    /// Redis was not asked, and is to be told.
    pub(crate) fn come(counter: &Arc<PlaceCounter>) -> Self {
        counter.came.fetch_add(1, Relaxed);
        counter.touch();
        Self(Arc::clone(counter))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.gone.fetch_add(1, Relaxed);
        self.0.touch();
    }
}

#[derive(Debug, Default)]
struct Shard {
    rates: HashMap<([u8; 16], LimitRate, u64), Arc<RateCounter>, RandomState>,
    places: HashMap<[u8; 16], Arc<PlaceCounter>, RandomState>,
}

/// All of them. Those that nobody uses are forgotten at the next sweep, so there are no more than requests since then.
#[derive(Debug)]
pub(crate) struct Table {
    shards: [Mutex<Shard>; SHARDS],
    pub(crate) news: Arc<News>,
    leased: bool,
}

impl Table {
    pub(crate) fn new(leased: bool) -> Self {
        Self { shards: Default::default(), news: Arc::default(), leased }
    }

    /// What is wanted, with where it is counted.
    pub(crate) fn asked(&self, wanted: Vec<Wanted>, nodes: u32) -> Vec<Asked> {
        let ask = |wanted: Wanted| {
            let mut shard = self.shard(&wanted.id).lock();
            let place = wanted.places().map(|_| self.place_in(&mut shard, &wanted.id));
            let rates: SmallVec<_> = wanted
                .debits()
                .map(|(rate, bucket, _)| {
                    let known = shard.rates.entry((wanted.id, rate, bucket.limit()));
                    let made = || self.rate(&wanted.id, rate, bucket, nodes);
                    Arc::clone(known.or_insert_with(made))
                })
                .collect();
            drop(shard);
            Asked { wanted, place, rates }
        };
        wanted.into_iter().map(ask).collect()
    }

    /// The places of a limit.
    pub(crate) fn place(&self, id: &[u8; 16]) -> Arc<PlaceCounter> {
        let mut shard = self.shard(id).lock();
        self.place_in(&mut shard, id)
    }

    fn place_in(&self, shard: &mut Shard, id: &[u8; 16]) -> Arc<PlaceCounter> {
        let made = || {
            Arc::new_cyclic(|me| PlaceCounter {
                key: key(id) + "places",
                came: AtomicU64::new(0),
                gone: AtomicU64::new(0),
                held: AtomicI64::new(0),
                queued: AtomicBool::new(false),
                news: Arc::clone(&self.news),
                me: me.clone(),
            })
        };
        Arc::clone(shard.places.entry(*id).or_insert_with(made))
    }

    fn rate(&self, id: &[u8; 16], rate: LimitRate, bucket: &policy::Bucket, nodes: u32) -> Arc<RateCounter> {
        let batch = (bucket.span() / (u64::from(nodes.max(1)) * PARTS)).max(bucket.cost(1));
        Arc::new_cyclic(|me| RateCounter {
            key: format!("{}{rate}:{}", key(id), bucket.limit()),
            span: bucket.span(),
            owed: AtomicI64::new(0),
            credit: AtomicI64::new(0),
            batch: if self.leased { batch } else { 0 },
            seen: Mutex::new((0, 0)),
            used: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            news: Arc::clone(&self.news),
            me: me.clone(),
        })
    }

    /// Every place counter that Redis should know of.
    pub(crate) fn held(&self) -> Vec<Arc<PlaceCounter>> {
        let of = |shard: &Mutex<Shard>| {
            let shard = shard.lock();
            shard.places.values().filter(|place| place.held() > 0).cloned().collect::<Vec<_>>()
        };
        self.shards.iter().flat_map(of).collect()
    }

    /// Redis is away: places are added up for the day when it is back, and those that came and went are forgotten.
    pub(crate) fn wait(&self) {
        for touched in self.news.take() {
            match touched {
                Touched::Place(place) => {
                    place.tell();
                }
                // No debit is added while Redis is away, so there are no more of these than were under way.
                Touched::Rate(rate) => self.news.add(Touched::Rate(rate)),
            }
        }
        self.sweep();
    }

    /// Forgets what nobody uses.
    pub(crate) fn sweep(&self) {
        for shard in &self.shards {
            let mut shard = shard.lock();
            if self.leased {
                shard.rates.values().for_each(|rate| rate.rest());
            }
            shard.rates.retain(|_, rate| Arc::strong_count(rate) > 1 || !rate.is_idle());
            shard.places.retain(|_, place| Arc::strong_count(place) > 1 || !place.is_idle());
        }
    }

    fn shard(&self, id: &[u8; 16]) -> &Mutex<Shard> {
        &self.shards[usize::from(id[0]) % SHARDS]
    }
}

/// A batch is the limit divided by the number of nodes and by this.
pub(crate) const PARTS: u64 = 10;

fn key(id: &[u8; 16]) -> String {
    let mut key = String::with_capacity(PREFIX.len() + 64);
    key.push_str(PREFIX);
    for byte in id {
        let _ = write!(key, "{byte:02x}");
    }
    key.push(':');
    key
}
