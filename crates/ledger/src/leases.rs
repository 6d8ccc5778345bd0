//! Budgets of several nodes: who may spend how much of a window, divided by the store.
//!
//! The store keeps, for each window, what each node may spend of it in all; these never add up to more than the budget. A node
//! admits requests from what it holds, without asking anybody, and asks for more before that is used up. What it holds and does
//! not use it gives back when another node lacks it. So a node that is cut off from the store spends what it holds and no more,
//! and none of the others can spend that.
//!
//! A node asks by absolute numbers, and every ask has a later turn than the one before: an answer that was lost changes nothing,
//! and an ask that reaches the store late, when a later one has been answered, is passed over. More was charged than was held
//! (a provider billed more than it was asked for)? Then the store hears of it, and nobody else can spend it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use policy::{Currency, Money, Name, Timestamp};
use runtime::{Clock, Tasks};
use tokio::sync::{Notify, watch};

use crate::budgets::{Budgets, Held, Place};
use crate::disk::Disk;
use crate::spool::Spool;

/// How often a node shows itself, and hears which windows others lack money in.
const BEAT: Duration = Duration::from_millis(500);
/// How long the store may take for an answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// After a failure it is asked again after this.
const AGAIN: Duration = Duration::from_millis(500);
/// Windows that are spoken of at once.
const AT_ONCE: usize = 128;
/// The file beside the spool that remembers the leases.
const NAME: &str = "leases";

/// What a node says of one budget window, in nano units of the limit's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whose balance.
    pub scope: Name,
    /// Start of the window.
    pub window_start: Timestamp,
    /// Its end; `None` = never.
    pub ends_at: Option<Timestamp>,
    /// What all nodes may spend of it together.
    pub limit: Money,
    /// What this node has spent and holds for requests.
    pub used: i64,
    /// What it goes on holding in any case; never less than `used`.
    pub keep: i64,
    /// What it has to hold in all so that the smallest request that waits can go; 0 = none waits.
    pub least: i64,
    /// The same for all that wait.
    pub most: i64,
}

/// What a node holds of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// This one, in all.
    pub granted: i64,
    /// All others.
    pub elsewhere: i64,
    /// What those had not used of it when they were last heard of.
    pub free_elsewhere: i64,
}

/// What an ask came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It counts.
    Grant(Grant),
    /// A later turn than this ask's was heard before.
    Passed {
        /// Which.
        turn: i64,
    },
}

/// What a node hears when it shows itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Nodes that were seen lately, this one included.
    pub nodes: u32,
    /// Windows in which a node lately lacked money: scope, start, currency.
    pub wanted: Vec<(Name, Timestamp, Currency)>,
}

type Promised<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// Who divides budgets among nodes. Implemented by the store.
pub trait Leases: Send + Sync + 'static {
    /// Divides: the answers in the order of the asks, all in one transaction. `nodes` share what is there.
    fn settle<'a>(&'a self, asks: &'a [Ask], turn: i64, nodes: u32) -> Promised<'a, Vec<Answer>>;

    /// Shows that this node lives.
    fn beat(&self) -> Promised<'_, Beat>;
}

/// What the node that asks is to hold in all. `mine` is what it holds so far, `others` what all other nodes hold; `tight`: one of
/// them lately lacked money.
///
/// It is never less than what is used, nor than what of `mine` it keeps; and never so much that all together hold more than the
/// limit, unless it was spent already.
#[must_use]
pub fn divide(ask: &Ask, mine: i64, others: i64, nodes: u32, tight: bool) -> i64 {
    let kept = ask.keep.min(mine).max(ask.used);
    let available = ask.limit.nano.saturating_sub(others);
    if ask.least <= 0 || ask.least > available {
        return kept;
    }
    let left = available.saturating_sub(ask.used).max(0);
    let share = match nodes {
        _ if tight => 0,
        0 | 1 => left,
        several => left / (2 * i64::from(several)),
    };
    ask.most.max(ask.used.saturating_add(share)).min(available).max(kept)
}

