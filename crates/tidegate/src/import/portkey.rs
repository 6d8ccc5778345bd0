//! A Portkey config: a tree of strategies over targets.

use super::draft::{Access, Draft, Route, Written};
use super::fields::Fields;
use super::vendors;
use serde_json::Value;

/// Strategies within strategies, at most.
const DEEPEST: usize = 8;

/// What Portkey's API wraps around a config.
pub(super) fn inner(tree: &Value) -> &Value {
    let data = tree.get("data").unwrap_or(tree);
    data.get("config").unwrap_or(data)
}

/// Whatever stands around a config is looked at as well.
fn around(tree: &Value, path: &str, draft: &mut Draft) {
    let data = tree.get("data").filter(|data| data.is_object());
    if data.is_some() {
        super::envelope(tree, path, &["data"], draft);
    }
    let data = data.unwrap_or(tree);
    if data.get("config").is_some() {
        super::envelope(data, path, &["config"], draft);
    }
}

/// Reads one config or a list of them; no when there is nothing to call in it.
pub(super) fn read(tree: &Value, draft: &mut Draft) -> bool {
    let list = tree.get("configs").or_else(|| tree.get("data")).and_then(Value::as_array).cloned();
    let Some(list) = list else {
        let name = config_name(tree).unwrap_or_else(|| "portkey".to_owned());
        around(tree, "", draft);
        return config(&name, Fields::root(inner(tree).clone()), draft);
    };
    let mut any = false;
    super::envelope(tree, "", &["configs", "data"], draft);
    for (index, one) in list.into_iter().enumerate() {
        let name = config_name(&one).unwrap_or_else(|| format!("portkey-{}", index + 1));
        around(&one, &format!("configs[{index}]"), draft);
        any |= config(&name, Fields::at(format!("configs[{index}]"), inner(&one).clone()), draft);
    }
    any
}

fn config_name(tree: &Value) -> Option<String> {
    let data = tree.get("data").unwrap_or(tree);
    let named = ["name", "slug", "id"].into_iter().find_map(|field| data.get(field)?.as_str());
    named.map(str::to_owned)
}

/// What a strategy comes to: one of these, then those.
#[derive(Default)]
struct Plan {
    targets: Vec<(String, f64)>,
    fallbacks: Vec<String>,
    total: Option<f64>,
}

fn config(name: &str, mut fields: Fields, draft: &mut Draft) -> bool {
    fields.ignore(&["name", "slug", "id"]);
    let path = fields.path("name");
    let before = draft.providers.len();
    let mut plan = strategy(fields, draft, 0);
    super::keep_first(&mut plan.fallbacks);
    let found = !plan.targets.is_empty();
    if found {
        let Plan { targets, fallbacks, total } = plan;
        draft.route(&path, Route { name: name.to_owned(), targets, fallbacks, total });
    }
    found || draft.providers.len() > before
}

fn strategy(mut fields: Fields, draft: &mut Draft, depth: usize) -> Plan {
    let here = fields.here().to_owned();
    let targets = fields.tables("targets");
    if targets.is_empty() || depth >= DEEPEST {
        if depth >= DEEPEST {
            draft.find(here, "lies too deep, and is left out");
            return Plan::default();
        }
        return leaf(fields, draft);
    }
    let mode = fields.table("strategy").and_then(|mut strategy| {
        let mode = strategy.text("mode");
        let codes = "is not carried: every failure that may be retried leads to the next";
        strategy.note(draft, "on_status_codes", codes);
        let none = "is not carried: the first target is used";
        strategy.note(draft, "conditions", none);
        strategy.note(draft, "default", none);
        strategy.finish(draft);
        mode
    });
    let total = fields.positive("request_timeout").map(|millis| millis / 1_000.0);
    rest(&mut fields, draft);
    fields.finish(draft);
    let plans: Vec<(f64, Plan)> = targets
        .into_iter()
        .map(|mut target| {
            let weight = target.positive("weight").unwrap_or(1.0);
            (weight, strategy(target, draft, depth + 1))
        })
        .collect();
    let mut plan = match mode.as_deref() {
        Some("loadbalance") => balanced(plans),
        mode => {
            if mode == Some("conditional") {
                draft.find(
                    format!("{here}.strategy"),
                    "is conditional: the first target is used, the others after it",
                );
            }
            in_order(plans)
        }
    };
    plan.total = total.or(plan.total);
    plan
}

fn in_order(plans: Vec<(f64, Plan)>) -> Plan {
    let mut whole = Plan::default();
    for (_, plan) in plans {
        if whole.targets.is_empty() {
            whole = plan;
        } else {
            whole.fallbacks.extend(plan.targets.into_iter().map(|(model, _)| model));
            whole.fallbacks.extend(plan.fallbacks);
        }
    }
    whole
}

