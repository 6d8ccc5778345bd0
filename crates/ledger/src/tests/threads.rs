//! Many threads at once: sums are exact, limits hold, and what was acknowledged survives.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use policy::Window;

use super::*;

const THREADS: u64 = 6;
const EACH: u64 = 300;

#[test]
fn sums_are_exact_under_contention() {
    let bench = Bench::new();
    let limit = 40_000;
    let shared = budget("everybody", limit, Window::Total);
    let (spent, acknowledged, begun) = (AtomicI64::new(0), AtomicI64::new(0), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (bench, shared, spent, acknowledged, begun) =
                (&bench, &shared, &spent, &acknowledged, &begun);
            scope.spawn(move || {
                for turn in 0..EACH {
                    let number = thread * EACH + turn;
                    let own = budget(&format!("key_{}", number % 5), 1_000_000, Window::Day);
                    // In either order: nobody waits for the other crosswise.
                    let both = if turn % 2 == 0 { [own, shared.clone()] } else { [shared.clone(), own] };
                    let Ok(held) = bench.ledger.reserve(&both, usd(50), START) else { continue };
                    let mut attempt = bench.ledger.begin(intent(number, 1, START), held, false).unwrap();
                    attempt.progress(300, START);
                    let charge = (number % 50) as i64;
                    begun.fetch_add(1, Ordering::SeqCst);
                    spent.fetch_add(charge, Ordering::SeqCst);
                    if turn % 3 == 0 {
                        let failed = Settlement { charge: Some(usd(charge)), ..refused(START) };
                        attempt.fail(failed).1.unwrap();
                    } else {
                        attempt.settle(completed(number, START, charge)).unwrap();
                    }
                    acknowledged.fetch_add(charge, Ordering::SeqCst);
                }
            });
        }
        let (bench, acknowledged) = (&bench, &acknowledged);
        scope.spawn(move || {
            for _ in 0..20 {
                let known = acknowledged.load(Ordering::SeqCst);
                let killed = bench.after_kill();
                assert!(killed.balance("everybody/total").0 >= known, "acknowledged and lost");
                let (held, spent) = bench.balance("everybody/total");
                assert!(held + spent <= limit);
            }
        });
    });
    let spent = spent.load(Ordering::SeqCst);
    assert_eq!(bench.balance("everybody/total"), (spent, 0));
    assert!(spent > limit - 50, "the limit was reached: {spent}");
    let store = Store::new();
    bench.drain_to_now(&store);
    assert_eq!(store.rows.lock().entries.len() as u64, begun.load(Ordering::SeqCst));
    assert_eq!(store.spent(), bench.spent());
    assert_eq!(bench.after_kill().spent(), bench.spent());
}

#[test]
fn one_write_serves_many() {
    let bench = Bench::new();
    let before = bench.disk.writes();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let bench = &bench;
            scope.spawn(move || (0..EACH).for_each(|turn| bench.whole(thread * EACH + turn, 1)));
        }
    });
    let writes = bench.disk.writes() - before;
    assert!(writes <= THREADS * EACH * 2 + 200, "{writes} writes");
    assert_eq!(bench.ledger.depth().records, THREADS * EACH);
}

/// A record comes, and its segment is closed, while a sync of it runs: the sync had not seen the record.
#[test]
fn a_segment_that_is_closed_while_it_is_synced_is_synced_again() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for closed_before in [false, true] {
        let bench = Arc::new(Bench::new());
        bench.whole(0, 1);
        if closed_before {
            bench.ledger.close_segment();
        }
        let happens = bench.clone();
        bench.disk.while_syncing(move || {
            happens.whole(1, 1);
            happens.ledger.close_segment();
            happens.whole(2, 1);
        });
        for _ in 0..2 {
            runtime.block_on(bench.ledger.sync()).unwrap();
        }
        let left = Bench::on(bench.disk.after_power_loss(), START);
        assert_eq!((left.ledger.depth().records, left.recovery.damaged_bytes), (3, 0), "{closed_before}");
    }
}

#[test]
fn what_waited_for_a_sync_is_on_the_device() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // Now and then a segment is closed while a sync of it runs.
    for _ in 0..10 {
        wait_for_syncs(&runtime);
    }
}

fn wait_for_syncs(runtime: &tokio::runtime::Runtime) {
    let bench = Bench::new();
    runtime.block_on(async {
        let mut waiters = tokio::task::JoinSet::new();
        for number in 0..200 {
            bench.whole(number, 1);
            let ledger = bench.ledger.clone();
            waiters.spawn(async move { ledger.sync().await });
        }
        while let Some(done) = waiters.join_next().await {
            done.unwrap().unwrap();
        }
    });
    assert_eq!(Bench::on(bench.disk.after_power_loss(), START).recovery.damaged_bytes, 0);
    let lost = Bench::on(bench.disk.after_power_loss(), START);
    assert_eq!(lost.ledger.depth().records, 200);
}