/// Where the windows are listed that are to be spoken of.
pub(crate) struct Desk {
    clock: Clock,
    listed: Mutex<Vec<Place>>,
    wake: Notify,
    /// How often the store has answered, or not.
    turns: watch::Sender<u64>,
    /// The store does not answer.
    away: AtomicBool,
    asks: AtomicU64,
    nodes: AtomicU64,
}

impl Desk {
    pub(crate) fn new(clock: Clock) -> Arc<Self> {
        let (turns, _) = watch::channel(0);
        Arc::new(Self {
            clock,
            listed: Mutex::default(),
            wake: Notify::new(),
            turns,
            away: AtomicBool::new(false),
            asks: AtomicU64::new(0),
            nodes: AtomicU64::new(1),
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn list(&self, place: Place) {
        self.listed.lock().push(place);
        self.wake.notify_one();
    }

    pub(crate) fn turns(&self) -> watch::Receiver<u64> {
        self.turns.subscribe()
    }

    pub(crate) fn is_away(&self) -> bool {
        self.away.load(Relaxed)
    }

    /// How often the store was asked, windows together in one turn.
    pub(crate) fn asks(&self) -> u64 {
        self.asks.load(Relaxed)
    }

    pub(crate) fn nodes(&self) -> u64 {
        self.nodes.load(Relaxed)
    }

    pub(crate) fn say_away(&self, error: Option<&str>) {
        let was = self.away.swap(error.is_some(), Relaxed);
        match error {
            Some(error) if !was => tracing::warn!(
                error,
                "budgets: the database does not divide them now; this node spends what it holds of them"
            ),
            None if was => tracing::info!("budgets: the database divides them again"),
            _ => {}
        }
    }
}

/// The one who speaks with the store, one turn after the other.
pub(crate) struct Clerk {
    desk: Arc<Desk>,
    spool: Arc<Spool>,
    leases: Arc<dyn Leases>,
    turn: i64,
    nodes: u32,
    unsaved: bool,
}

impl Clerk {
    pub(crate) fn new(desk: Arc<Desk>, spool: Arc<Spool>, leases: Arc<dyn Leases>) -> Self {
        Self { desk, spool, leases, turn: 0, nodes: 1, unsaved: false }
    }

    pub(crate) async fn run(mut self, tasks: Tasks) {
        let mut heard = None;
        loop {
            let pause = match heard {
                Some(at) => BEAT.saturating_sub(self.desk.clock.moment().since(at)),
                None => Duration::ZERO,
            };
            tokio::select! {
                () = tasks.stopping() => break,
                () = self.desk.wake.notified() => {}
                () = tokio::time::sleep(pause) => {
                    heard = Some(self.desk.clock.moment());
                    let well = self.beat().await;
                    self.save_later();
                    if !well {
                        tokio::time::sleep(AGAIN).await;
                    }
                }
            }
            if !self.settle_listed().await {
                tokio::time::sleep(AGAIN).await;
            }
        }
        // What nobody will use here any more is for the others, if they can be told: else it is needed for the next start.
        if self.beat().await {
            self.desk.listed.lock().extend(self.budgets().give_all_back());
            self.settle_listed().await;
        } else {
            self.save();
        }
        self.desk.turns.send_modify(|turn| *turn += 1);
    }

    fn budgets(&self) -> &Budgets {
        &self.spool.budgets
    }

    /// Shows itself, and lists what others lack.
    pub(crate) async fn beat(&mut self) -> bool {
        let leases = self.leases.clone();
        let answer = in_time(leases.beat()).await;
        self.desk.say_away(answer.as_ref().err().map(String::as_str));
        let Ok(beat) = answer else { return false };
        self.nodes = beat.nodes.max(1);
        self.desk.nodes.store(u64::from(self.nodes), Relaxed);
        let wanted = beat.wanted.iter();
        let places: Vec<_> = wanted
            .filter_map(|(scope, start, currency)| self.budgets().give_back(scope, *start, *currency))
            .collect();
        self.desk.listed.lock().extend(places);
        true
    }

    /// Speaks of all that is listed; whether the store answered.
    pub(crate) async fn settle_listed(&mut self) -> bool {
        loop {
            let places: Vec<Place> = {
                let mut listed = self.desk.listed.lock();
                let many = listed.len().min(AT_ONCE);
                listed.drain(..many).collect()
            };
            if places.is_empty() {
                return true;
            }
            let well = self.settle(&places).await;
            self.desk.turns.send_modify(|turn| *turn += 1);
            if !well {
                return false;
            }
        }
    }

    async fn settle(&mut self, places: &[Place]) -> bool {
        let mut spoken: Vec<(&Place, Ask)> = Vec::with_capacity(places.len());
        let mut shrinks = false;
        for place in places {
            if let Some((ask, less)) = place.ask() {
                shrinks |= less;
                spoken.push((place, ask));
            }
        }
        if spoken.is_empty() {
            return true;
        }
        // Everybody locks in one order.
        spoken.sort_by(|(_, one), (_, other)| {
            (&one.scope, one.window_start).cmp(&(&other.scope, other.window_start))
        });
        if shrinks && !self.save() {
            // Who starts again must not believe to hold what is given back now; so nothing is said of it.
            return true;
        }
        let asks: Vec<Ask> = spoken.iter().map(|(_, ask)| ask.clone()).collect();
        self.turn = self.desk.now().as_micros().max(self.turn + 1);
        self.desk.asks.fetch_add(1, Relaxed);
        let leases = self.leases.clone();
        let answers = in_time(leases.settle(&asks, self.turn, self.nodes)).await;
        self.desk.say_away(answers.as_ref().err().map(String::as_str));
        let Ok(answers) = answers else {
            spoken.iter().for_each(|(place, _)| place.doubt());
            return false;
        };
        let now = self.desk.now();
        for ((place, ask), answer) in spoken.iter().zip(answers) {
            match answer {
                Answer::Grant(grant) => {
                    if place.take_grant(ask, grant, now) {
                        self.desk.list((*place).clone());
                    }
                }
                // The clock has gone back since: the next turn comes after it.
                Answer::Passed { turn } => {
                    self.turn = self.turn.max(turn);
                    place.say_again();
                    self.desk.list((*place).clone());
                }
            }
        }
        self.unsaved = true;
        true
    }

    pub(crate) fn save_later(&mut self) {
        if std::mem::take(&mut self.unsaved) {
            self.save();
        }
    }

    fn save(&mut self) -> bool {
        match write(&*self.spool.disk, &self.budgets().held()) {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the leases on budgets cannot be remembered");
                false
            }
        }
    }
}

async fn in_time<T>(answer: Promised<'_, T>) -> Result<T, String> {
    let late = || format!("no answer within {} s", PATIENCE.as_secs());
    tokio::time::timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(late()))
}

/// Remembers what is held. A torn file is no file, and then this node holds nothing until the store says so.
fn write(disk: &dyn Disk, held: &[Held]) -> std::io::Result<()> {
    let body = postcard::to_stdvec(held).map_err(std::io::Error::other)?;
    let mut content = crc32fast::hash(&body).to_le_bytes().to_vec();
    content.extend(body);
    disk.overwrite(NAME, &content)
}

/// What a process before this one held.
pub(crate) fn read(disk: &dyn Disk) -> Vec<Held> {
    let whole = || {
        let file = disk.open(NAME).ok()?;
        let length = usize::try_from(file.length().ok()?).ok()?;
        let mut content = vec![0; length];
        let mut read = 0;
        while read < length {
            match file.read_at(&mut content[read..], read as u64).ok()? {
                0 => return None,
                more => read += more,
            }
        }
        let (crc, body) = content.split_first_chunk::<4>()?;
        if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        postcard::from_bytes(body).ok()
    };
    whole().unwrap_or_default()
}
