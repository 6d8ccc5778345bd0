//! The ledger of one process: the public way in.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use policy::{BudgetRule, Money, Name, Timestamp};
use runtime::{Clock, Tasks};
use tokio::sync::watch;

use crate::attempt::{Attempt, Opening};
use crate::budgets::{Balance, Crossed, Reservation, Spent, Waiting};
use crate::disk::{Disk, Folder};
use crate::drain::{Drain, DrainState, Drainer, position};
use crate::error::{LedgerError, SpoolUnavailable};
use crate::leases::{self, Clerk, Desk, Leases};
use crate::pending::OpenAttempt;
use crate::records::{Intent, RequestLog};
use crate::replay::Replay;
use crate::segments::segment_numbers;
use crate::spool::{Bounds, Spool, State};

/// Where and how the spool lies.
#[derive(Clone, Debug)]
pub struct Options {
    /// The spool's folder, `data_dir/spool`; made when missing.
    pub dir: PathBuf,
    /// A segment is closed when it is longer than this, bytes.
    pub segment_bytes: u64,
    /// Records kept in memory while the spool cannot be written.
    pub max_backlog: usize,
    /// Time between two background syncs to the device.
    pub sync_every: Duration,
    /// Other nodes share the budgets: this one spends what it holds leases on.
    pub leased: bool,
}

impl Options {
    /// The defaults: segments of 64 MiB, a backlog of 10,000 records, a sync each second.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self {
            dir,
            segment_bytes: 64 << 20,
            max_backlog: 10_000,
            sync_every: Duration::from_secs(1),
            leased: false,
        }
    }
}

/// What a start found in the spool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Attempts that the last process left without an end; settled now from their last mark.
    pub open_intents_settled: u64,
    /// Records read.
    pub records: u64,
    /// Bytes that held no readable record.
    pub damaged_bytes: u64,
    /// Records of a later version, left alone.
    pub unknown: u64,
}

/// How the spool stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Bytes that the store has not got yet.
    pub bytes: u64,
    /// Records that the store has not got yet.
    pub records: u64,
    /// Files.
    pub segments: u32,
    /// Whether everything can be written.
    pub writable: bool,
    /// Records that wait in memory because they cannot be written.
    pub backlog: u64,
    /// Log lines of requests without attempts that were dropped because too much waited; never an entry.
    pub dropped_logs: u64,
    /// Attempts in flight.
    pub open_attempts: usize,
    /// Whether the store takes records: a drain was started and its last batch was taken.
    pub draining: bool,
    /// The last error of disk or drain, until it is over.
    pub last_error: Option<String>,
}

/// How budgets are shared with other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// The store that divides them does not answer.
    pub away: bool,
    /// How often it was asked since the start.
    pub asks: u64,
    /// Nodes that live, this one included.
    pub nodes: u64,
}

/// The ledger. Clones share it.
#[derive(Clone)]
pub struct Ledger(Arc<Inner>);

struct Inner {
    spool: Arc<Spool>,
    tasks: Tasks,
    drain: DrainState,
    drainer: Mutex<Option<Arc<tokio::sync::Mutex<Drainer>>>>,
    /// Somebody speaks with the store about leases.
    clerk: OnceLock<()>,
    /// The spool remembered nothing when it was opened.
    fresh: bool,
}

impl Ledger {
    /// Opens the spool: reads what is there, ends the attempts that a crash left open, and begins a new segment.
    /// A disk that cannot be written does not stop it: the ledger is then open and not writable.
    ///
    /// # Errors
    /// When the folder cannot be made or listed, or another process uses it.
    ///
    /// # Panics
    /// Outside of a tokio runtime: the background task is started here.
    #[expect(clippy::needless_pass_by_value, reason = "made for this call, as everywhere")]
    pub fn open(options: Options, clock: Clock, tasks: &Tasks) -> Result<(Self, Recovery), LedgerError> {
        let disk = Arc::new(Folder::lock(&options.dir)?);
        let sync_every = options.sync_every;
        let (ledger, recovery) = Self::open_on(disk, &options, clock, tasks)?;
        let (spool, stop) = (ledger.0.spool.clone(), tasks.clone());
        tasks.spawn("spool", async move { background(&spool, &stop, sync_every).await });
        Ok((ledger, recovery))
    }

