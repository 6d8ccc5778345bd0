//! Sums a batch of new entries in memory, so that a balance or an hour that a thousand of them touch is written once.
//!
//! Pure. What is summed here is exactly what was inserted in the same transaction: see `drain.rs`.

use std::collections::HashMap;

use ledger::{Entry, EntryKind, Outcome};
use policy::{Currency, Name, Timestamp};

use crate::entries::code;
use crate::value::Value;

const HOUR: i64 = 3_600_000_000;
/// A hostile upstream may claim any number of tokens; beyond this, a sum over many requests would no longer fit.
const MOST_TOKENS: u64 = 1 << 40;
/// Half of what an integer holds: a sum of two still fits.
const MOST_MONEY: i64 = i64::MAX / 2;

/// The sums of one batch.
#[derive(Default)]
pub(crate) struct Rollup<'a> {
    balances: HashMap<(&'a Name, Timestamp, Currency), i64>,
    usage: HashMap<Group<'a>, Sums<'a>>,
}

/// The key of `usage_hourly`.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
struct Group<'a> {
    hour: i64,
    key_id: &'a Name,
    model: &'a Name,
    endpoint: &'a Name,
    release: u64,
    variant: Option<&'a Name>,
    prompt_version: Option<&'a Name>,
    end_user: Option<&'a Name>,
    currency: Option<Currency>,
}

/// What is summed, and one entry of the group for the labels that follow from its key.
struct Sums<'a> {
    sample: &'a Entry,
    requests: i64,
    attempts: i64,
    input: i64,
    cached_input: i64,
    cache_write: i64,
    output: i64,
    reasoning: i64,
    cost: i64,
    unknown_cost: i64,
    estimated: i64,
}

impl<'a> Rollup<'a> {
    /// Adds an entry that was new.
    pub(crate) fn add(&mut self, entry: &'a Entry) {
        if let Some(charge) = entry.charge {
            for (scope, window_start) in &entry.budgets {
                let spent = self.balances.entry((scope, *window_start, charge.currency)).or_default();
                *spent = spent.saturating_add(charge.nano).min(MOST_MONEY);
            }
        }
        if entry.kind == EntryKind::Void || entry.outcome == Outcome::NeverDispatched {
            return;
        }
        let group = Group {
            hour: entry.at.as_micros().div_euclid(HOUR) * HOUR,
            key_id: &entry.labels.key_id.0,
            model: &entry.model,
            endpoint: &entry.endpoint,
            release: entry.labels.release,
            variant: entry.labels.variant.as_ref(),
            prompt_version: entry.labels.prompt_version.as_ref(),
            end_user: entry.end_user.as_ref(),
            currency: entry.cost.map(|cost| cost.currency),
        };
        self.usage.entry(group).or_insert_with(|| Sums::new(entry)).add(entry);
    }

    /// The rows to add to `balances`, in the order of its key: nodes that write at the same time lock in one order.
    pub(crate) fn balances(&self, now: Timestamp) -> Vec<Value> {
        let mut rows: Vec<_> = self.balances.iter().collect();
        rows.sort_unstable_by_key(|((scope, window_start, currency), _)| (*scope, *window_start, *currency));
        let row = |((scope, window_start, currency), spent): (&(&Name, Timestamp, Currency), &i64)| {
            [
                Value::from(*scope),
                Value::from(*window_start),
                Value::Text(code(*currency)),
                Value::Int(*spent),
                Value::from(now),
            ]
        };
        rows.into_iter().flat_map(row).collect()
    }

    /// The rows to add to `usage_hourly`, in the order of its key.
    pub(crate) fn usage(&self) -> Vec<Value> {
        let mut rows: Vec<_> = self.usage.iter().collect();
        rows.sort_unstable_by(|a, b| a.0.cmp(b.0));
        let none: Name = "".into();
        rows.into_iter().flat_map(|(group, sums)| row(group, sums, &none)).collect()
    }
}

impl<'a> Sums<'a> {
    fn new(sample: &'a Entry) -> Self {
        Self {
            sample,
            requests: 0,
            attempts: 0,
            input: 0,
            cached_input: 0,
            cache_write: 0,
            output: 0,
            reasoning: 0,
            cost: 0,
            unknown_cost: 0,
            estimated: 0,
        }
    }

    fn add(&mut self, entry: &Entry) {
        let counted = i64::from(is_request(entry));
        self.attempts += 1;
        self.requests += counted;
        self.input += tokens(entry.usage.input);
        self.cached_input += tokens(entry.usage.cached_input);
        self.cache_write += tokens(entry.usage.cache_write);
        self.output += tokens(entry.usage.output);
        self.reasoning += tokens(entry.usage.reasoning);
        match entry.cost {
            Some(cost) => self.cost = self.cost.saturating_add(cost.nano).min(MOST_MONEY),
            None => self.unknown_cost += counted,
        }
        if entry.estimated {
            self.estimated += counted;
        }
    }
}

/// Whether an attempt counts as a request: one that gave an answer, or part of one. An attempt that failed before it
/// gave anything was followed by another, or was no use of the model; so each request counts once, at the model
/// that answered it.
fn is_request(entry: &Entry) -> bool {
    let answered = match entry.outcome {
        Outcome::Completed | Outcome::ClientGone => true,
        Outcome::UpstreamFailed => {
            entry.usage.output.is_some_and(|tokens| tokens > 0)
                || entry.charge.is_some_and(|charge| charge.nano > 0)
        }
        Outcome::Refused | Outcome::NeverDispatched => false,
    };
    answered && entry.kind == EntryKind::Settle && entry.seq == 0
}

fn tokens(count: Option<u64>) -> i64 {
    // Cannot fail below the cap.
    i64::try_from(count.unwrap_or(0).min(MOST_TOKENS)).unwrap_or(0)
}

fn row(group: &Group<'_>, sums: &Sums<'_>, none: &Name) -> [Value; 26] {
    let labels = &sums.sample.labels;
    let or_none = |text: Option<&Name>| Value::from(text.unwrap_or(none));
    [
        Value::Int(group.hour),
        Value::from(group.key_id),
        Value::from(group.model),
        Value::from(group.endpoint),
        Value::from(group.release),
        or_none(group.variant),
        or_none(group.prompt_version),
        or_none(group.end_user),
        group.currency.map_or_else(|| Value::from(none), |currency| Value::Text(code(currency))),
        Value::from(&labels.organization),
        Value::from(&labels.workspace),
        Value::from(&labels.environment),
        Value::from(&labels.layer),
        Value::from(&labels.region),
        Value::from(&labels.key_name),
        Value::from(&sums.sample.provider),
        Value::Int(sums.requests),
        Value::Int(sums.attempts),
        Value::Int(sums.input),
        Value::Int(sums.cached_input),
        Value::Int(sums.cache_write),
        Value::Int(sums.output),
        Value::Int(sums.reasoning),
        Value::Int(sums.cost),
        Value::Int(sums.unknown_cost),
        Value::Int(sums.estimated),
    ]
}
