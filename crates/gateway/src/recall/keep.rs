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
use foldhash::fast::RandomState;
use http::header::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use policy::{Moment, Money, Name, Usage};
use smallvec::SmallVec;
use tokio::sync::watch;

/// SHA-256 of what is asked.
pub(crate) type Digest = [u8; 32];

/// What an answer takes beside its bytes, roughly.
const OVERHEAD: usize = 512;

/// What is kept of an answer's head. Mostly its type alone.
pub(crate) type Lasting = SmallVec<[(HeaderName, HeaderValue); 2]>;

/// An answer as clients got it, without what belonged to one request alone. Plain data, so that it could lie elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) status: u16,
    /// Its body is a stream of events.
    pub(crate) stream: bool,
    pub(crate) headers: Lasting,
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
    slots: HashMap<Digest, Slot, RandomState>,
    lines: HashMap<Name, Line, RandomState>,
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
    /// Somebody asks; where its end is told, once others wait for it.
    Coming(Option<watch::Sender<Option<End>>>),
    Kept {
        kept: Arc<Kept>,
        until: Moment,
        again: bool,
    },
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
                Content::Coming(end) => {
                    let end = end.get_or_insert_with(|| watch::Sender::new(None));
                    return Found::Coming(end.subscribe());
                }
                Content::Kept { kept, again, .. } if !past => {
                    *again = true;
                    return Found::Answer(Arc::clone(kept));
                }
                Content::Kept { .. } => {}
            }
            shelves.remove(&digest);
        }
        let (number, _) = shelves.put(&asks, Content::Coming(None));
        Found::Nothing(Ticket { keep: Arc::clone(self), asks, number: Some(number) })
    }

    /// A place for an answer that is asked for anew whatever there is; nobody waits for it.
    pub(crate) fn anew(self: &Arc<Self>, asks: Asks) -> Ticket {
        Ticket { keep: Arc::clone(self), asks, number: None }
    }

    /// Keeps an answer, where it is not too large. Gives what was in its place.
    fn keep(&self, shelves: &mut Shelves, asks: &Asks, kept: Arc<Kept>, now: Moment) -> Option<Slot> {
        let weight = kept.weight();
        let content = Content::Kept { kept, until: now.plus(asks.ttl), again: false };
        let (number, before) = shelves.put(asks, content);
        let before = before.and_then(|slot| shelves.forget(slot));
        let line = shelves.lines.entry(Arc::clone(&asks.owner)).or_default();
        line.order.push_back((asks.digest, number));
        (line.entries, line.bytes) = (line.entries + 1, line.bytes + weight);
        let is_long = line.order.len() > 2 * line.entries + 64;
        (shelves.entries, shelves.bytes) = (shelves.entries + 1, shelves.bytes + weight);
        while shelves.entries > self.bounds.entries || shelves.bytes > self.bounds.bytes {
            let by_number = shelves.entries > self.bounds.entries;
            if !shelves.make_room(by_number) {
                break;
            }
        }
        if is_long {
            shelves.tidy(&asks.owner);
        }
        before
    }

    fn takes(&self, kept: &Kept) -> bool {
        kept.body.len() <= self.bounds.body && kept.weight() <= self.bounds.bytes
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
    /// Gives the number of the new place, and what was in it before.
    fn put(&mut self, asks: &Asks, content: Content) -> (u64, Option<Slot>) {
        self.number += 1;
        let slot = Slot { number: self.number, print: asks.print, owner: Arc::clone(&asks.owner), content };
        (self.number, self.slots.insert(asks.digest, slot))
    }

    fn remove(&mut self, digest: &Digest) {
        let slot = self.slots.remove(digest);
        slot.and_then(|slot| self.forget(slot));
    }

    /// No longer counts an answer that was taken out; what is no answer is given back.
    fn forget(&mut self, slot: Slot) -> Option<Slot> {
        let Slot { content: Content::Kept { kept, .. }, owner, .. } = slot else { return Some(slot) };
        let weight = kept.weight();
        (self.entries, self.bytes) = (self.entries - 1, self.bytes - weight);
        if let Some(line) = self.lines.get_mut(&owner) {
            (line.entries, line.bytes) = (line.entries - 1, line.bytes - weight);
            if line.entries == 0 {
                self.lines.remove(&owner);
            }
        }
        None
    }

    /// Where the end of an awaited call is told, if somebody waits for it.
    fn awaited(&self, digest: &Digest, number: u64) -> Option<&watch::Sender<Option<End>>> {
        match self.slots.get(digest) {
            Some(Slot { number: own, content: Content::Coming(end), .. }) if *own == number => end.as_ref(),
            _ => None,
        }
    }

    /// Takes out the place of an awaited call, unless it is another's by now.
    fn give_up(&mut self, digest: &Digest, number: u64) -> Option<watch::Sender<Option<End>>> {
        let std::collections::hash_map::Entry::Occupied(slot) = self.slots.entry(*digest) else {
            return None;
        };
        match slot.get() {
            Slot { number: own, content: Content::Coming(_), .. } if *own == number => {}
            _ => return None,
        }
        match slot.remove().content {
            Content::Coming(end) => end,
            Content::Kept { .. } => None,
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
}

impl Ticket {
    /// Whether somebody waits.
    pub(crate) fn is_awaited(&self) -> bool {
        let shelves = self.keep.shelves.lock();
        let end = self.number.and_then(|number| shelves.awaited(&self.asks.digest, number));
        end.is_some_and(|end| end.receiver_count() > 0)
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
    pub(crate) fn answer(mut self, kept: &Arc<Kept>, now: Moment) {
        let mut shelves = self.keep.shelves.lock();
        let number = self.number.take();
        let end = if self.keep.takes(kept) {
            match self.keep.keep(&mut shelves, &self.asks, Arc::clone(kept), now) {
                Some(Slot { number: own, content: Content::Coming(end), .. }) if number == Some(own) => end,
                _ => None,
            }
        } else {
            number.and_then(|number| shelves.give_up(&self.asks.digest, number))
        };
        drop(shelves);
        if let Some(end) = end {
            end.send_replace(Some(End::Answer(Arc::clone(kept))));
        }
    }

    /// There will be nothing that others could have.
    pub(crate) fn unfit(mut self) {
        if let Some(end) = self.leave() {
            end.send_replace(Some(End::Unfit));
        }
    }

    /// Leaves its place. Gives where those who wait are told.
    fn leave(&mut self) -> Option<watch::Sender<Option<End>>> {
        let number = self.number.take()?;
        self.keep.shelves.lock().give_up(&self.asks.digest, number)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

#[cfg(test)]
#[path = "keep/tests.rs"]
mod tests;
