//! What differs between two documents of an environment, field by field, by what they mean and not by how they are written.
//!
//! Both are compared as values. Lists of things that have names are compared by name, so that a target that is put first is
//! not twenty changes; other lists are one value.

use super::document::EnvironmentDocument;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;

/// One field that differs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Change {
    /// `routes.chat.targets[openai/gpt-5-mini].weight`.
    pub path: String,
    /// What it was; absent where it was not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Value>,
    /// What it is; absent where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Value>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{}: {} → {}", self.path, words(before), words(after)),
            (None, Some(after)) => write!(f, "{}: added {}", self.path, words(after)),
            (Some(before), None) => write!(f, "{}: removed, was {}", self.path, words(before)),
            (None, None) => f.write_str(&self.path),
        }
    }
}

/// What `after` says otherwise than `before`, sorted by path. Keys, names and layers are not compared: they are no part of
/// a release.
pub fn changes(before: &EnvironmentDocument, after: &EnvironmentDocument) -> Vec<Change> {
    let mut found = Vec::new();
    compare(String::new(), &meaning(before), &meaning(after), &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn meaning(document: &EnvironmentDocument) -> Value {
    let EnvironmentDocument {
        log_bodies, cache, providers, models, routes, guardrails, limits, budgets, ..
    } = document;
    let fields = [
        ("logs.bodies", value(log_bodies)),
        ("cache", value(cache)),
        ("providers", value(providers)),
        ("models", value(models)),
        ("routes", value(routes)),
        ("guardrails", value(guardrails)),
        ("limits", value(limits)),
        ("budgets", value(budgets)),
    ];
    Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Nothing in a document fails to be a value.
fn value(of: &impl Serialize) -> Value {
    serde_json::to_value(of).map(flat).unwrap_or_default()
}

/// Spans of time as one value, and what is not said left out.
fn flat(value: Value) -> Value {
    match value {
        Value::Object(map) => match span(&map) {
            Some(span) => Value::String(span),
            None => {
                let said = map.into_iter().map(|(name, value)| (name, flat(value)));
                Value::Object(said.filter(|(_, value)| !value.is_null()).collect())
            }
        },
        Value::Array(list) => Value::Array(list.into_iter().map(flat).collect()),
        other => other,
    }
}

fn span(map: &Map<String, Value>) -> Option<String> {
    let (secs, nanos) = (map.get("secs")?.as_u64()?, map.get("nanos")?.as_u64()?);
    let whole = map.len() == 2;
    whole.then(
        || if nanos == 0 { format!("{secs}s") } else { format!("{}ms", secs * 1000 + nanos / 1_000_000) },
    )
}

fn compare(path: String, before: &Value, after: &Value, found: &mut Vec<Change>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(one), Value::Object(other)) => {
            let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{}", part(name)) };
                sides(path, one.get(name), other.get(name), found);
            }
        }
        (Value::Array(one), Value::Array(other)) => match (named(one), named(other)) {
            (Some(one), Some(other)) => {
                let names: BTreeSet<&str> = one.iter().chain(&other).map(|(name, _)| *name).collect();
                for name in names {
                    sides(format!("{path}[{name}]"), of(&one, name), of(&other, name), found);
                }
                let order = |list: &Named<'_>, in_: &Named<'_>| -> Vec<Value> {
                    list.iter()
                        .filter(|(name, _)| of(in_, name).is_some())
                        .map(|(name, _)| Value::from(*name))
                        .collect()
                };
                let (was, is) = (order(&one, &other), order(&other, &one));
                if was != is {
                    let path = format!("{path} (order)");
                    found.push(Change {
                        path,
                        before: Some(Value::Array(was)),
                        after: Some(Value::Array(is)),
                    });
                }
            }
            _ => differ(path, Some(before), Some(after), found),
        },
        _ => differ(path, Some(before), Some(after), found),
    }
}