    pub(crate) fn open_on(
        disk: Arc<dyn Disk>,
        options: &Options,
        clock: Clock,
        tasks: &Tasks,
    ) -> Result<(Self, Recovery), LedgerError> {
        let names = disk.list().map_err(|source| LedgerError::Io {
            what: "list",
            path: options.dir.clone(),
            source,
        })?;
        let numbers = segment_numbers(&names);
        let drained = position::read(&*disk).unwrap_or_default();
        let mut replay = Replay::read(&*disk, &numbers, drained);
        let (first, open_intents_settled) = replay.settle_open(clock.now());
        let recovery = Recovery {
            open_intents_settled,
            records: replay.records,
            damaged_bytes: replay.damaged_bytes,
            unknown: replay.unknown,
        };
        let next_number = numbers.last().copied().unwrap_or(0).max(drained.0) + 1;
        let bounds = Bounds { segment_bytes: options.segment_bytes, max_backlog: options.max_backlog as u64 };
        let fresh = replay.fresh;
        let desk = options.leased.then(|| {
            let kept = leases::read(&*disk);
            (Desk::new(clock.clone(), kept.epoch), kept.held)
        });
        let spool = Spool::start(disk, clock, bounds, (replay.budgets, replay.segments, next_number), first);
        if let Some((desk, held)) = desk {
            spool.budgets.share(desk, held);
        }
        let inner = Inner {
            spool: Arc::new(spool),
            tasks: tasks.clone(),
            drain: DrainState::new(drained),
            drainer: Mutex::default(),
            clerk: OnceLock::new(),
            fresh,
        };
        Ok((Self(Arc::new(inner)), recovery))
    }

    /// Begins to hand records to the store. May be called late; a second call changes nothing.
    pub fn start_drain(&self, drain: Arc<dyn Drain>, tasks: &Tasks) {
        let drainer = {
            let mut slot = self.0.drainer.lock();
            if slot.is_some() {
                return;
            }
            let drainer = Drainer::new(self.0.spool.clone(), self.0.drain.clone(), drain);
            slot.insert(Arc::new(tokio::sync::Mutex::new(drainer))).clone()
        };
        let (spool, stop) = (self.0.spool.clone(), tasks.clone());
        tasks.spawn("drain", async move { crate::drain::run(&drainer, &spool, &stop).await });
    }

    /// Begins to ask for leases. A second call changes nothing, and so does one on a ledger that has all budgets for itself.
    pub fn start_leases(&self, leases: Arc<dyn Leases>, tasks: &Tasks) {
        let Some(desk) = self.0.spool.budgets.desk().cloned() else { return };
        if self.0.clerk.set(()).is_ok() {
            let clerk = Clerk::new(desk, self.0.spool.clone(), leases);
            tasks.spawn("leases", clerk.run(tasks.clone()));
        }
    }

    /// Nobody can be asked for leases: who needs one is not to wait.
    pub fn leases_away(&self, error: &str) {
        if let Some(desk) = self.0.spool.budgets.desk() {
            desk.say_away(Some(error));
        }
    }

    /// Taken before a reservation: where that [waits](Spent::waits), the receiver changes when the store has been asked.
    /// `None` where this node has all budgets for itself.
    #[must_use]
    pub fn lease_turns(&self) -> Option<watch::Receiver<u64>> {
        self.0.spool.budgets.desk().map(|desk| desk.turns())
    }

    /// How the leases stand; `None` where this node has all budgets for itself.
    #[must_use]
    pub fn sharing(&self) -> Option<Sharing> {
        let desk = self.0.spool.budgets.desk()?;
        Some(Sharing { away: desk.is_away(), asks: desk.asks(), nodes: desk.nodes() })
    }

    /// Takes over balances (scope, start of window, spent) from the store, where the spool knows nothing of that
    /// scope and window. To be called before [`start_drain`](Self::start_drain), so that nothing of this process
    /// is among them.
    pub fn restore_balances(&self, balances: &[(Name, Timestamp, Money)]) {
        if self.0.spool.budgets.desk().is_some() {
            // What others have spent is not this node's: the leases say what is left for it.
            return;
        }
        let add = self.0.fresh && self.0.drainer.lock().is_none();
        let restore = |(scope, start, spent): &(Name, Timestamp, Money)| {
            self.0.spool.budgets.restore(scope, *start, *spent, add)
        };
        if balances.iter().map(restore).fold(false, |any, changed| any | changed) {
            // What came from outside of the log must be in the log before it counts there.
            self.0.spool.checkpoint();
        }
    }

    /// Holds `amount` in every one of `budgets` (scope and rule), or in none. No lock without budgets.
    ///
    /// # Errors
    /// The first budget that has less left.
    pub fn reserve(
        &self,
        budgets: &[(Name, BudgetRule)],
        amount: Money,
        now: Timestamp,
    ) -> Result<Reservation, Box<Spent>> {
        self.reserve_again(budgets, amount, now, &mut Waiting::default())
    }

    /// The same for a request that tries until leases reach: what it lacks is asked for once, however often it tries.
    ///
    /// # Errors
    /// As those of [`reserve`](Self::reserve).
    pub fn reserve_again(
        &self,
        budgets: &[(Name, BudgetRule)],
        amount: Money,
        now: Timestamp,
        waiting: &mut Waiting,
    ) -> Result<Reservation, Box<Spent>> {
        let reservation = self.0.spool.budgets.reserve(budgets, amount, now, waiting)?;
        runtime::failpoint!("ledger.reserve");
        Ok(reservation)
    }

