//! A wall clock that is set forward and back by an hour: nothing is lost, and no window begins anew.

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);
const LIMIT: i64 = 300_000;

fn hour(scope: &str) -> Vec<(Name, BudgetRule)> {
    vec![budget(scope, LIMIT, Window::Hour)]
}

/// Numbers from a seed (splitmix64).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Requests at every moment of an hour and of its neighbours, in the order in which a bad clock brings them.
#[test]
fn a_clock_that_is_set_by_an_hour_loses_nothing_and_resets_nothing() {
    let rounds = if std::env::var_os("TIDEGATE_SOAK").is_some() { 100_000 } else { 4_000 };
    let (mut bench, store) = (Bench::new(), Store::new());
    let (mut state, mut steps, mut refused, mut number) = (38, 0_u64, 0_u64, 0);
    // The reference: what each window has been charged.
    let mut spent: BTreeMap<Timestamp, i64> = BTreeMap::new();
    let mut true_now = START;
    let (mut offset, mut kills) = (0_i64, 0_u64);
    for _ in 0..rounds {
        match next(&mut state) % 40 {
            0 => {
                (offset, steps) =
                    (3_600_000_000 * (i64::try_from(next(&mut state) % 3).unwrap() - 1), steps + 1);
            }
            1 => true_now = true_now.plus(Duration::from_secs(next(&mut state) % 120)),
            2 if next(&mut state).is_multiple_of(4) => (bench, kills) = (bench.after_kill(), kills + 1),
            _ => {}
        }
        let now = Timestamp::from_micros(true_now.as_micros() + offset);
        bench.hand.set(now);
        let amount = i64::try_from(next(&mut state) % 900).unwrap();
        let window = spent.entry(Window::Hour.start(now)).or_insert(0);
        match bench.ledger.reserve(&hour("key_a"), usd(amount), now) {
            Ok(held) => {
                assert!(*window + amount <= LIMIT, "{now}: {window} and {amount} of {LIMIT}");
                number += 1;
                let attempt = bench.ledger.begin(intent(number, 1, now), held, false).unwrap();
                attempt.settle(completed(number, now, amount)).unwrap();
                *window += amount;
            }
            Err(_) => {
                assert!(*window + amount > LIMIT, "{now}: {window} and {amount} of {LIMIT} were refused");
                refused += 1;
            }
        }
        // Long after, nobody can come back to it.
        spent.retain(|start, _| start.plus(4 * HOUR) > true_now);
    }
    bench.drain_to_now(&store);
    let (entries, logged, _) = store.counts();
    fakes::figures::told(
        "clock-set",
        format!(
            "{steps} steps of an hour and {kills} kills: {} of {number} entries lost, 0 windows begun anew ({refused} refusals, each of them due)",
            number - entries as u64
        ),
        "0, 0",
    );
    assert_eq!((entries as u64, logged as u64), (number, number));
}

/// Where there are very many balances those that are over make room, but not those that are over only by a bad clock.
#[test]
fn a_balance_is_not_forgotten_for_a_clock_that_is_an_hour_ahead() {
    let bench = Bench::new();
    let spend = |number, at, nano| {
        let held = bench.ledger.reserve(&hour("key_a"), usd(nano), at).unwrap();
        bench
            .ledger
            .begin(intent(number, 1, at), held, false)
            .unwrap()
            .settle(completed(number, at, nano))
            .unwrap();
    };
    spend(1, START, 9 * LIMIT / 10);
    for user in 0..90_000 {
        drop(bench.ledger.reserve(&hour(&format!("user_{user}")), usd(1), START).unwrap());
    }
    // Room is made once a second, where the one who asks is at home.
    for second in 0..300 {
        let ahead = START.plus(HOUR).plus(Duration::from_secs(second));
        drop(bench.ledger.reserve(&hour(&format!("other_{second}")), usd(1), ahead).unwrap());
    }
    assert!(
        bench.ledger.reserve(&hour("key_a"), usd(LIMIT / 10 + 1), START).is_err(),
        "the window began anew"
    );
    // Once it is truly over it goes.
    let before = bench.ledger.balances().len();
    for second in 0..300 {
        let later = START.plus(3 * HOUR).plus(Duration::from_secs(second));
        drop(bench.ledger.reserve(&hour(&format!("later_{second}")), usd(1), later).unwrap());
    }
    assert!(bench.ledger.balances().len() < before / 2, "nothing made room");
}
