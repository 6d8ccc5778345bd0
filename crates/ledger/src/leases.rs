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
//!
//! The store knows a node by its id and by an epoch, which is another one when the node was forgotten meanwhile and its leases
//! were given to others; then it holds nothing any more. The same where another process runs under its id: that one has the leases.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;
use policy::{Currency, Moment, Money, Name, Timestamp};
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
const AT_ONCE: usize = 512;
/// The file beside the spool that remembers the leases.
const NAME: &str = "leases";
/// Which form it has.
const FORM: &[u8] = b"leases 2";

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
    /// What of it those that live had not used when they were last heard of.
    pub free_elsewhere: i64,
    /// The same of those that were not seen lately: nobody can have it until they are back.
    pub away: i64,
}

/// One time of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Later than that of every ask before.
    pub number: i64,
    /// Nodes that share what is there.
    pub nodes: u32,
    /// As this node heard it last.
    pub epoch: i64,
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
    /// Another one than before where this node was forgotten meanwhile.
    pub epoch: i64,
    /// Windows in which a node lately lacked money: scope, start, currency.
    pub wanted: Vec<(Name, Timestamp, Currency)>,
}

/// What came of showing itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It is known to the others.
    Among(Beat),
    /// Another process has its id, says this.
    Replaced(String),
}

type Promised<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// Who divides budgets among nodes. Implemented by the store.
pub trait Leases: Send + Sync + 'static {
    /// Divides: the answers in the order of the asks, all in one transaction. An error where another process has this node's id,
    /// or it was forgotten since the epoch of the turn.
    fn settle<'a>(&'a self, asks: &'a [Ask], turn: Turn) -> Promised<'a, Vec<Answer>>;

    /// Shows that this node lives.
    fn beat(&self) -> Promised<'_, Seen>;
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
    /// In which the leases were granted that an earlier process left.
    epoch: Option<i64>,
}

impl Desk {
    pub(crate) fn new(clock: Clock, epoch: Option<i64>) -> Arc<Self> {
        let (turns, _) = watch::channel(0);
        Arc::new(Self {
            clock,
            listed: Mutex::default(),
            wake: Notify::new(),
            turns,
            away: AtomicBool::new(false),
            asks: AtomicU64::new(0),
            nodes: AtomicU64::new(1),
            epoch,
        })
    }

    pub(crate) fn moment(&self) -> Moment {
        self.clock.moment()
    }

    /// Whoever holds a window's lock may list it; so nobody takes such a lock who holds the list.
    pub(crate) fn list(&self, place: Place) {
        self.listed.lock().push(place);
        self.wake.notify_one();
    }

    fn list_all(&self, places: Vec<Place>) {
        self.listed.lock().extend(places);
    }

    /// The first that are listed.
    fn take(&self) -> Vec<Place> {
        let mut listed = self.listed.lock();
        let many = listed.len().min(AT_ONCE);
        listed.drain(..many).collect()
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
    /// In which the leases were granted; `None` before the first.
    epoch: Option<i64>,
    /// When it last showed itself, and whether it was seen.
    shown: Option<(Moment, bool)>,
    unsaved: bool,
}

impl Clerk {
    pub(crate) fn new(desk: Arc<Desk>, spool: Arc<Spool>, leases: Arc<dyn Leases>) -> Self {
        let epoch = desk.epoch;
        Self { desk, spool, leases, turn: 0, nodes: 1, epoch, shown: None, unsaved: false }
    }

    pub(crate) async fn run(mut self, tasks: Tasks) {
        loop {
            tokio::select! {
                () = tasks.stopping() => break,
                () = self.desk.wake.notified() => {}
                () = tokio::time::sleep(self.rest()) => {}
            }
            if !self.settle_listed().await {
                tokio::time::sleep(AGAIN).await;
            }
        }
        // What nobody will use here any more is for the others, if they can be told: else it is needed for the next start.
        if self.beat().await {
            self.desk.list_all(self.budgets().give_all_back());
            self.settle_listed().await;
        } else {
            self.save();
        }
        self.desk.turns.send_modify(|turn| *turn += 1);
    }

    fn budgets(&self) -> &Budgets {
        &self.spool.budgets
    }

    /// How long it may be until it shows itself again.
    fn rest(&self) -> Duration {
        let since = |(at, _)| BEAT.saturating_sub(self.desk.moment().since(at));
        self.shown.map_or(Duration::ZERO, since)
    }

