//! A key as the API shows it: everything but the secret and its hash.

use ledger::Balance;
use policy::{KeyOrigin, KeyRecord, LimitRate, Limits, Name, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
pub(crate) struct KeyView {
    id: String,
    name: Name,
    environment: Name,
    hint: String,
    /// `active`, `revoked`, `expired` or `no_secret`.
    status: &'static str,
    models: Vec<String>,
    limits: LimitsView,
    budgets: Vec<BudgetView>,
    durable: bool,
    /// `file` or `live`.
    owner: &'static str,
    created_at: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    /// The old secret still works until then.
    previous_until: Option<String>,
}

/// The usual three are always told, the others where they are set.
#[derive(Serialize)]
struct LimitsView {
    requests_per_minute: Option<u64>,
    tokens_per_minute: Option<u64>,
    concurrency: Option<u32>,
    #[serde(flatten)]
    others: BTreeMap<String, u64>,
}

impl LimitsView {
    fn of(limits: &Limits) -> Self {
        let others = limits.rates.iter().filter(|(rate, _)| !Self::USUAL.contains(rate));
        Self {
            requests_per_minute: limits.rate(LimitRate::REQUESTS_PER_MINUTE),
            tokens_per_minute: limits.rate(LimitRate::TOKENS_PER_MINUTE),
            concurrency: limits.concurrency,
            others: others.map(|(rate, limit)| (rate.to_string(), *limit)).collect(),
        }
    }

    const USUAL: [LimitRate; 2] = [LimitRate::REQUESTS_PER_MINUTE, LimitRate::TOKENS_PER_MINUTE];
}

#[derive(Serialize)]
struct BudgetView {
    name: Name,
    amount: String,
    currency: String,
    window: &'static str,
    spent: String,
    reserved: String,
    resets_at: Option<String>,
    time_zone: String,
    warn_at: Vec<u8>,
}

impl KeyView {
    pub(crate) fn of(record: &KeyRecord, balances: &[Balance], now: Timestamp) -> Self {
        let budgets = record.budgets.iter().map(|rule| {
            let scope = format!("{}/{}", record.id, rule.name);
            let (window_start, resets_at) = rule.window.span(now, &rule.zone);
            let balance = balances.iter().find(|b| *b.scope == *scope && b.window_start == window_start);
            let zero = policy::Money::zero(rule.amount.currency);
            BudgetView {
                name: rule.name.clone(),
                amount: rule.amount.decimal(),
                currency: rule.amount.currency.to_string(),
                window: rule.window.as_str(),
                spent: balance.map_or(zero, |b| b.spent).decimal(),
                reserved: balance.map_or(zero, |b| b.reserved).decimal(),
                resets_at: resets_at.map(|at| at.to_string()),
                time_zone: rule.zone.as_str().to_owned(),
                warn_at: rule.warn_at.as_deref().unwrap_or_default().to_vec(),
            }
        });
        let previous = record.previous.as_ref().filter(|previous| previous.until > now);
        Self {
            id: record.id.to_string(),
            name: record.name.clone(),
            environment: record.environment.clone(),
            hint: record.hint.clone(),
            status: status(record, now),
            models: record.models.clone(),
            limits: LimitsView::of(&record.limits),
            budgets: budgets.collect(),
            durable: record.durable,
            owner: match record.origin {
                KeyOrigin::File => "file",
                KeyOrigin::Live => "live",
            },
            created_at: record.created_at.to_string(),
            expires_at: record.expires_at.map(|at| at.to_string()),
            revoked_at: record.revoked_at.map(|at| at.to_string()),
            previous_until: previous.map(|previous| previous.until.to_string()),
        }
    }
}

fn status(record: &KeyRecord, now: Timestamp) -> &'static str {
    if record.revoked_at.is_some() {
        "revoked"
    } else if record.expires_at.is_some_and(|at| at <= now) {
        "expired"
    } else if record.hash.is_none() {
        "no_secret"
    } else {
        "active"
    }
}
