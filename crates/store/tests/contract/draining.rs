//! The promise that the ledger builds on: a record counts once, however often and in whatever company it comes.

use std::time::Duration;

use ledger::{Drain, Drained, Entry};
use policy::Usage;
use store::{LogFilter, UsageFilter, UsageRow};

use crate::samples::{self, entries, entry, expected_balances, log, requests};
use crate::stand::Stand;

/// Usage of everything, in one row.
async fn total(stand: &Stand) -> UsageRow {
    let rows = stand.store.usage(&UsageFilter::default()).await.unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.into_iter().next().unwrap()
}

/// Balances, usage and log lines are those of the requests `numbers`, each once.
async fn holds(stand: &Stand, numbers: std::ops::Range<u32>) {
    let wanted: Vec<Entry> = numbers.clone().map(entry).collect();
    let wanted: Vec<&Entry> = wanted.iter().collect();
    assert_eq!(stand.store.balances().await.unwrap(), expected_balances(&wanted));
    let row = total(stand).await;
    let sum: u64 = numbers.clone().map(u64::from).sum();
    let count = numbers.len() as u64;
    assert_eq!((row.requests, row.attempts), (count, count));
    assert_eq!((row.input_tokens, row.cached_input_tokens, row.output_tokens), (sum * 2, sum, count * 7));
    assert_eq!(row.cost.nano, i64::try_from(sum).unwrap());
    let mut lines = Vec::new();
    let mut filter = LogFilter::default();
    loop {
        let page = stand.store.logs(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some(last.request_id);
        lines.extend(page);
    }
    let wanted: Vec<_> = numbers.rev().map(log).collect();
    assert_eq!(lines, wanted);
}

pub(crate) async fn a_batch_counts_once_however_often_it_comes(stand: &Stand) {
    let batch = requests(0..333);
    for _ in 0..3 {
        stand.store.drain(&batch).await.unwrap();
        holds(stand, 0..333).await;
    }
    // A store that opened later, and forgot everything, too.
    let again = stand.again().await.unwrap();
    again.drain(&batch).await.unwrap();
    again.close().await;
    holds(stand, 0..333).await;
    stand.store.drain(&[]).await.unwrap();
}

pub(crate) async fn batches_that_overlap_count_each_record_once(stand: &Stand) {
    // Cuts that meet, overlap, contain one another and straddle the sizes of the prepared texts.
    for (from, to) in
        [(0, 100), (50, 150), (149, 214), (0, 300), (299, 301), (63, 65), (290, 420), (7, 8), (0, 420)]
    {
        stand.store.drain(&requests(from..to)).await.unwrap();
    }
    holds(stand, 0..420).await;
}

pub(crate) async fn a_record_twice_in_one_batch_counts_once(stand: &Stand) {
    let mut batch = requests(0..70);
    batch.extend(requests(0..70));
    batch.extend(requests([69, 69, 69]));
    stand.store.drain(&batch).await.unwrap();
    holds(stand, 0..70).await;
}

pub(crate) async fn a_cancelled_drain_leaves_nothing_half_done(stand: &Stand) {
    let batch = requests(0..150);
    // Wherever the time happens to run out, the next attempt finds a store that works and counts right.
    for micros in (0..40).map(|step| step * 150) {
        let _ = tokio::time::timeout(Duration::from_micros(micros), stand.store.drain(&batch)).await;
    }
    stand.store.drain(&batch).await.unwrap();
    holds(stand, 0..150).await;
}

pub(crate) async fn two_drains_at_once_count_each_record_once(stand: &Stand) {
    let other = stand.again().await.unwrap();
    let (one, two) = (requests(0..200), requests(100..300));
    let (a, b, c) = tokio::join!(stand.store.drain(&one), other.drain(&two), stand.store.drain(&two));
    for done in [a, b, c] {
        done.unwrap();
    }
    other.close().await;
    holds(stand, 0..300).await;
}

pub(crate) async fn figures_that_no_provider_can_mean_break_no_sum(stand: &Stand) {
    let liar = |n: u32| Entry {
        usage: Usage { input: Some(u64::MAX), output: Some(1 << 62), ..Usage::default() },
        charge: samples::usd(i64::MAX / 4),
        cost: samples::usd(i64::MAX / 4),
        ..entry(n * 3)
    };
    for n in 1..=6 {
        stand.store.drain(&[Drained::Entry(liar(n))]).await.unwrap();
        // Folded one by one: the stored sums stop short of what an integer holds.
        stand.store.retain(Duration::from_secs(86_400)).await.unwrap();
    }
    assert_eq!(total(stand).await.requests, 6);
    assert_eq!(stand.store.balances().await.unwrap().len(), 1);
}

pub(crate) async fn bytes_that_no_text_may_hold_are_stored_anyway(stand: &Stand) {
    let mut strange = entry(1);
    strange.end_user = Some("a\0b".into());
    strange.tags = vec![("t\0".into(), "\0".into())];
    strange.session = Some("\u{1F980}".into());
    let mut line = log(1);
    line.end_user = strange.end_user.clone();
    line.session = strange.session.clone();
    let mut batch = entries(2..5);
    batch.extend([Drained::Entry(strange), Drained::Request(line)]);
    stand.store.drain(&batch).await.unwrap();
    let lines = stand.store.logs(&LogFilter::default()).await.unwrap();
    assert_eq!(lines[0].end_user.as_deref(), Some("a\u{FFFD}b"));
    assert_eq!(lines[0].session.as_deref(), Some("\u{1F980}"));
    assert_eq!(total(stand).await.requests, 4);
}
