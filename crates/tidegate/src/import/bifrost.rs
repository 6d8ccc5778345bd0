//! Bifrost's `config.json`: providers with several keys each, virtual keys with budgets and limits apart.

use super::draft::{Access, Draft, Key, Route, Written, named};
use super::fields::Fields;
use super::vendors;
use policy::Dialect;
use policy::catalogue::Vendor;
use std::collections::BTreeMap;

/// Reads the whole file; no when it has no providers.
pub(super) fn read(mut root: Fields, draft: &mut Draft) -> bool {
    let Some(providers) = root.table("providers") else { return false };
    let mut shared: BTreeMap<String, Vec<(String, f64)>> = BTreeMap::new();
    for (name, path, value) in providers.all() {
        provider(&name, Fields::at(path, value), draft, &mut shared);
    }
    for (model, targets) in shared {
        let path = format!("providers.*.keys.models ({model})");
        draft.route(&path, Route { name: model, targets, ..Route::default() });
    }
    if let Some(governance) = root.table("governance") {
        self::governance(governance, draft);
    }
    root.ignore(&["$schema"]);
    root.note(
        draft,
        "encryption_key",
        "is not carried: Tidegate makes a master key of its own in its data folder",
    );
    root.note(draft, "config_store", "is not carried: see `[store] url`");
    root.finish(draft);
    true
}

fn provider(
    name: &str,
    mut fields: Fields,
    draft: &mut Draft,
    shared: &mut BTreeMap<String, Vec<(String, f64)>>,
) {
    let here = fields.here().to_owned();
    if ["bedrock", "vertex", "sagemaker", "replicate"].contains(&name) {
        return draft.find(here, "is not called by this version: the provider is left out");
    }
    let vendor = vendors::by_name(name);
    let mut access = Access { vendor: vendor.map(|vendor| &*vendor.name), ..Access::default() };
    network(&mut fields, vendor, &mut access, draft);
    if let Some(mut custom) = fields.table("custom_provider_config") {
        let base = custom.text("base_provider_type");
        access.dialect =
            Dialect::NAMES.iter().find(|(name, _)| Some(*name) == base.as_deref()).map(|(_, d)| *d);
        custom.ignore(&["is_key_less"]);
        custom.finish(draft);
    }
    let keys = fields.tables("keys");
    if keys.is_empty() {
        let lone = vendor.is_none_or(|vendor| vendor.base_url().is_none()) && access.base_url.is_none();
        if lone {
            return draft.find(here, "has no address that is known, so the provider is left out");
        }
        access.credential = draft.credential(&here, None, vendor, name);
        let ours = draft.provider(name, access.clone());
        draft.deployment(&ours, "*");
    }
    let several = keys.len() > 1;
    for (index, key) in keys.into_iter().enumerate() {
        let ours = one_key(name, index, key, &access, vendor, draft, shared);
        if let (true, Some(ours)) = (several && index > 0, ours) {
            let message = format!("is the provider `{ours}` here: `{name}/…` means the first key");
            draft.find(format!("{here}.keys[{index}]"), message);
        }
    }
    fields.finish(draft);
}

fn network(fields: &mut Fields, vendor: Option<&'static Vendor>, access: &mut Access, draft: &mut Draft) {
    if let Some(mut network) = fields.table("network_config") {
        access.base_url = network.text("base_url").map(|base| vendors::base_url(&base, vendor, true));
        access.total = network.positive("default_request_timeout_in_seconds");
        if let Some(headers) = network.table("extra_headers") {
            super::headers(headers, access, draft);
        }
        network.finish(draft);
    }
    if let Some(mut bounds) = fields.table("concurrency_and_buffer_size") {
        access.max_connections = bounds.count("concurrency").filter(|count| *count <= 65_535);
        bounds.finish(draft);
    }
}

/// Each of Bifrost's keys is a provider here, since a provider has one credential.
fn one_key(
    name: &str,
    index: usize,
    mut key: Fields,
    access: &Access,
    vendor: Option<&'static Vendor>,
    draft: &mut Draft,
    shared: &mut BTreeMap<String, Vec<(String, f64)>>,
) -> Option<String> {
    let mut access = access.clone();
    let mut deployments: BTreeMap<String, String> = BTreeMap::new();
    let called = key.text("name").or_else(|| key.text("id"));
    let wanted = match (&called, index) {
        (_, 0) => name.to_owned(),
        (Some(called), _) => format!("{name}-{}", named(called, "key")),
        (None, index) => format!("{name}-{}", index + 1),
    };
    let path = key.path("value");
    let value = key.text("value").or_else(|| {
        let mut value = key.table("value")?;
        value.text("env_var").or_else(|| value.text("value"))
    });
    let written = value.map(|value| Written::of(value, "env."));
    if let Some(mut azure) = key.table("azure_key_config") {
        let endpoint = azure.text("endpoint");
        match endpoint.filter(|endpoint| !endpoint.starts_with("env.")) {
            Some(endpoint) => access.base_url = Some(vendors::base_url(&endpoint, vendor, true)),
            None => {
                draft.find(azure.path("endpoint"), "is in the environment: put its value into `base_url`");
            }
        }
        azure.note(draft, "api_version", "is not needed: the v1 form of Azure's paths carries none");
        for (model, path, deployment) in azure.table("deployments").into_iter().flat_map(Fields::all) {
            match deployment.as_str() {
                Some(deployment) => {
                    draft.find(path, format!("is asked for as `{model}` or by the name of its deployment"));
                    deployments.insert(model, deployment.to_owned());
                }
                None => draft.find(path, "is not the name of a deployment"),
            }
        }
        azure.finish(draft);
    }
    if access.base_url.is_none() && vendor.is_none_or(|vendor| vendor.base_url().is_none()) {
        draft.find(path, "is of a provider without an address: the key is left out");
        return None;
    }
    access.credential = draft.credential(&path, written, vendor, &wanted);
    let ours = draft.provider(&wanted, access);
    let weight = key.positive("weight").unwrap_or(1.0);
    let models = key.texts("models");
    if models.is_empty() || models.iter().any(|model| model == "*") {
        draft.deployment(&ours, "*");
    }
    for model in models.iter().filter(|model| *model != "*") {
        let full = draft.deployment(&ours, deployments.get(model).unwrap_or(model));
        shared.entry(model.clone()).or_default().push((full, weight));
    }
    key.finish(draft);
    Some(ours)
}

