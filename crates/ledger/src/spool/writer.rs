//! The long side of the append: one writer at a time, and what it does when the disk refuses.
//!
//! A segment that was refused once is sealed at its last good byte and never written again: a torn append stays
//! behind the seal, and the next segment begins with everything that is not known to be safe. The batch in hand
//! is let go only when the kernel has all of it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::sync::{Descriptor, Descriptors, Failed, sync_files};
use super::tail::Tail;
use super::{Spool, State};
use crate::disk::SpoolFile;
use crate::pending::Batch;
use crate::segments::{Segment, file_name};

const BALLAST_NAME: &str = "ballast";
/// Unsynced bytes that call for a sync before its time.
const EARLY_SYNC: usize = 2 << 20;
/// Unsynced bytes at which the writer itself waits for the device: the bound of the tail.
const FORCED_SYNC: usize = 16 << 20;

/// What a new segment begins with.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Head {
    /// Everything in hand, the tail where it must be, and a checkpoint.
    Everything,
    /// Terminal entries and a checkpoint, so that older segments can go.
    Terminals,
    /// Terminal entries and no checkpoint, which may be long: where there is room for little. Older segments stay
    /// needed.
    TerminalsAlone,
}

/// The segment that is written.
struct Active {
    segment: Arc<Segment>,
    file: Arc<dyn SpoolFile>,
    offset: u64,
}

pub(super) struct Writer {
    active: Option<Active>,
    next_number: u64,
    /// Taken from pending and not in the kernel yet.
    hand: Batch,
    pub(super) tail: Tail,
    /// Closed segments that are not synced yet.
    pub(super) retired: Vec<Descriptor>,
    /// The tail must be appended again: a descriptor that held some of it is lost.
    reappend: bool,
    /// Names were made that are not on the device yet.
    pub(super) names_unsynced: bool,
    ballast: bool,
    started: bool,
    pub(super) last_error: Option<String>,
}

impl Writer {
    pub(super) fn new(next_number: u64, first: Batch) -> Self {
        Self {
            active: None,
            next_number,
            hand: first,
            tail: Tail::default(),
            retired: Vec::new(),
            reappend: false,
            names_unsynced: false,
            ballast: false,
            started: false,
            last_error: None,
        }
    }

    /// Opens the first segment of this process. When it cannot be, the spool begins as `Down`.
    pub(super) fn first_open(&mut self, spool: &Spool) {
        let taken = self.recover(spool);
        self.finish(spool, taken);
        self.started = true;
    }

    /// Writes everything that is pending, or keeps it.
    pub(super) fn push(&mut self, spool: &Spool) {
        self.push_and(spool, false);
    }

    /// As `push`, and begins a new segment when `rotate` says so, or when the old one is long enough.
    pub(super) fn push_and(&mut self, spool: &Spool, rotate: bool) {
        let state = spool.state();
        let room = self.active.as_ref().map_or(0, |a| spool.bounds.segment_bytes.saturating_sub(a.offset));
        let (mut taken, checkpoint) = {
            let mut pending = spool.pending.lock();
            self.hand.take(&mut pending.batch);
            let rotate = state == State::Healthy && (rotate || self.hand.bytes.len() as u64 >= room);
            // Taken under the same lock as the batch: it is the state after this batch and before any other.
            let checkpoint = rotate.then(|| pending.checkpoint(&spool.budgets, spool.clock.now()));
            (pending.ticket(), checkpoint)
        };
        let done = match state {
            State::Healthy => self.write_hand(spool).and_then(|()| self.rotate(spool, checkpoint)),
            State::Tight => self.write_terminals(spool),
            State::Down => Ok(()),
        };
        match done {
            Err(error) => {
                self.broken(spool, &error);
                taken = self.recover(spool);
            }
            Ok(()) if state == State::Down && spool.is_due() => taken = self.recover(spool),
            Ok(()) if state == State::Tight && spool.is_due() => taken = self.relax(spool).unwrap_or(taken),
            Ok(()) => {}
        }
        self.finish(spool, taken);
        self.bound_tail(spool);
    }

