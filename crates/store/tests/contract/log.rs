//! The request log: pages, filters, days.

use std::sync::Arc;
use std::time::Duration;

use ledger::{Bodies, Drain, Drained, Labels, RequestLog};
use policy::{Name, Usage};
use store::{LogFilter, Store};

use crate::samples::{DAY, HOUR, at, id, labels, log, log_at, logs, usd};
use crate::stand::Stand;

async fn lines(store: &Store, filter: LogFilter) -> Vec<RequestLog> {
    store.logs(&filter).await.unwrap()
}

pub(crate) async fn a_line_comes_back_as_it_went_in(stand: &Stand) {
    let some = |text: &str| Some(Name::from(text));
    let full = RequestLog {
        labels: Arc::new(Labels {
            variant: some("b"),
            prompt_version: some("greeting@3"),
            release: 12,
            ..(*labels(4)).clone()
        }),
        status: 499,
        error_code: some("client_gone"),
        attempts: 3,
        stream: true,
        usage: Usage {
            input: Some(1),
            cached_input: Some(2),
            cache_write: Some(3),
            output: Some(4),
            reasoning: Some(5),
            audio_input: Some(6),
            audio_output: Some(7),
            images: Some(8),
            ..Usage::default()
        },
        cost: usd(-5),
        estimated: true,
        first_byte_us: Some(0),
        end_user: some("ann"),
        session: some("s-1"),
        tags: vec![("team".into(), "red \"quoted\"".into()), ("tier".into(), "".into())],
        upstream_request_id: some("req_1"),
        finish_reason: some("stop"),
        bodies: Some(Bodies { request: "{}".into(), response: "[1]".into(), truncated: true }),
        ..log(1)
    };
    let bare = RequestLog { model_answered: None, cost: None, provider: "".into(), ..log(2) };
    stand.store.drain(&[Drained::Request(full.clone()), Drained::Request(bare.clone())]).await.unwrap();
    assert_eq!(lines(&stand.store, LogFilter::default()).await, [bare, full.clone()]);
    assert_eq!(stand.store.find_log(&full.request_id).await.unwrap(), Some(full));
    assert_eq!(stand.store.find_log(&id(9, at(0))).await.unwrap(), None);
    assert_eq!(stand.store.find_log(&id(9, at(9 * DAY))).await.unwrap(), None);
}

/// 5,000 lines over five days.
async fn fill(store: &Store) -> Vec<RequestLog> {
    let all: Vec<RequestLog> = (0..5000).map(|n| log_at(n, at(i64::from(n) * 86_400_000))).collect();
    for batch in all.chunks(1000) {
        let batch: Vec<Drained> = batch.iter().cloned().map(Drained::Request).collect();
        store.drain(&batch).await.unwrap();
    }
    all
}

pub(crate) async fn pages_meet_without_gap_or_overlap(stand: &Stand) {
    let mut wanted = fill(&stand.store).await;
    wanted.reverse();
    for limit in [700, 1000] {
        let mut read = Vec::new();
        let mut filter = LogFilter { limit, ..LogFilter::default() };
        loop {
            let page = lines(&stand.store, filter.clone()).await;
            assert!(page.len() <= limit);
            let Some(last) = page.last() else { break };
            filter.before = Some(last.request_id);
            read.extend(page);
        }
        assert_eq!(read.len(), 5000);
        assert!(read == wanted, "the pages are not the log");
    }
    assert_eq!(lines(&stand.store, LogFilter { limit: 9999, ..LogFilter::default() }).await.len(), 1000);
}

pub(crate) async fn following_misses_nothing(stand: &Stand) {
    let all = fill(&stand.store).await;
    let mut filter = LogFilter { limit: 900, after: Some(all[99].request_id), ..LogFilter::default() };
    let mut read = Vec::new();
    loop {
        let page = lines(&stand.store, filter.clone()).await;
        let Some(first) = page.first() else { break };
        filter.after = Some(first.request_id);
        read.extend(page.into_iter().rev());
    }
    assert!(read == all[100..], "following is not the log");
    stand.store.drain(&[Drained::Request(log_at(9000, at(6 * DAY)))]).await.unwrap();
    assert_eq!(lines(&stand.store, filter).await.len(), 1);
}