fn governance(mut governance: Fields, draft: &mut Draft) {
    let mut budgets: BTreeMap<String, Fields> = BTreeMap::new();
    let mut limits: BTreeMap<String, Fields> = BTreeMap::new();
    for (name, kept) in [("budgets", &mut budgets), ("rate_limits", &mut limits)] {
        for mut one in governance.tables(name) {
            if let Some(id) = one.text("id") {
                kept.insert(id, one);
            }
        }
    }
    for key in governance.tables("virtual_keys") {
        virtual_key(key, &mut budgets, &mut limits, draft);
    }
    for (_, one) in budgets.into_iter().chain(limits) {
        draft.find(one.here(), "is of no virtual key that is carried");
    }
    governance.finish(draft);
}

fn virtual_key(
    mut fields: Fields,
    budgets: &mut BTreeMap<String, Fields>,
    limits: &mut BTreeMap<String, Fields>,
    draft: &mut Draft,
) {
    let here = fields.here().to_owned();
    let id = fields.text("id");
    let Some(name) = fields.text("name").or(id) else {
        return draft.find(here, "has no name, and is left out");
    };
    if fields.boolean("is_active") == Some(false) {
        return draft.find(here, "is not active, and is left out");
    }
    let mut key = Key { name: named(&name, "key"), ..Key::default() };
    let message =
        format!("is not carried: make one with `tidegate keys rotate {}` and give it to its users", key.name);
    fields.note(draft, "value", &message);
    for mut config in fields.tables("provider_configs") {
        let Some(provider) = config.text("provider") else { continue };
        if !draft.providers.iter().any(|known| known.name == provider) {
            draft.find(config.path("provider"), "is no provider here");
            continue;
        }
        let models = config.texts("allowed_models");
        if models.is_empty() || models.iter().any(|model| model == "*") {
            key.models.push(format!("{provider}/*"));
        }
        key.models
            .extend(models.iter().filter(|model| *model != "*").map(|model| format!("{provider}/{model}")));
        config.ignore(&["weight", "key_ids"]);
        config.finish(draft);
    }
    let budget =
        fields.text("budget_id").and_then(|id| budgets.remove(&id)).or_else(|| fields.table("budget"));
    for mut budget in budget.into_iter().chain(fields.tables("budgets")) {
        let window = match budget.text("reset_duration").as_deref() {
            Some("1h") => Some("hour"),
            Some("1d") => Some("day"),
            Some("1w") => Some("week"),
            Some("1M") => Some("month"),
            None => Some("total"),
            Some(_) => None,
        };
        match (budget.number("max_limit"), window) {
            (Some(amount), Some(window)) if !amount.contains(['e', 'E', '-']) => {
                key.budgets.push((amount, window));
            }
            _ => draft.find(
                budget.here(),
                "has an amount or a span that ours has not: hour, day, week, month, total",
            ),
        }
        budget.finish(draft);
    }
    let limit =
        fields.text("rate_limit_id").and_then(|id| limits.remove(&id)).or_else(|| fields.table("rate_limit"));
    if let Some(mut limit) = limit {
        key.requests_per_minute = a_minute(&mut limit, "request", draft);
        key.tokens_per_minute = a_minute(&mut limit, "token", draft);
        limit.finish(draft);
    }
    fields.ignore(&["description", "is_active"]);
    fields.finish(draft);
    draft.keys.push(key);
}

/// A limit over a minute or an hour as one over a minute.
fn a_minute(limit: &mut Fields, what: &str, draft: &mut Draft) -> Option<u64> {
    let (most, span) = (format!("{what}_max_limit"), format!("{what}_reset_duration"));
    let count = limit.count(&most)?;
    match limit.text(&span).as_deref() {
        Some("1m") => Some(count),
        Some("1h") => {
            draft.find(limit.path(&span), "is an hour: a sixtieth of the limit holds for each minute");
            Some((count / 60).max(1))
        }
        _ => {
            draft.find(limit.path(&span), "is a span that limits do not have here: they are per minute");
            None
        }
    }
}
