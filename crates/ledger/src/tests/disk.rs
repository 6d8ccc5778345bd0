//! A disk that is full, that breaks, that writes half, that lies about a sync.

use policy::Window;

use super::*;
use crate::disk::memory::Faults;

fn total() -> Vec<(Name, BudgetRule)> {
    vec![budget("key_a", 1_000_000_000, Window::Total)]
}

const SCOPE: &str = "key_a/total";

fn has(store: &Store, number: u64) -> bool {
    store.rows.lock().entries.contains_key(&(id(number), 1, EntryKind::Settle, 0))
}

/// Begins with a budget and settles; `Ok(acknowledged)` when it was begun.
fn budgeted(bench: &Bench, number: u64) -> Result<bool, ()> {
    let held = bench.ledger.reserve(&total(), usd(10), START).map_err(|_| ())?;
    let attempt = bench.ledger.begin(intent(number, 1, START), held, false).map_err(|_| ())?;
    Ok(attempt.settle(completed(number, START, 1)).is_ok())
}

#[test]
fn a_full_disk_refuses_budgeted_keys_settles_what_runs_and_recovers() {
    let bench = Bench::new();
    let running: Vec<_> = (0..4)
        .map(|number| {
            let held = bench.ledger.reserve(&total(), usd(10), START).unwrap();
            bench.ledger.begin(intent(number, 1, START), held, true).unwrap()
        })
        .collect();
    bench.disk.set(Faults { capacity: Some(64 << 10), ..Faults::default() });
    let mut settled = Vec::new();
    for number in 10.. {
        match budgeted(&bench, number) {
            Ok(_) => settled.push(number),
            Err(()) => break,
        }
    }
    assert!(settled.len() > 20);
    assert!(!bench.ledger.depth().writable);
    assert!(bench.ledger.depth().last_error.is_some());
    // The ballast lets through what runs; new attempts are refused or, without budgets, kept in memory.
    for (number, attempt) in (0..).zip(running) {
        assert_eq!(attempt.settle(completed(number, START, 1)), Ok(()), "settled on the ballast");
        settled.push(number);
    }
    assert!(bench.ledger.begin(intent(5_000, 1, START), bench.free(), true).is_err(), "strict");
    let kept = bench.ledger.begin(intent(5_001, 1, START), bench.free(), false).unwrap();
    assert_eq!(bench.balance(SCOPE), (settled.len() as i64, 0), "refusals hold nothing");
    // Killed now: everything that was acknowledged is there, and nothing that was refused.
    let killed = bench.after_kill();
    assert_eq!(killed.balance(SCOPE).0, settled.len() as i64);
    // There is room again: it recovers by itself, with the ballast.
    bench.disk.set(Faults::default());
    bench.retry();
    assert!(bench.ledger.depth().writable);
    assert_eq!(bench.ledger.depth().last_error, None);
    assert!(bench.disk.names().contains(&"ballast".to_owned()));
    kept.settle(completed(5_001, START, 0)).unwrap();
    settled.push(5_001);
    let store = Store::new();
    bench.drain_to_now(&store);
    assert_eq!(store.rows.lock().entries.len(), settled.len());
    assert!(settled.iter().all(|number| has(&store, *number)));
    assert_eq!(bench.after_kill().recovery.open_intents_settled, 0);
}

#[test]
fn an_intent_that_was_put_off_does_not_come_after_its_end() {
    let bench = Bench::new();
    bench.disk.set(Faults { capacity: Some(40 << 10), ..Faults::default() });
    let mut number = 0;
    while bench.ledger.depth().writable {
        bench.whole(number, 0);
        number += 1;
    }
    let put_off = bench.ledger.begin(intent(9_000, 1, START), bench.free(), false).unwrap();
    let open = bench.ledger.begin(intent(9_001, 1, START), bench.free(), false).unwrap();
    put_off.settle(completed(9_000, START, 0)).unwrap();
    bench.disk.set(Faults::default());
    bench.retry();
    assert!(bench.ledger.depth().writable);
    let names = bench.disk.names();
    let numbers = crate::segments::segment_numbers(&names);
    let last = numbers.last().copied().unwrap();
    let records: Vec<_> = crate::read::records(Box::new(bench.disk.clone()), vec![last]).collect();
    let intents = records.iter().filter(|record| matches!(record, Ok(crate::read::Record::Intent(_))));
    assert_eq!(intents.count(), 1, "the open one alone");
    assert_eq!(bench.after_kill().recovery.open_intents_settled, 1);
    drop(open);
    assert_eq!(bench.after_kill().recovery.open_intents_settled, 0);
}

