//! `kill -9` and loss of power at any place: nothing acknowledged is lost, nothing counts twice.

use policy::Window;

use super::*;

fn month() -> Vec<(Name, BudgetRule)> {
    vec![budget("key_a", 1_000_000, Window::Month)]
}

#[test]
fn open_intents_are_settled_from_the_last_mark_exactly_once() {
    let bench = Bench::new();
    let held = bench.ledger.reserve(&month(), usd(9_000), START).unwrap();
    let mut attempt = bench.ledger.begin(intent(1, 1, START), held, false).unwrap();
    attempt.progress(300, START.plus(Duration::from_secs(1)));
    attempt.progress(310, START.plus(Duration::from_secs(2)));
    bench.whole(2, 5);
    let second = bench.after_kill();
    assert_eq!(second.recovery.open_intents_settled, 1);
    // 100 estimated input tokens, 300 output tokens at the last mark.
    assert_eq!(second.balance("key_a/month"), (3_100, 0));
    // Killed again, at once and after draining: the same.
    let third = second.after_kill();
    assert_eq!(third.recovery.open_intents_settled, 0);
    assert_eq!(third.balance("key_a/month"), (3_100, 0));
    let store = Store::new();
    third.drain_to_now(&store);
    let rows = store.rows.lock();
    let entry = &rows.entries[&(id(1), 1, EntryKind::Settle, 0)];
    assert_eq!((entry.basis, entry.estimated, entry.usage.output), (Basis::Crashed, true, Some(300)));
    let log = &rows.requests[&id(1)];
    assert_eq!((log.status, log.error_code.as_deref(), log.duration_us), (0, Some("crashed"), 1_000_000));
    assert_eq!((&*log.endpoint, &*log.model_asked, log.stream), ("chat", "fast", true));
    assert_eq!(rows.entries.len(), 2);
}

#[test]
fn an_unknown_price_stays_unknown_after_a_crash() {
    let bench = Bench::new();
    let unpriced = Intent { price: None, ..intent(1, 1, START) };
    let _attempt = bench.ledger.begin(unpriced, bench.free(), false).unwrap();
    let second = bench.after_kill();
    let store = Store::new();
    second.drain_to_now(&store);
    let rows = store.rows.lock();
    let entry = rows.entries.values().next().unwrap();
    assert_eq!((entry.cost, entry.charge, entry.usage.input), (None, None, Some(100)));
}

#[test]
fn balances_are_equal_before_and_after_rotation_and_restart() {
    let bench = Bench::new();
    for number in 0..300 {
        let scopes = [budget(&format!("key_{}", number % 7), 1_000_000, Window::Month)];
        let held = bench.ledger.reserve(&scopes, usd(500), START).unwrap();
        let attempt = bench.ledger.begin(intent(number, 1, START), held, false).unwrap();
        attempt.settle(completed(number, START, 100 + number as i64)).unwrap();
    }
    assert!(bench.ledger.depth().segments > 5, "rotated");
    let before = bench.spent();
    assert_eq!(before.values().sum::<i64>(), 300 * 100 + 299 * 300 / 2);
    let second = bench.after_kill();
    assert_eq!(second.spent(), before);
    // Drained segments go, and the checkpoint alone still knows.
    let store = Store::new();
    second.drain_to_now(&store);
    assert_eq!(store.spent(), before);
    assert_eq!(second.ledger.depth().segments, 1);
    assert_eq!(second.ledger.depth().records, 0);
    let third = second.after_kill();
    assert_eq!(third.spent(), before);
    // And what has been drained does not come again.
    let rest = Store::new();
    third.drain_to_now(&rest);
    assert_eq!(rest.rows.lock().entries.len(), 0);
}

#[test]
fn an_attempt_outlives_the_segments_of_its_intent() {
    let bench = Bench::new();
    let held = bench.ledger.reserve(&month(), usd(9_000), START).unwrap();
    let mut long = bench.ledger.begin(intent(1, 1, START), held, false).unwrap();
    long.progress(256, START);
    let store = Store::new();
    for number in 2..200 {
        bench.whole(number, 1);
    }
    bench.drain_to_now(&store);
    assert!(bench.disk.bytes("00000001.seg").is_none(), "drained segments are gone");
    let second = bench.after_kill();
    assert_eq!(second.recovery.open_intents_settled, 1);
    assert_eq!(second.balance("key_a/month"), (100 + 2_560, 0));
}

