//! Tests of the whole ledger on a disk in memory: what each file shows is in its first lines.

mod clock;
mod crash;
mod damage;
mod disk;
mod drain;
mod leases;
mod lifecycle;
mod model;
mod threads;
mod together;

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use policy::{BudgetRule, Currency, KeyId, Money, Name, Price, Rate, RequestId, Timestamp, Usage, Window};
use runtime::{Clock, ManualClock, Tasks};

use crate::disk::memory::MemoryDisk;
use crate::{
    Basis, Drain, DrainError, Drained, Entry, EntryKind, Intent, Labels, Ledger, Options, Outcome, Recovery,
    RequestLog, Reservation, Settlement,
};

/// 2026-11-22T19:30:00Z.
pub(crate) const START: Timestamp = Timestamp::from_micros(1_795_375_800_000_000);

pub(crate) fn usd(nano: i64) -> Money {
    Money { currency: Currency::USD, nano }
}

pub(crate) fn labels(key: &str) -> Arc<Labels> {
    Arc::new(Labels {
        organization: "local".into(),
        workspace: "default".into(),
        environment: "dev".into(),
        layer: "development".into(),
        region: "local".into(),
        release: 7,
        variant: None,
        prompt_version: Some("greeting@3".into()),
        key_id: KeyId(key.into()),
        key_name: "ci".into(),
    })
}

/// One nano-unit for an input token, ten for an output token.
pub(crate) fn price() -> Arc<Price> {
    let mut price = Price::unknown("2026-11-22".into(), Currency::USD);
    price.input = Some(Rate(1_000_000));
    price.output = Some(Rate(10_000_000));
    Arc::new(price)
}

pub(crate) fn id(number: u64) -> RequestId {
    let mut bytes = [0; 16];
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    RequestId::from_bytes(bytes)
}

pub(crate) fn intent(number: u64, attempt_no: u16, at: Timestamp) -> Intent {
    Intent {
        request_id: id(number),
        attempt_no,
        at,
        labels: labels("key_a"),
        provider: "demo".into(),
        model: "demo/fast".into(),
        price: Some(price()),
        input_bound: 200,
        input_estimate: 100,
        output_cap: Some(1_000),
        endpoint: "chat".into(),
        model_asked: "fast".into(),
        stream: true,
        end_user: Some("user-1".into()),
        session: None,
        tags: vec![("team".into(), "blue".into())],
    }
}

pub(crate) fn log(number: u64, at: Timestamp, status: u16) -> RequestLog {
    RequestLog {
        request_id: id(number),
        at,
        labels: labels("key_a"),
        endpoint: "chat".into(),
        model_asked: "fast".into(),
        model_answered: Some("demo/fast".into()),
        provider: "demo".into(),
        status,
        error_code: None,
        attempts: 1,
        stream: true,
        usage: Usage::default(),
        cost: None,
        estimated: false,
        first_byte_us: Some(1_200),
        duration_us: 9_000,
        gateway_us: 60,
        end_user: Some("user-1".into()),
        session: None,
        tags: vec![("team".into(), "blue".into())],
        upstream_request_id: Some("up-1".into()),
        finish_reason: Some("stop".into()),
        bodies: None,
    }
}

/// A completed attempt that costs `nano`.
pub(crate) fn completed(number: u64, at: Timestamp, nano: i64) -> Settlement {
    Settlement {
        at,
        outcome: Outcome::Completed,
        usage: Usage { input: Some(90), output: Some(40), ..Usage::default() },
        basis: Basis::Reported,
        cost: Some(usd(nano)),
        charge: Some(usd(nano)),
        request: Some(Box::new(log(number, at, 200))),
    }
}

/// An attempt that the provider refused, free of charge.
pub(crate) fn refused(at: Timestamp) -> Settlement {
    Settlement {
        at,
        outcome: Outcome::Refused,
        usage: Usage::default(),
        basis: Basis::Reported,
        cost: Some(usd(0)),
        charge: Some(usd(0)),
        request: None,
    }
}

pub(crate) fn budget(scope: &str, nano: i64, window: Window) -> (Name, BudgetRule) {
    let name = Name::from(window.as_str());
    (format!("{scope}/{name}").into(), BudgetRule::new(name, usd(nano), window))
}

/// A ledger on a disk in memory, with a clock that stands still.
pub(crate) struct Bench {
    pub(crate) ledger: Ledger,
    pub(crate) recovery: Recovery,
    pub(crate) disk: MemoryDisk,
    pub(crate) clock: Clock,
    pub(crate) hand: ManualClock,
    pub(crate) tasks: Tasks,
}

