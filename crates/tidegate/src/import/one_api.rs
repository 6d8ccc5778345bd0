//! Channels of one-api and new-api, as their API and their exports list them.

use super::draft::{Access, Draft, Route, Written};
use super::fields::Fields;
use super::vendors;
use serde_json::Value;
use std::collections::BTreeMap;

/// Fields that only new-api's channels have: its numbers of types differ.
const NEW_API: [&str; 7] =
    ["auto_ban", "tag", "setting", "settings", "param_override", "status_code_mapping", "channel_info"];

fn channels(tree: &Value) -> Option<&Vec<Value>> {
    let data = tree.get("channels").or_else(|| tree.get("data")).unwrap_or(tree);
    data.as_array().or_else(|| data.get("items")?.as_array())
}

/// Whether a tree is a list of channels.
pub(super) fn looks_like(tree: &Value) -> bool {
    let channel = |one: &Value| one.get("type").is_some() && one.get("models").is_some();
    channels(tree).is_some_and(|list| list.first().is_some_and(channel))
}

/// A channel that serves a model.
struct Leg {
    model: String,
    weight: f64,
    priority: i64,
}

/// Reads the whole file; no when it has no channels.
pub(super) fn read(tree: &Value, draft: &mut Draft) -> bool {
    let Some(list) = channels(tree).filter(|list| !list.is_empty()) else { return false };
    if tree.is_object() {
        super::envelope(tree, "", &["channels", "data", "items"], draft);
    }
    if let Some(page) = tree.get("data").filter(|data| data.is_object()) {
        super::envelope(page, "data", &["items"], draft);
    }
    let new_api =
        list.iter().any(|one| NEW_API.iter().any(|field| one.get(field).is_some_and(|v| !v.is_null())));
    let mut served: BTreeMap<String, Vec<Leg>> = BTreeMap::new();
    for (index, one) in list.iter().enumerate() {
        channel(Fields::at(format!("channels[{index}]"), one.clone()), new_api, draft, &mut served);
    }
    for (name, mut legs) in served {
        legs.sort_by_key(|leg| std::cmp::Reverse(leg.priority));
        let first = legs.first().map(|leg| leg.priority);
        let (now, later): (Vec<_>, Vec<_>) = legs.into_iter().partition(|leg| Some(leg.priority) == first);
        let mut fallbacks: Vec<String> = later.into_iter().map(|leg| leg.model).collect();
        super::keep_first(&mut fallbacks);
        let targets = now.into_iter().map(|leg| (leg.model, leg.weight)).collect();
        draft.route(&format!("model `{name}`"), Route { name, targets, fallbacks, total: None });
    }
    true
}

fn channel(mut fields: Fields, new_api: bool, draft: &mut Draft, served: &mut BTreeMap<String, Vec<Leg>>) {
    let here = fields.here().to_owned();
    if fields.number("status").is_some_and(|status| status != "1") {
        return draft.find(here, "is disabled, and is left out");
    }
    let number = fields.count("type").unwrap_or(0);
    let written = fields.text("base_url");
    // An address of a known vendor's own is in the row already, however much of it was written.
    let known = written.as_deref().and_then(vendors::by_address);
    // The type OpenAI at an address of its own is any server that answers the openai dialect.
    let typed = vendors::by_channel(number, new_api);
    let vendor = known.or(typed.filter(|vendor| written.is_none() || &*vendor.name != "openai"));
    let base_url = written.filter(|_| known.is_none()).map(|base| vendors::base_url(&base, vendor, true));
    if base_url.is_none() && vendor.is_none_or(|vendor| vendor.base_url().is_none()) {
        return draft.find(
            here,
            format!("is of type {number}, which has no row here, and names no base_url: it is left out"),
        );
    }
    // A name without a letter of ours makes no name of ours.
    let name = fields.text("name").filter(|name| name.contains(|c: char| c.is_ascii_alphanumeric()));
    let name = name.or_else(|| base_url.as_deref().and_then(vendors::host));
    let wanted = name
        .or_else(|| vendor.map(|vendor| vendor.name.to_string()))
        .unwrap_or_else(|| format!("channel-{number}"));
    let path = fields.path("key");
    let mut keys =
        fields.text("key").unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>().into_iter();
    let credential =
        draft.credential(&path, keys.next().map(|key| Written::of(key, "env:")), vendor, &wanted);
    if keys.next().is_some() {
        draft.find(
            path,
            "holds several keys: the first is meant; make a provider with `vendor = …` for each other",
        );
    }
    if let Some(organization) = fields.text("openai_organization") {
        draft.find(
            fields.path("openai_organization"),
            format!("is not carried: add `headers = {{ openai-organization = \"{organization}\" }}`"),
        );
    }
    let access =
        Access { vendor: vendor.map(|vendor| &*vendor.name), base_url, credential, ..Access::default() };
    let provider = draft.provider(&wanted, access);
    let mapping = mapping(&mut fields, draft);
    let weight = fields.positive("weight").unwrap_or(1.0);
    let priority = fields.number("priority").and_then(|number| number.parse().ok()).unwrap_or(0);
    let models = fields.texts("models");
    let names: Vec<&str> = models
        .iter()
        .flat_map(|names| names.split(','))
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect();
    for idle in mapping.keys().filter(|name| !names.contains(&name.as_str())) {
        let path = format!("{}.{idle}", fields.path("model_mapping"));
        draft.find(path, "is not carried: the channel does not serve that model");
    }
    for name in names {
        let upstream = mapping.get(name).map_or(name, |upstream| upstream);
        let model = draft.deployment(&provider, upstream);
        served.entry(name.to_owned()).or_default().push(Leg { model, weight, priority });
    }
    if fields.text("group").is_some_and(|group| group != "default") {
        draft.find(fields.path("group"), "is not carried: say with `models` of a key what it may ask for");
    }
    if let Some(mut info) = fields.table("channel_info") {
        // Several keys are a finding of their own.
        info.ignore(&["is_multi_key", "multi_key_size", "multi_key_status_list", "multi_key_polling_index"]);
        info.ignore(&["multi_key_mode", "multi_key_disabled_reason", "multi_key_disabled_time"]);
        info.finish(draft);
    }
    fields.ignore(&[
        "id",
        "created_time",
        "test_time",
        "response_time",
        "balance",
        "balance_updated_time",
        "used_quota",
        "auto_ban",
        "test_model",
        "remark",
        "weight",
        "priority",
    ]);
    fields.finish(draft);
}

/// `model_mapping`, a table or the text of one.
fn mapping(fields: &mut Fields, draft: &mut Draft) -> BTreeMap<String, String> {
    let value = match fields.take("model_mapping") {
        Some(Value::String(text)) if text.trim().is_empty() => return BTreeMap::new(),
        Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or(Value::Null),
        Some(value) => value,
        None => return BTreeMap::new(),
    };
    match serde_json::from_value(value) {
        Ok(mapping) => mapping,
        Err(_) => {
            draft.find(fields.path("model_mapping"), "is not a table of names");
            BTreeMap::new()
        }
    }
}
