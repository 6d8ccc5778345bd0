//! The text as a tree of values that know where they stand.

use super::finding::Findings;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// After this many, further errors of form mostly follow from the first ones.
const MOST: usize = 10;

pub(super) type Tree<'t> = DeTable<'t>;
pub(super) type Value<'t> = DeValue<'t>;
pub(super) type Spot<'t> = Spanned<DeValue<'t>>;

/// Parses the text; `None` when it is not TOML at all, with a finding for each place.
pub(super) fn tables<'t>(text: &'t str, findings: &mut Findings) -> Option<DeTable<'t>> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Some(tree.into_inner());
    }
    for error in errors.iter().take(MOST) {
        let at = findings.place(error.span().map_or(text.len(), |span| span.start));
        findings.error(at, error.message(), None);
    }
    None
}

/// What kind of value it is, with its article, for "found …".
pub(super) fn kind(value: &Value<'_>) -> &'static str {
    match value {
        Value::String(_) => "a text",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a float",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// The value as JSON.
pub(super) fn json(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::String(text) => text.as_ref().into(),
        Value::Integer(_) => integer(value).into(),
        Value::Float(float) => float.as_str().replace('_', "").parse::<f64>().ok().into(),
        Value::Boolean(is) => (*is).into(),
        Value::Datetime(time) => time.to_string().into(),
        Value::Array(list) => list.iter().map(|item| json(item.get_ref())).collect(),
        Value::Table(table) => table
            .iter()
            .map(|(key, item)| (key.get_ref().to_string(), json(item.get_ref())))
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

/// An integer that fits 64 bits.
pub(super) fn integer(value: &Value<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}
