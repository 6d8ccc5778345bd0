//! The columns of `entries`, in the order of `statements/text.rs`.
//!
//! Words (`kind`, `outcome`, `basis`) are kept as text, so that a person who reads the table needs no code book. They
//! are shared texts, made once: binding one is a count, not a copy.

use std::sync::{Arc, LazyLock};

use ledger::{Basis, Entry, EntryKind, Outcome};
use policy::{Money, Name, Timestamp, Usage};

use crate::value::Value;

/// How many values an entry has.
pub(crate) const WIDTH: usize = 40;

struct Words {
    settle: Name,
    void: Name,
    outcomes: [Name; 5],
    bases: [Name; 6],
    no_budgets: Name,
}

static WORDS: LazyLock<Words> = LazyLock::new(|| Words {
    settle: "settle".into(),
    void: "void".into(),
    outcomes: ["completed", "client_gone", "upstream_failed", "refused", "never_dispatched"].map(Name::from),
    bases: ["reported", "aborted", "interrupted", "crashed", "dropped", "unreported"].map(Name::from),
    no_budgets: "[]".into(),
});

fn kind(kind: EntryKind) -> &'static Name {
    match kind {
        EntryKind::Settle => &WORDS.settle,
        EntryKind::Void => &WORDS.void,
    }
}

fn outcome(outcome: Outcome) -> &'static Name {
    &WORDS.outcomes[match outcome {
        Outcome::Completed => 0,
        Outcome::ClientGone => 1,
        Outcome::UpstreamFailed => 2,
        Outcome::Refused => 3,
        Outcome::NeverDispatched => 4,
    }]
}

fn basis(basis: Basis) -> &'static Name {
    &WORDS.bases[match basis {
        Basis::Reported => 0,
        Basis::Aborted => 1,
        Basis::Interrupted => 2,
        Basis::Crashed => 3,
        Basis::Dropped => 4,
        Basis::Unreported => 5,
    }]
}

/// Appends the values of an entry.
pub(crate) fn push(values: &mut Vec<Value>, entry: &Entry) {
    values.extend([
        Value::from(&entry.request_id),
        Value::from(entry.attempt_no),
        Value::from(kind(entry.kind)),
        Value::from(entry.seq),
        Value::from(entry.at),
        Value::from(entry.settled_at),
    ]);
    push_labels(values, &entry.labels);
    values.extend([
        Value::from(&entry.provider),
        Value::from(&entry.model),
        Value::from(&entry.endpoint),
        Value::from(&entry.end_user),
        Value::from(&entry.session),
        tags(&entry.tags),
        Value::from(outcome(entry.outcome)),
    ]);
    push_usage(values, &entry.usage);
    values.extend([Value::from(basis(entry.basis)), Value::from(entry.estimated)]);
    push_money(values, entry.cost);
    push_money(values, entry.charge);
    values.extend([
        Value::from(&entry.price_version),
        Value::Text(budgets(&entry.budgets)),
        Value::from(entry.overrun),
    ]);
}

pub(crate) fn push_labels(values: &mut Vec<Value>, labels: &ledger::Labels) {
    values.extend([
        Value::from(&labels.organization),
        Value::from(&labels.workspace),
        Value::from(&labels.environment),
        Value::from(&labels.layer),
        Value::from(&labels.region),
        Value::from(labels.release),
        Value::from(&labels.variant),
        Value::from(&labels.prompt_version),
        Value::from(&labels.key_id),
        Value::from(&labels.key_name),
    ]);
}

pub(crate) fn push_usage(values: &mut Vec<Value>, usage: &Usage) {
    values.extend([
        Value::from(usage.input),
        Value::from(usage.cached_input),
        Value::from(usage.cache_write),
        Value::from(usage.output),
        Value::from(usage.reasoning),
        Value::from(usage.audio_input),
        Value::from(usage.audio_output),
        Value::from(usage.images),
    ]);
}

/// An amount and its currency: two columns.
pub(crate) fn push_money(values: &mut Vec<Value>, money: Option<Money>) {
    match money {
        Some(money) => values.extend([Value::Int(money.nano), Value::Text(code(money.currency))]),
        None => values.extend([Value::NoInt, Value::NoText]),
    }
}

/// A currency's code as a shared text: nearly all records have the same one.
fn code(currency: policy::Currency) -> Name {
    static USD: LazyLock<Name> = LazyLock::new(|| policy::Currency::USD.as_str().into());
    if currency == policy::Currency::USD { USD.clone() } else { currency.as_str().into() }
}

/// `{"team":"red"}`; absent when there are none.
pub(crate) fn tags(tags: &[(Name, Name)]) -> Value {
    if tags.is_empty() {
        return Value::NoText;
    }
    let map: serde_json::Map<String, serde_json::Value> =
        tags.iter().map(|(tag, value)| (tag.to_string(), value.as_ref().into())).collect();
    Value::from(serde_json::Value::Object(map).to_string())
}

/// `[["key_…/monthly",1761955200000000]]`: the windows that the charge was taken from.
fn budgets(budgets: &[(Name, Timestamp)]) -> Name {
    if budgets.is_empty() {
        return WORDS.no_budgets.clone();
    }
    let pairs: Vec<serde_json::Value> =
        budgets.iter().map(|(scope, start)| serde_json::json!([scope.as_ref(), start.as_micros()])).collect();
    Arc::from(serde_json::Value::Array(pairs).to_string())
}