    /// Tells the waiters what became of everything up to `taken`.
    fn finish(&mut self, spool: &Spool, taken: u64) {
        let state = spool.state();
        if state != State::Healthy {
            spool.pending.lock().take_back(&mut self.hand);
        }
        spool.backlog.store(self.hand.records, Ordering::Release);
        if state != State::Down {
            spool.in_kernel.store(taken, Ordering::Release);
        }
        spool.passed.store(taken, Ordering::Release);
    }

    fn write_hand(&mut self, spool: &Spool) -> io::Result<()> {
        if self.hand.is_empty() {
            return Ok(());
        }
        let Some(active) = &mut self.active else { return Err(io::ErrorKind::NotConnected.into()) };
        write_all(&*active.file, &self.hand.bytes, active.offset)?;
        active.offset += self.hand.bytes.len() as u64;
        spool.segments.written.fetch_add(self.hand.drainable, Ordering::AcqRel);
        active.segment.commit(active.offset);
        self.tail.push(&self.hand.bytes, self.hand.drainable);
        self.hand.clear();
        Ok(())
    }

    /// Writes what is no intent, and keeps the intents in hand.
    fn write_terminals(&mut self, spool: &Spool) -> io::Result<()> {
        let rest = self.hand.split_terminals();
        let intents = std::mem::replace(&mut self.hand, rest);
        let done = self.write_hand(spool);
        let mut intents = intents;
        self.hand.take(&mut intents);
        done
    }

    /// Closes a full segment and opens the next with `checkpoint`.
    fn rotate(&mut self, spool: &Spool, checkpoint: Option<postcard::Result<Vec<u8>>>) -> io::Result<()> {
        let Some(checkpoint) = checkpoint else { return Ok(()) };
        let checkpoint = checkpoint.map_err(io::Error::other)?;
        self.open_next(spool, &checkpoint, true)
    }

    /// A new segment that begins with `bytes`; the one before it waits to be synced.
    fn open_next(&mut self, spool: &Spool, bytes: &[u8], checkpointed: bool) -> io::Result<()> {
        let number = self.next_number;
        self.next_number += 1;
        let name = file_name(number);
        let file = spool.disk.create(&name)?;
        if let Err(error) = write_all(&*file, bytes, 0) {
            // Half of it must not be read by a later start; one of the two mostly works on a full disk.
            if spool.disk.remove(&name).is_err() {
                let _ = spool.disk.truncate(&name, 0);
            }
            return Err(error);
        }
        let offset = bytes.len() as u64;
        let segment = Segment::begin(number, offset, checkpointed);
        spool.segments.add(segment.clone());
        self.names_unsynced = true;
        if let Some(before) = self.active.replace(Active { segment, file, offset }) {
            self.retire(before);
        }
        Ok(())
    }

    fn retire(&mut self, active: Active) {
        active.segment.seal();
        self.retired.push((active.segment.number, active.file));
    }

    /// Seals the active segment after `error`.
    fn broken(&mut self, spool: &Spool, error: &io::Error) {
        if let Some(active) = self.active.take() {
            // Best effort, through another descriptor: what lies behind the good bytes is nothing that was told.
            let _ = spool.disk.truncate(&file_name(active.segment.number), active.offset);
            if is_full(error) {
                self.retire(active);
            } else {
                active.segment.seal();
                self.reappend = true;
            }
        }
        self.set_state(spool, State::Down, Some(error));
    }

    /// Opens a new segment with all that is in hand; with the ballast's room for terminal entries alone when the
    /// disk is full. The ticket up to which it has taken.
    fn recover(&mut self, spool: &Spool) -> u64 {
        spool.tried.store(spool.clock.moment().as_nanos(), Ordering::Release);
        let (taken, mut done) = self.reopen(spool, Head::Everything);
        if done.is_ok()
            && self.tail.len() >= FORCED_SYNC
            && let Err((files, failed)) = self.sync_here()
        {
            // The kernel takes what the device does not: nothing more may be said, or the tail would have no end.
            self.give_up(&files, &failed);
            done = Err(failed.error);
        }
        let error = match done {
            Ok(()) => {
                let state = if self.take_ballast(spool) { State::Healthy } else { State::Tight };
                self.set_state(spool, state, None);
                return taken;
            }
            Err(error) => error,
        };
        let (mut taken, mut state) = (taken, State::Down);
        if is_full(&error) && spool.disk.remove(BALLAST_NAME).is_ok() {
            self.ballast = false;
            let (up_to, done) = self.reopen(spool, Head::TerminalsAlone);
            taken = up_to;
            if done.is_ok() {
                state = State::Tight;
            }
        }
        self.set_state(spool, state, Some(&error));
        taken
    }