#[test]
fn every_kth_write_fails_and_no_attempt_is_lost_or_doubled() {
    for every in 1..=12 {
        for no_cleanup in [false, true] {
            let bench = Bench::new();
            bench.disk.set(Faults { fail_write_every: Some(every), no_cleanup, ..Faults::default() });
            let (mut begun, mut acknowledged) = (Vec::new(), 0);
            for number in 0..120 {
                if let Ok(ok) = budgeted(&bench, number) {
                    begun.push(number);
                    acknowledged += i64::from(ok);
                }
                if number % 7 == 0 {
                    bench.hand.advance(Duration::from_millis(60));
                }
                if number % 10 == 0 {
                    let killed = bench.after_kill();
                    let (spent, _) = killed.balance(SCOPE);
                    let most = acknowledged + bench.ledger.depth().backlog as i64;
                    assert!(spent >= acknowledged, "every {every}: {spent} of {acknowledged}");
                    assert!(no_cleanup || spent <= most.max(begun.len() as i64), "every {every}: {spent}");
                }
            }
            assert_eq!(bench.balance(SCOPE), (begun.len() as i64, 0), "every {every}");
            bench.disk.set(Faults::default());
            bench.retry();
            assert!(bench.ledger.depth().writable, "every {every}");
            assert_eq!(bench.disk.reused(), 0, "every {every}: a descriptor that failed is not used again");
            assert_eq!(bench.after_kill().balance(SCOPE), (begun.len() as i64, 0), "every {every}");
            assert_eq!(bench.after_kill().recovery.open_intents_settled, 0, "every {every}");
            let store = Store::new();
            bench.drain_to_now(&store);
            assert_eq!(store.rows.lock().entries.len(), begun.len(), "every {every}");
            assert!(begun.iter().all(|number| has(&store, *number)), "every {every}");
        }
    }
}

#[test]
fn what_a_successful_sync_covered_is_on_the_device_whatever_failed_before() {
    for every in 1..=6 {
        let bench = Bench::new();
        bench.disk.set(Faults { fail_sync_every: Some(every), ..Faults::default() });
        block_on(async {
            for number in 0..60 {
                bench.whole(number, 1);
                let synced = bench.ledger.sync().await;
                assert_eq!(synced.is_ok(), every > 1, "every {every}: fails twice only when always");
                if synced.is_err() {
                    continue;
                }
                let lost = Bench::on(bench.disk.after_power_loss(), START);
                let records = lost.recovery.records;
                assert!(records > 2 * number, "every {every}: {records} records after request {number}");
                assert_eq!(lost.recovery.open_intents_settled, 0);
            }
        });
        assert!(bench.disk.syncs() > 0);
        assert_eq!(bench.disk.reused(), 0, "every {every}: a descriptor that failed is not asked again");
        bench.disk.set(Faults::default());
        bench.retry();
        let store = Store::new();
        bench.drain_to_now(&store);
        assert_eq!(store.rows.lock().entries.len(), 60, "every {every}");
    }
}

/// What may be lost with the power is kept in memory until a sync succeeds, so it must have an end.
#[test]
fn a_device_that_never_syncs_takes_no_more_than_may_wait_for_it() {
    let bench = Bench::new();
    bench.disk.set(Faults { fail_sync_every: Some(1), ..Faults::default() });
    let mut number = 0;
    while bench.ledger.depth().writable && number < 100_000 {
        let Ok(attempt) = bench.ledger.begin(intent(number, 1, START), bench.free(), true) else { break };
        let _ = attempt.settle(completed(number, START, 1));
        number += 1;
    }
    assert!(number > 1_000 && number < 100_000, "{number} requests");
    assert!(bench.ledger.begin(intent(number, 1, START), bench.free(), true).is_err());
    let writes = bench.disk.writes();
    assert!(bench.ledger.begin(intent(number, 1, START), bench.free(), true).is_err());
    assert_eq!(bench.disk.writes(), writes, "it is left alone for a while");
    assert_eq!(bench.disk.reused(), 0, "a descriptor that failed is not asked again");
    bench.disk.set(Faults::default());
    bench.retry();
    assert!(bench.ledger.depth().writable);
    bench.whole(number, 1);
    let store = Store::new();
    bench.drain_to_now(&store);
    assert_eq!(store.rows.lock().entries.len() as u64, number + 1);
    assert_eq!(bench.after_kill().recovery.damaged_bytes, 0);
}

