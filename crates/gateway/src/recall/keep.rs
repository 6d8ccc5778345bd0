//! Answers in memory, found by the digest of what was asked, and the calls whose answers are awaited.
//!
//! Bounded by number and by bytes. Room is made by the environment that has the most, so none can push the others out. What
//! goes there is found by a clock's hand (second chance): it passes the answers in the order in which they came, spares
//! once what was given again since it last came by, and takes the rest. That keeps what is asked for again and again
//! without a list to be rearranged at every hit, and it is short; a library would bring its own threads or hashes and know
//! nothing of environments and awaited calls.
//!
//! Nothing here waits: one lock is held for the time of a look.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use policy::{Moment, Money, Name, Usage};
use tokio::sync::watch;

/// SHA-256 of what is asked.
pub(crate) type Digest = [u8; 32];

/// What an answer takes beside its bytes, roughly.
const OVERHEAD: usize = 512;

/// An answer as clients got it, without what belonged to one request alone. Plain data, so that it could lie elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) status: u16,
    /// Its body is a stream of events.
    pub(crate) stream: bool,
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
    /// The deployment that answered; absent where none did.
    pub(crate) model: Option<Name>,
    pub(crate) usage: Usage,
    /// What it cost.
    pub(crate) cost: Option<Money>,
    pub(crate) finish_reason: Option<Name>,
    /// Under which code it was logged, where it is an error.
    pub(crate) error: Option<&'static str>,
}

impl Kept {
    fn weight(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(_, value)| value.len() + 64).sum();
        self.body.len() + headers + OVERHEAD
    }
}

/// How an awaited call ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Answer(Arc<Kept>),
    /// It brought nothing that could be given to others.
    Unfit,
}

/// How much is kept.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Bounds {
    pub(crate) entries: usize,
    /// All of them together.
    pub(crate) bytes: usize,
    /// One body.
    pub(crate) body: usize,
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Asks {
    pub(crate) digest: Digest,
    /// Tells requests apart that have one digest by their own wish.
    pub(crate) print: Digest,
    /// The environment whose room its answer takes.
    pub(crate) owner: Name,
    /// How long the answer is given again.
    pub(crate) ttl: Duration,
}

/// What was found.
pub(crate) enum Found {
    Answer(Arc<Kept>),
    /// Somebody asks already.
    Coming(watch::Receiver<Option<End>>),
    /// Nobody does: the holder of this asks, and tells.
    Nothing(Ticket),
    /// The same digest stands for another request.
    Other,
}

/// Kept answers.
pub(crate) struct Keep {
    bounds: Bounds,
    shelves: Mutex<Shelves>,
}

#[derive(Default)]
struct Shelves {
    slots: HashMap<Digest, Slot>,
    lines: HashMap<Name, Line>,
    entries: usize,
    bytes: usize,
    number: u64,
}

/// The answers of one environment.
#[derive(Default)]
struct Line {
    /// In the order in which they came, each with the number of its slot; what was replaced is passed over.
    order: VecDeque<(Digest, u64)>,
    entries: usize,
    bytes: usize,
}

struct Slot {
    number: u64,
    print: Digest,
    owner: Name,
    content: Content,
}

enum Content {
    Coming(watch::Receiver<Option<End>>),
    Kept { kept: Arc<Kept>, until: Moment, again: bool },
}

impl Keep {
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, shelves: Mutex::default() })
    }

    /// Looks for what is asked, and takes its place where there is nothing.
    pub(crate) fn enter(self: &Arc<Self>, asks: Asks, now: Moment) -> Found {
        let Asks { digest, print, .. } = asks;
        let mut shelves = self.shelves.lock();
        let shelves = &mut *shelves;
        if let Some(slot) = shelves.slots.get_mut(&digest) {
            let past = matches!(slot.content, Content::Kept { until, .. } if until <= now);
            if slot.print != print && !past {
                return Found::Other;
            }
            match &mut slot.content {
                Content::Coming(end) => return Found::Coming(end.clone()),
                Content::Kept { kept, again, .. } if !past => {
                    *again = true;
                    return Found::Answer(Arc::clone(kept));
                }
                Content::Kept { .. } => {}
            }
            shelves.remove(&digest);
        }
        let (end, coming) = watch::channel(None);
        let number = shelves.put(&asks, Content::Coming(coming));
        Found::Nothing(Ticket { keep: Arc::clone(self), asks, number: Some(number), end })
    }

    /// A place for an answer that is asked for anew whatever there is; nobody waits for it.
    pub(crate) fn anew(self: &Arc<Self>, asks: Asks) -> Ticket {
        let (end, _) = watch::channel(None);
        Ticket { keep: Arc::clone(self), asks, number: None, end }
    }

    fn keep(&self, asks: &Asks, kept: Arc<Kept>, now: Moment) {
        let weight = kept.weight();
        if kept.body.len() > self.bounds.body || weight > self.bounds.bytes {
            return;
        }
        let mut shelves = self.shelves.lock();
        shelves.remove(&asks.digest);
        let number = shelves.put(asks, Content::Kept { kept, until: now.plus(asks.ttl), again: false });
        let line = shelves.lines.entry(Arc::clone(&asks.owner)).or_default();
        line.order.push_back((asks.digest, number));
        (line.entries, line.bytes) = (line.entries + 1, line.bytes + weight);
        (shelves.entries, shelves.bytes) = (shelves.entries + 1, shelves.bytes + weight);
        while shelves.entries > self.bounds.entries || shelves.bytes > self.bounds.bytes {
            let by_number = shelves.entries > self.bounds.entries;
            if !shelves.make_room(by_number) {
                break;
            }
        }
        shelves.tidy(&asks.owner);
    }

    /// Takes out what is past.
    pub(crate) fn sweep(&self, now: Moment) {
        let mut shelves = self.shelves.lock();
        let past = |slot: &Slot| matches!(slot.content, Content::Kept { until, .. } if until <= now);
        let gone: Vec<_> =
            shelves.slots.iter().filter(|(_, slot)| past(slot)).map(|(digest, _)| *digest).collect();
        for digest in gone {
            shelves.remove(&digest);
        }
    }

    /// How many there are, and their bytes.
    pub(crate) fn size(&self) -> (usize, usize) {
        let shelves = self.shelves.lock();
        (shelves.entries, shelves.bytes)
    }

    /// The longest body that is kept, bytes.
    pub(crate) fn longest(&self) -> usize {
        self.bounds.body
    }
}

