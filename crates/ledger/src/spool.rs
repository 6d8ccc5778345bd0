//! The spool: an append that is cheap when many append at once and that nothing can make forget.
//!
//! Two locks. Under the short one (`pending`) a record is encoded into a shared buffer; nothing waits there.
//! Whoever then gets the long one (`writer`) writes everything that is pending with one `pwrite`, and the others
//! find theirs written when they get it. No task, no channel, no wake-up: at one caller it is one system call, at
//! many it is fewer than one each.
//!
//! When the disk refuses, the spool goes from `Healthy` to `Tight` (a ballast file was given up; terminal
//! entries get through, new intents do not) or `Down` (nothing can be written; what must not be lost waits in
//! memory). Appends and the background task try again, at most every 100 ms.

mod sync;
mod tail;
mod writer;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use policy::Timestamp;
use runtime::Clock;
use tokio::sync::Notify;

use crate::budgets::{Budgets, Crossed, Reservation};
use crate::disk::Disk;
use crate::error::SpoolUnavailable;
use crate::pending::{Batch, OpenAttempt, Pending};
use crate::records::{RequestLog, Settlement};
use crate::segments::Segments;
use crate::wire;

use writer::Writer;

/// Time between two tries of a disk that refused.
const RETRY: Duration = Duration::from_millis(100);
/// A moment that no clock tells.
const NEVER: u64 = u64::MAX;
/// Rounds of waiting for a lock that is held for microseconds, before the processor is given away.
const SPINS: u32 = 200;
/// Room kept on the disk for terminal entries, unless segments are so short that it would be out of proportion.
const BALLAST: u64 = 64 << 10;

/// How well the spool can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Healthy,
    Tight,
    Down,
}

/// Sizes and bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) segment_bytes: u64,
    pub(crate) max_backlog: u64,
}

/// Of what budgets have reached so much is remembered.
const MOST_CROSSED: usize = 256;

/// The log of one process.
pub(crate) struct Spool {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Clock,
    pub(crate) budgets: Budgets,
    pub(crate) segments: Segments,
    bounds: Bounds,
    pending: Mutex<Pending>,
    writer: Mutex<Writer>,
    /// Every ticket up to here is dealt with: written, or kept in memory.
    passed: AtomicU64,
    /// Every ticket up to here is in the kernel (intents that were put off excepted).
    in_kernel: AtomicU64,
    /// Every ticket up to here is on the device.
    synced: AtomicU64,
    state: AtomicU8,
    /// Records that wait in memory.
    backlog: AtomicU64,
    /// Log lines that were dropped because the backlog was full.
    dropped: AtomicU64,
    /// What budgets have lately reached, the newest last, and how much in all.
    crossed: Mutex<(VecDeque<(Timestamp, Crossed)>, u64)>,
    /// When the disk was last tried, nanoseconds of the monotonic clock.
    tried: AtomicU64,
    /// When the device last refused a sync and its repetition, nanoseconds of the monotonic clock.
    sync_refused: AtomicU64,
    /// One sync at a time; the others wait for its end.
    syncing: AtomicBool,
    sync_ended: Notify,
    /// Calls the background task before its time: much is unsynced.
    pub(crate) wake: Notify,
}

