//! The way to the store: at least once there, exactly once in it.

use super::*;
use crate::disk::memory::Faults;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(start_paused = true)]
async fn records_wait_while_the_store_is_away() {
    let bench = Bench::new();
    let store = Store::new();
    store.feel(Mood::Away);
    bench.drain_to(&store);
    for number in 0..100 {
        bench.whole(number, 1);
    }
    assert!(!bench.ledger.flush(Duration::from_secs(3)).await);
    let depth = bench.ledger.depth();
    assert_eq!((depth.records, depth.draining, depth.writable), (100, false, true));
    assert_eq!(depth.last_error.as_deref(), Some("drain: connection refused"));
    assert!(depth.bytes > 0);
    store.feel(Mood::Good);
    assert!(bench.ledger.flush(SOON).await);
    let depth = bench.ledger.depth();
    assert_eq!((depth.records, depth.bytes, depth.draining, depth.last_error), (0, 0, true, None));
    assert_eq!(store.counts(), (100, 100, 0));
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_taken_but_not_acknowledged_counts_once() {
    let bench = Bench::new();
    let store = Store::new();
    store.feel(Mood::Forgetful);
    bench.drain_to(&store);
    for number in 0..50 {
        bench.whole(number, 1);
    }
    assert!(!bench.ledger.flush(Duration::from_secs(3)).await);
    store.feel(Mood::Good);
    assert!(bench.ledger.flush(SOON).await);
    let rows = store.rows.lock();
    assert_eq!((rows.entries.len(), rows.requests.len()), (50, 50));
    assert!(rows.repeated >= 100, "it came again");
}

/// What a refused sync makes the spool write anew is drained again, and what is drained asks for a sync.
#[tokio::test(start_paused = true)]
async fn a_device_that_refuses_syncs_does_not_keep_the_drain_busy() {
    for every in 1..=3 {
        let bench = Bench::new();
        let store = Store::new();
        bench.disk.set(Faults { fail_sync_every: Some(every), ..Faults::default() });
        bench.drain_to(&store);
        for number in 0..100 {
            bench.whole(number, 1);
        }
        assert!(bench.ledger.depth().segments > 2, "several are removed after a sync");
        assert!(bench.ledger.flush(SOON).await);
        assert_eq!(bench.ledger.depth().records, 0, "every {every}");
        assert_eq!(store.rows.lock().entries.len(), 100, "every {every}");
        assert!(bench.disk.syncs() < 50, "every {every}: {} syncs", bench.disk.syncs());
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_panics_does_not_end_the_drain() {
    let bench = Bench::new();
    let store = Store::new();
    store.feel(Mood::Broken);
    bench.drain_to(&store);
    bench.whole(1, 1);
    assert!(!bench.ledger.flush(Duration::from_secs(1)).await);
    assert_eq!(bench.ledger.depth().last_error.as_deref(), Some("drain: the drain panicked"));
    store.feel(Mood::Good);
    assert!(bench.ledger.flush(SOON).await);
    assert_eq!(store.rows.lock().entries.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_impossible_record_is_put_aside_and_holds_up_no_other() {
    let bench = Bench::new();
    let store = Store::new();
    *store.poison.lock() = Some(id(37));
    for number in 0..100 {
        bench.whole(number, 1);
    }
    bench.drain_to(&store);
    assert!(bench.ledger.flush(SOON).await);
    assert_eq!(store.rows.lock().entries.len(), 99);
    assert_eq!(store.rows.lock().repeated, 0);
    let text = String::from_utf8(bench.disk.bytes("poison.jsonl").unwrap()).unwrap();
    let lines: Vec<Drained> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(matches!(&lines[..], [Drained::Entry(entry), Drained::Request(log)]
        if entry.request_id == id(37) && log.request_id == id(37)));
    assert_eq!(bench.ledger.depth().records, 0);
}

#[tokio::test(start_paused = true)]
async fn batches_are_bounded_by_records_and_by_bytes() {
    let bench = Bench::new();
    let store = Store::new();
    for number in 0..2_500 {
        bench.whole(number, 1);
    }
    bench.drain_to(&store);
    assert!(bench.ledger.flush(SOON).await);
    assert_eq!(store.rows.lock().batches, 3);
    let long = "x".repeat(1 << 20);
    for number in 0..10 {
        let bodies = crate::Bodies { request: long.clone(), response: String::new(), truncated: false };
        bench.ledger.log_request(RequestLog { bodies: Some(bodies), ..log(10_000 + number, START, 200) });
    }
    let before = store.rows.lock().batches;
    assert!(bench.ledger.flush(SOON).await);
    assert!(store.rows.lock().batches - before >= 2);
    assert_eq!(store.rows.lock().requests.len(), 2_510);
}

#[tokio::test(start_paused = true)]
async fn without_its_position_everything_comes_again_and_counts_once() {
    let bench = Bench::new();
    let store = Store::new();
    for number in 0..30 {
        bench.whole(number, 1);
    }
    bench.drain_to(&store);
    assert!(bench.ledger.flush(SOON).await);
    let disk = bench.disk.after_kill();
    disk.put("drained", b"00000001 0000");
    let second = Bench::on(disk, START);
    assert_eq!(second.ledger.depth().records, 30);
    second.drain_to(&store);
    assert!(second.ledger.flush(SOON).await);
    assert_eq!(store.counts(), (30, 30, 60));
}

#[tokio::test(start_paused = true)]
async fn the_task_carries_by_itself_and_ends_after_the_last_attempt() {
    let bench = Bench::new();
    let store = Store::new();
    bench.drain_to(&store);
    let attempt = bench.ledger.begin(intent(1, 1, START), bench.free(), false).unwrap();
    bench.whole(2, 1);
    while store.rows.lock().entries.is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    bench.tasks.stop();
    assert_eq!(bench.tasks.drained(Duration::from_secs(2)).await, ["drain"], "an attempt is in flight");
    attempt.settle(completed(1, START, 1)).unwrap();
    assert!(bench.tasks.drained(SOON).await.is_empty());
    assert_eq!(store.rows.lock().entries.len(), 2);
    // Also afterwards everything can be handed over.
    bench.whole(3, 1);
    assert!(bench.ledger.flush(SOON).await);
    assert_eq!(store.rows.lock().entries.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_store_that_is_away() {
    let bench = Bench::new();
    let store = Store::new();
    store.feel(Mood::Away);
    bench.drain_to(&store);
    bench.whole(1, 1);
    bench.tasks.stop();
    assert!(bench.tasks.drained(SOON).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn damage_in_the_middle_is_passed() {
    let bench = Bench::new();
    for number in 0..30 {
        bench.whole(number, 1);
    }
    let disk = bench.disk.after_kill();
    let mut segment = disk.bytes("00000001.seg").unwrap();
    let middle = segment.len() / 2;
    segment[middle] ^= 0xFF;
    disk.put("00000001.seg", &segment);
    let second = Bench::on(disk, START);
    let store = Store::new();
    second.drain_to(&store);
    assert!(second.ledger.flush(SOON).await);
    assert!(store.rows.lock().entries.len() >= 29);
    assert_eq!(second.ledger.depth().records, 0);
}
