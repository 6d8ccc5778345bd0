//! What tasks of one thread say is written together, and until it is written nothing has happened.

use policy::Window;

use super::*;
use crate::disk::memory::Faults;

fn month() -> Vec<(Name, BudgetRule)> {
    vec![budget("key_a", 1_000_000, Window::Month)]
}

#[test]
fn tasks_of_a_thread_share_their_writes() {
    const TASKS: u64 = 40;
    let bench = Bench::new();
    let before = bench.disk.writes();
    let thread = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let running = thread.block_on(async {
        for number in 0..TASKS {
            let ledger = bench.ledger.clone();
            bench.tasks.spawn("test", async move {
                let free = Reservation::none(Currency::USD);
                let (attempt, opening) = ledger.say(intent(number, 1, START), free, false).unwrap();
                runtime::others_first().await;
                opening.write(&attempt).unwrap();
                let ended = attempt.say(completed(number, START, 1));
                runtime::others_first().await;
                ended.write().unwrap();
            });
        }
        bench.tasks.drained(Duration::from_secs(5)).await
    });
    assert_eq!(running, Vec::<&str>::new());
    let writes = bench.disk.writes() - before;
    assert!(writes < 10, "{writes} writes");
    let store = Store::new();
    bench.after_kill().drain_to_now(&store);
    assert_eq!(store.rows.lock().entries.len() as u64, TASKS);
}

#[test]
fn what_is_said_counts_from_when_it_is_written() {
    let bench = Bench::new();
    let held = bench.ledger.reserve(&month(), usd(9_000), START).unwrap();
    let (attempt, opening) = bench.ledger.say(intent(1, 1, START), held, false).unwrap();
    assert_eq!(bench.after_kill().recovery.open_intents_settled, 0);
    opening.write(&attempt).unwrap();
    assert_eq!(bench.after_kill().recovery.open_intents_settled, 1);
    let ended = attempt.say(completed(1, START, 70));
    assert_eq!(bench.after_kill().recovery.open_intents_settled, 1);
    ended.write().unwrap();
    let killed = bench.after_kill();
    assert_eq!((killed.recovery.open_intents_settled, killed.balance("key_a/month")), (0, (70, 0)));
}

/// A task may be dropped at the place where it lets others go first.
#[test]
fn whoever_is_dropped_between_saying_and_writing_has_written() {
    let bench = Bench::new();
    let (attempt, opening) = bench.ledger.say(intent(1, 1, START), bench.free(), false).unwrap();
    drop(attempt.say(completed(1, START, 70)));
    drop(opening);
    let (attempt, opening) = bench.ledger.say(intent(2, 1, START), bench.free(), false).unwrap();
    drop((opening, attempt));
    let killed = bench.after_kill();
    assert_eq!(killed.recovery.open_intents_settled, 0);
    let store = Store::new();
    killed.drain_to_now(&store);
    assert_eq!(store.rows.lock().entries.len(), 2);
}

#[test]
fn an_intent_that_cannot_be_written_was_never_said() {
    let bench = Bench::new();
    let held = bench.ledger.reserve(&month(), usd(9_000), START).unwrap();
    let other = bench.ledger.reserve(&month(), usd(900), START).unwrap();
    let (first, opening) = bench.ledger.say(intent(1, 1, START), held, false).unwrap();
    let (second, unwritten) = bench.ledger.say(intent(2, 1, START), other, false).unwrap();
    bench.disk.set(Faults { fail_write_every: Some(1), no_create: true, ..Faults::default() });
    assert!(opening.write(&first).is_err());
    // Whoever learns of it and whoever is dropped before.
    drop(first);
    drop(second);
    drop(unwritten);
    assert_eq!(bench.balance("key_a/month"), (0, 0));
    assert_eq!(bench.ledger.depth().open_attempts, 0);
    bench.disk.set(Faults::default());
    bench.retry();
    bench.whole(3, 5);
    let store = Store::new();
    bench.drain_to_now(&store);
    let rows = store.rows.lock();
    assert_eq!(rows.entries.keys().map(|key| key.0).collect::<Vec<_>>(), [id(3)]);
}