impl Spool {
    /// A spool that continues after what `replay` found; `first` is written at once, before a checkpoint.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        clock: Clock,
        bounds: Bounds,
        replayed: (Budgets, Segments, u64),
        first: Batch,
    ) -> Self {
        let (budgets, segments, next_number) = replayed;
        let spool = Self {
            disk,
            clock,
            budgets,
            segments,
            bounds,
            pending: Mutex::default(),
            writer: Mutex::new(Writer::new(next_number, first)),
            passed: AtomicU64::new(0),
            in_kernel: AtomicU64::new(0),
            synced: AtomicU64::new(0),
            state: AtomicU8::new(State::Down as u8),
            backlog: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            crossed: Mutex::default(),
            tried: AtomicU64::new(0),
            sync_refused: AtomicU64::new(NEVER),
            syncing: AtomicBool::new(false),
            sync_ended: Notify::new(),
            wake: Notify::new(),
        };
        spool.writer.lock().first_open(&spool);
        spool
    }

    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Healthy,
            1 => State::Tight,
            _ => State::Down,
        }
    }

    pub(crate) fn backlog(&self) -> u64 {
        self.backlog.load(Ordering::Acquire)
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.writer.lock().last_error.clone()
    }

    pub(crate) fn open_attempts(&self) -> usize {
        self.pending.lock().open_attempts()
    }

    fn ballast(&self) -> u64 {
        BALLAST.min(self.bounds.segment_bytes / 8)
    }

    /// Whether the disk may be tried again by now.
    fn is_due(&self) -> bool {
        let now = self.clock.moment().as_nanos();
        now.saturating_sub(self.tried.load(Ordering::Acquire)) >= RETRY.as_nanos() as u64
    }

    /// Tries a disk that refused, when it is time.
    pub(crate) fn retry(&self) {
        if self.state() != State::Healthy && self.is_due() {
            self.writer.lock().push(self);
        }
    }

    /// Writes the state as it is now into the log: a new segment with a checkpoint. (While the disk refuses, the
    /// checkpoint comes with the recovery.)
    pub(crate) fn checkpoint(&self) {
        self.writer.lock().push_and(self, true);
    }

    /// Sees to it that the record with `ticket` is written; whether it is in the kernel.
    ///
    /// Whoever holds the writer mostly writes this record too, and is done within microseconds: giving the processor
    /// away (as a lock does after a few rounds) would cost more than waiting.
    pub(crate) fn write(&self, ticket: u64) -> bool {
        for _ in 0..SPINS {
            if self.passed.load(Ordering::Acquire) >= ticket {
                break;
            }
            if let Some(mut writer) = self.writer.try_lock() {
                if self.passed.load(Ordering::Acquire) < ticket {
                    writer.push(self);
                }
                break;
            }
            std::hint::spin_loop();
        }
        if self.passed.load(Ordering::Acquire) < ticket {
            let mut writer = self.writer.lock();
            if self.passed.load(Ordering::Acquire) < ticket {
                writer.push(self);
            }
        }
        self.in_kernel.load(Ordering::Acquire) >= ticket
    }

    /// The short lock, which is held for an encoding at most.
    fn pending(&self) -> MutexGuard<'_, Pending> {
        for _ in 0..SPINS {
            if let Some(pending) = self.pending.try_lock() {
                return pending;
            }
            std::hint::spin_loop();
        }
        self.pending.lock()
    }

    /// Says an intent: its ticket, which is still to be written ([`Self::write`]), and the attempt's slot. `must` = refused
    /// unless it is in the kernel.
    pub(crate) fn intent(
        &self,
        attempt: &Arc<OpenAttempt>,
        must: bool,
    ) -> Result<(u64, usize), SpoolUnavailable> {
        if self.state() != State::Healthy {
            self.retry();
            let refused =
                self.state() != State::Healthy && (must || self.backlog() >= self.bounds.max_backlog);
            if refused {
                return Err(SpoolUnavailable);
            }
        }
        self.pending().intent(attempt, must).map_err(|_| SpoolUnavailable)
    }

    /// Tells that budgets have reached a part of their amounts.
    fn note_crossed(&self, crossed: Vec<Crossed>) {
        if crossed.is_empty() {
            return;
        }
        let now = self.clock.now();
        let mut known = self.crossed.lock();
        for one in crossed {
            let (spent, limit, currency) = (one.spent.decimal(), one.limit.decimal(), one.limit.currency);
            tracing::warn!(
                scope = %one.scope, percent = one.percent,
                "budget `{}` has reached {} %: {spent} of {limit} {currency} are spent", one.budget, one.percent
            );
            known.1 += 1;
            known.0.push_back((now, one));
            if known.0.len() > MOST_CROSSED {
                known.0.pop_front();
            }
        }
    }

    /// What budgets have lately reached, the newest last, and how often that was in all.
    pub(crate) fn crossed(&self) -> (Vec<(Timestamp, Crossed)>, u64) {
        let known = self.crossed.lock();
        (known.0.iter().cloned().collect(), known.1)
    }

    /// Writes a mark.
    pub(crate) fn mark(&self, attempt: &OpenAttempt, output: u64, at: Timestamp) {
        let (request_id, attempt_no) = (attempt.intent.request_id, attempt.intent.attempt_no);
        let said = self.pending().mark(attempt, &wire::Mark { request_id, attempt_no, at, output });
        if let Ok(ticket) = said {
            self.write(ticket);
        }
    }

    /// Says the terminal entry and moves its charge from held to spent, both at one place of the log: its ticket, which
    /// is still to be written. None where there is nothing to write: it cannot be encoded, or the attempt never was.
    pub(crate) fn terminal(
        &self,
        slot: usize,
        attempt: &OpenAttempt,
        settlement: &mut Settlement,
        reservation: &mut Reservation,
    ) -> Option<u64> {
        if self.state() != State::Healthy
            && let Some(log) = &mut settlement.request
        {
            // What waits in memory must stay small.
            log.bodies = None;
        }
        let mut crossed = Vec::new();
        let ticket = {
            let mut pending = self.pending();
            if attempt.is_refused() {
                return None;
            }
            let mut applied = reservation.apply(settlement.charge);
            crossed.append(&mut applied.crossed);
            let mut say = |settlement: &Settlement| {
                pending.terminal(slot, attempt, |out| {
                    wire::terminal(out, &attempt.intent, settlement, &applied.windows, applied.overrun)
                })
            };
            say(settlement).or_else(|_| {
                // Too long for a frame: the money is recorded without the line that made it so.
                settlement.request = None;
                say(settlement)
            })
        };
        self.note_crossed(crossed);
        match ticket {
            Ok(ticket) => Some(ticket),
            Err(error) => {
                let id = attempt.intent.request_id;
                tracing::error!(request_id = %id, "entry of request {id} cannot be encoded: {error}");
                None
            }
        }
    }

    /// Writes the log line of a request without attempts. Dropped and counted while the backlog is full.
    pub(crate) fn request(&self, log: &mut RequestLog) {
        if self.state() != State::Healthy {
            log.bodies = None;
            self.retry();
            if self.state() != State::Healthy && self.backlog() >= self.bounds.max_backlog {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        let said = {
            let mut pending = self.pending();
            pending.drainable(|out| wire::request(out, log)).or_else(|_| {
                log.bodies = None;
                pending.drainable(|out| wire::request(out, log))
            })
        };
        if let Ok(ticket) = said {
            self.write(ticket);
        }
    }
}
