//! Balances and usage: views over the entries, so what is shown is what was drained, folded or not.

use std::time::Duration;

use ledger::{Drain, Drained, Entry, EntryKind, Labels, Outcome};
use policy::{Currency, Money, Timestamp, Usage};
use std::sync::Arc;
use store::{UsageBy, UsageFilter, UsageRow};

use crate::samples::{DAY, HOUR, at, entries, entry, expected_balances, labels, scope, usd};
use crate::stand::Stand;

const KEEP: Duration = Duration::from_secs(30 * 86_400);

async fn drain(stand: &Stand, entries: impl IntoIterator<Item = Entry>) {
    let batch: Vec<Drained> = entries.into_iter().map(Drained::Entry).collect();
    stand.store.drain(&batch).await.unwrap();
}

async fn usage(stand: &Stand, by: &[UsageBy]) -> Vec<UsageRow> {
    stand.store.usage(&UsageFilter { by: by.to_vec(), ..UsageFilter::default() }).await.unwrap()
}

pub(crate) async fn balances_are_exact_and_by_window_and_currency(stand: &Stand) {
    let (month, day) = (at(-21 * DAY), at(-HOUR * 12));
    let several = |n: u32| {
        let mut entry = entry(n);
        entry.budgets.push((scope(&entry.labels, "daily"), day));
        entry.budgets.push(("team \"red\" \\ blue".into(), month));
        if n.is_multiple_of(4) {
            entry.charge = Some(Money { currency: Currency::CNY, nano: 3 });
        }
        if n.is_multiple_of(7) {
            entry.charge = None;
        }
        entry
    };
    let all: Vec<Entry> = (1..200).map(several).collect();
    drain(stand, all.clone()).await;
    let wanted = expected_balances(&all.iter().collect::<Vec<_>>());
    assert_eq!(wanted.len(), 14);
    assert_eq!(stand.store.balances().await.unwrap(), wanted);
}

pub(crate) async fn balances_of_windows_long_over_are_left_out(stand: &Stand) {
    let windows = [at(-40 * DAY), at(-31 * DAY), at(0), Timestamp::from_micros(0)];
    drain(
        stand,
        [Entry { budgets: windows.iter().map(|window| ("scope".into(), *window)).collect(), ..entry(5) }],
    )
    .await;
    // A month has at most 31 days; a window that began in 1970 is for ever.
    let shown: Vec<Timestamp> =
        stand.store.balances().await.unwrap().iter().map(|(_, start, _)| *start).collect();
    assert_eq!(shown, [windows[3], windows[1], windows[2]]);
}

pub(crate) async fn folding_changes_no_sum(stand: &Stand) {
    let by = [UsageBy::Key, UsageBy::Model, UsageBy::Hour];
    for (from, to) in [(0, 90), (90, 91), (91, 300)] {
        stand.store.drain(&entries(from..to)).await.unwrap();
        let before = (stand.store.balances().await.unwrap(), usage(stand, &by).await);
        // Retention folds; twice, since the second time there is nothing to fold.
        for _ in 0..2 {
            stand.store.retain(KEEP).await.unwrap();
            assert_eq!((stand.store.balances().await.unwrap(), usage(stand, &by).await), before);
        }
    }
    // Records that are folded already count no more than any other that comes again.
    stand.store.drain(&entries(50..310)).await.unwrap();
    stand.store.retain(KEEP).await.unwrap();
    let wanted: Vec<Entry> = (0..310).map(entry).collect();
    assert_eq!(stand.store.balances().await.unwrap(), expected_balances(&wanted.iter().collect::<Vec<_>>()));
    assert_eq!(usage(stand, &[]).await[0].requests, 310);
}

pub(crate) async fn folding_beside_drains_loses_nothing(stand: &Stand) {
    let other = stand.again().await.unwrap();
    for round in 0..15 {
        let (start, middle, end) = (round * 40, round * 40 + 20, round * 40 + 40);
        let (one, two) = (entries(start..middle), entries(middle..end));
        let (a, b, c) = tokio::join!(stand.store.drain(&one), other.drain(&two), stand.store.retain(KEEP));
        a.unwrap();
        b.unwrap();
        c.unwrap();
    }
    other.close().await;
    let wanted: Vec<Entry> = (0..600).map(entry).collect();
    assert_eq!(stand.store.balances().await.unwrap(), expected_balances(&wanted.iter().collect::<Vec<_>>()));
    assert_eq!(usage(stand, &[]).await[0].requests, 600);
}

