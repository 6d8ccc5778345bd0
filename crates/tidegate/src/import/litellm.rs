//! LiteLLM's `config.yaml`: deployments under the names that clients ask for, and the router over them.

use super::draft::{Access, Draft, Model, Route, Written};
use super::fields::Fields;
use super::vendors;
use policy::catalogue::Vendor;
use serde_json::Value;
use std::collections::BTreeMap;

/// Vendors whose calls are signed or shaped in ways that no row describes.
const FOREIGN: [&str; 12] = [
    "bedrock",
    "vertex_ai",
    "vertex_ai_beta",
    "sagemaker",
    "sagemaker_chat",
    "watsonx",
    "databricks",
    "replicate",
    "huggingface",
    "cloudflare",
    "snowflake",
    "oci",
];

/// One deployment of a group.
struct Leg {
    model: String,
    weight: f64,
    order: u64,
}

/// The deployments that clients ask for by one name.
#[derive(Default)]
struct Group {
    path: String,
    legs: Vec<Leg>,
    total: Option<f64>,
}

/// Reads the whole file; no when it has no models.
pub(super) fn read(mut root: Fields, draft: &mut Draft) -> bool {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let list = root.tables("model_list");
    if list.is_empty() {
        return false;
    }
    for entry in list {
        deployment(entry, draft, &mut groups);
    }
    let mut router = Router::default();
    for section in ["litellm_settings", "router_settings"] {
        if let Some(settings) = root.table(section) {
            router.read(settings, draft);
        }
    }
    if let Some(general) = root.table("general_settings") {
        self::general(general, draft);
    }
    if let Some(variables) = root.table("environment_variables") {
        for (name, path, _) in variables.all() {
            draft.find(path, format!("is not written: set {name} in the environment of `tidegate serve`"));
        }
    }
    root.finish(draft);
    routes(&groups, &router, draft);
    true
}

fn deployment(mut entry: Fields, draft: &mut Draft, groups: &mut BTreeMap<String, Group>) {
    let here = entry.here().to_owned();
    let (Some(name), Some(mut params)) = (entry.text("model_name"), entry.table("litellm_params")) else {
        return draft.find(here, "has no `model_name` or no `litellm_params`, and is left out");
    };
    let Some(written) = params.text("model") else {
        return draft.find(params.path("model"), "is missing, so the deployment is left out");
    };
    // The vendor stands apart, or before the first slash of the model.
    let written = match params.text("custom_llm_provider") {
        Some(apart) if !written.starts_with(&format!("{apart}/")) => format!("{apart}/{written}"),
        _ => written,
    };
    let base = params.text("api_base").or_else(|| params.text("base_url"));
    let base = resolved(base, &params.path("api_base"), draft);
    let (vendor, model) = match whose(&written, base.as_deref()) {
        Ok(found) => found,
        Err(why) => return draft.find(params.path("model"), why),
    };
    let provider = provider(&mut params, draft, vendor, base, &written);
    let full = draft.deployment(&provider, model);
    let group = groups.entry(name).or_default();
    group.path = here;
    group.total = params.positive("timeout").or(group.total);
    group.legs.push(Leg {
        model: full.clone(),
        weight: params.positive("weight").unwrap_or(1.0),
        order: params.count("order").unwrap_or(0),
    });
    let known = draft.models.entry(full.clone()).or_default();
    prices(&mut params, known);
    for limit in ["rpm", "tpm", "max_parallel_requests"] {
        params.note(draft, limit, "limits a deployment: limits are set on keys here");
    }
    if let Some(mut info) = entry.table("model_info") {
        let known = draft.models.entry(full.clone()).or_default();
        prices(&mut info, known);
        known.context = info.count("max_input_tokens").or(known.context);
        known.max_output = info.count("max_output_tokens").or(known.max_output);
        info.ignore(&["litellm_provider", "description"]);
        info.finish(draft);
    }
    if draft
        .models
        .get(&full)
        .is_some_and(|m| m.price.is_empty() && m.context.is_none() && m.max_output.is_none())
    {
        draft.models.remove(&full);
    }
    params.finish(draft);
    entry.finish(draft);
}

/// An address that names an environment variable cannot be looked up here.
fn resolved(base: Option<String>, path: &str, draft: &mut Draft) -> Option<String> {
    let base = base?;
    match base.strip_prefix("os.environ/") {
        None => Some(base),
        Some(name) => {
            draft.find(path, format!("is in the environment variable {name}: put its value into `base_url`"));
            Some("https://set-base-url.invalid/v1".to_owned())
        }
    }
}

