//! Answers in memory, found by the digest of what was asked, and the calls whose answers are awaited.
//!
//! Bounded by number and by bytes. Who must go is found by a clock's hand (second chance): it passes the answers in the
//! order in which they came, spares once what was given again since it last came by, and takes the rest. That keeps what
//! is asked for again and again without a list to be rearranged at every hit, and it is thirty lines; a library would
//! bring its own threads or hashes and know nothing of awaited calls.
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
    /// In the order in which they came, each with the number of its slot; what was replaced is passed over.
    order: VecDeque<(Digest, u64)>,
    entries: usize,
    bytes: usize,
    number: u64,
}

struct Slot {
    number: u64,
    print: Digest,
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

    /// Looks for what `digest` stands for, and takes its place where there is nothing. `print` tells requests apart that
    /// have one digest by their own wish.
    pub(crate) fn enter(
        self: &Arc<Self>,
        digest: Digest,
        print: Digest,
        ttl: Duration,
        now: Moment,
    ) -> Found {
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
        let number = shelves.put(digest, print, Content::Coming(coming));
        Found::Nothing(Ticket { keep: Arc::clone(self), digest, print, ttl, number: Some(number), end })
    }

    /// A place for an answer that is asked for anew whatever there is; nobody waits for it.
    pub(crate) fn anew(self: &Arc<Self>, digest: Digest, print: Digest, ttl: Duration) -> Ticket {
        let (end, _) = watch::channel(None);
        Ticket { keep: Arc::clone(self), digest, print, ttl, number: None, end }
    }

    fn keep(&self, ticket: &Ticket, kept: Arc<Kept>, now: Moment) {
        let weight = kept.weight();
        if kept.body.len() > self.bounds.body || weight > self.bounds.bytes {
            return;
        }
        let mut shelves = self.shelves.lock();
        shelves.remove(&ticket.digest);
        let content = Content::Kept { kept, until: now.plus(ticket.ttl), again: false };
        let number = shelves.put(ticket.digest, ticket.print, content);
        shelves.order.push_back((ticket.digest, number));
        (shelves.entries, shelves.bytes) = (shelves.entries + 1, shelves.bytes + weight);
        while shelves.entries > self.bounds.entries || shelves.bytes > self.bounds.bytes {
            if !shelves.make_room() {
                break;
            }
        }
        shelves.tidy();
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
        shelves.tidy();
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
    fn put(&mut self, digest: Digest, print: Digest, content: Content) -> u64 {
        self.number += 1;
        self.slots.insert(digest, Slot { number: self.number, print, content });
        self.number
    }

    fn remove(&mut self, digest: &Digest) {
        if let Some(Slot { content: Content::Kept { kept, .. }, .. }) = self.slots.remove(digest) {
            (self.entries, self.bytes) = (self.entries - 1, self.bytes - kept.weight());
        }
    }

    /// The hand moves on by one; false when there is nothing left to pass.
    fn make_room(&mut self) -> bool {
        let Some((digest, number)) = self.order.pop_front() else { return false };
        match self.slots.get_mut(&digest) {
            Some(Slot { number: own, content: Content::Kept { again, .. }, .. }) if *own == number => {
                if std::mem::take(again) {
                    self.order.push_back((digest, number));
                } else {
                    self.remove(&digest);
                }
            }
            _ => {}
        }
        true
    }

    /// Forgets the places of what was replaced, once they are the most.
    fn tidy(&mut self) {
        if self.order.len() > 2 * self.entries + 64 {
            let slots = &self.slots;
            self.order
                .retain(|(digest, number)| slots.get(digest).is_some_and(|slot| slot.number == *number));
        }
    }
}

/// The right and the duty to ask. Dropped, it is taken back: whoever waits looks again, and one of them asks.
pub(crate) struct Ticket {
    keep: Arc<Keep>,
    digest: Digest,
    print: Digest,
    ttl: Duration,
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

    pub(crate) fn digest(&self) -> Digest {
        self.digest
    }

    pub(crate) fn print(&self) -> Digest {
        self.print
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Here it is, and it is good for so long.
    pub(crate) fn answer_for(mut self, kept: &Arc<Kept>, ttl: Duration, now: Moment) {
        self.ttl = ttl;
        self.answer(kept, now);
    }

    /// Here it is.
    pub(crate) fn answer(self, kept: &Arc<Kept>, now: Moment) {
        self.keep.keep(&self, Arc::clone(kept), now);
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
        let own = shelves.slots.get(&self.digest).is_some_and(|slot| slot.number == number);
        if own {
            shelves.slots.remove(&self.digest);
        }
    }
}

#[cfg(test)]
#[path = "keep/tests.rs"]
mod tests;