pub(crate) async fn filters_hold_together(stand: &Stand) {
    let all = fill(&stand.store).await;
    let count = async |filter: LogFilter| lines(&stand.store, filter).await.len();
    let any = LogFilter { since: Some(all[1000].at), until: Some(all[1300].at), ..LogFilter::default() };
    assert_eq!(count(any.clone()).await, 300);
    assert_eq!(count(LogFilter { key: Some("app1".into()), ..any.clone() }).await, 100);
    assert_eq!(count(LogFilter { key: Some(labels(2).key_id.to_string()), ..any.clone() }).await, 100);
    assert_eq!(count(LogFilter { status: Some(429), ..any.clone() }).await, 60);
    assert_eq!(count(LogFilter { model: Some("chat".into()), ..any.clone() }).await, 300);
    assert_eq!(count(LogFilter { model: Some("openai/gpt-5-mini".into()), ..any.clone() }).await, 300);
    assert_eq!(count(LogFilter { model: Some("none".into()), ..any.clone() }).await, 0);
    assert_eq!(count(LogFilter { environment: Some("prod".into()), ..any.clone() }).await, 0);
    let both = LogFilter {
        key: Some("app0".into()),
        status: Some(429),
        environment: Some("dev".into()),
        ..any.clone()
    };
    assert_eq!(count(both).await, 20);
    let page = lines(&stand.store, LogFilter { before: Some(all[1100].request_id), limit: 5, ..any }).await;
    assert_eq!(page, [1099, 1098, 1097, 1096, 1095].map(|n: usize| all[n].clone()));
}

pub(crate) async fn a_batch_across_midnight_lies_in_two_days(stand: &Stand) {
    let midnight = 12 * HOUR;
    let batch: Vec<RequestLog> =
        (0..20).map(|n| log_at(n, at(midnight + (i64::from(n) - 10) * 1000))).collect();
    let records: Vec<Drained> = batch.iter().cloned().map(Drained::Request).collect();
    for _ in 0..2 {
        stand.store.drain(&records).await.unwrap();
        let mut read = lines(&stand.store, LogFilter::default()).await;
        read.reverse();
        assert_eq!(read, batch);
    }
    // Two days: when the first is dropped, the second is left.
    stand.hand.set(at(midnight + DAY / 2));
    let dropped = stand.store.retain(Duration::ZERO).await.unwrap();
    assert_eq!(dropped, ["2026-11-22"]);
    assert_eq!(lines(&stand.store, LogFilter::default()).await.len(), 10);
}

pub(crate) async fn old_days_are_dropped_whole(stand: &Stand) {
    let store = &stand.store;
    fill(store).await;
    stand.hand.set(at(4 * DAY));
    assert!(store.retain(Duration::from_secs(30 * 86_400)).await.unwrap().is_empty());
    assert_eq!(store.retain(Duration::from_secs(2 * 86_400)).await.unwrap(), ["2026-11-22", "2026-11-23"]);
    assert!(store.retain(Duration::from_secs(2 * 86_400)).await.unwrap().is_empty());
    let oldest = LogFilter { until: Some(at(2 * DAY)), ..LogFilter::default() };
    assert_eq!(lines(store, oldest).await.len(), 500);
    // A line that comes late is taken, and its day dropped again.
    store.drain(&logs([1])).await.unwrap();
    assert_eq!(store.retain(Duration::from_secs(2 * 86_400)).await.unwrap(), ["2026-11-22"]);
    if !stand.is_postgres() {
        // One data folder serves one process.
        return;
    }
    // Another node drops a day behind this one's back.
    let other = stand.again().await.unwrap();
    store.drain(&logs([1])).await.unwrap();
    other.retain(Duration::from_secs(2 * 86_400)).await.unwrap();
    store.drain(&logs([1, 2])).await.unwrap();
    assert_eq!(store.find_log(&log(2).request_id).await.unwrap(), Some(log(2)));
    other.close().await;
}