    /// A new segment that begins with `head`. Its checkpoint comes last: it replaces all that a later start has
    /// read before it, so records that are in the files twice count once.
    fn reopen(&mut self, spool: &Spool, head: Head) -> (u64, io::Result<()>) {
        let everything = head == Head::Everything;
        let (taken, checkpoint) = {
            let mut pending = spool.pending.lock();
            self.hand.take(&mut pending.batch);
            pending.forget_ended(&mut self.hand);
            if !everything {
                pending.take_back(&mut self.hand);
            }
            (pending.ticket(), pending.checkpoint(&spool.budgets, spool.clock.now()))
        };
        let checkpoint = match checkpoint {
            Ok(checkpoint) => checkpoint,
            Err(error) => return (taken, Err(io::Error::other(error))),
        };
        let mut bytes = Vec::new();
        let again = self.reappend && everything;
        let mut drainable = if again { self.tail.append_to(&mut bytes) } else { 0 };
        let mut now = if everything { std::mem::take(&mut self.hand) } else { self.hand.split_terminals() };
        bytes.extend_from_slice(&now.bytes);
        let checkpointed = head != Head::TerminalsAlone;
        if checkpointed {
            bytes.extend_from_slice(&checkpoint);
        }
        drainable += now.drainable;
        // Counted first: a drain must not find a record that was not counted.
        spool.segments.written.fetch_add(drainable, Ordering::AcqRel);
        if let Err(error) = self.open_next(spool, &bytes, checkpointed) {
            spool.segments.written.fetch_sub(drainable, Ordering::AcqRel);
            now.take(&mut self.hand);
            self.hand = now;
            return (taken, Err(error));
        }
        self.tail.push(&now.bytes, now.drainable);
        if again {
            self.reappend = false;
        }
        (taken, Ok(()))
    }

    /// From `Tight` back to `Healthy` when there is room for the ballast again. The ticket up to which it has
    /// taken, where that moved.
    fn relax(&mut self, spool: &Spool) -> Option<u64> {
        if self.reappend {
            return Some(self.recover(spool));
        }
        spool.tried.store(spool.clock.moment().as_nanos(), Ordering::Release);
        let mut taken = None;
        let mut relaxed = Ok(());
        if !self.is_checkpointed() && spool.segments.undrained() == 0 {
            // The store has everything: with a checkpoint the full segments can go.
            (taken, relaxed) = self.reopened(spool, Head::Terminals);
        }
        if relaxed.is_ok() && self.take_ballast(spool) {
            if self.is_checkpointed() {
                spool.pending.lock().forget_ended(&mut self.hand);
                if let Err(error) = self.write_hand(spool) {
                    self.broken(spool, &error);
                    return Some(self.recover(spool));
                }
            } else {
                (taken, relaxed) = self.reopened(spool, Head::Everything);
            }
            if relaxed.is_ok() {
                self.set_state(spool, State::Healthy, None);
                return taken;
            }
            // There is room for running requests only: they get it back.
            self.ballast = false;
            let _ = spool.disk.remove(BALLAST_NAME);
        }
        // A segment that could not be opened has left its terminal entries in hand.
        if let Err(error) = self.write_terminals(spool) {
            self.broken(spool, &error);
            taken = Some(self.recover(spool));
        }
        taken
    }

    fn reopened(&mut self, spool: &Spool, head: Head) -> (Option<u64>, io::Result<()>) {
        let (taken, done) = self.reopen(spool, head);
        (Some(taken), done)
    }