pub(crate) async fn usage_is_grouped_as_asked(stand: &Stand) {
    let varied = |n: u32| {
        let mut entry = entry(n);
        entry.at = at(i64::from(n % 5) * 7 * HOUR);
        entry.model = if n.is_multiple_of(2) { "openai/gpt-5-mini".into() } else { "local/tiny".into() };
        entry.provider = if n.is_multiple_of(2) { "openai".into() } else { "local".into() };
        entry.end_user = n.is_multiple_of(4).then(|| "ann".into());
        entry
    };
    drain(stand, (0..60).map(varied)).await;
    let sum = |keep: &dyn Fn(u32) -> bool| (0..60).filter(|n| keep(*n)).map(i64::from).sum::<i64>();

    let rows = usage(stand, &[UsageBy::Key]).await;
    assert_eq!(rows.len(), 3);
    for (n, row) in (0..).zip(&rows) {
        assert_eq!(row.key_name.as_deref(), Some(format!("app{n}").as_str()));
        assert_eq!(row.key_id, Some(labels(n).key_id.0.clone()));
        assert_eq!((row.requests, row.cost.nano), (20, sum(&|of| of % 3 == n)));
        assert_eq!((&row.model, &row.provider, row.period, row.release), (&None, &None, None, None));
    }
    let rows = usage(stand, &[UsageBy::Model, UsageBy::Provider]).await;
    let shown: Vec<_> =
        rows.iter().map(|row| (row.model.as_deref(), row.provider.as_deref(), row.cost.nano)).collect();
    assert_eq!(
        shown,
        [
            (Some("local/tiny"), Some("local"), sum(&|n| n % 2 == 1)),
            (Some("openai/gpt-5-mini"), Some("openai"), sum(&|n| n.is_multiple_of(2))),
        ]
    );
    let rows = usage(stand, &[UsageBy::Day]).await;
    // 0, 7, 14, 21, 28 hours after noon.
    let shown: Vec<_> = rows.iter().map(|row| (row.period.unwrap().date(), row.requests)).collect();
    assert_eq!(shown, [("2026-11-22".into(), 24), ("2026-11-23".into(), 36)]);
    let rows = usage(stand, &[UsageBy::Hour, UsageBy::Day]).await;
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[1].period, Some(at(7 * HOUR)));
    let rows = usage(stand, &[UsageBy::EndUser]).await;
    let shown: Vec<_> = rows.iter().map(|row| (row.end_user.as_deref(), row.requests)).collect();
    assert_eq!(shown, [(Some(""), 45), (Some("ann"), 15)]);
    let rows = usage(stand, &[UsageBy::Environment, UsageBy::Release, UsageBy::Endpoint]).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].environment.as_deref(), rows[0].release), (Some("dev"), Some(1)));
    assert_eq!(rows[0].endpoint.as_deref(), Some("chat"));
}

pub(crate) async fn unknown_costs_are_counted_and_never_zero(stand: &Stand) {
    let unknown = |n| Entry { cost: None, charge: None, price_version: None, ..entry(n) };
    let yuan = |n| Entry { cost: Some(Money { currency: Currency::CNY, nano: 11 }), ..entry(n) };
    drain(stand, [entry(3), unknown(6), unknown(9), yuan(12)]).await;
    drain(stand, [Entry { model: "local/new".into(), ..unknown(15) }]).await;
    for _ in 0..2 {
        let rows = usage(stand, &[UsageBy::Model]).await;
        let shown: Vec<_> = rows
            .iter()
            .map(|row| {
                (row.model.as_deref().unwrap(), row.cost.to_string(), row.requests, row.unknown_cost_requests)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("local/new", "0.00 USD".to_owned(), 1, 1),
                ("openai/gpt-5-mini", "0.000000011 CNY".to_owned(), 3, 2),
                ("openai/gpt-5-mini", "0.000000003 USD".to_owned(), 1, 0),
            ]
        );
        stand.store.retain(KEEP).await.unwrap();
    }
}

pub(crate) async fn attempts_that_gave_nothing_are_no_requests(stand: &Stand) {
    let none = Usage::default();
    let refused =
        |n| Entry { outcome: Outcome::Refused, usage: none, cost: usd(0), charge: usd(0), ..entry(n) };
    let second = |n| Entry { attempt_no: 2, estimated: true, ..entry(n) };
    let void =
        |n| Entry { kind: EntryKind::Void, outcome: Outcome::NeverDispatched, usage: none, ..entry(n) };
    let died = |n| Entry { outcome: Outcome::UpstreamFailed, ..entry(n) };
    let silent =
        |n| Entry { outcome: Outcome::UpstreamFailed, usage: none, charge: None, cost: None, ..entry(n) };
    let gone = |n| Entry { outcome: Outcome::ClientGone, usage: none, ..entry(n) };
    drain(stand, [refused(1), second(1), void(2), died(3), silent(4), gone(5)]).await;
    let rows = usage(stand, &[]).await;
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].requests, rows[0].attempts), (3, 5));
    assert_eq!((rows[0].unknown_cost_requests, rows[0].estimated_requests), (0, 1));
}

pub(crate) async fn usage_is_cut_by_time_environment_and_key(stand: &Stand) {
    let elsewhere = Arc::new(Labels { environment: "prod".into(), ..(*labels(8)).clone() });
    let spread = (0..6).map(|n| Entry { at: at(i64::from(n) * HOUR), ..entry(n) });
    drain(stand, spread).await;
    drain(stand, [Entry { labels: elsewhere.clone(), ..entry(100) }]).await;
    let requests = async |filter: UsageFilter| -> u64 {
        stand.store.usage(&filter).await.unwrap().iter().map(|row| row.requests).sum()
    };
    let all = UsageFilter::default();
    let cut = UsageFilter { since: Some(at(2 * HOUR)), until: Some(at(4 * HOUR)), ..all.clone() };
    for _ in 0..2 {
        assert_eq!(requests(all.clone()).await, 7);
        assert_eq!(requests(cut.clone()).await, 2);
        // The hour in which `since` lies counts whole: hours are all that is kept.
        assert_eq!(requests(UsageFilter { since: Some(at(5 * HOUR + 1)), ..all.clone() }).await, 1);
        assert_eq!(requests(UsageFilter { environment: Some("prod".into()), ..all.clone() }).await, 1);
        assert_eq!(requests(UsageFilter { key: Some("app1".into()), ..all.clone() }).await, 2);
        let id = labels(2).key_id.to_string();
        assert_eq!(requests(UsageFilter { key: Some(id), ..all.clone() }).await, 2);
        stand.store.retain(KEEP).await.unwrap();
    }
}