    /// Writes the intent: it is in the kernel when this returns, and nothing may be dispatched before. While the
    /// spool cannot be written, attempts without budgets are kept in memory, up to a bound.
    ///
    /// # Errors
    /// When it cannot be written and `strict`, or there are budgets, or too much waits already. The reservation
    /// is released.
    pub fn begin(
        &self,
        intent: Intent,
        reservation: Reservation,
        strict: bool,
    ) -> Result<Attempt, SpoolUnavailable> {
        let (attempt, opening) = self.say(intent, reservation, strict)?;
        opening.write(&attempt)?;
        Ok(attempt)
    }

    /// The first half of [`begin`](Self::begin): the intent is still to be written.
    ///
    /// # Errors
    /// As those of `begin`; some show only when it is written.
    pub fn say(
        &self,
        intent: Intent,
        reservation: Reservation,
        strict: bool,
    ) -> Result<(Attempt, Opening), SpoolUnavailable> {
        runtime::failpoint!("ledger.intent.before_write");
        let must = strict || !reservation.is_unbudgeted();
        let open = Arc::new(OpenAttempt::new(intent, reservation.windows()));
        let (ticket, slot) = self.0.spool.intent(&open, must)?;
        let opening = Opening::new(self.0.spool.clone(), ticket);
        Ok((Attempt::new(self.0.spool.clone(), open, slot, reservation), opening))
    }

    /// Waits until everything said so far survives a loss of power; many waiters share one sync.
    ///
    /// # Errors
    /// When the device refuses.
    pub async fn sync(&self) -> Result<(), SpoolUnavailable> {
        self.0.spool.sync().await
    }

    /// Writes the log line of an authenticated request that made no attempt.
    pub fn log_request(&self, mut log: RequestLog) {
        self.0.spool.request(&mut log);
    }

    /// How the spool stands.
    #[must_use]
    pub fn depth(&self) -> Depth {
        let spool = &self.0.spool;
        let (number, offset) = self.0.drain.position();
        Depth {
            bytes: spool.segments.bytes_after(number, offset),
            records: spool.segments.undrained(),
            segments: spool.segments.count(),
            writable: spool.state() == State::Healthy,
            backlog: spool.backlog(),
            dropped_logs: spool.dropped(),
            open_attempts: spool.open_attempts(),
            draining: self.0.drain.is_draining(),
            last_error: spool.last_error().or_else(|| self.0.drain.last_error()),
        }
    }

    /// What budgets have lately reached of their amounts, the newest last, and how often that was since the start.
    #[must_use]
    pub fn crossed(&self) -> (Vec<(Timestamp, Crossed)>, u64) {
        self.0.spool.crossed()
    }

    /// Every budget window that is known, in no order.
    #[must_use]
    pub fn balances(&self) -> Vec<Balance> {
        self.0.spool.budgets.balances()
    }

    /// Somebody who speaks with the store when a test says so.
    #[cfg(test)]
    pub(crate) fn clerk(&self, leases: Arc<dyn Leases>) -> Option<Clerk> {
        let desk = self.0.spool.budgets.desk()?.clone();
        Some(Clerk::new(desk, self.0.spool.clone(), leases))
    }

    #[cfg(test)]
    pub(crate) fn close_segment(&self) {
        self.0.spool.checkpoint();
    }

    #[cfg(test)]
    pub(crate) fn retry(&self) {
        self.0.spool.retry();
    }

    /// Hands everything to the store now, at most until `deadline`; whether it is done. For the stop, also after
    /// the drain task has ended.
    pub async fn flush(&self, deadline: Duration) -> bool {
        let Some(drainer) = self.0.drainer.lock().clone() else {
            return self.0.spool.segments.undrained() == 0 && self.0.spool.backlog() == 0;
        };
        // A task of its own: a batch under way is not cut off at the deadline, the store may not bear that.
        let (done, wait) = tokio::sync::oneshot::channel();
        let spool = self.0.spool.clone();
        self.0.tasks.spawn("flush", async move {
            let all = crate::drain::flush(&drainer, &spool, || done.is_closed()).await;
            let _ = done.send(all);
        });
        tokio::time::timeout(deadline, wait).await.is_ok_and(|all| all.unwrap_or(false))
    }
}

/// Syncs once in a while, and tries a disk that refused. After the stop has begun it stays while attempts are in
/// flight, and leaves everything on the device.
async fn background(spool: &Arc<Spool>, tasks: &Tasks, sync_every: Duration) {
    const AGAIN: Duration = Duration::from_millis(100);
    const LAST: Duration = Duration::from_millis(20);
    loop {
        let stopping = tasks.is_stopping();
        let pause = match spool.state() {
            _ if stopping => LAST,
            State::Healthy => sync_every,
            State::Tight | State::Down => AGAIN,
        };
        let last = stopping && spool.open_attempts() == 0;
        spool.retry();
        spool.sync_rest().await;
        if last {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = spool.wake.notified() => {}
            () = tasks.stopping(), if !stopping => {}
        }
    }
}