pub(crate) fn options() -> Options {
    Options {
        dir: PathBuf::from("memory"),
        segment_bytes: 16 << 10,
        max_backlog: 50,
        sync_every: Duration::from_secs(1),
        leased: false,
    }
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::on(MemoryDisk::default(), START)
    }

    pub(crate) fn on(disk: MemoryDisk, now: Timestamp) -> Self {
        Self::with(&options(), disk, now)
    }

    pub(crate) fn with(options: &Options, disk: MemoryDisk, now: Timestamp) -> Self {
        let (clock, hand) = Clock::manual(now);
        let tasks = Tasks::new();
        let (ledger, recovery) = Ledger::open_on(Arc::new(disk.clone()), options, clock.clone(), &tasks)
            .unwrap_or_else(|error| unreachable!("{error}"));
        Self { ledger, recovery, disk, clock, hand, tasks }
    }

    /// The same folder in a new process after a `kill -9`; the old one's writes no longer reach it.
    pub(crate) fn after_kill(&self) -> Self {
        Self::on(self.disk.after_kill(), self.clock.now())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn free(&self) -> Reservation {
        Reservation::none(Currency::USD)
    }

    /// One whole request that costs `nano`, without budgets.
    pub(crate) fn whole(&self, number: u64, nano: i64) {
        let now = self.now();
        let attempt = self.ledger.begin(intent(number, 1, now), self.free(), false).unwrap();
        let _ = attempt.settle(completed(number, now, nano));
    }

    /// Spent and reserved of a scope, over all its windows.
    pub(crate) fn balance(&self, scope: &str) -> (i64, i64) {
        self.ledger
            .balances()
            .iter()
            .filter(|balance| &*balance.scope == scope)
            .fold((0, 0), |sum, balance| (sum.0 + balance.spent.nano, sum.1 + balance.reserved.nano))
    }

    /// Balances by scope and window, without those that never were charged.
    pub(crate) fn spent(&self) -> BTreeMap<(Name, Timestamp), i64> {
        self.ledger
            .balances()
            .into_iter()
            .filter(|balance| balance.spent.nano != 0)
            .map(|balance| ((balance.scope, balance.window_start), balance.spent.nano))
            .collect()
    }

    /// Long enough later that a disk which refused is tried again.
    pub(crate) fn retry(&self) {
        self.hand.advance(Duration::from_millis(100));
        self.ledger.retry();
    }

    pub(crate) fn drain_to(&self, store: &Arc<Store>) {
        self.ledger.start_drain(store.clone(), &self.tasks);
    }
}

type EntryKey = (RequestId, u16, EntryKind, u16);

/// What a store would hold.
#[derive(Default)]
pub(crate) struct Rows {
    pub(crate) entries: HashMap<EntryKey, Entry>,
    pub(crate) requests: HashMap<RequestId, RequestLog>,
    /// Records that had come before.
    pub(crate) repeated: u64,
    pub(crate) batches: u64,
}

/// How the store misbehaves.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Mood {
    #[default]
    Good,
    /// Takes nothing.
    Away,
    /// Takes everything and says that it did not.
    Forgetful,
    /// Panics.
    Broken,
}

/// A store in memory.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) rows: Mutex<Rows>,
    pub(crate) mood: Mutex<Mood>,
    /// Records of this request are poison.
    pub(crate) poison: Mutex<Option<RequestId>>,
}

impl Store {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    pub(crate) fn feel(&self, mood: Mood) {
        *self.mood.lock() = mood;
    }

    /// Entries, log lines, and records that had come before.
    pub(crate) fn counts(&self) -> (usize, usize, u64) {
        let rows = self.rows.lock();
        (rows.entries.len(), rows.requests.len(), rows.repeated)
    }

    /// Sum of charges per scope and window, each entry once.
    pub(crate) fn spent(&self) -> BTreeMap<(Name, Timestamp), i64> {
        let mut spent = BTreeMap::new();
        for entry in self.rows.lock().entries.values() {
            for window in &entry.budgets {
                *spent.entry(window.clone()).or_insert(0) += entry.charge.map_or(0, |charge| charge.nano);
            }
        }
        spent.retain(|_, nano| *nano != 0);
        spent
    }

    fn take(&self, batch: &[Drained]) -> Result<(), DrainError> {
        let poison = *self.poison.lock();
        let id = |record: &Drained| match record {
            Drained::Entry(entry) => entry.request_id,
            Drained::Request(log) => log.request_id,
        };
        if batch.iter().any(|record| Some(id(record)) == poison) {
            return Err(DrainError { message: "impossible".into(), poison: true });
        }
        let mut rows = self.rows.lock();
        rows.batches += 1;
        for record in batch {
            let repeated = match record.clone() {
                Drained::Entry(entry) => {
                    let key = (entry.request_id, entry.attempt_no, entry.kind, entry.seq);
                    let again = rows.entries.contains_key(&key);
                    rows.entries.entry(key).or_insert(entry);
                    again
                }
                Drained::Request(log) => {
                    let again = rows.requests.contains_key(&log.request_id);
                    rows.requests.entry(log.request_id).or_insert(log);
                    again
                }
            };
            rows.repeated += u64::from(repeated);
        }
        Ok(())
    }
}

impl Drain for Store {
    fn drain<'a>(
        &'a self,
        batch: &'a [Drained],
    ) -> Pin<Box<dyn Future<Output = Result<(), DrainError>> + Send + 'a>> {
        Box::pin(async move {
            let away = Err(DrainError { message: "connection refused".into(), poison: false });
            let mood = *self.mood.lock();
            match mood {
                Mood::Good => self.take(batch),
                Mood::Away => away,
                Mood::Forgetful => self.take(batch).and(away),
                Mood::Broken => unreachable!("a panic of the store"),
            }
        })
    }
}

/// A runtime for tests that are not async themselves.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap_or_else(|error| unreachable!("{error}"))
        .block_on(future)
}
