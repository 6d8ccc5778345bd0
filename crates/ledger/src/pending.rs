//! What has been said but not yet written: the short side of the append.
//!
//! Everything that must agree with the order of the log happens under this one lock: encoding a record, opening
//! and closing an attempt, moving a charge into a balance. A checkpoint is taken under it too, and so is exact
//! for its place in the file. Nothing in here does I/O or waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use policy::{Name, Timestamp};
use smallvec::SmallVec;

use crate::budgets::Budgets;
use crate::records::Intent;
use crate::wire;

/// An attempt between its intent and its terminal entry, shared by its owner and the register of open ones.
pub(crate) struct OpenAttempt {
    pub(crate) intent: Intent,
    pub(crate) windows: SmallVec<[(Name, Timestamp); 2]>,
    /// The last mark: output tokens, and when.
    pub(crate) marked_output: AtomicU64,
    pub(crate) marked_at: AtomicI64,
    /// The intent could not be written and was taken back: the attempt never was.
    refused: AtomicBool,
    /// The terminal entry has been said.
    ended: AtomicBool,
}

impl OpenAttempt {
    pub(crate) fn new(intent: Intent, windows: SmallVec<[(Name, Timestamp); 2]>) -> Self {
        Self {
            marked_output: AtomicU64::new(0),
            marked_at: AtomicI64::new(intent.at.as_micros()),
            refused: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            intent,
            windows,
        }
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }
}

/// Where an intent lies in a [`Batch`]: what can be taken back or put off when the disk is full.
pub(crate) struct IntentSpan {
    start: usize,
    end: usize,
    attempt: Arc<OpenAttempt>,
    /// Must be in the kernel before dispatch; is taken back when it cannot be.
    must: bool,
}

/// Frames in the order of the log.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    intents: Vec<IntentSpan>,
    /// Frames in it.
    pub(crate) records: u64,
    /// Of those, what the store will get.
    pub(crate) drainable: u64,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Empties it and keeps its memory, up to a bound: a burst must not be held for ever.
    pub(crate) fn clear(&mut self) {
        const KEPT: usize = 256 << 10;
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
        self.intents.clear();
        self.records = 0;
        self.drainable = 0;
    }

    /// Moves all of `other` to the end of this one.
    pub(crate) fn take(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
            return;
        }
        let shift = self.bytes.len();
        self.bytes.append(&mut other.bytes);
        self.intents.extend(other.intents.drain(..).map(|span| IntentSpan {
            start: span.start + shift,
            end: span.end + shift,
            ..span
        }));
        self.records += std::mem::take(&mut other.records);
        self.drainable += std::mem::take(&mut other.drainable);
    }

    /// Moves everything but intents out: what must get through when there is room for little.
    pub(crate) fn split_terminals(&mut self) -> Self {
        let mut rest = Self { drainable: self.drainable, ..Self::default() };
        let mut kept = Self::default();
        let mut from = 0;
        for span in self.intents.drain(..) {
            rest.bytes.extend_from_slice(&self.bytes[from..span.start]);
            from = span.end;
            let start = kept.bytes.len();
            kept.bytes.extend_from_slice(&self.bytes[span.start..span.end]);
            kept.records += 1;
            kept.intents.push(IntentSpan { start, end: kept.bytes.len(), ..span });
        }
        rest.bytes.extend_from_slice(&self.bytes[from..]);
        rest.records = self.records - kept.records;
        *self = kept;
        rest
    }

    /// Keeps the intents of which `keep` says so, and everything that is no intent.
    fn retain_intents(&mut self, mut keep: impl FnMut(&IntentSpan) -> bool) {
        if self.intents.iter().all(&mut keep) {
            return;
        }
        let mut kept = Self { drainable: self.drainable, records: self.records, ..Self::default() };
        let mut from = 0;
        for span in self.intents.drain(..) {
            kept.bytes.extend_from_slice(&self.bytes[from..span.start]);
            from = span.end;
            if keep(&span) {
                let start = kept.bytes.len();
                kept.bytes.extend_from_slice(&self.bytes[span.start..span.end]);
                kept.intents.push(IntentSpan { start, end: kept.bytes.len(), ..span });
            } else {
                kept.records -= 1;
            }
        }
        kept.bytes.extend_from_slice(&self.bytes[from..]);
        *self = kept;
    }
}

/// The pending side of the log.
#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) batch: Batch,
    /// Counts records for ever; a record is in the kernel when the writer has passed its ticket.
    ticket: u64,
    open: Vec<Option<Arc<OpenAttempt>>>,
    free: Vec<usize>,
}

