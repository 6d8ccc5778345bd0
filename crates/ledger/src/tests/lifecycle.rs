//! One attempt, one terminal entry; money held and money spent.

use policy::Window;

use super::*;
use crate::Spent;

const SCOPE: &str = "key_a/month";

fn month(nano: i64) -> Vec<(Name, BudgetRule)> {
    vec![budget("key_a", nano, Window::Month)]
}

#[test]
fn a_charge_moves_from_held_to_spent_and_the_rest_is_free() {
    let bench = Bench::new();
    let held = bench.ledger.reserve(&month(1_000), usd(600), START).unwrap();
    assert_eq!(bench.balance(SCOPE), (0, 600));
    let attempt = bench.ledger.begin(intent(1, 1, START), held, false).unwrap();
    attempt.settle(completed(1, START, 450)).unwrap();
    assert_eq!(bench.balance(SCOPE), (450, 0));
}

#[test]
fn a_budget_refuses_what_it_has_not_and_says_why() {
    let bench = Bench::new();
    let _held = bench.ledger.reserve(&month(1_000), usd(600), START).unwrap();
    let refusal = bench.ledger.reserve(&month(1_000), usd(401), START).unwrap_err();
    let expected = Spent {
        scope: SCOPE.into(),
        is_ceiling: false,
        budget: "month".into(),
        spent: usd(0),
        reserved: usd(600),
        limit: usd(1_000),
        wanted: usd(401),
        resets: Some("2026-12-01T00:00:00.000Z".parse().unwrap()),
        elsewhere: usd(0),
        away: usd(0),
        waits: false,
    };
    assert_eq!(*refusal, expected);
    assert!(bench.ledger.reserve(&month(1_000), usd(400), START).is_ok());
}

#[test]
fn all_budgets_give_or_none_does() {
    let bench = Bench::new();
    let both = [budget("key_a", 1_000, Window::Month), budget("key_a", 100, Window::Day)];
    assert!(bench.ledger.reserve(&both, usd(101), START).is_err());
    assert_eq!(bench.balance(SCOPE), (0, 0));
    let held = bench.ledger.reserve(&both, usd(100), START).unwrap();
    assert_eq!((bench.balance(SCOPE), bench.balance("key_a/day")), ((0, 100), (0, 100)));
    drop(held);
    assert_eq!((bench.balance(SCOPE), bench.balance("key_a/day")), ((0, 0), (0, 0)));
}

#[test]
fn one_scope_named_twice_is_held_once_by_the_stricter_rule() {
    let bench = Bench::new();
    let mut twice = month(1_000);
    twice.extend(month(500));
    assert!(bench.ledger.reserve(&twice, usd(501), START).is_err());
    let held = bench.ledger.reserve(&twice, usd(500), START).unwrap();
    assert_eq!(bench.balance(SCOPE), (0, 500));
    drop(held);
    assert_eq!(bench.balance(SCOPE), (0, 0));
}

#[test]
fn another_currency_is_refused_but_nothing_costs_nothing() {
    let bench = Bench::new();
    let yuan = |nano| Money { currency: Currency::CNY, nano };
    assert!(bench.ledger.reserve(&month(1_000), yuan(1), START).is_err());
    let held = bench.ledger.reserve(&month(1_000), yuan(0), START).unwrap();
    let attempt = bench.ledger.begin(intent(1, 1, START), held, false).unwrap();
    let settlement = Settlement { charge: Some(yuan(5)), ..completed(1, START, 0) };
    attempt.settle(settlement).unwrap();
    assert_eq!(bench.balance(SCOPE), (0, 0));
}

#[test]
fn a_failed_attempt_leaves_its_reservation_to_the_next() {
    let bench = Bench::new();
    let held = bench.ledger.reserve(&month(1_000), usd(600), START).unwrap();
    let first = bench.ledger.begin(intent(1, 1, START), held, false).unwrap();
    let (held, done) = first.fail(Settlement { charge: Some(usd(50)), ..refused(START) });
    done.unwrap();
    assert_eq!((bench.balance(SCOPE), held.amount()), ((50, 550), usd(550)));
    let second = bench.ledger.begin(intent(1, 2, START), held, false).unwrap();
    second.settle(completed(1, START, 300)).unwrap();
    assert_eq!(bench.balance(SCOPE), (350, 0));
}

#[test]
fn an_extension_needs_room_and_a_higher_charge_is_an_overrun() {
    let bench = Bench::new();
    let held = bench.ledger.reserve(&month(1_000), usd(600), START).unwrap();
    let mut attempt = bench.ledger.begin(intent(1, 1, START), held, false).unwrap();
    assert!(attempt.extend(usd(401), START).is_err());
    attempt.extend(usd(400), START).unwrap();
    assert_eq!(bench.balance(SCOPE), (0, 1_000));
    attempt.settle(completed(1, START, 1_200)).unwrap();
    assert_eq!(bench.balance(SCOPE), (1_200, 0));
    let store = Store::new();
    bench.drain_to_now(&store);
    assert!(store.rows.lock().entries.values().all(|entry| entry.overrun));
    assert!(bench.ledger.reserve(&month(1_000), usd(0), START).is_err());
}