    /// Shows itself, and lists what others lack.
    pub(crate) async fn beat(&mut self) -> bool {
        let at = self.desk.moment();
        self.shown = Some((at, false));
        let leases = self.leases.clone();
        let beat = match in_time(leases.beat()).await {
            Ok(Seen::Among(beat)) => beat,
            Ok(Seen::Replaced(why)) => {
                // The other one has the leases now. Nothing is said of it: it would count as the other one's.
                self.budgets().drop_leases();
                self.save();
                self.desk.say_away(Some(&why));
                return false;
            }
            Err(error) => {
                self.desk.say_away(Some(&error));
                return false;
            }
        };
        self.desk.say_away(None);
        self.shown = Some((at, true));
        if self.epoch.replace(beat.epoch).is_some_and(|known| known != beat.epoch) {
            tracing::warn!("this gateway was forgotten by the others: what it held of budgets is theirs");
            self.desk.list_all(self.budgets().drop_leases());
            self.unsaved = true;
        }
        self.nodes = beat.nodes.max(1);
        self.desk.nodes.store(u64::from(self.nodes), Relaxed);
        let wanted = beat.wanted.iter();
        let places = wanted
            .filter_map(|(scope, start, currency)| self.budgets().give_back(scope, *start, *currency))
            .collect();
        self.desk.list_all(places);
        self.save_later();
        true
    }

    /// Speaks of all that is listed, and shows itself in between when it is time; whether the store answered.
    pub(crate) async fn settle_listed(&mut self) -> bool {
        loop {
            let was_seen = self.shown.is_some_and(|(_, seen)| seen);
            if (!was_seen || self.rest().is_zero()) && !self.beat().await {
                return false;
            }
            let places = self.desk.take();
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
        let Some(epoch) = self.epoch else { return false };
        let (mut spoken, mut asks) = (Vec::with_capacity(places.len()), Vec::with_capacity(places.len()));
        let (mut shrinks, moment) = (false, self.desk.moment());
        for place in places {
            if let Some((ask, less)) = place.ask(moment) {
                shrinks |= less;
                spoken.push(place);
                asks.push(ask);
            }
        }
        if asks.is_empty() {
            return true;
        }
        if shrinks && !self.save() {
            // Who starts again must not believe to hold what is given back now; so nothing is said of it.
            spoken.iter().for_each(|place| place.doubt());
            return true;
        }
        self.turn = self.desk.clock.now().as_micros().max(self.turn + 1);
        self.desk.asks.fetch_add(1, Relaxed);
        let turn = Turn { number: self.turn, nodes: self.nodes, epoch };
        let leases = self.leases.clone();
        let answers = in_time(leases.settle(&asks, turn)).await;
        self.desk.say_away(answers.as_ref().err().map(String::as_str));
        let Ok(answers) = answers else {
            spoken.iter().for_each(|place| place.doubt());
            // Perhaps it is known no more; then the next beat says so.
            self.shown = None;
            return false;
        };
        let moment = self.desk.moment();
        for ((place, ask), answer) in spoken.into_iter().zip(&asks).zip(answers) {
            match answer {
                Answer::Grant(grant) => {
                    if place.take_grant(ask, grant, moment) {
                        self.desk.list(place.clone());
                    }
                }
                // The clock has gone back since: the next turn comes after it.
                Answer::Passed { turn } => {
                    self.turn = self.turn.max(turn);
                    place.say_again();
                    self.desk.list(place.clone());
                }
            }
        }
        self.unsaved = true;
        true
    }

    /// Nobody else was seen.
    #[cfg(test)]
    pub(crate) fn alone(&mut self) {
        self.nodes = 1;
    }

    pub(crate) fn save_later(&mut self) {
        if std::mem::take(&mut self.unsaved) && !self.save() {
            self.unsaved = true;
        }
    }

    fn save(&mut self) -> bool {
        let kept = Kept { epoch: self.epoch, held: self.budgets().held() };
        match write(&*self.spool.disk, &kept) {
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

/// What is remembered of the leases.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Kept {
    pub(crate) epoch: Option<i64>,
    pub(crate) held: Vec<Held>,
}

/// Remembers what is held. A torn file is no file, and then this node holds nothing until the store says so.
fn write(disk: &dyn Disk, kept: &Kept) -> std::io::Result<()> {
    let body = postcard::to_stdvec(kept).map_err(std::io::Error::other)?;
    let mut content = check(&body).to_le_bytes().to_vec();
    content.extend(body);
    disk.overwrite(NAME, &content)
}

/// What a process before this one held.
pub(crate) fn read(disk: &dyn Disk) -> Kept {
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
        if check(body) != u32::from_le_bytes(*crc) {
            return None;
        }
        postcard::from_bytes(body).ok()
    };
    whole().unwrap_or_default()
}

/// Of this form of the file: that of another version is no file.
fn check(body: &[u8]) -> u32 {
    let mut check = crc32fast::Hasher::new();
    check.update(FORM);
    check.update(body);
    check.finalize()
}
