//! What a caller may ask of a key, checked field by field before anything is made.

use crate::{ApiError, Caller, parse_span, spans};
use policy::{
    BudgetRule, Currency, KeyHash, KeyId, KeyOrigin, KeyRecord, Limits, Money, Name, Pepper, Secret,
    Timestamp, Window, Zone,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

const MAX_MODELS: usize = 200;
const MAX_BUDGETS: usize = 16;
const MAX_NAME: usize = 64;

/// The body of `POST /api/keys`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    name: String,
    environment: Option<String>,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    limits: NewLimits,
    #[serde(default)]
    budgets: Vec<NewBudget>,
    #[serde(default)]
    durable: bool,
    expires_at: Option<String>,
}

/// Limits by name.
#[derive(Default, Deserialize)]
struct NewLimits(BTreeMap<String, Option<u64>>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBudget {
    name: Option<String>,
    amount: String,
    currency: Option<String>,
    window: String,
    time_zone: Option<String>,
    #[serde(default)]
    warn_at: Vec<u8>,
}

/// The body of `POST /api/keys/{id}/rotate`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rotation {
    grace: Option<String>,
}

impl Rotation {
    /// How long the old secret lives on; zero when not asked for.
    pub(crate) fn grace(&self, longest: Duration) -> Result<Duration, ApiError> {
        let Some(text) = &self.grace else { return Ok(Duration::ZERO) };
        let grace = parse_span(text).map_err(|reason| ApiError::Invalid(format!("grace: {reason}")))?;
        if grace > longest {
            let days = longest.as_secs() / 86_400;
            return Err(ApiError::Invalid(format!("grace: `{text}` is longer than {days} days")));
        }
        Ok(grace)
    }
}

/// A fresh secret with its hash and the hint that lists show. Nobody can make the secret from the other two.
pub fn minted(pepper: &Pepper) -> Result<(Secret, KeyHash, String), ApiError> {
    let secret = policy::key::mint(runtime::random_bytes());
    let presented = policy::key::parse(secret.expose().as_bytes())
        .map_err(|error| ApiError::Internal(format!("a fresh key does not read back: {error}")))?;
    let hash = pepper.hash(&presented);
    let hint = policy::key::hint(&secret);
    Ok((secret, hash, hint))
}

impl NewKey {
    /// The environment that is asked for.
    pub(super) fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    pub(super) fn set_environment(&mut self, handle: &str) {
        self.environment = Some(handle.to_owned());
    }

    /// Checks everything and makes the record with a fresh secret.
    pub(crate) fn into_record(
        self,
        caller: &Caller,
        environments: &[Name],
        pepper: &Pepper,
        now: Timestamp,
    ) -> Result<(KeyRecord, Secret), ApiError> {
        check_name("name", &self.name)?;
        let environment =
            pick_environment(self.environment.as_deref().map(|asked| caller.handle_of(asked)), environments)?;
        let models = check_models(self.models)?;
        let limits = self.limits.check()?;
        let budgets = check_budgets(&self.budgets)?;
        let expires_at = spans::expiry(self.expires_at.as_deref(), now)?;
        let (secret, hash, hint) = minted(pepper)?;
        let record = KeyRecord {
            id: KeyId::new(runtime::random_bytes()),
            name: self.name.into(),
            environment,
            hash: Some(hash),
            previous: None,
            hint,
            models,
            limits,
            budgets,
            durable: self.durable,
            created_at: now,
            expires_at,
            revoked_at: None,
            origin: KeyOrigin::Live,
        };
        Ok((record, secret))
    }
}

impl NewLimits {
    fn check(self) -> Result<Limits, ApiError> {
        let mut limits = Limits::default();
        for (name, limit) in self.0 {
            let Some(limit) = limit else { continue };
            if limit == 0 {
                let message =
                    format!("limits.{name}: 0 would refuse every call; leave it out, or revoke the key");
                return Err(ApiError::Invalid(message));
            }
            if !limits.set(&name, limit) {
                let known = Limits::names().any(|known| known == name);
                let what = if known { "is too large" } else { "is no limit; known are" };
                let names =
                    if known { String::new() } else { Limits::names().collect::<Vec<_>>().join(", ") };
                let shown: String = name.chars().take(MAX_NAME).flat_map(char::escape_debug).collect();
                return Err(ApiError::Invalid(
                    format!("limits.{shown}: {what} {names}").trim_end().to_owned(),
                ));
            }
        }
        Ok(limits)
    }
}