#[test]
fn short_writes_are_continued() {
    let bench = Bench::new();
    bench.disk.set(Faults { short_writes: Some(7), ..Faults::default() });
    for number in 0..100 {
        bench.whole(number, 1);
    }
    assert!(bench.ledger.depth().segments > 1);
    let second = bench.after_kill();
    assert_eq!((second.recovery.damaged_bytes, second.ledger.depth().records), (0, 100));
}

#[test]
fn the_backlog_is_bounded_and_is_written_when_the_disk_is_back() {
    let bench = Bench::new();
    bench.disk.set(Faults { fail_write_every: Some(1), no_create: true, ..Faults::default() });
    let mut running = Vec::new();
    let refused_at = loop {
        match bench.ledger.begin(intent(running.len() as u64, 1, START), bench.free(), false) {
            Ok(attempt) => running.push(attempt),
            Err(_) => break running.len(),
        }
    };
    assert_eq!(refused_at, 50);
    // Entries of what runs are never refused, log lines are.
    let before = bench.ledger.depth().backlog;
    bench.ledger.log_request(log(900, START, 429));
    assert_eq!((bench.ledger.depth().backlog, bench.ledger.depth().dropped_logs), (before, 1));
    for (number, attempt) in (0..).zip(running) {
        assert!(attempt.settle(completed(number, START, 0)).is_err(), "said, and kept");
    }
    assert_eq!(bench.ledger.depth().open_attempts, 0);
    bench.disk.set(Faults::default());
    bench.retry();
    let depth = bench.ledger.depth();
    assert_eq!((depth.writable, depth.backlog, depth.records), (true, 0, 50));
    let store = Store::new();
    bench.drain_to_now(&store);
    assert_eq!(store.counts(), (50, 50, 0));
}

#[test]
fn a_disk_that_refused_is_tried_at_most_every_100_ms() {
    let bench = Bench::new();
    bench.disk.set(Faults { fail_write_every: Some(1), ..Faults::default() });
    assert!(budgeted(&bench, 1).is_err());
    let writes = bench.disk.writes();
    for number in 2..100 {
        assert!(budgeted(&bench, number).is_err());
    }
    assert_eq!(bench.disk.writes(), writes);
    bench.hand.advance(Duration::from_millis(100));
    assert!(budgeted(&bench, 200).is_err());
    assert_eq!(bench.disk.writes(), writes + 1);
}

#[test]
fn it_opens_on_a_full_disk_and_writes_what_it_settled_later() {
    let first = Bench::new();
    let held = first.ledger.reserve(&total(), usd(10_000), START).unwrap();
    let _running = first.ledger.begin(intent(1, 1, START), held, false).unwrap();
    let disk = first.disk.after_kill();
    // Without the ballast nothing at all can be written.
    let _ = crate::disk::Disk::remove(&disk, "ballast");
    disk.set(Faults { capacity: Some(disk.used()), ..Faults::default() });
    let second = Bench::on(disk, START);
    assert_eq!(second.recovery.open_intents_settled, 1);
    assert!(!second.ledger.depth().writable);
    assert_eq!(second.balance(SCOPE), (100, 0));
    second.disk.set(Faults::default());
    second.retry();
    assert!(second.ledger.depth().writable);
    let store = Store::new();
    second.drain_to_now(&store);
    assert!(has(&store, 1));
}

#[test]
fn a_tiny_disk_that_fills_is_freed_by_the_drain() {
    let bench = Bench::on(MemoryDisk::with(Faults { capacity: Some(64 << 10), ..Faults::default() }), START);
    let store = Store::new();
    block_on(async {
        bench.drain_to(&store);
        let mut number = 0;
        for round in 1..=5 {
            while budgeted(&bench, number).is_ok() {
                number += 1;
            }
            assert!(!bench.ledger.depth().writable, "round {round}");
            assert!(bench.ledger.flush(Duration::from_secs(20)).await);
            // The first look finds room for the ballast, once segments are gone.
            bench.retry();
            assert!(bench.ledger.depth().writable, "round {round}: {:?}", bench.ledger.depth());
        }
        assert_eq!(store.rows.lock().entries.len() as u64, number);
    });
    bench.tasks.stop();
}