impl Pending {
    /// Attempts in flight.
    pub(crate) fn open_attempts(&self) -> usize {
        self.open.len() - self.free.len()
    }

    /// The ticket of the last record.
    pub(crate) fn ticket(&self) -> u64 {
        self.ticket
    }

    fn said(&mut self, drainable: u64) -> u64 {
        self.batch.records += 1;
        self.batch.drainable += drainable;
        self.ticket += 1;
        self.ticket
    }

    /// Appends an intent and opens its attempt: ticket and slot.
    pub(crate) fn intent(
        &mut self,
        attempt: &Arc<OpenAttempt>,
        must: bool,
    ) -> postcard::Result<(u64, usize)> {
        let start = self.batch.bytes.len();
        wire::intent(&mut self.batch.bytes, &attempt.intent, &attempt.windows)?;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.open[slot] = Some(attempt.clone());
                slot
            }
            None => {
                self.open.push(Some(attempt.clone()));
                self.open.len() - 1
            }
        };
        let end = self.batch.bytes.len();
        self.batch.intents.push(IntentSpan { start, end, attempt: attempt.clone(), must });
        Ok((self.said(0), slot))
    }

    /// Appends a mark; the attempt remembers it for checkpoints.
    pub(crate) fn mark(&mut self, attempt: &OpenAttempt, mark: &wire::Mark) -> postcard::Result<u64> {
        wire::mark(&mut self.batch.bytes, mark)?;
        attempt.marked_output.store(mark.output, Ordering::Relaxed);
        attempt.marked_at.store(mark.at.as_micros(), Ordering::Relaxed);
        Ok(self.said(0))
    }

    /// Appends what `encode` writes, a terminal entry, and closes its attempt.
    pub(crate) fn terminal(
        &mut self,
        slot: usize,
        attempt: &OpenAttempt,
        encode: impl FnOnce(&mut Vec<u8>) -> postcard::Result<()>,
    ) -> postcard::Result<u64> {
        encode(&mut self.batch.bytes)?;
        attempt.ended.store(true, Ordering::Relaxed);
        self.close(slot);
        Ok(self.said(1))
    }

    /// Appends frames of the drainable kind as they are.
    pub(crate) fn drainable(
        &mut self,
        encode: impl FnOnce(&mut Vec<u8>) -> postcard::Result<()>,
    ) -> postcard::Result<u64> {
        encode(&mut self.batch.bytes)?;
        Ok(self.said(1))
    }

    fn close(&mut self, slot: usize) {
        if let Some(open) = self.open.get_mut(slot)
            && open.take().is_some()
        {
            self.free.push(slot);
        }
    }

    /// Takes back the intents in `batch` that had to be written and could not be: their attempts never were.
    pub(crate) fn take_back(&mut self, batch: &mut Batch) {
        batch.retain_intents(|span| {
            if span.must {
                span.attempt.refused.store(true, Ordering::Release);
            }
            !span.must
        });
        for slot in 0..self.open.len() {
            if self.open[slot].as_ref().is_some_and(|attempt| attempt.is_refused()) {
                self.close(slot);
            }
        }
    }

    /// Forgets intents in `batch` whose attempts have ended meanwhile: written after their terminal entry they
    /// could outlive it, and a later start would settle them again.
    pub(crate) fn forget_ended(&mut self, batch: &mut Batch) {
        batch.retain_intents(|span| !span.attempt.ended.load(Ordering::Relaxed));
    }

    /// A checkpoint's frame: the state after everything that has been said.
    pub(crate) fn checkpoint(&self, budgets: &Budgets, now: Timestamp) -> postcard::Result<Vec<u8>> {
        let balances: Vec<_> = budgets
            .balances()
            .into_iter()
            .filter(|balance| balance.spent.nano != 0)
            .map(|balance| (balance.scope, balance.window_start, balance.spent))
            .collect();
        let open: Vec<_> = self
            .open
            .iter()
            .flatten()
            .map(|attempt| {
                let marked_at = Timestamp::from_micros(attempt.marked_at.load(Ordering::Relaxed));
                (&attempt.intent, &*attempt.windows, attempt.marked_output.load(Ordering::Relaxed), marked_at)
            })
            .collect();
        let mut frame = Vec::new();
        wire::checkpoint(&mut frame, now, &balances, open.into_iter())?;
        Ok(frame)
    }
}