    /// Whether the active segment holds a checkpoint.
    fn is_checkpointed(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.segment.checkpointed)
    }

    /// Sets the ballast's room aside, where it is not.
    fn take_ballast(&mut self, spool: &Spool) -> bool {
        if !self.ballast {
            let zeros = vec![0; usize::try_from(spool.ballast()).unwrap_or_default()];
            self.ballast = spool.disk.overwrite(BALLAST_NAME, &zeros).is_ok();
            if !self.ballast {
                let _ = spool.disk.remove(BALLAST_NAME);
            }
        }
        self.ballast
    }

    fn set_state(&mut self, spool: &Spool, state: State, error: Option<&io::Error>) {
        self.last_error = error.map(|error| format!("spool: {error}"));
        let before = spool.state();
        spool.state.store(state as u8, Ordering::Release);
        // The first state of a process is news only when it is bad.
        let news = if self.started { before != state } else { state != State::Healthy };
        if !news {
            return;
        }
        let error = error.map(ToString::to_string).unwrap_or_default();
        match state {
            State::Healthy => tracing::info!("spool is written again"),
            State::Tight => {
                tracing::warn!(error, "spool is almost full, only running requests are recorded: {error}");
            }
            State::Down => tracing::error!(error, "spool cannot be written: {error}"),
        }
    }

    /// Keeps the tail within its bound.
    fn bound_tail(&mut self, spool: &Spool) {
        if self.tail.len() < FORCED_SYNC {
            if self.tail.uncovered() >= EARLY_SYNC {
                spool.wake.notify_one();
            }
            return;
        }
        let Err((files, failed)) = self.sync_here() else { return };
        self.sync_failed(spool, &files, &failed);
    }

    /// A sync by the writer itself, under its lock.
    fn sync_here(&mut self) -> Result<(), (Vec<Descriptor>, Failed)> {
        self.tail.cover();
        let (files, closed) = self.unsynced_files();
        match sync_files(&files) {
            Ok(()) => {
                self.synced(&files[..closed]);
                Ok(())
            }
            Err(failed) => Err((files, failed)),
        }
    }

    /// The descriptors that a sync must ask, and how many of them, the first, are closed.
    pub(super) fn unsynced_files(&self) -> (Vec<Descriptor>, usize) {
        let mut files = self.retired.clone();
        files.extend(self.active.as_ref().map(|active| (active.segment.number, active.file.clone())));
        (files, self.retired.len())
    }

    /// What the tail covered is on the device, and with it all of the files that were closed when the sync began. The
    /// one that was being written then may have got more since, and may be closed by now: that is for the next sync.
    pub(super) fn synced(&mut self, closed: &Descriptors) {
        self.tail.done();
        self.retired.retain(|(number, _)| closed.iter().all(|(synced, _)| synced != number));
    }

    /// A descriptor failed to sync: it is never asked again, and what it held is appended anew.
    pub(super) fn sync_failed(&mut self, spool: &Spool, files: &Descriptors, failed: &Failed) {
        if self.give_up(files, failed) {
            let taken = self.recover(spool);
            self.finish(spool, taken);
        }
    }

    /// Never asks again the descriptor that failed, nor those before it, which are done. Whether it held anything that
    /// must be appended anew: it may have been given up for another reason meanwhile, and the tail has moved with it.
    fn give_up(&mut self, files: &Descriptors, failed: &Failed) -> bool {
        let (Failed { at, error }, number) = (failed, files[failed.at].0);
        let retired = self.retired.iter().any(|(kept, _)| *kept == number);
        // Closed files that are on the device. What the tail has of them is appended anew with the rest.
        self.retired.retain(|(kept, _)| files[..=*at].iter().all(|(gone, _)| gone != kept));
        let active = self.active.take_if(|active| active.segment.number == number);
        if let Some(active) = &active {
            active.segment.seal();
        }
        if !retired && active.is_none() {
            return false;
        }
        tracing::warn!("segment {number:08} could not be synced, its last records are written anew: {error}");
        self.reappend = true;
        true
    }
}

/// A disk without room, as opposed to a broken one.
fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge | WriteZero)
}

fn write_all(file: &dyn SpoolFile, bytes: &[u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match file.write_at(&bytes[done..], offset + done as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => done += written,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