#[test]
fn a_settlement_goes_to_the_window_in_which_it_was_reserved() {
    let bench = Bench::new();
    let hour = [budget("key_a", 1_000, Window::Hour)];
    let held = bench.ledger.reserve(&hour, usd(1_000), START).unwrap();
    let attempt = bench.ledger.begin(intent(1, 1, START), held, false).unwrap();
    // Four hours later: the old window is kept while somebody will settle there.
    let mut later = START;
    for _ in 0..4 {
        later = later.plus(Duration::from_secs(3_600));
        let _ = bench.ledger.reserve(&hour, usd(1_000), later).unwrap();
    }
    attempt.settle(completed(1, later, 700)).unwrap();
    let first = Window::Hour.start(START);
    assert_eq!(bench.spent(), BTreeMap::from([(("key_a/hour".into(), first), 700)]));
    // Once nobody holds it and three newer ones exist, it goes.
    let _ = bench.ledger.reserve(&hour, usd(1), later.plus(Duration::from_secs(3_600))).unwrap();
    assert!(bench.spent().is_empty());
    assert_eq!(bench.ledger.balances().len(), 3);
}

#[test]
fn a_clock_that_steps_back_finds_the_old_window_as_it_was() {
    let bench = Bench::new();
    let hour = [budget("key_a", 1_000, Window::Hour)];
    let held = bench.ledger.reserve(&hour, usd(900), START).unwrap();
    bench.ledger.begin(intent(1, 1, START), held, false).unwrap().settle(completed(1, START, 900)).unwrap();
    let later = START.plus(Duration::from_secs(3_600));
    assert!(bench.ledger.reserve(&hour, usd(1_000), later).is_ok());
    assert!(bench.ledger.reserve(&hour, usd(101), START).is_err(), "the old window must not be reset");
}

#[test]
fn an_attempt_that_nobody_ends_is_ended_from_what_it_had_seen() {
    let bench = Bench::new();
    let held = bench.ledger.reserve(&month(10_000), usd(3_000), START).unwrap();
    let mut attempt = bench.ledger.begin(intent(1, 1, START), held, false).unwrap();
    attempt.progress(31, START.plus(Duration::from_millis(500)));
    drop(attempt);
    // 100 estimated input tokens at 1, 31 output tokens at 10.
    assert_eq!(bench.balance(SCOPE), (410, 0));
    let store = Store::new();
    bench.drain_to_now(&store);
    let rows = store.rows.lock();
    let entry = rows.entries.values().next().unwrap();
    assert_eq!((entry.basis, entry.estimated, entry.charge), (Basis::Dropped, true, Some(usd(410))));
    let log = &rows.requests[&id(1)];
    assert_eq!((log.status, log.error_code.as_deref(), log.duration_us), (0, Some("dropped"), 500_000));
}

#[test]
fn an_attempt_that_was_never_sent_is_a_void() {
    let bench = Bench::new();
    let attempt = bench.ledger.begin(intent(1, 1, START), bench.free(), false).unwrap();
    let (_, done) = attempt.fail(Settlement { outcome: Outcome::NeverDispatched, ..refused(START) });
    done.unwrap();
    let store = Store::new();
    bench.drain_to_now(&store);
    assert_eq!(store.rows.lock().entries.values().next().unwrap().kind, EntryKind::Void);
}

#[test]
fn what_the_drain_gets_is_what_was_said() {
    let bench = Bench::new();
    let begun = START.plus(Duration::from_millis(3));
    let attempt = bench.ledger.begin(intent(5, 2, begun), bench.free(), false).unwrap();
    let settlement = completed(5, begun, 77);
    attempt.settle(settlement.clone()).unwrap();
    let refused = RequestLog {
        labels: labels("key_b"),
        bodies: Some(crate::Bodies { request: "{}".into(), response: "né".into(), truncated: true }),
        ..log(6, begun, 429)
    };
    bench.ledger.log_request(refused.clone());
    let store = Store::new();
    bench.drain_to_now(&store);
    let rows = store.rows.lock();
    let intent = intent(5, 2, begun);
    let expected = Entry {
        request_id: id(5),
        attempt_no: 2,
        kind: EntryKind::Settle,
        seq: 0,
        at: begun,
        settled_at: begun,
        labels: intent.labels,
        provider: intent.provider,
        model: intent.model,
        endpoint: intent.endpoint,
        end_user: intent.end_user,
        session: intent.session,
        tags: intent.tags,
        outcome: Outcome::Completed,
        usage: settlement.usage,
        basis: Basis::Reported,
        estimated: false,
        cost: Some(usd(77)),
        charge: Some(usd(77)),
        price_version: Some("2026-11-22".into()),
        budgets: Vec::new(),
        overrun: false,
    };
    assert_eq!(rows.entries[&(id(5), 2, EntryKind::Settle, 0)], expected);
    assert_eq!(&rows.requests[&id(5)], settlement.request.as_deref().unwrap());
    assert_eq!(rows.requests[&id(6)], refused);
}

#[test]
fn marks_are_written_by_tokens_or_by_time_and_not_more_often() {
    let bench = Bench::new();
    let mut attempt = bench.ledger.begin(intent(1, 1, START), bench.free(), false).unwrap();
    let writes = bench.disk.writes();
    for tokens in 1..=255 {
        attempt.progress(tokens, START);
    }
    assert_eq!(bench.disk.writes(), writes);
    attempt.progress(256, START);
    assert_eq!(bench.disk.writes(), writes + 1);
    attempt.progress(257, START.plus(Duration::from_secs(2)));
    assert_eq!(bench.disk.writes(), writes + 2);
    // Time alone is no news.
    attempt.progress(257, START.plus(Duration::from_secs(9)));
    assert_eq!(bench.disk.writes(), writes + 2);
}

impl Bench {
    pub(crate) fn drain_to_now(&self, store: &Arc<Store>) {
        block_on(async {
            self.drain_to(store);
            assert!(self.ledger.flush(Duration::from_secs(20)).await, "drained in time");
        });
    }
}
