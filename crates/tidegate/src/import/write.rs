//! A draft as the text of a `tidegate.toml`.

use super::draft::{Draft, Key, Model, Provider, Route};
use super::{Finding, Kind};
use std::collections::BTreeMap;
use std::fmt::Write;

/// The text, and the findings that stand in it.
pub(super) fn settings(mut draft: Draft, kind: Kind) -> (String, Vec<Finding>) {
    plain(&mut draft);
    if draft.unkept > 0 {
        let message = format!("has {} more fields that are not carried", draft.unkept);
        draft.findings.push(Finding { path: "file".to_owned(), message });
    }
    let mut text =
        format!("# Made by `tidegate import` from {kind}'s settings. Check it with `tidegate check`.\n");
    if !draft.findings.is_empty() {
        text.push_str("#\n# What could not be carried as it was:\n");
        for finding in &draft.findings {
            let _ = writeln!(text, "#   {}", one_line(&finding.to_string()));
        }
    }
    for one in &draft.providers {
        provider(one, &mut text);
    }
    for (name, one) in &draft.models {
        model(name, one, &mut text);
    }
    for one in &draft.routes {
        route(one, &mut text);
    }
    for one in &draft.keys {
        key(one, &mut text);
    }
    (text, draft.findings)
}

/// Leaves out routes that say no more than a bare model's name does.
fn plain(draft: &mut Draft) {
    let mut serving: BTreeMap<&str, usize> = BTreeMap::new();
    for provider in &draft.providers {
        for model in &provider.models {
            *serving.entry(model).or_default() += 1;
        }
    }
    draft.routes.retain(|route| {
        let bare = match &route.targets[..] {
            [(only, _)] => only.split_once('/').is_some_and(|(_, model)| model == route.name),
            _ => false,
        };
        let alone = serving.get(&*route.name) == Some(&1);
        !(bare && alone && route.fallbacks.is_empty() && route.total.is_none())
    });
}

fn provider(provider: &Provider, text: &mut String) {
    let access = &provider.access;
    let _ = writeln!(text, "\n[providers.{}]", bare(&provider.name));
    if let Some(vendor) = access.vendor.filter(|vendor| *vendor != provider.name) {
        let _ = writeln!(text, "vendor = {}", quoted(vendor));
    }
    if let Some(dialect) = access.dialect {
        let _ = writeln!(text, "dialect = {}", quoted(dialect.as_str()));
    }
    if let Some(base_url) = &access.base_url {
        let _ = writeln!(text, "base_url = {}", quoted(base_url));
    }
    if let Some(variable) = &access.credential {
        let _ = writeln!(text, "credential = {}", quoted(&format!("env:{variable}")));
    }
    if !provider.open && !provider.models.is_empty() {
        let models: Vec<_> = provider.models.iter().map(|model| quoted(model)).collect();
        let _ = writeln!(text, "models = [{}]", models.join(", "));
    }
    if !access.headers.is_empty() {
        let headers: Vec<_> = access
            .headers
            .iter()
            .map(|(name, value)| format!("{} = {}", bare(name), quoted(value)))
            .collect();
        let _ = writeln!(text, "headers = {{ {} }}", headers.join(", "));
    }
    if let Some(connections) = access.max_connections {
        let _ = writeln!(text, "max_connections = {connections}");
    }
    total(access.total, text);
}

fn total(seconds: Option<f64>, text: &mut String) {
    if let Some(seconds) = seconds {
        // A timeout of years is none.
        let millis = (seconds * 1_000.0).clamp(1.0, 315_000_000_000.0) as u64;
        let shown =
            if millis.is_multiple_of(1_000) { format!("{}s", millis / 1_000) } else { format!("{millis}ms") };
        let _ = writeln!(text, "timeouts = {{ total = {} }}", quoted(&shown));
    }
}

fn model(name: &str, model: &Model, text: &mut String) {
    let _ = writeln!(text, "\n[models.{}]", quoted(name));
    if !model.price.is_empty() {
        let rates: Vec<_> =
            model.price.iter().map(|(rate, amount)| format!("{rate} = {}", quoted(amount))).collect();
        let _ = writeln!(text, "price = {{ {}, currency = \"USD\" }}", rates.join(", "));
    }
    if let Some(context) = model.context {
        let _ = writeln!(text, "context = {context}");
    }
    if let Some(max_output) = model.max_output {
        let _ = writeln!(text, "max_output = {max_output}");
    }
}

fn route(route: &Route, text: &mut String) {
    let _ = writeln!(text, "\n[routes.{}]", bare(&route.name));
    let even = route.targets.iter().all(|(_, weight)| Some(weight) == route.targets.first().map(|(_, w)| w));
    let targets: Vec<_> = route
        .targets
        .iter()
        .map(|(model, weight)| match even {
            true => quoted(model),
            false => format!("{{ model = {}, weight = {weight} }}", quoted(model)),
        })
        .collect();
    let _ = writeln!(text, "targets = [{}]", targets.join(", "));
    if !route.fallbacks.is_empty() {
        let fallbacks: Vec<_> = route.fallbacks.iter().map(|model| quoted(model)).collect();
        let _ = writeln!(text, "fallbacks = [{}]", fallbacks.join(", "));
    }
    total(route.total, text);
}

fn key(key: &Key, text: &mut String) {
    let _ = writeln!(text, "\n[keys.{}]", bare(&key.name));
    if !key.models.is_empty() {
        let models: Vec<_> = key.models.iter().map(|model| quoted(model)).collect();
        let _ = writeln!(text, "models = [{}]", models.join(", "));
    }
    let limits =
        [("requests_per_minute", key.requests_per_minute), ("tokens_per_minute", key.tokens_per_minute)];
    let limits: Vec<_> =
        limits.iter().filter_map(|(name, limit)| limit.map(|limit| format!("{name} = {limit}"))).collect();
    if !limits.is_empty() {
        let _ = writeln!(text, "limits = {{ {} }}", limits.join(", "));
    }
    let budgets: Vec<_> = key
        .budgets
        .iter()
        .map(|(amount, window)| {
            let (amount, window) = (quoted(amount), quoted(window));
            format!("{{ name = {window}, amount = {amount}, currency = \"USD\", window = {window} }}")
        })
        .collect();
    if !budgets.is_empty() {
        let _ = writeln!(text, "budgets = [{}]", budgets.join(", "));
    }
}

/// A TOML text on one line.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(c);
            }
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A TOML key, in quotes only where it needs them.
fn bare(name: &str) -> String {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-');
    if !name.is_empty() && name.bytes().all(plain) { name.to_owned() } else { quoted(name) }
}

/// What may stand in a comment.
fn one_line(text: &str) -> String {
    crate::terminal::harmless(text, false)
}
