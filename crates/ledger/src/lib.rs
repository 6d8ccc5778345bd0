//! What was spent: reserve, spool, settle; survives `kill -9`.
//!
//! The way of one attempt: [`Ledger::reserve`] holds money in every budget, [`Ledger::begin`] writes the intent
//! (in the kernel before anything is dispatched), [`Attempt::progress`] writes marks, [`Attempt::settle`] writes
//! the one terminal entry before the client sees its last event. A drain carries entries to the store later.
//!
//! What it is not: it knows no SQL (the store implements [`Drain`]), computes no price (crate `policy`), and never
//! asks a database on the way of a request.
//!
//! Reading order: [`records`] (the words), `budgets`, `leases` (budgets of several nodes), `frame` and `wire` (bytes), `disk`, `segments`, `spool` (the
//! append), `attempt`, `replay` (the start), `drain` (the way out).

mod attempt;
mod budgets;
mod disk;
mod drain;
mod error;
mod frame;
mod leases;
mod ledger;
mod pending;
pub mod read;
pub mod records;
mod replay;
mod segments;
mod spool;
#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests;
mod wire;

pub use attempt::{Attempt, Ended, Opening};
pub use budgets::{Balance, Crossed, Reservation, Spent, Waiting};
pub use drain::{Drain, DrainError};
pub use error::{LedgerError, SpoolUnavailable};
pub use leases::{Answer, Ask, Beat, Grant, Leases, Seen, Turn, divide};
pub use ledger::{Depth, Ledger, Options, Recovery, Sharing};
pub use records::{
    Basis, Bodies, Drained, Entry, EntryKind, Intent, Labels, Outcome, RequestLog, Settlement, is_own_tag,
};