fn sides(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    match (before, after) {
        (Some(before), Some(after)) => compare(path, before, after, found),
        (before, after) => differ(path, before, after, found),
    }
}

fn differ(path: String, before: Option<&Value>, after: Option<&Value>, found: &mut Vec<Change>) {
    found.push(Change { path, before: before.cloned(), after: after.cloned() });
}

/// Things with names that differ, in their order.
type Named<'v> = Vec<(&'v str, &'v Value)>;

fn of<'v>(list: &Named<'v>, name: &str) -> Option<&'v Value> {
    list.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
}

/// A list of things with names that differ.
fn named(list: &[Value]) -> Option<Named<'_>> {
    let mut named = Named::new();
    for item in list {
        let name = ["name", "model"].iter().find_map(|field| item.get(field)?.as_str());
        let name = name.or_else(|| item.get("rule")?.get("name")?.as_str())?;
        if of(&named, name).is_some() {
            return None;
        }
        named.push((name, item));
    }
    Some(named)
}

/// A name that is a word stands as it is.
fn part(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if !name.is_empty() && name.chars().all(plain) { name.to_owned() } else { format!("{name:?}") }
}

/// A value as people read it, cut where it is very long.
fn words(value: &Value) -> String {
    const MOST: usize = 200;
    let text = match value {
        Value::Object(map) if map.is_empty() => "nothing".to_owned(),
        other => other.to_string(),
    };
    if text.chars().count() <= MOST { text } else { text.chars().take(MOST).chain(['…']).collect() }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::settings::parse;

    fn between(before: &str, after: &str) -> Vec<String> {
        let read = |text: &str| parse(text, "t").unwrap().0.environments.remove(0);
        changes(&read(before), &read(after)).iter().map(ToString::to_string).collect()
    }

    const ROUTE: &str = "[routes.chat]\ntargets = [{ model = \"demo/a\", weight = 95 }, { model = \"demo/b\", weight = 5 }]\n";

    #[test]
    fn a_weight_is_one_change_in_words() {
        let after = ROUTE.replace("95", "90").replace("weight = 5", "weight = 10");
        let said = between(ROUTE, &after);
        assert_eq!(
            said,
            [
                "routes.chat.targets[demo/a].weight: 95.0 → 90.0",
                "routes.chat.targets[demo/b].weight: 5.0 → 10.0"
            ]
        );
    }

    #[test]
    fn how_it_is_written_is_no_change() {
        let other = "# comment\n[routes]\nchat.targets = [{ weight = 95, model = \"demo/a\" }, { model = \"demo/b\", weight = 5.0 }]\n";
        assert_eq!(between(ROUTE, other), Vec::<String>::new());
        assert_eq!(between("", "[keys.app]\n"), Vec::<String>::new(), "keys are no part of it");
    }

    #[test]
    fn what_comes_and_goes_and_moves_is_said() {
        let said = between("", &format!("{ROUTE}timeouts = {{ total = \"90s\" }}\n"));
        assert!(said[0].starts_with("routes.chat: added {"), "{said:?}");
        let said = between(&format!("{ROUTE}timeouts = {{ total = \"90s\" }}\n"), ROUTE);
        assert_eq!(said, ["routes.chat.timeouts.total: removed, was \"90s\""]);
        let turned = "[routes.chat]\ntargets = [{ model = \"demo/b\", weight = 5 }, { model = \"demo/a\", weight = 95 }]\n";
        assert_eq!(
            between(ROUTE, turned),
            ["routes.chat.targets (order): [\"demo/a\",\"demo/b\"] → [\"demo/b\",\"demo/a\"]"]
        );
        let said = between("", "[logs]\nbodies = true\n");
        assert_eq!(said, ["logs.bodies: false → true"]);
        let said = between("", "[[limits]]\nname = \"x\"\nper = \"end_user\"\nrequests_per_minute = 5\n");
        assert!(said.len() == 1 && said[0].starts_with("limits[x]: added"), "{said:?}");
    }
}
