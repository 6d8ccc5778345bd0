//! Records to drain, each with figures of its own, and what they add up to by plain arithmetic.

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::{Basis, Drained, Entry, EntryKind, Labels, Outcome, RequestLog};
use policy::{Currency, KeyId, Money, Name, RequestId, Timestamp, Usage};

use crate::stand::noon;

pub(crate) const MINUTE: i64 = 60_000_000;
pub(crate) const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

pub(crate) fn at(micros_after_noon: i64) -> Timestamp {
    Timestamp::from_micros(noon().as_micros() + micros_after_noon)
}

pub(crate) fn usd(nano: i64) -> Option<Money> {
    Some(Money { currency: Currency::USD, nano })
}

/// The id of the request `n` that came at `at`.
pub(crate) fn id(n: u32, at: Timestamp) -> RequestId {
    let mut random = [0; 10];
    random[2..6].copy_from_slice(&n.to_be_bytes());
    RequestId::v7(at, random)
}

pub(crate) fn labels(key: u32) -> Arc<Labels> {
    Arc::new(Labels {
        organization: "local".into(),
        workspace: "default".into(),
        environment: "dev".into(),
        layer: "development".into(),
        region: "local".into(),
        release: 1,
        variant: None,
        prompt_version: None,
        key_id: KeyId(format!("key_{key:020}").into()),
        key_name: format!("app{key}").into(),
    })
}

/// A completed call, `n` milliseconds after noon, of one of three keys; it costs `n` nano.
pub(crate) fn entry(n: u32) -> Entry {
    let labels = labels(n % 3);
    let began = at(i64::from(n) * 1000);
    Entry {
        request_id: id(n, began),
        attempt_no: 1,
        kind: EntryKind::Settle,
        seq: 0,
        at: began,
        settled_at: began,
        provider: "openai".into(),
        model: "openai/gpt-5-mini".into(),
        endpoint: "chat".into(),
        end_user: None,
        session: None,
        tags: Vec::new(),
        outcome: Outcome::Completed,
        usage: Usage {
            input: Some(u64::from(n) * 2),
            cached_input: Some(u64::from(n)),
            output: Some(7),
            ..Usage::default()
        },
        basis: Basis::Reported,
        estimated: false,
        cost: usd(i64::from(n)),
        charge: usd(i64::from(n)),
        price_version: Some("2026-11-22".into()),
        budgets: vec![(scope(&labels, "monthly"), Timestamp::from_micros(1_793_491_200_000_000))],
        overrun: false,
        labels,
    }
}

pub(crate) fn scope(labels: &Labels, budget: &str) -> Name {
    format!("{}/{budget}", labels.key_id).into()
}

/// The line of the log of the same request.
pub(crate) fn log(n: u32) -> RequestLog {
    log_at(n, at(i64::from(n) * 1000))
}

pub(crate) fn log_at(n: u32, at: Timestamp) -> RequestLog {
    RequestLog {
        request_id: id(n, at),
        at,
        labels: labels(n % 3),
        endpoint: "chat".into(),
        model_asked: "chat".into(),
        model_answered: Some("openai/gpt-5-mini".into()),
        provider: "openai".into(),
        status: if n.is_multiple_of(5) { 429 } else { 200 },
        error_code: None,
        attempts: 1,
        stream: n.is_multiple_of(2),
        usage: Usage::default(),
        cost: usd(i64::from(n)),
        estimated: false,
        first_byte_us: None,
        duration_us: 1000,
        gateway_us: 50,
        end_user: None,
        session: None,
        tags: Vec::new(),
        upstream_request_id: None,
        finish_reason: None,
        bodies: None,
    }
}

pub(crate) fn entries(numbers: impl IntoIterator<Item = u32>) -> Vec<Drained> {
    numbers.into_iter().map(|n| Drained::Entry(entry(n))).collect()
}

pub(crate) fn logs(numbers: impl IntoIterator<Item = u32>) -> Vec<Drained> {
    numbers.into_iter().map(|n| Drained::Request(log(n))).collect()
}

/// Both records of each request.
pub(crate) fn requests(numbers: impl IntoIterator<Item = u32>) -> Vec<Drained> {
    numbers.into_iter().flat_map(|n| [Drained::Entry(entry(n)), Drained::Request(log(n))]).collect()
}

/// What the balances must be after each of these entries was counted once.
pub(crate) fn expected_balances(entries: &[&Entry]) -> Vec<(Name, Timestamp, Money)> {
    let mut sums: BTreeMap<(Name, Timestamp, Currency), i64> = BTreeMap::new();
    for entry in entries {
        let Some(charge) = entry.charge else { continue };
        for (scope, start) in &entry.budgets {
            *sums.entry((scope.clone(), *start, charge.currency)).or_default() += charge.nano;
        }
    }
    let money = |((scope, start, currency), nano)| (scope, start, Money { currency, nano });
    sums.into_iter().map(money).collect()
}