fn balanced(plans: Vec<(f64, Plan)>) -> Plan {
    let mut whole = Plan::default();
    for (weight, plan) in plans {
        let sum: f64 = plan.targets.iter().map(|(_, weight)| weight).sum();
        whole.targets.extend(
            plan.targets.into_iter().map(|(model, own)| (model, weight * own / sum.max(f64::MIN_POSITIVE))),
        );
        whole.fallbacks.extend(plan.fallbacks);
        whole.total = whole.total.or(plan.total);
    }
    whole
}

/// One target: a provider, its key and perhaps a model.
fn leaf(mut fields: Fields, draft: &mut Draft) -> Plan {
    let here = fields.here().to_owned();
    fields.ignore(&["weight", "name"]);
    if let Some(mut strategy) = fields.table("strategy") {
        strategy.ignore(&["mode"]);
        strategy.finish(draft);
    }
    let (provider, integration) = (fields.text("provider"), fields.text("virtual_key"));
    let mut model = fields.table("override_params").and_then(|mut params| {
        let model = params.text("model");
        params.finish(draft);
        model
    });
    // `@integration/model`
    let slug = provider.as_deref().and_then(|provider| provider.strip_prefix('@')).map(str::to_owned);
    if let Some((of, rest)) = model.as_deref().and_then(|model| model.strip_prefix('@')?.split_once('/')) {
        let rest = rest.to_owned();
        draft.find(
            format!("{here}.override_params.model"),
            format!("is of the integration `{of}`, of which nothing is known here"),
        );
        model = Some(rest);
    }
    let name = slug.or(integration.clone()).or(provider.clone());
    let host = fields.text("custom_host");
    let vendor = provider.as_deref().and_then(vendors::by_name).or_else(|| {
        // An integration is mostly called after its vendor: `openai-main-258f4d`, `open-ai-key-66a67d`.
        let of = |text: &str| {
            let text = text.trim_start_matches('@');
            let text = if text.starts_with("open-ai") { "openai" } else { text };
            vendors::by_name(text).or_else(|| vendors::by_name(text.split(['-', '_']).next()?))
        };
        name.as_deref().and_then(of)
    });
    // Any server that answers the openai dialect is written as `openai` at a host of its own.
    let foreign = host.as_deref().is_some_and(|host| vendors::by_address(host).is_none());
    let vendor = vendor.filter(|vendor| !(foreign && &*vendor.name == "openai"));
    let name = host.as_deref().filter(|_| vendor.is_none()).and_then(vendors::host).or(name);
    let mut base_url = host.map(|host| vendors::base_url(&host, vendor, true));
    if let Some(resource) = fields.text("azure_resource_name") {
        base_url = Some(format!("https://{resource}.openai.azure.com"));
        model = fields.text("azure_deployment_id").or(model);
    }
    fields.note(draft, "azure_api_version", "is not needed: the v1 form of Azure's paths carries none");
    let placed = base_url.is_some() || vendor.is_some_and(|vendor| vendor.base_url().is_some());
    let (Some(name), true) = (name, placed) else {
        draft.find(here, "names no vendor that is known and no address: the target is left out");
        return Plan::default();
    };
    let (path, written) = match (&integration, fields.text("api_key")) {
        (_, Some(key)) => (fields.path("api_key"), Some(Written::of(key, "env:"))),
        (Some(slug), None) => (fields.path("virtual_key"), Some(Written::Elsewhere(slug.clone()))),
        (None, None) => (fields.path("api_key"), None),
    };
    let wanted = vendor.filter(|_| integration.is_none()).map_or(name, |vendor| vendor.name.to_string());
    let credential = draft.credential(&path, written, vendor, &wanted);
    let total = fields.positive("request_timeout").map(|millis| millis / 1_000.0);
    rest(&mut fields, draft);
    fields.finish(draft);
    let access =
        Access { vendor: vendor.map(|vendor| &*vendor.name), base_url, credential, ..Access::default() };
    let provider = draft.provider(&wanted, access);
    match model {
        Some(model) => {
            Plan { targets: vec![(draft.deployment(&provider, &model), 1.0)], total, ..Plan::default() }
        }
        None => {
            draft.deployment(&provider, "*");
            draft.find(
                here,
                format!("names no model: clients ask for `{provider}/MODEL`, and no route leads there"),
            );
            Plan::default()
        }
    }
}

fn rest(fields: &mut Fields, draft: &mut Draft) {
    fields.note(draft, "retry", "is not carried: fallbacks are tried once each");
    fields.note(draft, "cache", "is not carried: set `cache` of the route or of the environment");
    for checks in ["input_guardrails", "output_guardrails", "before_request_hooks", "after_request_hooks"] {
        fields.note(draft, checks, "is not carried: see `guardrails` of the settings");
    }
}
