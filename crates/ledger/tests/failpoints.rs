//! A panic at each named place: one terminal entry, nothing held, nobody else's record lost.
//!
//! A binary of its own because failpoints belong to the whole process; one test because they would meet.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ledger::read::Record;
use ledger::{Basis, EntryKind, Intent, Labels, Ledger, Options, Outcome, Settlement};
use policy::{BudgetRule, Currency, KeyId, Money, Name, Price, Rate, RequestId, Timestamp, Usage, Window};
use runtime::{Clock, Tasks, failpoints};

const NOW: Timestamp = Timestamp::from_micros(1_795_375_800_000_000);

fn usd(nano: i64) -> Money {
    Money { currency: Currency::USD, nano }
}

fn rules() -> Vec<(Name, BudgetRule)> {
    let rule = BudgetRule::new("day".into(), usd(10_000), Window::Day);
    vec![("key_a/day".into(), rule)]
}

fn intent(number: u8) -> Intent {
    let mut price = Price::unknown("today".into(), Currency::USD);
    price.input = Some(Rate(1_000_000));
    price.output = Some(Rate(1_000_000));
    let labels = Labels {
        organization: "local".into(),
        workspace: "default".into(),
        environment: "dev".into(),
        layer: "development".into(),
        region: "local".into(),
        release: 1,
        variant: None,
        prompt_version: None,
        key_id: KeyId("key_a".into()),
        key_name: "ci".into(),
    };
    Intent {
        request_id: RequestId::from_bytes([number; 16]),
        attempt_no: 1,
        at: NOW,
        labels: Arc::new(labels),
        provider: "demo".into(),
        model: "demo/fast".into(),
        price: Some(Arc::new(price)),
        input_bound: 20,
        input_estimate: 10,
        output_cap: None,
        endpoint: "chat".into(),
        model_asked: "fast".into(),
        stream: false,
        end_user: None,
        session: None,
        tags: Vec::new(),
    }
}

fn settlement() -> Settlement {
    Settlement {
        at: NOW,
        outcome: Outcome::Completed,
        usage: Usage::default(),
        basis: Basis::Reported,
        cost: Some(usd(3)),
        charge: Some(usd(3)),
        request: None,
    }
}

/// The terminal entries in the spool: basis and kind, in order.
fn entries(dir: &Path) -> Vec<(Basis, EntryKind)> {
    ledger::read::folder(dir)
        .unwrap()
        .filter_map(|record| match record.unwrap() {
            Record::Terminal(entry, _) => Some((entry.basis, entry.kind)),
            _ => None,
        })
        .collect()
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// One request with `point` set to panic; what is in the spool then, and what the budget says.
fn request_with(point: &str) -> (Vec<(Basis, EntryKind)>, i64, i64) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _context = runtime.enter();
    let folder = Folder(std::env::temp_dir().join(format!("tidegate-{point}-{}", std::process::id())));
    let (clock, _) = Clock::manual(NOW);
    let (ledger, _) = Ledger::open(Options::new(folder.0.clone()), clock, &Tasks::new()).unwrap();
    // Another request is in flight meanwhile.
    let held = ledger.reserve(&rules(), usd(100), NOW).unwrap();
    let other = ledger.begin(intent(1), held, false).unwrap();
    assert!(failpoints::set(point, "panic#1"));
    let crossed = catch_unwind(AssertUnwindSafe(|| {
        let held = ledger.reserve(&rules(), usd(100), NOW).unwrap();
        let attempt = ledger.begin(intent(2), held, false).unwrap();
        attempt.settle(settlement()).unwrap();
    }));
    assert!(crossed.is_err(), "{point} must be crossed");
    failpoints::set(point, "off");
    // Nothing is poisoned: the other one ends, and a new one comes and goes.
    other.settle(settlement()).unwrap();
    let held = ledger.reserve(&rules(), usd(100), NOW).unwrap();
    ledger.begin(intent(3), held, false).unwrap().settle(settlement()).unwrap();
    let balance = ledger.balances().remove(0);
    (entries(&folder.0), balance.spent.nano, balance.reserved.nano)
}

#[test]
fn a_panic_anywhere_leaves_one_entry_and_nothing_held() {
    let reported = (Basis::Reported, EntryKind::Settle);
    let dropped = (Basis::Dropped, EntryKind::Settle);
    for point in ["ledger.reserve", "ledger.intent.before_write"] {
        // It never began: there is nothing to end.
        assert_eq!(request_with(point), (vec![reported; 2], 6, 0), "{point}");
    }
    for point in ["ledger.intent.after_write", "ledger.settle.before_write"] {
        // Ten estimated tokens of input.
        assert_eq!(request_with(point), (vec![dropped, reported, reported], 16, 0), "{point}");
    }
    assert_eq!(request_with("ledger.settle.after_write"), (vec![reported; 3], 9, 0));
    drain_survives();
}

/// The drain crosses its own point, and carries all the same.
fn drain_survives() {
    struct Count(parking_lot::Mutex<usize>);
    impl ledger::Drain for Count {
        fn drain<'a>(
            &'a self,
            batch: &'a [ledger::Drained],
        ) -> std::pin::Pin<Box<dyn Future<Output = Result<(), ledger::DrainError>> + Send + 'a>> {
            *self.0.lock() += batch.len();
            Box::pin(std::future::ready(Ok(())))
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = Folder(std::env::temp_dir().join(format!("tidegate-drain-{}", std::process::id())));
    runtime.block_on(async {
        let tasks = Tasks::new();
        let (ledger, _) = Ledger::open(Options::new(folder.0.clone()), Clock::system(), &tasks).unwrap();
        let held = ledger.reserve(&[], usd(0), NOW).unwrap();
        ledger.begin(intent(1), held, false).unwrap().settle(settlement()).unwrap();
        assert!(failpoints::set("ledger.drain", "panic#3"));
        let store = Arc::new(Count(parking_lot::Mutex::new(0)));
        ledger.start_drain(store.clone(), &tasks);
        assert!(ledger.flush(Duration::from_secs(30)).await);
        assert_eq!(*store.0.lock(), 1);
        tasks.stop();
        assert!(tasks.drained(Duration::from_secs(30)).await.is_empty());
    });
}