/// The vendor and the model's name there.
fn whose<'m>(written: &'m str, base: Option<&str>) -> Result<(Option<&'static Vendor>, &'m str), String> {
    let (prefix, model) = written.split_once('/').unwrap_or(("", written));
    if FOREIGN.contains(&prefix) {
        return Err(format!(
            "is of `{prefix}`, which is not called by this version: the deployment is left out"
        ));
    }
    let there = base.and_then(vendors::by_address);
    match prefix {
        // Any server that answers the openai dialect is written so.
        "openai" | "custom_openai" | "openai_like" | "text-completion-openai" if base.is_some() => {
            Ok((there, model))
        }
        "" if written == "*" => {
            Err("is `*` for every vendor: name them one by one, as `openai/*`".to_owned())
        }
        "" => match guessed(written).and_then(vendors::by_name).or(there) {
            Some(vendor) => Ok((Some(vendor), written)),
            None if base.is_some() => Ok((None, written)),
            None => Err("names no vendor that is known, so the deployment is left out".to_owned()),
        },
        _ => match vendors::by_name(prefix) {
            Some(vendor) => Ok((Some(vendor), model)),
            None if base.is_some() => Ok((there, model)),
            None => Err(format!("is of `{prefix}`, which is no known vendor: the deployment is left out")),
        },
    }
}

/// The vendor of a bare name.
fn guessed(model: &str) -> Option<&'static str> {
    let starts = |with: &[&str]| with.iter().any(|start| model.starts_with(start));
    if starts(&["gpt-", "o1", "o3", "o4", "text-embedding-", "chatgpt-", "ft:gpt-", "omni-moderation"]) {
        return Some("openai");
    }
    if starts(&["claude-"]) {
        return Some("anthropic");
    }
    starts(&["gemini-"]).then_some("gemini")
}

fn provider(
    params: &mut Fields,
    draft: &mut Draft,
    vendor: Option<&'static Vendor>,
    base: Option<String>,
    written: &str,
) -> String {
    let base = base.map(|base| vendors::base_url(&base, vendor, vendor.is_some()));
    let usual =
        |base: &String| vendor.and_then(|vendor| vendor.base_url()).is_some_and(|url| **url == **base);
    let base = base.filter(|base| !usual(base));
    let wanted = match (vendor, &base) {
        (Some(vendor), _) => vendor.name.to_string(),
        (None, Some(base)) => vendors::host(base).unwrap_or_else(|| written.to_owned()),
        (None, None) => written.to_owned(),
    };
    if vendor.is_some_and(|vendor| vendor.root_path.is_some()) {
        params.note(draft, "api_version", "is not needed: the v1 form of Azure's paths carries none");
    }
    let path = params.path("api_key");
    let key = params.text("api_key").map(|key| Written::of(key, "os.environ/"));
    let credential = draft.credential(&path, key, vendor, &wanted);
    let mut access = Access {
        vendor: vendor.map(|vendor| &*vendor.name),
        base_url: base,
        credential,
        ..Access::default()
    };
    if let Some(organization) = params.text("organization") {
        if organization.starts_with("os.environ/") {
            draft.find(params.path("organization"), "is in the environment: put its value into `headers`");
        } else {
            access.headers.insert("openai-organization".to_owned(), organization);
        }
    }
    if let Some(headers) = params.table("extra_headers") {
        super::headers(headers, &mut access, draft);
    }
    draft.provider(&wanted, access)
}

/// Costs of one token become prices of a million.
fn prices(fields: &mut Fields, model: &mut Model) {
    for (theirs, ours) in [
        ("input_cost_per_token", "input"),
        ("output_cost_per_token", "output"),
        ("cache_read_input_token_cost", "cached_input"),
        ("cache_creation_input_token_cost", "cache_write"),
        ("cache_creation_input_token_cost_above_1hr", "cache_write_hour"),
        ("output_cost_per_reasoning_token", "reasoning"),
    ] {
        if let Some(price) = fields.number(theirs).and_then(|cost| per_million(&cost)) {
            model.price.insert(ours, price);
        }
    }
}