impl Shelves {
    fn put(&mut self, asks: &Asks, content: Content) -> u64 {
        self.number += 1;
        let slot = Slot { number: self.number, print: asks.print, owner: Arc::clone(&asks.owner), content };
        self.slots.insert(asks.digest, slot);
        self.number
    }

    fn remove(&mut self, digest: &Digest) {
        let Some(Slot { content: Content::Kept { kept, .. }, owner, .. }) = self.slots.remove(digest) else {
            return;
        };
        let weight = kept.weight();
        (self.entries, self.bytes) = (self.entries - 1, self.bytes - weight);
        if let Some(line) = self.lines.get_mut(&owner) {
            (line.entries, line.bytes) = (line.entries - 1, line.bytes - weight);
            if line.entries == 0 {
                self.lines.remove(&owner);
            }
        }
    }

    /// The hand of whoever has the most moves on by one; false when there is nothing left to pass.
    fn make_room(&mut self, by_number: bool) -> bool {
        let size = |line: &Line| if by_number { line.entries } else { line.bytes };
        let Some((_, line)) = self.lines.iter_mut().max_by_key(|(_, line)| size(line)) else { return false };
        let Some((digest, number)) = line.order.pop_front() else { return false };
        match self.slots.get_mut(&digest) {
            Some(Slot { number: own, content: Content::Kept { again, .. }, .. }) if *own == number => {
                if std::mem::take(again) {
                    line.order.push_back((digest, number));
                } else {
                    self.remove(&digest);
                }
            }
            _ => {}
        }
        true
    }

    /// Forgets the places of what was replaced, once they are the most.
    fn tidy(&mut self, owner: &Name) {
        let Some(line) = self.lines.get_mut(owner) else { return };
        if line.order.len() > 2 * line.entries + 64 {
            let slots = &self.slots;
            line.order
                .retain(|(digest, number)| slots.get(digest).is_some_and(|slot| slot.number == *number));
        }
    }
}

/// The right and the duty to ask. Dropped, it is taken back: whoever waits looks again, and one of them asks.
pub(crate) struct Ticket {
    keep: Arc<Keep>,
    asks: Asks,
    number: Option<u64>,
    end: watch::Sender<Option<End>>,
}

impl Ticket {
    /// Whether somebody waits; the place's own receiver does not count.
    pub(crate) fn is_awaited(&self) -> bool {
        self.end.receiver_count() > 1
    }

    /// The longest body that is kept, bytes.
    pub(crate) fn longest(&self) -> usize {
        self.keep.longest()
    }

    pub(crate) fn asks(&self) -> &Asks {
        &self.asks
    }

    /// Here it is, and it is good for so long.
    pub(crate) fn answer_for(mut self, kept: &Arc<Kept>, ttl: Duration, now: Moment) {
        self.asks.ttl = ttl;
        self.answer(kept, now);
    }

    /// Here it is.
    pub(crate) fn answer(self, kept: &Arc<Kept>, now: Moment) {
        self.keep.keep(&self.asks, Arc::clone(kept), now);
        self.end.send_replace(Some(End::Answer(Arc::clone(kept))));
    }

    /// There will be nothing that others could have.
    pub(crate) fn unfit(self) {
        self.end.send_replace(Some(End::Unfit));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(number) = self.number else { return };
        let mut shelves = self.keep.shelves.lock();
        let own = shelves.slots.get(&self.asks.digest).is_some_and(|slot| slot.number == number);
        if own {
            shelves.slots.remove(&self.asks.digest);
        }
    }
}

#[cfg(test)]
#[path = "keep/tests.rs"]
mod tests;