#[test]
fn records_that_come_late_or_twice_count_once() {
    let bench = Bench::new();
    let held = bench.ledger.reserve(&month(), usd(900), START).unwrap();
    let attempt = bench.ledger.begin(intent(1, 1, START), held, false).unwrap();
    attempt.settle(completed(1, START, 70)).unwrap();
    // The same segment again, and again with its records in the other order.
    let segment = bench.disk.bytes("00000001.seg").unwrap();
    let frames = frames(&segment);
    let turned: Vec<u8> = frames.iter().rev().flat_map(|frame| frame.iter().copied()).collect();
    let disk = MemoryDisk::default();
    for (name, bytes) in [("00000001.seg", &turned), ("00000002.seg", &segment), ("00000003.seg", &segment)] {
        disk.put(name, &frames_without_checkpoint(bytes));
    }
    let second = Bench::on(disk, START);
    assert_eq!(second.recovery.open_intents_settled, 0);
    assert_eq!(second.balance("key_a/month"), (70, 0));
}

#[test]
fn what_was_synced_survives_a_loss_of_power() {
    let bench = Bench::new();
    for number in 0..50 {
        bench.whole(number, 1);
    }
    block_on(bench.ledger.sync()).unwrap();
    for number in 50..60 {
        bench.whole(number, 1);
    }
    let second = Bench::on(bench.disk.after_power_loss(), START);
    let store = Store::new();
    second.drain_to_now(&store);
    let rows = store.rows.lock();
    assert!((0..50).all(|number| rows.entries.contains_key(&(id(number), 1, EntryKind::Settle, 0))));
}

#[test]
fn balances_from_the_store_fill_only_what_the_spool_does_not_know() {
    let bench = Bench::new();
    let this_month = Window::Month.start(START);
    let held = bench.ledger.reserve(&month(), usd(10), START).unwrap();
    bench.ledger.restore_balances(&[
        ("key_a/month".into(), this_month, usd(400)),
        ("key_b/month".into(), this_month, usd(30)),
    ]);
    assert_eq!(bench.balance("key_a/month"), (400, 10), "a window that only began here gets its past");
    assert_eq!(bench.balance("key_b/month"), (30, 0));
    let attempt = bench.ledger.begin(intent(1, 1, START), held, false).unwrap();
    attempt.settle(completed(1, START, 7)).unwrap();
    let second = bench.after_kill();
    assert_eq!(second.balance("key_a/month").0, 407, "what was restored is in the log");
    second.ledger.restore_balances(&[("key_a/month".into(), this_month, usd(1))]);
    assert_eq!(second.balance("key_a/month").0, 407, "what the spool knows is not touched");
}

#[test]
fn two_processes_cannot_have_one_spool() {
    let dir = std::env::temp_dir().join(format!("tidegate-ledger-lock-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&dir);
    block_on(async {
        let tasks = Tasks::new();
        let options = Options::new(dir.join("spool"));
        let (first, _) = Ledger::open(options.clone(), Clock::system(), &tasks).unwrap();
        let second = Ledger::open(options.clone(), Clock::system(), &tasks).map(|_| ());
        assert!(matches!(second, Err(crate::LedgerError::Locked { .. })), "{second:?}");
        let attempt = first.begin(intent(1, 1, START), Reservation::none(Currency::USD), true).unwrap();
        first.sync().await.unwrap();
        attempt.settle(completed(1, START, 3)).unwrap();
        // A real folder is read like one in memory, also by those who only look.
        let records: Vec<_> = crate::read::folder(&options.dir).unwrap().map(Result::unwrap).collect();
        assert_eq!(records.len(), 3);
        tasks.stop();
        assert!(tasks.drained(Duration::from_secs(10)).await.is_empty());
    });
    let _ = std::fs::remove_dir_all(&dir);
}

/// The frames of a segment, each with its header.
pub(crate) fn frames(segment: &[u8]) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    let mut rest = segment;
    while let crate::frame::Look::Frame { length, .. } = crate::frame::look(rest, true) {
        frames.push(rest[..length].to_vec());
        rest = &rest[length..];
    }
    frames
}

fn frames_without_checkpoint(segment: &[u8]) -> Vec<u8> {
    let checkpoint = crate::frame::Kind::Checkpoint as u8;
    frames(segment).into_iter().filter(|frame| frame[2] != checkpoint).flatten().collect()
}
