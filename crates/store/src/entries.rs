//! The columns of `entries`, in the order of `statements/text.rs`.
//!
//! Words (`kind`, `outcome`, `basis`) are kept as text, so that a person who reads the table needs no code book. They
//! are shared texts, made once: binding one is a count, not a copy.

use std::sync::LazyLock;

use ledger::{Basis, Entry, EntryKind, Labels, Outcome};
use policy::{Currency, Name, Timestamp, Usage};

use crate::statements::{Bulk, text};
use crate::value::{Value, foreign_or_none};

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

/// What a group of entries has in common: bound once for all of them. Compared by value.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Shared<'a> {
    /// None of them fills a rare column.
    plain: bool,
    place: Place<'a>,
    kind: &'static Name,
    seq: u16,
    endpoint: &'a Name,
    provider: &'a Name,
    model: &'a Name,
    outcome: &'static Name,
    basis: &'static Name,
    estimated: bool,
    cost_currency: Option<Currency>,
    charge_currency: Option<Currency>,
    price_version: Option<&'a Name>,
    overrun: bool,
}

impl<'a> Shared<'a> {
    pub(crate) fn of(entry: &'a Entry) -> Self {
        Self {
            plain: !is_usage_rare(&entry.usage) && !is_marked(&entry.session, &entry.tags),
            place: Place::of(&entry.labels),
            kind: kind(entry.kind),
            seq: entry.seq,
            endpoint: &entry.endpoint,
            provider: &entry.provider,
            model: &entry.model,
            outcome: outcome(entry.outcome),
            basis: basis(entry.basis),
            estimated: entry.estimated,
            cost_currency: entry.cost.map(|cost| cost.currency),
            charge_currency: entry.charge.map(|charge| charge.currency),
            price_version: entry.price_version.as_ref(),
            overrun: entry.overrun,
        }
    }

    /// The statement for these.
    pub(crate) fn bulk(&self) -> &'static Bulk {
        if self.plain { &text::INSERT_PLAIN_ENTRIES } else { &text::INSERT_ENTRIES }
    }

    pub(crate) fn values(&self) -> Vec<Value> {
        let mut values = self.place.values();
        values.extend([
            Value::from(self.kind),
            Value::from(self.seq),
            Value::from(self.endpoint),
            Value::from(self.provider),
            Value::from(self.model),
            Value::from(self.outcome),
            Value::from(self.basis),
            Value::from(self.estimated),
            code(self.cost_currency),
            code(self.charge_currency),
            self.price_version.map_or(Value::NoText, Value::from),
            Value::from(self.overrun),
        ]);
        values
    }

    /// Appends the values that an entry of these has of its own.
    pub(crate) fn push(&self, values: &mut Vec<Value>, entry: &Entry) {
        values.extend([
            Value::from(&entry.request_id),
            Value::from(entry.attempt_no),
            Value::from(entry.at),
            Value::from(entry.settled_at),
            Value::from(&entry.labels.key_id),
            Value::from(&entry.labels.key_name),
        ]);
        push_usage(values, &entry.usage);
        values.extend([
            Value::from(entry.cost.map(|cost| cost.nano)),
            Value::from(entry.charge.map(|charge| charge.nano)),
            Value::Text(budgets(&entry.budgets)),
            foreign_or_none(&entry.end_user),
        ]);
        if !self.plain {
            values.extend([foreign_or_none(&entry.session), tags(&entry.tags)]);
            push_rare_usage(values, &entry.usage);
        }
    }
}

/// Where a call belongs, apart from its key.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Place<'a> {
    environment: &'a Name,
    release: u64,
    variant: Option<&'a Name>,
    prompt_version: Option<&'a Name>,
    organization: &'a Name,
    workspace: &'a Name,
    layer: &'a Name,
    region: &'a Name,
}

impl<'a> Place<'a> {
    pub(crate) fn of(labels: &'a Labels) -> Self {
        Self {
            environment: &labels.environment,
            release: labels.release,
            variant: labels.variant.as_ref(),
            prompt_version: labels.prompt_version.as_ref(),
            organization: &labels.organization,
            workspace: &labels.workspace,
            layer: &labels.layer,
            region: &labels.region,
        }
    }

    pub(crate) fn values(&self) -> Vec<Value> {
        vec![
            Value::from(self.organization),
            Value::from(self.workspace),
            Value::from(self.environment),
            Value::from(self.layer),
            Value::from(self.region),
            Value::from(self.release),
            self.variant.map_or(Value::NoText, Value::from),
            self.prompt_version.map_or(Value::NoText, Value::from),
        ]
    }
}

/// Whether the client said what the call belongs to, beside its end user.
pub(crate) fn is_marked(session: &Option<Name>, tags: &[(Name, Name)]) -> bool {
    session.is_some() || !tags.is_empty()
}

/// Whether it fills a column of [`push_rare_usage`].
pub(crate) fn is_usage_rare(usage: &Usage) -> bool {
    usage.cache_write.is_some()
        || usage.audio_input.is_some()
        || usage.audio_output.is_some()
        || usage.images.is_some()
}

pub(crate) fn push_usage(values: &mut Vec<Value>, usage: &Usage) {
    values.extend([
        Value::from(usage.input),
        Value::from(usage.cached_input),
        Value::from(usage.output),
        Value::from(usage.reasoning),
    ]);
}

pub(crate) fn push_rare_usage(values: &mut Vec<Value>, usage: &Usage) {
    values.extend([
        Value::from(usage.cache_write),
        Value::from(usage.audio_input),
        Value::from(usage.audio_output),
        Value::from(usage.images),
    ]);
}

/// A currency's code.
pub(crate) fn code(currency: Option<Currency>) -> Value {
    currency.map_or(Value::NoText, |currency| Value::from(currency.as_str()))
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
    // A text and a number cannot fail to be written.
    serde_json::to_string(budgets).map_or_else(|_| WORDS.no_budgets.clone(), Name::from)
}