/// A decimal times a million, exactly: `1.5e-07` is `0.15`. `None` below what our prices can tell.
pub(super) fn per_million(cost: &str) -> Option<String> {
    let (digits, exponent) = match cost.split_once(['e', 'E']) {
        Some((digits, exponent)) => (digits, exponent.parse::<i32>().ok()?),
        None => (cost, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || all.len() > 40 || !all.bytes().all(|c| c.is_ascii_digit()) || exponent.abs() > 40 {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()? + exponent + 6;
    let (whole, fraction) = match usize::try_from(point) {
        Ok(point) if point >= all.len() => (format!("{all:0<point$}"), String::new()),
        Ok(point) => (all[..point].to_owned(), all[point..].to_owned()),
        Err(_) => (String::new(), format!("{}{all}", "0".repeat(point.unsigned_abs() as usize))),
    };
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    if fraction.len() > 9 || whole.len() > 9 {
        return None;
    }
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") })
}

/// What is said of all groups.
#[derive(Default)]
struct Router {
    fallbacks: BTreeMap<String, Vec<String>>,
    default_fallbacks: Vec<String>,
    aliases: BTreeMap<String, String>,
    total: Option<f64>,
}

impl Router {
    fn read(&mut self, mut settings: Fields, draft: &mut Draft) {
        for (path, one) in settings.list("fallbacks") {
            for (name, path, names) in Fields::at(path, one).all() {
                let names: Option<Vec<_>> = names
                    .as_array()
                    .and_then(|list| list.iter().map(|name| name.as_str().map(str::to_owned)).collect());
                match names {
                    Some(names) => self.fallbacks.entry(name).or_default().extend(names),
                    None => draft.find(path, "is not a list of names"),
                }
            }
        }
        self.default_fallbacks.extend(settings.texts("default_fallbacks"));
        for (alias, path, value) in settings.table("model_group_alias").into_iter().flat_map(Fields::all) {
            let target = value.as_str().or_else(|| value.get("model").and_then(Value::as_str));
            match target {
                Some(target) => drop(self.aliases.insert(alias, target.to_owned())),
                None => draft.find(path, "is not the name of a model"),
            }
        }
        self.total =
            settings.positive("timeout").or_else(|| settings.positive("request_timeout")).or(self.total);
        if settings.text("routing_strategy").is_some_and(|strategy| strategy != "simple-shuffle") {
            let message = "is not carried: targets are chosen by weight";
            draft.find(settings.path("routing_strategy"), message);
        }
        for same in ["num_retries", "allowed_fails", "cooldown_time", "retry_after"] {
            settings.note(draft, same, "is not carried: fallbacks are tried once each");
        }
        for other in ["context_window_fallbacks", "content_policy_fallbacks"] {
            settings.note(
                draft,
                other,
                "is not carried: `fallbacks` of a route serve every failure that may be retried",
            );
        }
        let dropped = "is not carried: a parameter that a model cannot take is told in `x-tidegate-dropped`";
        settings.note(draft, "drop_params", dropped);
        settings.ignore(&["set_verbose", "json_logs"]);
        settings.finish(draft);
    }
}

fn general(mut general: Fields, draft: &mut Draft) {
    let key = "is not carried: make a virtual key with `tidegate keys create`, and manage on the host or with a token";
    general.note(draft, "master_key", key);
    let database = "is not carried: Tidegate has tables of its own, see `[store] url`";
    general.note(draft, "database_url", database);
    general.finish(draft);
}

/// A route for each group and alias. Routes lead to models, so a fallback on a group is one on its deployments.
fn routes(groups: &BTreeMap<String, Group>, router: &Router, draft: &mut Draft) {
    let legs = |name: &str| groups.get(router.aliases.get(name).map_or(name, |alias| alias));
    let named = groups.iter();
    let aliases = router.aliases.iter().filter_map(|(alias, target)| Some((alias, groups.get(target)?)));
    for (name, group) in named.chain(aliases) {
        if group.legs.iter().any(|leg| leg.model.ends_with("/*")) {
            if !group.legs.iter().all(|leg| leg.model == *name) {
                let message = "is a pattern: its provider takes any model, asked for as `provider/model`";
                draft.find(format!("{}.model_name", group.path), message);
            }
            continue;
        }
        let first = group.legs.iter().map(|leg| leg.order).min().unwrap_or(0);
        let mut later: Vec<_> = group.legs.iter().filter(|leg| leg.order > first).collect();
        later.sort_by_key(|leg| leg.order);
        let mut fallbacks: Vec<String> = later.iter().map(|leg| leg.model.clone()).collect();
        let own = router.fallbacks.get(name).unwrap_or(&router.default_fallbacks);
        for other in own.iter().filter(|other| *other != name) {
            match legs(other) {
                Some(group) => fallbacks.extend(group.legs.iter().map(|leg| leg.model.clone())),
                None => draft
                    .find(format!("fallbacks of {name}"), format!("name `{other}`, which is no model here")),
            }
        }
        let targets: Vec<_> = group
            .legs
            .iter()
            .filter(|leg| leg.order == first)
            .map(|leg| (leg.model.clone(), leg.weight))
            .collect();
        super::keep_first(&mut fallbacks);
        fallbacks.retain(|model| !model.ends_with("/*"));
        let total = group.total.or(router.total);
        // `provider/model` needs no route to be asked for.
        if matches!(&targets[..], [(only, _)] if only == name) && fallbacks.is_empty() && total.is_none() {
            continue;
        }
        let path = format!("{}.model_name", group.path);
        draft.route(&path, Route { name: name.clone(), targets, fallbacks, total });
    }
}
