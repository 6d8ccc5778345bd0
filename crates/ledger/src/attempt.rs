//! One attempt at a provider: it ends exactly once, whatever happens.
//!
//! Ownership is the proof. `settle` and `fail` take the attempt, so neither can follow the other; an attempt that
//! nobody ended is ended by its drop (a panic, a cancelled task) from what it had seen. Its reservation lives
//! inside and is released by the same rule.
//!
//! Intent and end are each said first and then written: what several tasks of a thread have said by then is one call of
//! the system. Who says one alone (`begin`, `settle`) writes it at once.

use std::sync::Arc;
use std::time::Duration;

use policy::{Currency, Money, RequestId, Timestamp};

use crate::budgets::{Reservation, Spent};
use crate::error::SpoolUnavailable;
use crate::pending::OpenAttempt;
use crate::records::{Basis, Intent, Labels, Settlement};
use crate::replay::from_mark;
use crate::spool::Spool;

/// Output tokens between two marks.
const MARK_TOKENS: u64 = 256;
/// Time between two marks while tokens come.
const MARK_EVERY: Duration = Duration::from_secs(2);

/// An attempt in flight. Ends by `settle`, by `fail`, or by being dropped; each writes its terminal entry.
pub struct Attempt {
    spool: Arc<Spool>,
    open: Arc<OpenAttempt>,
    slot: usize,
    /// `None` once it has ended.
    reservation: Option<Reservation>,
    seen: u64,
    seen_at: Timestamp,
    marked: u64,
    marked_at: Timestamp,
}

/// A record that has been said and is still to be written. Dropping it writes it too.
struct Said {
    spool: Arc<Spool>,
    ticket: Option<u64>,
}

impl Said {
    /// Whether it is in the kernel.
    fn write(mut self) -> bool {
        self.ticket.take().is_some_and(|ticket| self.spool.write(ticket))
    }
}

impl Drop for Said {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.spool.write(ticket);
        }
    }
}

/// An intent that is still to be written, before anything is dispatched.
#[must_use = "nothing may be dispatched before it is written"]
pub struct Opening(Said);

impl Opening {
    pub(crate) fn new(spool: Arc<Spool>, ticket: u64) -> Self {
        Self(Said { spool, ticket: Some(ticket) })
    }

    /// Sees to it that the intent of `attempt` is written.
    ///
    /// # Errors
    /// When it had to be in the kernel and is not. The attempt never was then, and its end books nothing.
    pub fn write(self, attempt: &Attempt) -> Result<(), SpoolUnavailable> {
        self.0.write();
        if attempt.open.is_refused() {
            return Err(SpoolUnavailable);
        }
        runtime::failpoint!("ledger.intent.after_write");
        Ok(())
    }
}

/// The end of an attempt, said and still to be written, before anybody hears of it.
#[must_use = "nobody may hear of it before it is written"]
pub struct Ended(Said);

impl Ended {
    /// Sees to it that it is written.
    ///
    /// # Errors
    /// When it is not in the kernel; it is kept in memory and written when the disk allows.
    pub fn write(self) -> Result<(), SpoolUnavailable> {
        let done = self.0.write();
        runtime::failpoint!("ledger.settle.after_write");
        if done { Ok(()) } else { Err(SpoolUnavailable) }
    }
}

impl Attempt {
    pub(crate) fn new(
        spool: Arc<Spool>,
        open: Arc<OpenAttempt>,
        slot: usize,
        reservation: Reservation,
    ) -> Self {
        let at = open.intent.at;
        Self {
            spool,
            open,
            slot,
            reservation: Some(reservation),
            seen: 0,
            seen_at: at,
            marked: 0,
            marked_at: at,
        }
    }

    /// The intent as it was written.
    #[must_use]
    pub fn intent(&self) -> &Intent {
        &self.open.intent
    }

    /// The request.
    #[must_use]
    pub fn request_id(&self) -> RequestId {
        self.open.intent.request_id
    }

    /// Which attempt of the request.
    #[must_use]
    pub fn attempt_no(&self) -> u16 {
        self.open.intent.attempt_no
    }

    /// Who asks and where.
    #[must_use]
    pub fn labels(&self) -> &Arc<Labels> {
        &self.open.intent.labels
    }

    /// What is held for it in each of its budgets.
    #[must_use]
    pub fn reserved(&self) -> Option<Money> {
        self.reservation.as_ref().filter(|held| !held.is_unbudgeted()).map(Reservation::amount)
    }

    /// Output tokens seen so far, all of them. Writes a mark when 256 came since the last one, or any after 2 s;
    /// costs a comparison otherwise.
    pub fn progress(&mut self, output_tokens: u64, now: Timestamp) {
        if output_tokens <= self.seen {
            return;
        }
        (self.seen, self.seen_at) = (output_tokens, now);
        if self.seen - self.marked < MARK_TOKENS && now.since(self.marked_at) < MARK_EVERY {
            return;
        }
        (self.marked, self.marked_at) = (self.seen, now);
        self.spool.mark(&self.open, self.seen, now);
    }

    /// Holds `amount` more, in the budget windows of its reservation.
    ///
    /// # Errors
    /// When a budget has less left; nothing is held then that was not before.
    pub fn extend(&mut self, amount: Money, _now: Timestamp) -> Result<(), Box<Spent>> {
        match &mut self.reservation {
            Some(reservation) => reservation.extend(amount),
            None => Ok(()),
        }
    }

    /// Ends the request's last attempt: the entry and the log line in one append; the charge moves from held to
    /// spent in the windows of the intent, the rest is free.
    ///
    /// # Errors
    /// When the entry is not in the kernel; it is kept in memory and written when the disk allows.
    pub fn settle(self, settlement: Settlement) -> Result<(), SpoolUnavailable> {
        self.say(settlement).write()
    }

    /// The first half of [`settle`](Self::settle): what it gives is still to be written.
    pub fn say(mut self, settlement: Settlement) -> Ended {
        runtime::failpoint!("ledger.settle.before_write");
        self.end(settlement).1
    }

    /// Ends an attempt that another one follows: the entry, charged as the settlement says (mostly nothing), and
    /// what is still held for the next attempt.
    ///
    /// The second part is an error when the entry is not in the kernel; it is kept in memory and written when
    /// the disk allows.
    pub fn fail(mut self, settlement: Settlement) -> (Reservation, Result<(), SpoolUnavailable>) {
        runtime::failpoint!("ledger.settle.before_write");
        let (reservation, said) = self.end(settlement);
        (reservation.unwrap_or_else(|| Reservation::none(Currency::USD)), said.write())
    }

    fn end(&mut self, mut settlement: Settlement) -> (Option<Reservation>, Ended) {
        let mut said = Said { spool: self.spool.clone(), ticket: None };
        // Taken first: from here on the drop has nothing to do.
        let Some(mut reservation) = self.reservation.take() else { return (None, Ended(said)) };
        said.ticket = self.spool.terminal(self.slot, &self.open, &mut settlement, &mut reservation);
        (Some(reservation), Ended(said))
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.reservation.is_some() {
            let now = self.spool.clock.now();
            // Kept in memory when it cannot be written: there is nobody to tell.
            drop(self.end(from_mark(&self.open.intent, self.seen, self.seen_at, now, Basis::Dropped)));
        }
    }
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attempt")
            .field("request_id", &self.request_id())
            .field("attempt_no", &self.attempt_no())
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}