fn check_name(field: &str, name: &str) -> Result<(), ApiError> {
    let fits = !name.is_empty() && name.len() <= MAX_NAME;
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if fits && plain && name.as_bytes()[0].is_ascii_alphanumeric() {
        return Ok(());
    }
    Err(ApiError::Invalid(format!(
        "{field}: use 1 to {MAX_NAME} letters, digits, `-`, `_` or `.`, beginning with a letter or digit"
    )))
}

fn pick_environment(asked: Option<Name>, environments: &[Name]) -> Result<Name, ApiError> {
    let known = || environments.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match asked {
        Some(asked) => environments.iter().find(|name| **name == asked).cloned().ok_or_else(|| {
            ApiError::Invalid(format!("environment: `{asked}` does not run here; there are {}", known()))
        }),
        None => environments
            .iter()
            .find(|name| ***name == *"dev")
            .or_else(|| (environments.len() == 1).then(|| &environments[0]))
            .cloned()
            .ok_or_else(|| ApiError::Invalid(format!("environment: say which one: {}", known()))),
    }
}

fn check_models(models: Vec<String>) -> Result<Vec<String>, ApiError> {
    if models.len() > MAX_MODELS {
        return Err(ApiError::Invalid(format!("models: at most {MAX_MODELS} names; use `provider/*`")));
    }
    let odd = |name: &&String| {
        name.is_empty() || name.len() > 256 || name.chars().any(|c| c.is_control() || c == ' ')
    };
    match models.iter().find(odd) {
        Some(name) => {
            Err(ApiError::Invalid(format!("models: `{}` is not a model name", name.escape_debug())))
        }
        None => Ok(models),
    }
}

fn check_budgets(asked: &[NewBudget]) -> Result<Vec<BudgetRule>, ApiError> {
    if asked.len() > MAX_BUDGETS {
        return Err(ApiError::Invalid(format!("budgets: at most {MAX_BUDGETS}")));
    }
    let mut rules: Vec<BudgetRule> = Vec::with_capacity(asked.len());
    for budget in asked {
        let rule = budget.check()?;
        if rules.iter().any(|other| other.name == rule.name) {
            return Err(ApiError::Invalid(format!("budgets: the name `{}` appears twice", rule.name)));
        }
        rules.push(rule);
    }
    Ok(rules)
}

impl NewBudget {
    fn check(&self) -> Result<BudgetRule, ApiError> {
        let window = Window::named(&self.window).ok_or_else(|| {
            let known: Vec<&str> = Window::NAMES.iter().map(|(name, _)| *name).collect();
            ApiError::Invalid(format!("budgets.window: `{}` is not one of {}", self.window, known.join(", ")))
        })?;
        let usual_name = match window {
            Window::Hour => "hourly",
            Window::Day => "daily",
            Window::Week => "weekly",
            Window::Month => "monthly",
            Window::Total => "total",
            Window::Request => "each",
        };
        let name = self.name.as_deref().unwrap_or(usual_name);
        check_name("budgets.name", name)?;
        let code = self.currency.as_deref().unwrap_or("USD");
        let currency: Currency =
            code.parse().map_err(|error| ApiError::Invalid(format!("budgets.currency: {error}")))?;
        let amount = Money::parse(&self.amount, currency)
            .map_err(|error| ApiError::Invalid(format!("budgets.amount: {error}")))?;
        if amount.nano <= 0 {
            return Err(ApiError::Invalid("budgets.amount: must be more than zero".into()));
        }
        let zone = self.time_zone.as_deref().unwrap_or("UTC");
        let zone = Zone::named(zone).ok_or_else(|| {
            ApiError::Invalid(format!(
                "budgets.time_zone: `{zone}` is no time zone that is known, such as Europe/Berlin"
            ))
        })?;
        if self.warn_at.len() > 10 || self.warn_at.iter().any(|part| !(1..=100).contains(part)) {
            return Err(ApiError::Invalid(
                "budgets.warn_at: at most 10 parts in percent, from 1 to 100".into(),
            ));
        }
        let mut warn_at = self.warn_at.clone();
        warn_at.sort_unstable();
        warn_at.dedup();
        let warn_at = (!warn_at.is_empty()).then(|| warn_at.into());
        Ok(BudgetRule { zone, warn_at, ..BudgetRule::new(name.into(), amount, window) })
    }
}
