//! The ledger of one process: the public way in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use policy::{BudgetRule, Money, Name, Timestamp};
use runtime::{Clock, Tasks};

use crate::attempt::Attempt;
use crate::budgets::{Balance, Reservation, Spent};
use crate::drain::Drain;
use crate::error::{LedgerError, SpoolUnavailable};
use crate::records::{Intent, RequestLog};

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
}

impl Options {
    /// The defaults: segments of 64 MiB, a backlog of 10,000 records, a sync each second.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, segment_bytes: 64 << 20, max_backlog: 10_000, sync_every: Duration::from_secs(1) }
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
    /// Whether the store takes records: a drain was started and its last batch was taken.
    pub draining: bool,
    /// The last error of disk or drain, until it is over.
    pub last_error: Option<String>,
}

/// The ledger. Clones share it.
#[derive(Clone)]
pub struct Ledger;

#[expect(clippy::missing_errors_doc, missing_docs, clippy::unimplemented, unused_variables, reason = "shape first")]
impl Ledger {
    pub fn open(options: Options, clock: Clock, tasks: &Tasks) -> Result<(Self, Recovery), LedgerError> {
        unimplemented!()
    }
    pub fn start_drain(&self, drain: Arc<dyn Drain>, tasks: &Tasks) {
        unimplemented!()
    }
    pub fn restore_balances(&self, balances: &[(Name, Timestamp, Money)]) {
        unimplemented!()
    }
    pub fn reserve(
        &self,
        budgets: &[(Name, BudgetRule)],
        amount: Money,
        now: Timestamp,
    ) -> Result<Reservation, Spent> {
        unimplemented!()
    }
    pub fn begin(
        &self,
        intent: Intent,
        reservation: Reservation,
        strict: bool,
    ) -> Result<Attempt, SpoolUnavailable> {
        unimplemented!()
    }
    pub async fn sync(&self) -> Result<(), SpoolUnavailable> {
        unimplemented!()
    }
    pub fn log_request(&self, log: RequestLog) {
        unimplemented!()
    }
    pub fn depth(&self) -> Depth {
        unimplemented!()
    }
    pub fn balances(&self) -> Vec<Balance> {
        unimplemented!()
    }
    pub async fn flush(&self, deadline: Duration) -> bool {
        unimplemented!()
    }
}
